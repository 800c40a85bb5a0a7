// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside the equations of quantized_neuron_tree.h, quantized_experts.h and quantized_router.h. Slow on
// purpose.
#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/quant/exact_activation.h"
#include "grove/quant/quantized_experts.h"
#include "grove/quant/quantized_leaf_tree.h"
#include "grove/quant/quantized_neuron_tree.h"
#include "grove/quant/reference_parts.h"

namespace grove {

using namespace quant_reference;  // NOLINT

namespace {

struct Term {
  double value;             // act(l) or act(-l)
  std::vector<double> out;  // its row of weights
};

void AddBf16Path(const std::vector<Term>& terms, std::vector<double>& y) {
  for (const Term& term : terms) {
    for (size_t i = 0; i < y.size(); ++i) y[i] += Rounded(term.value) * Rounded(term.out[i]);
  }
}

void AddInt8Path(const std::vector<Term>& terms, std::vector<double>& y) {
  std::vector<Quantized> rows;
  std::vector<double> values;
  for (const Term& term : terms) {
    rows.push_back(Quantize(term.out));
    values.push_back(term.value * rows.back().scale);
  }
  const Quantized q = Quantize(values);
  for (size_t i = 0; i < y.size(); ++i) {
    int64_t sum = 0;
    for (size_t k = 0; k < terms.size(); ++k) sum += q.values[k] * rows[k].values[i];
    y[i] += static_cast<double>(sum) * q.scale;
  }
}

}  // namespace

void QuantizedNeuronTreeReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights,
                                  Quantization precision, const float* x, size_t tokens, float* y) {
  const bool int8 = precision == Quantization::kInt8;
  for (size_t t = 0; t < tokens; ++t) {
    const std::vector<double> xt(x + t * shape.width, x + (t + 1) * shape.width);
    std::vector<double> sum(shape.width);
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      std::vector<Term> terms;
      for (size_t level = 0, node = 0; level < shape.levels(); ++level) {
        const size_t n = tree * shape.nodes_per_tree() + node;
        const std::vector<double> in(weights.w_in + n * shape.width, weights.w_in + (n + 1) * shape.width);
        const double logit = Dot(precision, xt, in) + (weights.b_in ? weights.b_in[n] : 0);
        terms.push_back({Activate(shape.activation, logit), Column(weights.w_out, shape.nodes(), n, shape.width)});
        if (shape.two_sided) {
          terms.push_back(
              {Activate(shape.activation, -logit), Column(weights.w_out_left, shape.nodes(), n, shape.width)});
        }
        node = logit > 0 ? 2 * node + 2 : 2 * node + 1;
      }
      int8 ? AddInt8Path(terms, sum) : AddBf16Path(terms, sum);
    }
    std::transform(sum.begin(), sum.end(), y + t * shape.width, [](double v) { return static_cast<float>(v); });
  }
}

void QuantizedExpertsReference(const ExpertsShape& shape, const ExpertsWeights& weights, Quantization precision,
                               const float* x, size_t tokens, const ExpertChoices& choices, float* y) {
  const size_t in = shape.in_width, hidden = shape.hidden_width, out = shape.out_width;
  for (size_t t = 0; t < tokens; ++t) {
    const std::vector<double> xt(x + t * in, x + (t + 1) * in);
    std::vector<double> sum(out), h(hidden);
    for (size_t c = t * choices.per_token; c < (t + 1) * choices.per_token; ++c) {
      const size_t e = choices.chosen[c];
      for (size_t j = 0; j < hidden; ++j) {
        const double logit = Dot(precision, xt, Column(weights.w1 + e * in * hidden, hidden, j, in));
        h[j] = Activate(shape.activation, logit + weights.b1[e * hidden + j]);
      }
      for (size_t o = 0; o < out; ++o) {
        const double value = Dot(precision, h, Column(weights.w2 + e * hidden * out, out, o, hidden));
        sum[o] += double{choices.gates[c]} * (value + weights.b2[e * out + o]);
      }
    }
    std::transform(sum.begin(), sum.end(), y + t * out, [](double v) { return static_cast<float>(v); });
  }
}

// Rows of `width`, each as what it becomes in that precision.
static std::vector<float> RoundedRows(const float* rows, size_t count, size_t width, Quantization precision) {
  std::vector<float> rounded(count * width);
  std::vector<int8_t> integers(width);
  for (size_t r = 0; r < count; ++r) {
    const float *from = rows + r * width, scale = QuantizeRow(from, width, integers.data());
    for (size_t i = 0; i < width; ++i) {
      rounded[r * width + i] =
          precision == Quantization::kBf16 ? ToFloat(ToBf16(from[i])) : scale * static_cast<float>(integers[i]);
    }
  }
  return rounded;
}

void LeafTreeReference(const LeafRouterShape& shape, const LeafRouterWeights& router, const ExpertsShape& experts,
                       const ExpertsWeights& leaves, Quantization precision, const float* x, size_t tokens, float* y) {
  const std::vector<float> nodes = RoundedRows(router.weights, shape.trees * shape.decisions(), shape.width, precision);
  const std::vector<float> rows = RoundedRows(x, tokens, shape.width, precision);
  std::vector<uint32_t> chosen(tokens * shape.leaves_per_token());
  std::vector<double> exact(chosen.size());
  RouteLeavesReference(shape, {nodes.data(), router.biases}, rows.data(), tokens, chosen.data(), exact.data());
  const std::vector<float> gates(exact.begin(), exact.end());
  QuantizedExpertsReference(experts, leaves, precision, x, tokens,
                            {chosen.data(), gates.data(), shape.leaves_per_token()}, y);
}

}  // namespace grove
