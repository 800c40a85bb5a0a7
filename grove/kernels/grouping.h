// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Positions sorted by a key: visits by node, tokens by leaf.
//
//   for (const Grouping::Group& group : Grouping(leaves, count, 32).groups()) Use(group.key, group.positions);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

#include "grove/base/scratch.h"

namespace grove {

class Grouping {
 public:
  struct Group {
    uint32_t key;
    std::span<const size_t> positions;  // ascending
  };

  // Groups positions 0 ... count - 1 by keys[position] < key_limit. Only non-empty groups are kept, in order of keys.
  Grouping(const uint32_t* keys, size_t count, size_t key_limit) : order_(count) {
    if (count * 8 < key_limit) {
      std::iota(order_.begin(), order_.end(), size_t{0});
      std::sort(order_.begin(), order_.end(),
                [&](size_t a, size_t b) { return keys[a] != keys[b] ? keys[a] < keys[b] : a < b; });
    } else {
      CountingSort(keys, count, key_limit);
    }
    for (size_t begin = 0, end = 0; begin < count; begin = end) {
      while (end < count && keys[order_[end]] == keys[order_[begin]]) ++end;
      groups_.push_back({keys[order_[begin]], {order_.data() + begin, end - begin}});
    }
  }
  Grouping(const Grouping&) = delete;
  Grouping& operator=(const Grouping&) = delete;

  const ScratchVector<Group>& groups() const { return groups_; }

 private:
  void CountingSort(const uint32_t* keys, size_t count, size_t key_limit) {
    ScratchVector<size_t> next(key_limit + 1);
    for (size_t i = 0; i < count; ++i) ++next[keys[i] + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (size_t i = 0; i < count; ++i) order_[next[keys[i]]++] = i;
  }

  ScratchVector<size_t> order_;
  ScratchVector<Group> groups_;
};

}  // namespace grove
