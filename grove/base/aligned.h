// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Owned arrays whose first element starts a cache line (64 bytes), so that vector loads of a row never straddle lines.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace grove {

inline constexpr size_t kCacheLineBytes = 64;

// Rounds `n` elements of T up to whole cache lines.
template <class T>
constexpr size_t RoundUpToLine(size_t n) {
  constexpr size_t per_line = kCacheLineBytes / sizeof(T);
  return (n + per_line - 1) / per_line * per_line;
}

// A fixed-size array, zero-filled at construction. Movable, not copyable.
template <class T>
class AlignedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedArray() = default;
  explicit AlignedArray(size_t size) : size_(size) {
    if (size == 0) return;
    data_.reset(static_cast<T*>(::operator new (size * sizeof(T), std::align_val_t{kCacheLineBytes})));
    std::uninitialized_value_construct_n(data_.get(), size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data_.get(), size_}; }
  std::span<const T> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (static_cast<void*>(p), std::align_val_t{kCacheLineBytes}); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace grove
