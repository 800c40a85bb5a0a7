// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/projected_attention.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/kernels/target.h"

namespace grove {
namespace {

// The fewest heads whose columns are whole panels of the product; all of them where no smaller number divides them.
size_t HeadsTogether(const AttentionShape& shape) {
  constexpr size_t kTogether = DenseProduct::kColumnsTogether;
  const size_t heads = kTogether / std::gcd(kTogether, 3 * shape.head_width);
  return shape.heads % heads == 0 ? heads : shape.heads;
}

// Memory of this thread that survives from call to call.
std::byte* ThreadBytes(size_t size) {
  thread_local AlignedArray<std::byte> bytes;
  return AtLeast(bytes, size);  // NOLINT(clang-analyzer-cplusplus.NewDelete): misreads the move of unique_ptr
}

// Some sequences, whose rows follow each other.
struct Part {
  std::span<const SequenceRows> sequences;
  size_t begin, rows;
};

// Parts whose rows stay in the second-level cache while head after head is computed, or single sequences.
void DivideSequences(std::span<const SequenceRows> sequences, size_t row_bytes, std::vector<Part>& parts) {
  const size_t bytes = (ActiveTargetHasTiles() ? size_t{900} : size_t{448}) << 10,
               most = bytes / std::max<size_t>(row_bytes, 1);
  parts.clear();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const size_t count = sequences[i].count;
    if (parts.empty() || parts.back().rows + count > most) parts.push_back({{}, sequences[i].begin, 0});
    Part& part = parts.back();
    const size_t before = part.sequences.size();
    part.sequences = sequences.subspan(i - before, before + 1), part.rows += count;
  }
}

// Queries, keys and values of some heads, then what they attend to; all by `pool`. shape.sequences is not looked at.
void AttendHeads(const DenseProduct& query_key_value, AttentionShape shape, const DenseProduct::Inputs& inputs,
                 const Part& part, size_t first_head, const uint8_t* is_key, const MixedRows& mixed, ThreadPool& pool) {
  thread_local std::vector<SequenceRows> sequences;
  sequences.clear();
  for (const SequenceRows& rows : part.sequences) sequences.push_back({rows.begin - part.begin, rows.count});
  shape.sequences = sequences;
  const size_t width = shape.width(), to = part.begin * mixed.stride + first_head * shape.head_width;
  const DenseProduct::Inputs of_part = inputs.Part(part.begin, part.rows);
  const DenseProduct::Columns columns{3 * first_head * shape.head_width, 3 * width};
  if (is_key != nullptr) is_key += part.begin;
  if (mixed.narrow != nullptr) {
    const size_t stride = DenseProduct::NarrowStride(3 * width);
    auto* qkv = reinterpret_cast<Bf16*>(ThreadBytes(part.rows * stride * sizeof(Bf16)));
    query_key_value.ForwardColumnsToNarrow(of_part, columns, qkv, stride, pool);
    return NarrowSelfAttention(shape, {qkv, stride, mixed.narrow + to, mixed.stride}, is_key, pool);
  }
  auto* qkv = reinterpret_cast<float*>(ThreadBytes(part.rows * 3 * width * sizeof(float)));
  query_key_value.ForwardColumns(of_part, columns, qkv, 3 * width, pool);
  SelfAttention(shape, qkv, is_key, mixed.y + to, mixed.stride, pool);
}

}  // namespace

bool HasNarrowProjection(const DenseProduct& query_key_value, const AttentionShape& shape) {
  return query_key_value.TakesNarrowRows() && HasNarrowAttention(shape.head_width);
}

void ProjectedAttention(const DenseProduct& query_key_value, const AttentionShape& shape, const float* x, size_t rows,
                        const uint8_t* is_key, const MixedRows& mixed, ThreadPool& pool) {
  constexpr size_t kTasksOfThread = 3;  // fewer, and threads that end early wait for long
  thread_local std::vector<Part> memory;
  std::vector<Part>& parts = memory;
  AttentionShape together = shape;
  together.heads = HeadsTogether(shape);
  const DenseProduct::Inputs inputs = query_key_value.Prepare(x, shape.width(), rows, pool);
  DivideSequences(shape.sequences, inputs.row_bytes(), parts);
  const size_t of_part = shape.heads / together.heads, tasks = parts.size() * of_part;
  if (pool.threads() > 1 && tasks < kTasksOfThread * pool.threads()) {
    return AttendHeads(query_key_value, shape, inputs, {shape.sequences, 0, rows}, 0, is_key, mixed, pool);
  }
  pool.ParallelFor(tasks, 1, [&](size_t begin, size_t end) {
    ThreadPool alone(1);
    for (size_t i = begin; i < end; ++i) {
      AttendHeads(query_key_value, together, inputs, parts[i / of_part], i % of_part * together.heads, is_key, mixed,
                  alone);
    }
  });
}

}  // namespace grove
