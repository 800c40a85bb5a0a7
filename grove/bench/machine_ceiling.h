// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What this machine can do at best on so many threads, measured: the roof of a roofline.
#pragma once

#include <cstddef>

#include "grove/base/thread_pool.h"
#include "grove/model/dense_product.h"

namespace grove::bench {

struct MachineCeiling {
  double flops_per_second = 0;  // of a dense product whose rows and weights stay in each thread's second-level cache
  double bytes_per_second = 0;  // reading an array much larger than the caches
};

// The best of repeated measurements, about a third of a second in all.
MachineCeiling MeasureCeiling(Precision precision, ThreadPool& pool);

// The least time that arithmetic and memory traffic leave, in seconds.
double RooflineSeconds(const MachineCeiling& ceiling, double flops, double bytes);

}  // namespace grove::bench
