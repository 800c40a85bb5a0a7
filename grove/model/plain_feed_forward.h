// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// For tests: the feedforward layer of PlainModel in every kind, one token at a time in double precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grove/io/feed_forward_config.h"
#include "grove/model/random_model.h"

namespace grove::test {

class PlainFeedForward {
 public:
  using Vector = std::vector<double>;

  // The tensors "<prefix>..." of the model's layer number `layer`. Keeps references.
  PlainFeedForward(const FeedForwardConfig& config, const RandomTensors& tensors, std::string prefix, int64_t layer)
      : config_(config), tensors_(tensors), prefix_(std::move(prefix)), layer_(layer) {}

  // x [width] -> [width]; id is the token's.
  Vector Forward(const Vector& x, int32_t id) const;

 private:
  struct Gated {
    double gate;
    size_t index;
  };

  const std::vector<float>& Values(const std::string& name) const { return tensors_.at(prefix_ + name).values; }
  Vector Multiply(const std::string& name, const Vector& x) const;  // W x, W [out, in]
  double Activation(double x) const;

  Vector Dense(const std::string& in, const std::string& out, const Vector& x) const;
  Vector NeuronTrees(const Vector& x, int32_t id) const;
  Vector LeafTrees(const Vector& x) const;
  Vector Moe(const Vector& x) const;
  Vector ProductKeys(const Vector& x) const;

  void AddExpert(const Vector& x, const Gated& expert, size_t hidden, Vector& y) const;
  std::vector<Gated> VisitedLeaves(const Vector& logits, size_t tree) const;  // indices among the leaves of all trees

  const FeedForwardConfig& config_;
  const RandomTensors& tensors_;
  std::string prefix_;
  int64_t layer_;
};

}  // namespace grove::test
