// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/data/sequences.h"

#include <algorithm>

#include "grove/base/check.h"

namespace grove {
namespace {

// The finalizer of splitmix64: every bit of the input moves every bit of the output.
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;
constexpr int kRounds = 4;

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t seed) : size_(size), seed_(Mix(seed + kGolden)) {
  GROVE_CHECK(size > 0);
  while ((uint64_t{1} << (2 * half_bits_)) < size) ++half_bits_;
}

uint64_t Permutation::operator()(uint64_t i) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = i >> half_bits_, right = i & mask;
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t mixed = Mix(seed_ + kGolden * static_cast<uint64_t>(round) + right) & mask;
      left = std::exchange(right, left ^ mixed);
    }
    i = left << half_bits_ | right;
  } while (i >= size_);
  return i;
}

KeyedRandom::KeyedRandom(uint64_t seed, uint64_t key) : state_(Mix(Mix(seed + kGolden) + key)) {}

uint64_t KeyedRandom::Next() { return Mix(state_ += kGolden); }

SequenceIndex::SequenceIndex(const PackedDocuments& documents, const SequenceOptions& options)
    : documents_(documents), options_(options) {
  GROVE_CHECK(options.length >= 3);
  const size_t room = options.length - 2;
  for (size_t d = 0; d < documents.documents(); ++d) {
    const size_t length = documents.length(d);
    for (size_t begin = 0; begin < length; begin += room) {
      const size_t full = length >= room ? std::min(begin, length - room) : 0;
      pieces_.push_back({static_cast<uint32_t>(d), static_cast<uint32_t>(full)});
    }
  }
}

void SequenceIndex::Read(uint64_t number, int64_t* ids) const {
  const uint64_t epoch = number / size();
  const Permutation order(size(), options_.seed + epoch * kGolden);
  ReadPiece(order(number % size()), ids);
}

void SequenceIndex::ReadPiece(size_t piece, int64_t* ids) const {
  const auto [document, begin] = pieces_[piece];
  const size_t count = std::min(options_.length - 2, documents_.length(document) - begin);
  ids[0] = options_.cls_id;
  documents_.Read(document, begin, count, ids + 1);
  ids[count + 1] = options_.sep_id;
  std::fill(ids + count + 2, ids + options_.length, options_.pad_id);
}

void MaskTokens(const MaskOptions& options, KeyedRandom& random, std::span<int64_t> ids, int64_t offset,
                std::vector<int64_t>* positions, std::vector<int64_t>* labels) {
  const auto is_special = [&](int64_t id) {
    return std::find(options.special.begin(), options.special.end(), id) != options.special.end();
  };
  std::vector<size_t> candidates, chosen;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (is_special(ids[i])) continue;
    candidates.push_back(i);
    if (random.Uniform() < options.share) chosen.push_back(i);
  }
  if (chosen.empty() && !candidates.empty()) chosen.push_back(candidates[random.Below(candidates.size())]);
  for (const size_t i : chosen) {
    positions->push_back(offset + static_cast<int64_t>(i));
    labels->push_back(ids[i]);
    const double fate = random.Uniform();
    if (fate < 0.8) {
      ids[i] = options.mask_id;
    } else if (fate < 0.9) {
      do {
        ids[i] = static_cast<int64_t>(random.Below(static_cast<uint64_t>(options.vocabulary)));
      } while (is_special(ids[i]));
    }
  }
}

}  // namespace grove
