// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention.h"

#include <algorithm>
#include <cmath>
#include <dnnl.hpp>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/check.h"
#include "grove/model/one_dnn.h"
#include "grove/model/row_ops.h"

namespace grove {
namespace {

constexpr size_t kQueries = 128;
constexpr float kMasked = -10000.0f;

struct Keys {
  size_t count = 0;              // keys that are looked at
  const float* added = nullptr;  // [padded count], to be added to the scores, or null for nothing
};

// What the mask means for each sequence.
class KeyMasks {
 public:
  KeyMasks(const AttentionShape& shape, std::span<const uint8_t> mask) : keys_(shape.batch, {shape.length, nullptr}) {
    if (mask.empty()) return;
    const size_t padded = RoundUpToLine<float>(shape.length);
    added_ = AlignedArray<float>(shape.batch * padded);
    for (size_t b = 0; b < shape.batch; ++b) {
      const auto row = mask.subspan(b * shape.length, shape.length);
      // Masked keys at the end get no weight: they are left out. A wholly masked sequence attends to all of it.
      size_t count = shape.length;
      while (count > 0 && row[count - 1] == 0) --count;
      if (count == 0) count = shape.length;
      keys_[b].count = count;
      if (std::find(row.begin(), row.begin() + static_cast<ptrdiff_t>(count), 0) ==
          row.begin() + static_cast<ptrdiff_t>(count)) {
        continue;
      }
      float* added = added_.data() + b * padded;
      for (size_t k = 0; k < count; ++k) added[k] = row[k] != 0 ? 0.0f : kMasked;
      keys_[b].added = added;
    }
  }
  const Keys& operator[](size_t sequence) const { return keys_[sequence]; }

 private:
  std::vector<Keys> keys_;
  AlignedArray<float> added_;
};

// Queries [first, first + count) of one head. `head` points at the head's query of the sequence's first token.
void AttendQueries(const AttentionShape& shape, const float* head, const Keys& keys, size_t first, size_t count,
                   float* out) {
  const auto row = static_cast<dnnl_dim_t>(3 * shape.width());
  const auto queries = static_cast<dnnl_dim_t>(count), seen = static_cast<dnnl_dim_t>(keys.count);
  const auto depth = static_cast<dnnl_dim_t>(shape.head_width);
  const size_t padded = RoundUpToLine<float>(keys.count);
  thread_local AlignedArray<float> scores;
  if (scores.size() < count * padded) scores = AlignedArray<float>(count * padded);

  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_width));
  const float* query = head + first * static_cast<size_t>(row);
  const float* key = head + shape.head_width;
  const float* value = key + shape.head_width;
  const auto pitch = static_cast<dnnl_dim_t>(padded);
  GROVE_CHECK(dnnl_sgemm('N', 'T', queries, seen, depth, scale, query, row, key, row, 0.0f, scores.data(), pitch) ==
              dnnl_success);
  SoftmaxRows(scores.data(), count, keys.count, padded, keys.added);
  GROVE_CHECK(dnnl_sgemm('N', 'N', queries, depth, seen, 1.0f, scores.data(), pitch, value, row, 0.0f, out,
                         static_cast<dnnl_dim_t>(shape.width())) == dnnl_success);
}

}  // namespace

void SelfAttention(const AttentionShape& shape, const float* qkv, std::span<const uint8_t> mask, float* out,
                   ThreadPool& pool) {
  const KeyMasks masks(shape, mask);
  const size_t width = shape.width(), length = shape.length;
  const size_t blocks = (length + kQueries - 1) / kQueries;
  const auto run = [&](size_t task) {
    const size_t block = task % blocks, head = task / blocks % shape.heads, sequence = task / blocks / shape.heads;
    const size_t first = block * kQueries, count = std::min(kQueries, length - first);
    const float* base = qkv + sequence * length * 3 * width + head * 3 * shape.head_width;
    float* target = out + (sequence * length + first) * width + head * shape.head_width;
    AttendQueries(shape, base, masks[sequence], first, count, target);
  };
  // Short sequences: several heads to a task, so that handing it out costs little beside it.
  const size_t work = std::min(length, kQueries) * length * shape.head_width;
  const size_t grain = std::max<size_t>(1, (size_t{1} << 19) / std::max<size_t>(work, 1));
  pool.ParallelFor(shape.batch * shape.heads * blocks, grain, [&](size_t begin, size_t end) {
    const OneDnnOnThisThread alone;
    for (size_t task = begin; task < end; ++task) run(task);
  });
}

}  // namespace grove
