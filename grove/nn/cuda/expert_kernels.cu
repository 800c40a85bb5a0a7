// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <algorithm>

#include "grove/nn/cuda/activation.cuh"
#include "grove/nn/cuda/expert_kernels.h"

namespace grove::nn::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 256, kWarp = 32;

// 8 neighbours of a row.
struct alignas(16) Pack {
  __nv_bfloat162 pair[4];
};
__device__ Pack Load(const Bf16* p) { return *reinterpret_cast<const Pack*>(p); }
__device__ void Store(Bf16* p, const Pack& pack) { *reinterpret_cast<Pack*>(p) = pack; }
__device__ void Unpack(const Pack& pack, float (&v)[8]) {
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __bfloat1622float2(pack.pair[i]);
    v[2 * i] = pair.x;
    v[2 * i + 1] = pair.y;
  }
}
__device__ Pack Packed(const float (&v)[8]) {
  Pack pack;
  for (int i = 0; i < 4; ++i) pack.pair[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
  return pack;
}

unsigned BlocksFor(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }
__device__ int64_t Item() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

__global__ void GatherRowsKernel(const Bf16* x, const int64_t* slot, int64_t rows, int64_t width, int64_t paths,
                                 bool with_one, Bf16* out) {
  const int64_t stride = width + (with_one ? kExtra : 0), packs = stride / 8;
  const int64_t item = Item();
  if (item >= rows * packs) return;
  const int64_t row = item / packs, column = item % packs * 8;
  float one[8] = {1, 0, 0, 0, 0, 0, 0, 0};
  Store(out + row * stride + column, column < width ? Load(x + slot[row] / paths * width + column) : Packed(one));
}

__global__ void CombineRowsKernel(const Bf16* in, const int64_t* row_of, int64_t tokens, int64_t paths, int64_t width,
                                  int64_t stride, Bf16* y) {
  const int64_t packs = width / 8, item = Item();
  if (item >= tokens * packs) return;
  const int64_t token = item / packs, column = item % packs * 8;
  float sum[8] = {};
  for (int64_t path = 0; path < paths; ++path) {
    float v[8];
    Unpack(Load(in + row_of[token * paths + path] * stride + column), v);
    for (int i = 0; i < 8; ++i) sum[i] += v[i];
  }
  Store(y + token * width + column, Packed(sum));
}

template <ExpertActivation kKind>
__global__ void ActivateAndGateKernel(const Bf16* h, const float* gate, const int64_t* slot, int64_t rows,
                                      int64_t hidden, Bf16* gated) {
  const int64_t stride = hidden + kExtra, packs = stride / 8, item = Item();
  if (item >= rows * packs) return;
  const int64_t row = item / packs, column = item % packs * 8;
  const float g = gate[slot[row]];
  float v[8] = {g, 0, 0, 0, 0, 0, 0, 0};
  if (column < hidden) {
    Unpack(Load(h + row * hidden + column), v);
    for (float& value : v) value = g * Act<kKind>(value);
  }
  Store(gated + row * stride + column, Packed(v));
}

// A warp per row.
template <ExpertActivation kKind>
__global__ void ActivateAndGateBackwardKernel(const Bf16* h, const float* gate, const int64_t* slot,
                                              const Bf16* d_gated, int64_t rows, int64_t hidden, Bf16* d_h,
                                              float* d_gate) {
  const int64_t row = Item() / kWarp;
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp;
  const int64_t stride = hidden + kExtra;
  const float g = gate[slot[row]];
  float sum = 0;
  for (int64_t column = 8 * lane; column < hidden; column += 8 * kWarp) {
    float x[8], d[8];
    Unpack(Load(h + row * hidden + column), x);
    Unpack(Load(d_gated + row * stride + column), d);
    for (int i = 0; i < 8; ++i) {
      sum += d[i] * Act<kKind>(x[i]);
      d[i] *= g * ActGradient<kKind>(x[i]);
    }
    Store(d_h + row * hidden + column, Packed(d));
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
  if (lane == 0) d_gate[slot[row]] = sum + __bfloat162float(d_gated[row * stride + hidden]);
}

// The order of visits, a stable counting sort by expert: a warp takes kSegment visits one after the other, 32 at a
// time.
constexpr int kOrderWarps = 4;

// The number among the warp's lanes before this one that hold the same expert; the first of them also gets how many
// there are in all, the others 0.
__device__ int RankInWarp(int expert, bool here, int* count) {
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned same = __match_any_sync(0xffffffffU, here ? expert : -1);
  const int rank = __popc(same & ((1U << lane) - 1));
  *count = here && rank == 0 ? __popc(same) : 0;
  return rank;
}

// counts [experts, segments], expert-major.
__global__ void CountVisitsKernel(const int64_t* chosen, int64_t visits, int64_t experts, int64_t segments,
                                  int* counts) {
  extern __shared__ int seen[];
  const int lane = threadIdx.x % kWarp;
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * kOrderWarps + threadIdx.x / kWarp;
  int* mine = seen + threadIdx.x / kWarp * experts;
  if (segment >= segments) return;
  for (int64_t e = lane; e < experts; e += kWarp) mine[e] = 0;
  __syncwarp();
  for (int64_t first = segment * kSegment; first < (segment + 1) * kSegment && first < visits; first += kWarp) {
    if (first + lane < visits) atomicAdd(mine + chosen[first + lane], 1);
  }
  __syncwarp();
  for (int64_t e = lane; e < experts; e += kWarp) counts[e * segments + segment] = mine[e];
}

// ends: running sums of counts.
__global__ void PlaceVisitsKernel(const int64_t* chosen, int64_t visits, int64_t experts, int64_t segments,
                                  const int* ends, int64_t* slot, int64_t* row_of) {
  extern __shared__ int next_row[];
  const int lane = threadIdx.x % kWarp;
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * kOrderWarps + threadIdx.x / kWarp;
  int* next = next_row + threadIdx.x / kWarp * experts;
  if (segment >= segments) return;
  for (int64_t e = lane; e < experts; e += kWarp) {
    const int64_t at = e * segments + segment;
    next[e] = at == 0 ? 0 : ends[at - 1];
  }
  __syncwarp();
  for (int64_t first = segment * kSegment; first < (segment + 1) * kSegment && first < visits; first += kWarp) {
    const int64_t visit = first + lane;
    const bool here = visit < visits;
    const int expert = here ? static_cast<int>(chosen[visit]) : 0;
    int count = 0;
    const int rank = RankInWarp(expert, here, &count);
    if (here) {
      const int64_t row = next[expert] + rank;
      slot[row] = visit;
      row_of[visit] = row;
    }
    __syncwarp();
    if (count > 0) next[expert] += count;
    __syncwarp();
  }
}

}  // namespace

void GatherRows(const Bf16* x, const int64_t* slot, int64_t rows, int64_t width, int64_t paths, bool with_one,
                Bf16* out, cudaStream_t stream) {
  const int64_t items = rows * (width + (with_one ? kExtra : 0)) / 8;
  if (items == 0) return;
  GatherRowsKernel<<<BlocksFor(items), kThreads, 0, stream>>>(x, slot, rows, width, paths, with_one, out);
}

void CombineRows(const Bf16* in, const int64_t* row_of, int64_t tokens, int64_t paths, int64_t width, int64_t stride,
                 Bf16* y, cudaStream_t stream) {
  const int64_t items = tokens * width / 8;
  if (items == 0) return;
  CombineRowsKernel<<<BlocksFor(items), kThreads, 0, stream>>>(in, row_of, tokens, paths, width, stride, y);
}

void ActivateAndGate(const Bf16* h, const float* gate, const int64_t* slot, int64_t rows, int64_t hidden,
                     ExpertActivation activation, Bf16* gated, cudaStream_t stream) {
  const int64_t items = rows * (hidden + kExtra) / 8;
  if (items == 0) return;
  const auto kernel = activation == ExpertActivation::kRelu ? ActivateAndGateKernel<ExpertActivation::kRelu>
                                                            : ActivateAndGateKernel<ExpertActivation::kGelu>;
  kernel<<<BlocksFor(items), kThreads, 0, stream>>>(h, gate, slot, rows, hidden, gated);
}

void ActivateAndGateBackward(const Bf16* h, const float* gate, const int64_t* slot, const Bf16* d_gated, int64_t rows,
                             int64_t hidden, ExpertActivation activation, Bf16* d_h, float* d_gate,
                             cudaStream_t stream) {
  if (rows == 0) return;
  const auto kernel = activation == ExpertActivation::kRelu ? ActivateAndGateBackwardKernel<ExpertActivation::kRelu>
                                                            : ActivateAndGateBackwardKernel<ExpertActivation::kGelu>;
  kernel<<<BlocksFor(rows * kWarp), kThreads, 0, stream>>>(h, gate, slot, d_gated, rows, hidden, d_h, d_gate);
}

int64_t OrderSegments(int64_t visits) { return (visits + kSegment - 1) / kSegment; }

void CountVisits(const int64_t* chosen, int64_t visits, int64_t experts, int* counts, cudaStream_t stream) {
  const int64_t segments = OrderSegments(visits), blocks = (segments + kOrderWarps - 1) / kOrderWarps;
  if (visits == 0) return;
  const size_t shared = sizeof(int) * static_cast<size_t>(kOrderWarps * experts);
  CountVisitsKernel<<<static_cast<unsigned>(blocks), kOrderWarps * kWarp, shared, stream>>>(chosen, visits, experts,
                                                                                            segments, counts);
}

void PlaceVisits(const int64_t* chosen, int64_t visits, int64_t experts, const int* ends, int64_t* slot,
                 int64_t* row_of, cudaStream_t stream) {
  const int64_t segments = OrderSegments(visits), blocks = (segments + kOrderWarps - 1) / kOrderWarps;
  if (visits == 0) return;
  const size_t shared = sizeof(int) * static_cast<size_t>(kOrderWarps * experts);
  PlaceVisitsKernel<<<static_cast<unsigned>(blocks), kOrderWarps * kWarp, shared, stream>>>(
      chosen, visits, experts, segments, ends, slot, row_of);
}

}  // namespace grove::nn::cuda
