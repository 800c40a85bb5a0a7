// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The arithmetic roof of bf16 and int8, beside MeasureCeiling() for fp32.
#pragma once

#include "grove/base/thread_pool.h"
#include "grove/quant/quantization.h"

namespace grove::bench {

// Multiply-adds times two, of all threads in a second: the best of repeated products whose rows and weights stay in
// each thread's second-level cache, with the instructions that are active.
double QuantizedFlops(Quantization precision, ThreadPool& pool);

}  // namespace grove::bench
