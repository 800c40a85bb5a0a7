// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Tensors as the raw pointers that the kernels of nn/cuda/ take. Only where GROVE_CUDA is defined.
#pragma once

#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>

#include "grove/kernels/activation.h"
#include "grove/nn/cuda/expert_kernels.h"
#include "grove/nn/torch_compat.h"

namespace grove::nn {

inline cudaStream_t CurrentStream() { return c10::cuda::getCurrentCUDAStream().stream(); }

inline __nv_bfloat16* Bf16(const torch::Tensor& t) { return static_cast<__nv_bfloat16*>(t.data_ptr()); }
inline int64_t* Whole(const torch::Tensor& t) { return t.data_ptr<int64_t>(); }

inline cuda::ExpertActivation CudaActivation(Activation activation) {
  return activation == Activation::kRelu ? cuda::ExpertActivation::kRelu : cuda::ExpertActivation::kGelu;
}

}  // namespace grove::nn
