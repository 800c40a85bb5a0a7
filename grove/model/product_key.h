// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Single neurons found by product keys, for inference (PEER, arXiv 2407.04153, on the keys of arXiv 1907.05242; a layer
// norm of each head's query is ours). For every head of a token:
//
//     q = norm(W_q x)                                  [key_width], first and second half
//     s1 = C1 q_first, s2 = C2 q_second                [sub_keys] each
//     y += sum over the per_head best pairs (i, j) of softmax(s1[i] + s2[j]) act(in[n] . x) out[n],  n = i S + j
//
// Results depend neither on the number of threads nor on the batch.
#pragma once

#include <cstddef>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/gathered_neurons.h"
#include "grove/kernels/score_router.h"
#include "grove/model/dense_product.h"

namespace grove {

struct ProductKeyShape {
  size_t width = 0;
  size_t heads = 0;
  size_t sub_keys = 0;   // S, of each half; S x S neurons
  size_t key_width = 0;  // of a head's query, even
  size_t per_head = 0;   // neurons, 1 ... S
  Activation activation = Activation::kGelu;

  size_t half() const { return key_width / 2; }
  size_t per_token() const { return heads * per_head; }
  ProductKeyRouterShape router() const { return {.sub_keys = sub_keys, .per_search = per_head}; }
  NeuronsShape neurons() const { return {.neurons = sub_keys * sub_keys, .width = width, .activation = activation}; }
};

// Added to the variance of a query.
inline constexpr float kProductKeyNormEps = 1e-5f;

// Views in the checkpoint's layout.
struct ProductKeyWeights {
  const float* query = nullptr;        // [heads x key_width, width]
  const float* norm_weight = nullptr;  // [key_width]
  const float* norm_bias = nullptr;    // [key_width]
  const float* sub_keys = nullptr;     // [2, S, key_width / 2]
  const float* neurons_in = nullptr;   // [S x S, width]
  const float* neurons_out = nullptr;  // [S x S, width]

  NeuronsWeights neurons() const { return {.in = neurons_in, .out = neurons_out}; }
};

class ProductKey {
 public:
  // Copies the weights.
  ProductKey(const ProductKeyShape& shape, const ProductKeyWeights& weights, const ThreadPool& pool);

  // x [tokens, width] -> y [tokens, width], overwritten; x and y must not overlap.
  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const;
  size_t bytes() const;

 private:
  struct Scratch;
  // Normalizes the queries of `searches` heads of tokens and parts their halves.
  void Normalize(Scratch& scratch, size_t searches, ThreadPool& pool) const;

  ProductKeyShape shape_;
  DenseProduct query_;
  AlignedArray<float> norm_weight_, norm_bias_;
  DenseProduct first_keys_, second_keys_;
  PackedNeurons neurons_;
};

// The oracle: scalar, sums in double; every score of every pair is computed.
void ProductKeyReference(const ProductKeyShape& shape, const ProductKeyWeights& weights, const float* x, size_t tokens,
                         float* y);

}  // namespace grove
