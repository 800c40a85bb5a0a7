// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// From packed documents to masked sequences. Everything is a function of (seed, number): sequence number i of a run is
// the same on every machine and after every restart, so that a position in the data is one number.
//
//   const SequenceIndex index(packed.train, {.length = 128, .cls_id = 2, .sep_id = 3, .pad_id = 0, .seed = 1});
//   std::vector<int64_t> ids(128);
//   index.Read(number, ids.data());                     // [CLS] w w w ... [SEP], padded where a document is short
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "grove/data/packed_text.h"

namespace grove {

// A shuffle of 0 ... size - 1 that needs no memory: a keyed Feistel network on the next power of four, walked until the
// result is in range.
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed);
  uint64_t operator()(uint64_t i) const;

 private:
  uint64_t size_, seed_;
  unsigned half_bits_ = 1;
};

// Random 64-bit words, a function of the key alone (splitmix64).
class KeyedRandom {
 public:
  explicit KeyedRandom(uint64_t seed, uint64_t key = 0);
  uint64_t Next();
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }  // [0, 1)
  uint64_t Below(uint64_t limit) { return Next() % limit; }                 // bias below 2^-40 for limits up to 2^24

 private:
  uint64_t state_;
};

struct SequenceOptions {
  size_t length = 128;  // tokens of a sequence, [CLS] and [SEP] among them; at least 3
  int64_t cls_id = 0, sep_id = 0, pad_id = 0;
  uint64_t seed = 1;
};

class SequenceIndex {
 public:
  // Documents are cut into pieces of length - 2 tokens; the last piece of a long document begins earlier, so that it is
  // full, too. A shorter document is one padded sequence.
  SequenceIndex(const PackedDocuments& documents, const SequenceOptions& options);

  size_t size() const { return pieces_.size(); }
  // Training order: every epoch visits each piece once, in an order of its own. Any number >= 0.
  void Read(uint64_t number, int64_t* ids) const;
  // Pieces in the order of the documents; 0 <= piece < size().
  void ReadPiece(size_t piece, int64_t* ids) const;

 private:
  struct Piece {
    uint32_t document;
    uint32_t begin;
  };
  const PackedDocuments& documents_;
  SequenceOptions options_;
  std::vector<Piece> pieces_;
};

struct MaskOptions {
  double share = 0.25;  // of the tokens that are not special
  int64_t mask_id = 0;
  int64_t vocabulary = 0;
  std::vector<int64_t> special;  // ids never chosen and never put in
};

// Chooses tokens of one sequence to predict: 80 % become [MASK], 10 % a random word, 10 % stay. Appends the chosen
// positions + `offset` and the words that were there. At least one token is chosen where there is one to choose.
void MaskTokens(const MaskOptions& options, KeyedRandom& random, std::span<int64_t> ids, int64_t offset,
                std::vector<int64_t>* positions, std::vector<int64_t>* labels);

}  // namespace grove
