// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <string>

#include "grove/io/parameters.h"

namespace grove::bench {

// A model of any shape that no file holds: every parameter that is asked for is there, its values drawn by its name.
// Weights are nearly normal with deviation 1/sqrt(their last extent), so that trees route both ways and values neither
// vanish nor grow; a norm's weight is 1, biases are small.
class RandomParameters final : public ParameterSource {
 public:
  bool Has(const std::string&) const override { return false; }  // nothing optional
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override;
};

}  // namespace grove::bench
