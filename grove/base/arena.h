// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Scratch memory of one computation that is repeated: taken piece by piece, given back all at once. From the second
// time on, a computation that needs no more than before allocates nothing.
//
//   Arena::Scope scope(arena);            // gives back at its end what is taken inside
//   float* x = arena.Take<float>(size);   // starts a cache line, values unspecified
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "grove/base/aligned.h"

namespace grove {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_), total_(arena.total_) {}
    ~Scope() { arena_.Return(block_, used_, total_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_, used_, total_;
  };

  template <class T>
  T* Take(size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(TakeBytes(RoundUpToLine<std::byte>(count * sizeof(T))));
  }

  // Held, used or not.
  size_t bytes() const {
    size_t sum = 0;
    for (const Block& block : blocks_) sum += block.size;
    return sum;
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{kCacheLineBytes}); }
  };
  struct Block {
    std::unique_ptr<std::byte, Free> data;
    size_t size = 0;
  };

  void* TakeBytes(size_t bytes) {
    total_ += bytes;
    largest_ = std::max(largest_, total_);
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) Add(bytes);
    void* taken = blocks_[block_].data.get() + used_;
    used_ += bytes;
    return taken;
  }

  void Add(size_t bytes) {
    auto* data =
        static_cast<std::byte*>(::operator new (std::max(bytes, size_t{1}), std::align_val_t{kCacheLineBytes}));
    blocks_.push_back({std::unique_ptr<std::byte, Free>(data), bytes});
  }

  // At the end of the outermost scope pieced-together blocks become one that holds as much as was ever in use.
  void Return(size_t block, size_t used, size_t total) {
    block_ = block;
    used_ = used;
    total_ = total;
    if (total != 0 || blocks_.size() <= 1) return;
    blocks_.clear();
    Add(largest_);
  }

  std::vector<Block> blocks_;
  size_t block_ = 0, used_ = 0;  // where the next piece comes from
  size_t total_ = 0;             // in use
  size_t largest_ = 0;           // ever in use
};

}  // namespace grove
