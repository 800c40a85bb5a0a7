// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// LibTorch, and the one place where its versions differ for us: 1.13 (Debian's CPU build) and 2.x (the torch wheel with
// CUDA). Everything else in nn/ and train/ is written once for both.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/torch.h>
#include <torch/version.h>

namespace grove::nn {

// softmax(scale q k^T + mask) v. q, k, v [batch, heads, length, head_width]; mask [batch, 1, 1, length], added to the
// scores, or undefined. `dropout` falls on the probabilities; pass 0 outside training.
inline torch::Tensor ScaledDotProductAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                               const torch::Tensor& mask, double scale, double dropout) {
#if TORCH_VERSION_MAJOR >= 2
  c10::optional<torch::Tensor> bias;
  if (mask.defined()) bias = mask.to(q.scalar_type());
  return at::scaled_dot_product_attention(q, k, v, bias, dropout, /*is_causal=*/false, scale);
#else
  torch::Tensor scores = torch::matmul(q * scale, k.transpose(-1, -2));
  if (mask.defined()) scores = scores + mask;
  torch::Tensor probabilities = torch::softmax(scores, -1);
  if (dropout > 0) probabilities = torch::dropout(probabilities, dropout, /*train=*/true);
  return torch::matmul(probabilities, v);
#endif
}

// Is bf16 autocast of CUDA operations on?
inline bool Autocasting() {
#if TORCH_VERSION_MAJOR >= 2
  return at::autocast::is_autocast_enabled(at::kCUDA);
#else
  return at::autocast::is_enabled();
#endif
}

// bf16 autocast of CUDA operations while this object lives; a no-op when `enabled` is false.
class AutocastScope {
 public:
  explicit AutocastScope(bool enabled) : enabled_(enabled) {
    if (!enabled_) return;
    at::autocast::increment_nesting();
    Set(true);
  }
  ~AutocastScope() {
    if (!enabled_) return;
    Set(false);
    // Weights cast to bf16 are kept for the scope; they are stale once the optimizer has stepped.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  static void Set(bool on) {
#if TORCH_VERSION_MAJOR >= 2
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCUDA, on);
#else
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
    at::autocast::set_enabled(on);
#endif
  }
  bool enabled_;
};

}  // namespace grove::nn
