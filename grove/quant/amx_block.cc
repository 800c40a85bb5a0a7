// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/amx_block.h"

#include <algorithm>
#include <cstdint>

#include "grove/base/check.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8,amx-bf16")

namespace grove {
namespace {

constexpr size_t kTileRows = 16, kTileBytes = 64, kGroups = 16;

// What LDTILECFG reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void Set(size_t tile, size_t of_rows, size_t bytes) {
    rows[tile] = static_cast<uint8_t>(of_rows);
    row_bytes[tile] = static_cast<uint16_t>(of_rows == 0 ? 0 : bytes);
  }
};

// GCC's intrinsics do not say that they read memory.
inline void MemoryIsReadNext() { asm volatile("" ::: "memory"); }  // NOLINT(hicpp-no-assembler)

// Tiles: c 0 and 1 (first rows), 2 and 3 (second), a 4 and 5, b 6 and 7.
template <Quantization kPrecision, bool kTwoRows, bool kTwoColumns>
inline void MultiplyTiles() {
  if constexpr (kPrecision == Quantization::kBf16) {
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTwoColumns) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwoRows) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kTwoRows && kTwoColumns) _tile_dpbf16ps(3, 5, 7);
  } else {
    _tile_dpbusd(0, 4, 6);
    if constexpr (kTwoColumns) _tile_dpbusd(1, 4, 7);
    if constexpr (kTwoRows) _tile_dpbusd(2, 5, 6);
    if constexpr (kTwoRows && kTwoColumns) _tile_dpbusd(3, 5, 7);
  }
}

template <bool kTwoRows, bool kTwoColumns>
inline void LoadSums(const std::byte* c, size_t stride) {
  const std::byte* second = c + kTileRows * stride;
  _tile_loadd(0, c, stride);
  if constexpr (kTwoColumns) _tile_loadd(1, c + kTileBytes, stride);
  if constexpr (kTwoRows) _tile_loadd(2, second, stride);
  if constexpr (kTwoRows && kTwoColumns) _tile_loadd(3, second + kTileBytes, stride);
}

template <bool kTwoRows, bool kTwoColumns>
inline void StoreSums(std::byte* c, size_t stride) {
  std::byte* second = c + kTileRows * stride;
  _tile_stored(0, c, stride);
  if constexpr (kTwoColumns) _tile_stored(1, c + kTileBytes, stride);
  if constexpr (kTwoRows) _tile_stored(2, second, stride);
  if constexpr (kTwoRows && kTwoColumns) _tile_stored(3, second + kTileBytes, stride);
}

// What a block asks for, in as many parts as it has steps.
class Ahead {
 public:
  Ahead(const AmxBlock& block, size_t steps)
      : line_(static_cast<const std::byte*>(block.ahead)),
        end_(line_ + block.ahead_bytes),
        share_((block.ahead_bytes / steps + kTileBytes) / kTileBytes * kTileBytes),
        row_(static_cast<const std::byte*>(block.result)),
        stride_(block.result_stride),
        bytes_(block.result_bytes),
        rows_(block.result_rows),
        share_of_rows_((block.result_rows + steps - 1) / steps) {}

  void Ask() {
    for (const std::byte* end = std::min(line_ + share_, end_); line_ < end; line_ += kTileBytes) {
      __builtin_prefetch(line_, 0, 2);
    }
    for (size_t n = std::min(share_of_rows_, rows_); n > 0; --n, --rows_, row_ += stride_) {
      for (size_t i = 0; i < bytes_; i += kTileBytes) __builtin_prefetch(row_ + i, 1);
    }
  }

 private:
  const std::byte *line_, *end_;
  size_t share_;
  const std::byte* row_;
  size_t stride_, bytes_, rows_, share_of_rows_;
};

