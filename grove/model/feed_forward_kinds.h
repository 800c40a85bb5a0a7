// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of feed_forward.cc: one Load function a kind.
#pragma once

#include <memory>
#include <string>

#include "grove/base/aligned.h"
#include "grove/kernels/activation.h"
#include "grove/kernels/gates.h"
#include "grove/model/dense_product.h"
#include "grove/model/feed_forward.h"
#include "grove/model/read_weights.h"
#include "grove/quant/quantization.h"

namespace grove {

using FeedForwardResult = Result<std::unique_ptr<FeedForward>>;

// Where a layer comes from.
struct FeedForwardSource {
  const ParameterSource& parameters;
  const FeedForwardNames& names;
  const FeedForwardConfig& config;
  int64_t width;
  int64_t layer;  // its number in the model
  const ThreadPool& pool;
  Precision precision;

  // The tensor "<prefix><name>" of exactly this shape.
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const {
    return parameters.Read(names.prefix + name, shape);
  }
  // The same of weights of products, in the layer's precision.
  Result<Weights> ReadWeights(const std::string& name, const WeightsLayout& layout) const {
    return grove::ReadWeights(parameters, names.prefix + name, layout, precision);
  }
};

FeedForwardResult LoadDense(const FeedForwardSource& source);
FeedForwardResult LoadLeafTree(const FeedForwardSource& source);
FeedForwardResult LoadMoe(const FeedForwardSource& source);
FeedForwardResult LoadNeuronTree(const FeedForwardSource& source);
FeedForwardResult LoadProductKey(const FeedForwardSource& source);

// The dense part that every token passes ("always_on"), its output added to that of `layer`.
FeedForwardResult LoadAlwaysOn(const FeedForwardSource& source, std::unique_ptr<FeedForward> layer);

// Of weights that are no longer fp32.
inline Quantization QuantizationOf(Precision precision) {
  return precision == Precision::kBf16 ? Quantization::kBf16 : Quantization::kInt8;
}

// Of conditional kinds, which the config reader refuses with GELUglu.
inline Activation KernelActivation(const FeedForwardConfig& config) {
  return config.nonlinearity == NonLinearity::kRelu ? Activation::kRelu : Activation::kGelu;
}
inline Gates KernelGates(const FeedForwardConfig& config) {
  return config.gates == GateKind::kProbability ? Gates::kProbability : Gates::kRenormalized;
}

}  // namespace grove
