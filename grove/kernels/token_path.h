// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The path of a token through a tree that is routed by a hash of the token's id: the control of a tree's routing that
// costs nothing and knows nothing of the context (as the hash layers of arXiv 2106.04426 do for experts).
//
//   turn at level j (0 is the root): bit j of TokenPath(key, id); 1 goes right
//
// The key mixes the seed, the layer's number and the tree's, so that every tree has paths of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace grove {

// The output function of splitmix64: every input bit changes every output bit with probability 1/2.
constexpr uint64_t MixBits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

constexpr uint64_t TreeKey(int64_t seed, int64_t layer, int64_t tree) {
  const auto add = [](uint64_t key, int64_t value) {
    return MixBits(key + 0x9e3779b97f4a7c15u + static_cast<uint64_t>(value));
  };
  return add(add(add(0, seed), layer), tree);
}

constexpr uint64_t TokenPath(uint64_t tree_key, int64_t token_id) {
  return MixBits(tree_key ^ static_cast<uint64_t>(token_id));
}

// Where that path ends among the 2^depth nodes of the bottom, counted from the left: its first turn is the highest bit.
constexpr uint32_t TokenPathEnd(uint64_t path, size_t depth) {
  uint32_t end = 0;
  for (size_t level = 0; level < depth; ++level) end = 2 * end + static_cast<uint32_t>((path >> level) & 1);
  return end;
}

}  // namespace grove
