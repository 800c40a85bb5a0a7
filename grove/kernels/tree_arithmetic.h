// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a walk through neuron trees asks of weights and tokens, whatever their precision: the walk (tree_walk.h) is
// written once, and a precision or an instruction set is one class behind this contract.
//
//     logits    l = w_in[n] . x + b_in[n], the same for any number of tokens asked for at once
//     outputs   y += act(l) * w_out[n] (+ act(-l) * w_out_left[n]) along one path, a chain in order of levels
//
// Rows of tokens are opaque: a precision encodes them (fp32: as they are, zero-padded; int8: with their scale).
#pragma once

#include <cstddef>
#include <cstdint>

namespace grove {

class TreeArithmetic {
 public:
  // What becomes of a row of outputs.
  enum class Into {
    kSum,     // the share is added to what it holds
    kRow,     // the row begins with the share
    kMemory,  // the same past the caches: for more outputs than they hold
  };

  virtual ~TreeArithmetic() = default;

  // logits[i] = of node `node` for the token whose row is x[i]. While it computes, it asks for ahead[i], the rows of
  // tokens that come next, and for the node's rows of the way out.
  virtual void Logits(size_t node, const void* const* x, const void* const* ahead, size_t count,
                      float* logits) const = 0;

  // The share of one path, nodes[0 ... levels - 1], in the outputs of `count` tokens that all took it. logits[i] has
  // `levels` values in whole cache lines, y[i] is a row padded to whole cache lines.
  virtual void Outputs(const uint32_t* nodes, size_t levels, const float* const* logits, size_t count, Into into,
                       float* const* y) const = 0;
  virtual void PrefetchOut(size_t node) const = 0;
};

}  // namespace grove
