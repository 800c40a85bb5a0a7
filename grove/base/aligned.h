// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Owned arrays whose first element starts a cache line (64 bytes), so that vector loads of a row never straddle lines.
// Those of 1 MiB and more ask for huge pages: tree layers read scattered rows of weights, and with small pages almost
// each of them would miss the translation buffer; dense products with tile registers are a fifth faster.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace grove {

inline constexpr size_t kCacheLineBytes = 64;
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

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
    const size_t bytes = size * sizeof(T);
    const bool huge = bytes >= kHugePageBytes / 2;
    const std::align_val_t alignment{huge ? kHugePageBytes : kCacheLineBytes};
    data_ = {static_cast<T*>(::operator new(bytes, alignment)), Free{alignment}};
    if (huge) static_cast<void>(madvise(data_.get(), bytes, MADV_HUGEPAGE));  // a hint: small pages work too
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
    std::align_val_t alignment{kCacheLineBytes};
    void operator()(T* p) const { ::operator delete(static_cast<void*>(p), alignment); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

// The array's memory, replaced (contents lost) if it has fewer than `size` elements: scratch that survives from call to
// call.
template <class T>
T* AtLeast(AlignedArray<T>& array, size_t size) {
  if (array.size() < size) array = AlignedArray<T>(size);
  return array.data();
}

}  // namespace grove
