// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/projected_attention.h"

#include <numeric>

#include "grove/base/aligned.h"

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
  return AtLeast(bytes, size);
}

// Queries, keys and values of some heads, then what they attend to; all by `pool`.
void AttendHeads(const DenseProduct& query_key_value, const AttentionShape& shape, const DenseProduct::Inputs& inputs,
                 size_t first_head, const uint8_t* is_key, const MixedRows& mixed, ThreadPool& pool) {
  const size_t width = shape.width(), to = first_head * shape.head_width;
  const DenseProduct::Columns columns{3 * to, 3 * width};
  if (mixed.narrow != nullptr) {
    const size_t stride = DenseProduct::NarrowStride(3 * width);
    auto* qkv = reinterpret_cast<Bf16*>(ThreadBytes(inputs.rows * stride * sizeof(Bf16)));
    query_key_value.ForwardColumnsToNarrow(inputs, columns, qkv, stride, pool);
    return NarrowSelfAttention(shape, {qkv, stride, mixed.narrow + to, mixed.stride}, is_key, pool);
  }
  auto* qkv = reinterpret_cast<float*>(ThreadBytes(inputs.rows * 3 * width * sizeof(float)));
  query_key_value.ForwardColumns(inputs, columns, qkv, 3 * width, pool);
  SelfAttention(shape, qkv, is_key, mixed.y + to, mixed.stride, pool);
}

}  // namespace

bool HasNarrowProjection(const DenseProduct& query_key_value, const AttentionShape& shape) {
  return query_key_value.TakesNarrowRows() && HasNarrowAttention(shape.head_width);
}

void ProjectedAttention(const DenseProduct& query_key_value, const AttentionShape& shape, const float* x, size_t rows,
                        const uint8_t* is_key, const MixedRows& mixed, ThreadPool& pool) {
  constexpr size_t kTasksOfThread = 3;  // fewer, and threads that end early wait for long
  AttentionShape together = shape;
  together.heads = HeadsTogether(shape);
  const size_t tasks = shape.heads / together.heads;
  const DenseProduct::Inputs inputs = query_key_value.Prepare(x, shape.width(), rows, pool);
  if (pool.threads() > 1 && tasks < kTasksOfThread * pool.threads()) {
    return AttendHeads(query_key_value, shape, inputs, 0, is_key, mixed, pool);
  }
  pool.ParallelFor(tasks, 1, [&](size_t begin, size_t end) {
    ThreadPool alone(1);
    for (size_t i = begin; i < end; ++i) {
      AttendHeads(query_key_value, together, inputs, i * together.heads, is_key, mixed, alone);
    }
  });
}

}  // namespace grove
