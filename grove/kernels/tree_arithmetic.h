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

  // Columns begin ... end - 1; begin is a multiple of kColumnBlock, and so is end unless it is a row's padded end.
  struct Columns {
    size_t begin, end;
  };
  static constexpr size_t kColumnBlock = 64;

  virtual ~TreeArithmetic() = default;

  // logits[i] = of node `node` for the token whose row is x[i]. While it computes, it asks for ahead[i], the rows of
  // tokens that come next.
  virtual void Logits(size_t node, const void* const* x, const void* const* ahead, size_t count,
                      float* logits) const = 0;

  // The same of a node, its left child and its right one, which is left + 1: logits [3, kMostAtOnce]. A third of them
  // is for nothing, but a token's row is loaded once for two levels. Only where takes_three(): short rows gain nothing.
  virtual bool takes_three() const = 0;
  virtual void LogitsOfThree(size_t node, size_t left, const void* const* x, const void* const* ahead, size_t count,
                             float* logits) const = 0;
  static constexpr size_t kMostAtOnce = 64;  // tokens of one call

  // What a token multiplies the rows of a path with, in a form of the arithmetic's own, of TermBytes() bytes: from its
  // logits, `levels` values in whole cache lines.
  virtual size_t TermBytes(size_t levels) const = 0;
  virtual void Terms(const uint32_t* nodes, size_t levels, const float* logits, std::byte* terms) const = 0;

  // The share of one path, nodes[0 ... levels - 1], in some columns of the outputs of `count` tokens that all took it,
  // each with its terms. y[i] is a row padded to whole cache lines. Values do not depend on how columns are divided.
  virtual void Outputs(const uint32_t* nodes, size_t levels, const std::byte* const* terms, size_t count,
                       Columns columns, Into into, float* const* y) const = 0;

  // Rows that are needed soon, into the second-level cache.
  virtual void PrefetchIn(size_t node) const = 0;
  virtual void PrefetchOut(size_t node, Columns columns) const = 0;
};

}  // namespace grove
