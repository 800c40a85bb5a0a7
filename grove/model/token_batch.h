// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A batch as callers have it, padded to one length, and as the encoder computes it, without padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "grove/base/arena.h"
#include "grove/model/attention.h"

namespace grove {

// Sequences of equal length; shorter ones are padded and masked there.
struct TokenBatch {
  std::span<const int32_t> ids = {};   // [batch, length]
  std::span<const uint8_t> mask = {};  // [batch, length]: 1 token, 0 padding; empty: all are tokens
  // [batch, length]: first or second text of a pair, below the model's token_types; empty: all 0
  std::span<const uint8_t> types = {};
  size_t batch = 0;
  size_t length = 0;
  // Computes padding too, as the reference does: it attends and is attended to by none. For heads that read it.
  bool compute_padding = false;
};

// The rows that are computed, sequence after sequence. Padding is none of them, except that of a sequence that has
// nothing else: such a sequence counts as unmasked.
struct PackedTokens {
  size_t tokens = 0;
  size_t length = 0;                        // of the batch: positions are below it
  const int32_t* ids = nullptr;             // [tokens]
  const uint32_t* places = nullptr;         // [tokens]: place in [batch, length], which tells the position too
  const uint8_t* types = nullptr;           // [tokens], or null: all 0
  const uint8_t* is_key = nullptr;          // [tokens], or null: all are (SelfAttention())
  std::span<const SequenceRows> sequences;  // [batch]
  bool whole = false;                       // token i is at place i: nothing was left out
};

// Everything is in `arena`.
PackedTokens PackTokens(const TokenBatch& batch, Arena& arena);

// Sequences from `first` on as a batch of their own: at least one, then as many as have `most` tokens together. Its
// places are those of the whole batch. What is new is in `arena`.
PackedTokens PartOf(const PackedTokens& packed, size_t first, size_t most, Arena& arena);

// Parts of whole sequences for threads to take one after the other, each through the whole model on its own, so that no
// thread waits for another between layers: part i is PartOf(packed, first[i], tokens[i]).
struct Shares {
  std::span<const size_t> first, tokens;
};
// Parts of `least` to `most` tokens, but for sequences longer than that and for what is left at the end. None where
// threads would end at too different times, as with few or long sequences. Everything is in `arena`.
Shares ShareOut(const PackedTokens& packed, size_t threads, size_t least, size_t most, Arena& arena);

// from [tokens, width] -> to [batch x length, width], 0 where there is no token.
void Unpack(const PackedTokens& packed, size_t batch, const float* from, size_t width, float* to);

}  // namespace grove