// `steps` times the groups that the tiles are set up for.
template <Quantization kPrecision, bool kTwoRows, bool kTwoColumns>
void Steps(const AmxBlock& block, size_t first_group, size_t steps, bool add) {
  MemoryIsReadNext();
  auto* c = static_cast<std::byte*>(block.c);
  if (add) {
    LoadSums<kTwoRows, kTwoColumns>(c, block.c_stride);
  } else {
    _tile_zero(0);
    if constexpr (kTwoColumns) _tile_zero(1);
    if constexpr (kTwoRows) _tile_zero(2);
    if constexpr (kTwoRows && kTwoColumns) _tile_zero(3);
  }
  const std::byte* a = static_cast<const std::byte*>(block.a) + 4 * first_group;
  const std::byte* b = static_cast<const std::byte*>(block.b) + first_group * block.b_stride;
  Ahead ahead(block, steps);
  for (size_t step = 0; step < steps; ++step, a += 4 * kGroups, b += kGroups * block.b_stride) {
    ahead.Ask();
    _tile_loadd(4, a, block.a_stride);
    _tile_loadd(6, b, block.b_stride);
    if constexpr (kTwoColumns) _tile_loadd(7, b + kTileBytes, block.b_stride);
    if constexpr (kTwoRows) _tile_loadd(5, a + kTileRows * block.a_stride, block.a_stride);
    MultiplyTiles<kPrecision, kTwoRows, kTwoColumns>();
  }
  StoreSums<kTwoRows, kTwoColumns>(c, block.c_stride);
}

template <Quantization kPrecision>
void StepsOf(const AmxBlock& block, size_t rows, size_t columns, size_t first_group, size_t steps, bool add) {
  const bool two_rows = rows > kTileRows, two_columns = columns > kTileRows;
  if (two_rows && two_columns) return Steps<kPrecision, true, true>(block, first_group, steps, add);
  if (two_rows) return Steps<kPrecision, true, false>(block, first_group, steps, add);
  if (two_columns) return Steps<kPrecision, false, true>(block, first_group, steps, add);
  Steps<kPrecision, false, false>(block, first_group, steps, add);
}

void Load(const TileShapes& shapes) {
  MemoryIsReadNext();
  _tile_loadconfig(&shapes);
}

void Release() { _tile_release(); }

}  // namespace

void AmxTiles::SetShape(size_t rows, size_t groups) {
  if (rows == rows_ && groups == groups_) return;
  rows_ = rows, groups_ = groups;
  const size_t first = std::min(rows, kTileRows), second = rows - first;
  TileShapes shapes;
  for (const size_t tile : {0, 1}) shapes.Set(tile, first, kTileBytes);
  for (const size_t tile : {2, 3}) shapes.Set(tile, second, kTileBytes);
  shapes.Set(4, first, 4 * groups);
  shapes.Set(5, second, 4 * groups);
  for (const size_t tile : {6, 7}) shapes.Set(tile, groups, kTileBytes);
  Load(shapes);
}

AmxTiles::~AmxTiles() {
  if (rows_ != 0) Release();
}

void AmxTiles::Multiply(Quantization precision, const AmxBlock& block, size_t rows, size_t columns, bool add) {
  const auto steps_of = precision == Quantization::kBf16 ? StepsOf<Quantization::kBf16> : StepsOf<Quantization::kInt8>;
  const size_t steps = block.groups / kGroups, rest = block.groups % kGroups;
  if (steps > 0) {
    SetShape(rows, kGroups);
    steps_of(block, rows, columns, 0, steps, add);
  }
  if (rest > 0) {
    SetShape(rows, rest);
    steps_of(block, rows, columns, steps * kGroups, 1, add || steps > 0);
  }
}

}  // namespace grove
#pragma GCC pop_options

#else

namespace grove {
AmxTiles::~AmxTiles() = default;
void AmxTiles::SetShape(size_t rows, size_t groups) { rows_ = rows, groups_ = groups; }
void AmxTiles::Multiply(Quantization, const AmxBlock&, size_t, size_t, bool) {
  GROVE_CHECK(!"only where ActiveTargetHasTiles()");
}
}  // namespace grove

#endif
