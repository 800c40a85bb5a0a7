// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/token_batch.h"

#include <algorithm>

namespace grove {

PackedTokens PackTokens(const TokenBatch& batch, Arena& arena) {
  const size_t places_count = batch.batch * batch.length;
  auto* places = arena.Take<uint32_t>(places_count);
  auto* sequences = arena.Take<SequenceRows>(batch.batch);
  const bool masked = !batch.mask.empty();
  size_t tokens = 0;
  for (size_t b = 0; b < batch.batch; ++b) {
    const auto mask = masked ? batch.mask.subspan(b * batch.length, batch.length) : std::span<const uint8_t>();
    const bool all = !masked || batch.compute_padding || std::ranges::count(mask, 0) == std::ranges::ssize(mask);
    sequences[b].begin = tokens;
    for (size_t t = 0; t < batch.length; ++t) {
      if (all || mask[t] != 0) places[tokens++] = static_cast<uint32_t>(b * batch.length + t);
    }
    sequences[b].count = tokens - sequences[b].begin;
  }
  PackedTokens packed{.tokens = tokens,
                      .length = batch.length,
                      .places = places,
                      .sequences = {sequences, batch.batch},
                      .whole = tokens == places_count};
  if (packed.whole) {
    packed.ids = batch.ids.data();
    packed.types = batch.types.empty() ? nullptr : batch.types.data();
    packed.is_key = masked ? batch.mask.data() : nullptr;
    return packed;
  }
  auto* ids = arena.Take<int32_t>(tokens);
  for (size_t i = 0; i < tokens; ++i) ids[i] = batch.ids[places[i]];
  packed.ids = ids;
  if (batch.types.empty()) return packed;
  auto* types = arena.Take<uint8_t>(tokens);
  for (size_t i = 0; i < tokens; ++i) types[i] = batch.types[places[i]];
  packed.types = types;
  return packed;
}

PackedTokens PartOf(const PackedTokens& packed, size_t first, size_t most, Arena& arena) {
  const size_t begin = packed.sequences[first].begin;
  size_t last = first, end = begin;
  while (last < packed.sequences.size() && (last == first || end - begin + packed.sequences[last].count <= most)) {
    end = packed.sequences[last].begin + packed.sequences[last].count, ++last;
  }
  auto* sequences = arena.Take<SequenceRows>(last - first);
  for (size_t i = first; i < last; ++i) {
    sequences[i - first] = {packed.sequences[i].begin - begin, packed.sequences[i].count};
  }
  PackedTokens part = packed;
  part.tokens = end - begin;
  part.ids += begin, part.places += begin;
  if (part.types != nullptr) part.types += begin;
  if (part.is_key != nullptr) part.is_key += begin;
  part.sequences = {sequences, last - first};
  return part;
}

namespace {

// The largest parts of whole sequences that have `most` tokens, in order; and how many tokens the busiest of `threads`
// computes if each part falls to the first thread that is free.
struct Division {
  size_t parts = 0, busiest = 0;
};
Division Divide(const PackedTokens& packed, size_t most, std::span<size_t> busy, size_t* first, size_t* tokens) {
  Division division;
  std::fill(busy.begin(), busy.end(), 0);
  for (size_t at = 0; at < packed.sequences.size();) {
    size_t& taken = tokens[division.parts];
    first[division.parts++] = at;
    taken = packed.sequences[at++].count;
    while (at < packed.sequences.size() && taken + packed.sequences[at].count <= most) {
      taken += packed.sequences[at++].count;
    }
    size_t& load = *std::min_element(busy.begin(), busy.end());
    division.busiest = std::max(division.busiest, load += taken);
  }
  return division;
}

}  // namespace

Shares ShareOut(const PackedTokens& packed, size_t threads, size_t least, size_t most, Arena& arena) {
  constexpr size_t kMostParts = 8;  // of a thread: beyond that they need not be smaller to end at about the same time
  if (threads == 1 || packed.tokens < threads * least) return {};
  auto* first = arena.Take<size_t>(packed.sequences.size());
  auto* tokens = arena.Take<size_t>(packed.sequences.size());
  const std::span busy(arena.Take<size_t>(threads), threads);
  const auto divide = [&](size_t parts) {
    const size_t wanted = (packed.tokens + threads * parts - 1) / (threads * parts);
    return Divide(packed, std::min(wanted, most), busy, first, tokens);
  };
  size_t best = 0, busiest = packed.tokens;
  for (size_t parts = std::min(packed.tokens / (threads * least), kMostParts); parts > 0; --parts) {
    const Division division = divide(parts);
    if (division.busiest < busiest) best = parts, busiest = division.busiest;
  }
  if (best == 0 || busiest * threads * 7 > packed.tokens * 8) return {};  // an eighth more than an equal share
  const size_t count = divide(best).parts;
  return {{first, count}, {tokens, count}};
}

void Unpack(const PackedTokens& packed, size_t batch, const float* from, size_t width, float* to) {
  size_t next = 0;  // place
  for (size_t i = 0; i < packed.tokens; ++i, from += width) {
    const size_t place = packed.places[i];
    std::fill(to + next * width, to + place * width, 0.0f);
    std::copy_n(from, width, to + place * width);
    next = place + 1;
  }
  std::fill(to + next * width, to + batch * packed.length * width, 0.0f);
}

}  // namespace grove
