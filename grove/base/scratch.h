// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Vectors for the time of a call whose memory each thread keeps for the next call: from the second time on, a
// computation that needs no more than before allocates nothing.
//
//   ScratchVector<float> sums(count);   // zeros, starts a cache line
//
// Memory goes back to the thread that destroys the vector. Blocks are powers of two; a request takes the smallest free
// one that has room. Where an Arena is at hand, or a thread_local array of one purpose, those are simpler.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include "grove/base/aligned.h"

namespace grove {

// The free blocks of one thread, in lists by size. A free block holds the address of the next.
class ScratchPool {
 public:
  static ScratchPool& OfThread() {
    thread_local ScratchPool pool;
    return pool;
  }
  ScratchPool() = default;
  ScratchPool(const ScratchPool&) = delete;
  ScratchPool& operator=(const ScratchPool&) = delete;
  ~ScratchPool() {
    for (Free* head : free_) {
      while (head != nullptr) ::operator delete(std::exchange(head, head->next), kAlignment);
    }
  }

  // `bytes` or more, at the start of a cache line.
  void* Take(size_t bytes) {
    const size_t wanted = ClassOf(bytes);
    for (size_t size = wanted; size < kClasses; ++size) {
      if (free_[size] == nullptr) continue;
      Free* block = std::exchange(free_[size], free_[size]->next);
      return Stamp(block, size);
    }
    return Stamp(::operator new(kCacheLineBytes + (size_t{1} << wanted), kAlignment), wanted);
  }
  void Return(void* memory) {
    std::byte* block = static_cast<std::byte*>(memory) - kCacheLineBytes;
    const size_t size = *reinterpret_cast<size_t*>(block);
    free_[size] = new (block) Free{free_[size]};
  }

 private:
  static constexpr size_t kClasses = 48;
  static constexpr std::align_val_t kAlignment{kCacheLineBytes};
  struct Free {
    Free* next;
  };

  static size_t ClassOf(size_t bytes) { return std::bit_width(std::max(bytes, kCacheLineBytes) - 1); }

  // The line before the memory says how large it is.
  static void* Stamp(void* block, size_t size) {
    new (block) size_t(size);
    return static_cast<std::byte*>(block) + kCacheLineBytes;
  }

  std::array<Free*, kClasses> free_ = {};
};

template <class T>
struct ScratchAllocator {
  using value_type = T;
  ScratchAllocator() = default;
  template <class U>
  ScratchAllocator(const ScratchAllocator<U>&) {}  // NOLINT(google-explicit-constructor): as the standard asks

  T* allocate(size_t count) { return static_cast<T*>(ScratchPool::OfThread().Take(count * sizeof(T))); }
  void deallocate(T* memory, size_t) { ScratchPool::OfThread().Return(memory); }
  bool operator==(const ScratchAllocator&) const { return true; }
};

template <class T>
using ScratchVector = std::vector<T, ScratchAllocator<T>>;

}  // namespace grove
