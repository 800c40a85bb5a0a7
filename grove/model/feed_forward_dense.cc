// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Dense layers, and the dense part beside conditional ones.
#include <algorithm>
#include <optional>
#include <utility>

#include "grove/model/feed_forward_kinds.h"
#include "grove/model/row_ops.h"

namespace grove {
namespace {

// The neurons of so many tokens stay in the cache between the two products.
constexpr size_t kTokens = 384, kNarrowTokens = 1024;

// act(x W_in) W_out, or (x W_value * gelu(x W_gate)) W_out: in a GLU the first half of dense_in is the value.
class DenseFeedForward : public FeedForward {
 public:
  DenseFeedForward(DenseProduct in, std::optional<DenseProduct> gate, DenseProduct out)
      : in_(std::move(in)), gate_(std::move(gate)), out_(std::move(out)) {}

  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena& arena, ThreadPool& pool) const override {
    const Arena::Scope scope(arena);
    if (!gate_ && in_.TakesNarrowRows() && in_.shape().out % 2 == 0) return ForwardNarrow(x, tokens, y, arena, pool);
    const size_t width = in_.shape().in, neurons = in_.shape().out, stride = PaddedStride(neurons);
    float* hidden = arena.Take<float>(std::min(tokens, kTokens) * stride);
    float* gate = gate_ ? arena.Take<float>(std::min(tokens, kTokens) * stride) : nullptr;
    for (size_t begin = 0; begin < tokens; begin += kTokens) {
      const size_t count = std::min(kTokens, tokens - begin);
      in_.Forward(x + begin * width, width, count, hidden, stride, pool);
      if (gate_) {
        gate_->Forward(x + begin * width, width, count, gate, stride, pool);
        pool.ParallelFor(count, 32, [&](size_t first, size_t last) {
          for (size_t t = first; t < last; ++t) MultiplyInto(gate + t * stride, neurons, hidden + t * stride);
        });
      }
      out_.Forward(hidden, stride, count, y + begin * width, width, pool);
    }
  }

 private:
  // The same bits, with the neurons in half the bytes.
  void ForwardNarrow(const float* x, size_t tokens, float* y, Arena& arena, ThreadPool& pool) const {
    const size_t width = in_.shape().in, stride = DenseProduct::NarrowStride(in_.shape().out);
    Bf16* hidden = arena.Take<Bf16>(std::min(tokens, kNarrowTokens) * stride);
    for (size_t begin = 0; begin < tokens; begin += kNarrowTokens) {
      const size_t count = std::min(kNarrowTokens, tokens - begin);
      in_.ForwardToNarrow(x + begin * width, width, count, hidden, stride, pool);
      out_.ForwardFromNarrow(hidden, stride, count, y + begin * width, width, pool);
    }
  }

  DenseProduct in_;
  std::optional<DenseProduct> gate_;
  DenseProduct out_;
};

class WithAlwaysOn : public FeedForward {
 public:
  WithAlwaysOn(std::unique_ptr<FeedForward> layer, DenseProduct in, DenseProduct out)
      : layer_(std::move(layer)), width_(in.shape().in), always_(std::move(in), std::nullopt, std::move(out)) {}

  void Forward(const float* x, const int32_t* ids, size_t tokens, float* y, Arena& arena,
               ThreadPool& pool) const override {
    layer_->Forward(x, ids, tokens, y, arena, pool);
    const Arena::Scope scope(arena);
    float* part = arena.Take<float>(std::min(tokens, kTokens) * width_);
    for (size_t begin = 0; begin < tokens; begin += kTokens) {
      const size_t count = std::min(kTokens, tokens - begin);
      always_.Forward(x + begin * width_, nullptr, count, part, arena, pool);
      pool.ParallelFor(count, 64, [&](size_t first, size_t last) {
        AddInto(part + first * width_, (last - first) * width_, y + (begin + first) * width_);
      });
    }
  }

 private:
  std::unique_ptr<FeedForward> layer_;
  size_t width_;
  DenseFeedForward always_;
};

DenseActivation InActivation(const FeedForwardConfig& config) {
  return config.nonlinearity == NonLinearity::kRelu ? DenseActivation::kRelu : DenseActivation::kGelu;
}

}  // namespace

FeedForwardResult LoadDense(const FeedForwardSource& source) {
  const FeedForwardConfig& config = source.config;
  const bool glu = config.nonlinearity == NonLinearity::kGeluGlu;
  const int64_t width = source.width, neurons = glu ? config.intermediate / 2 : config.intermediate;
  const FeedForwardNames& names = source.names;
  const ParameterSource& read = source.parameters;
  AlignedArray<float> in_bias, out_bias;
  GROVE_ASSIGN_OR_RETURN(const Weights in, ReadWeights(read, names.dense_in + ".weight",
                                                       {.shape = {config.intermediate, width}}, source.precision));
  GROVE_ASSIGN_OR_RETURN(const Weights out,
                         ReadWeights(read, names.dense_out + ".weight", {.shape = {width, neurons}}, source.precision));
  if (names.dense_bias) {
    GROVE_ASSIGN_OR_RETURN(in_bias, read.Read(names.dense_in + ".bias", {config.intermediate}));
    GROVE_ASSIGN_OR_RETURN(out_bias, read.Read(names.dense_out + ".bias", {width}));
  }
  const DenseShape value_shape{.in = static_cast<size_t>(width),
                               .out = static_cast<size_t>(neurons),
                               .activation = glu ? DenseActivation::kNone : InActivation(config),
                               .precision = source.precision};
  std::optional<DenseProduct> gate;
  if (glu) {
    DenseShape gate_shape = value_shape;
    gate_shape.activation = DenseActivation::kGelu;
    gate.emplace(gate_shape, in.view().RowsFrom(value_shape.out, value_shape.in),
                 names.dense_bias ? in_bias.data() + neurons : nullptr, source.pool);
  }
  const DenseShape out_shape{
      .in = static_cast<size_t>(neurons), .out = static_cast<size_t>(width), .precision = source.precision};
  return {std::make_unique<DenseFeedForward>(DenseProduct(value_shape, in.view(), in_bias.data(), source.pool),
                                             std::move(gate),
                                             DenseProduct(out_shape, out.view(), out_bias.data(), source.pool))};
}

FeedForwardResult LoadAlwaysOn(const FeedForwardSource& source, std::unique_ptr<FeedForward> layer) {
  const int64_t width = source.width, neurons = source.config.always_on;
  GROVE_ASSIGN_OR_RETURN(const Weights in, source.ReadWeights("always_on_in.weight", {.shape = {neurons, width}}));
  GROVE_ASSIGN_OR_RETURN(const Weights out, source.ReadWeights("always_on_out.weight", {.shape = {width, neurons}}));
  const DenseShape in_shape{.in = static_cast<size_t>(width),
                            .out = static_cast<size_t>(neurons),
                            .activation = InActivation(source.config),
                            .precision = source.precision};
  const DenseShape out_shape{
      .in = static_cast<size_t>(neurons), .out = static_cast<size_t>(width), .precision = source.precision};
  return {std::make_unique<WithAlwaysOn>(std::move(layer), DenseProduct(in_shape, in.view(), nullptr, source.pool),
                                         DenseProduct(out_shape, out.view(), nullptr, source.pool))};
}

}  // namespace grove
