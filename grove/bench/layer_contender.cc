// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/layer_contender.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "grove/model/dense_product.h"

namespace grove::bench {
namespace {

// The engine's own dense layer, as crammedBERT has it (bias on the way in, none on the way out).
class DenseContender : public LayerContender {
 public:
  DenseContender(size_t width, size_t neurons, Precision precision, const ThreadPool& pool)
      : weights_(width, neurons),
        in_({.in = width, .out = neurons, .activation = DenseActivation::kGelu, .precision = precision},
            weights_.in.data(), weights_.bias.data(), pool),
        out_({.in = neurons, .out = width, .precision = precision}, weights_.out.data(), nullptr, pool) {
    name = "dense " + std::to_string(neurons) + ", grove";
    dense = true;
    stored = active = neurons;
    weight_bytes = in_.bytes() + out_.bytes();
    // The reference multiplies weights that are not rounded.
    if (precision != Precision::kFp32) tolerance = precision == Precision::kBf16 ? 2e-2 : 5e-2;
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    constexpr size_t kBlock = 2048;  // the hidden values of a block stay in the third-level cache
    const size_t width = weights_.width, stride = PaddedStride(weights_.neurons);
    const size_t block = std::min(kBlock, tokens);
    if (hidden_.size() < block * stride) hidden_ = AlignedArray<float>(block * stride);
    for (size_t first = 0; first < tokens; first += kBlock) {
      const size_t count = std::min(kBlock, tokens - first);
      in_.Forward(x + first * width, width, count, hidden_.data(), stride, pool);
      out_.Forward(hidden_.data(), stride, count, y + first * width, width, pool);
    }
  }
  void Reference(const float* x, size_t tokens, float* y) const override { weights_.Reference(x, tokens, y); }
  void ForgetReference() override { weights_.in = {}, weights_.out = {}; }

 private:
  DenseWeights weights_;
  DenseProduct in_, out_;
  mutable AlignedArray<float> hidden_;  // kept between calls, as an engine would
};

class NeuronTreeContender : public LayerContender {
 public:
  explicit NeuronTreeContender(const NeuronTreeShape& shape)
      : w_in_(RandomWeights(shape.nodes() * shape.width, shape.width, 4)),
        b_in_(RandomWeights(shape.nodes(), 16, 5)),
        w_out_(RandomWeights(shape.nodes() * shape.width, shape.trees * shape.levels(), 6)),
        w_out_left_(RandomWeights(shape.two_sided ? w_out_.size() : 0, shape.trees * shape.levels(), 13)),
        packed_(shape, weights()) {
    name = "neuron trees " + std::to_string(shape.trees) + "x" + std::to_string(shape.depth) +
           (shape.two_sided ? ", two-sided" : "");
    stored = shape.nodes();
    active = shape.trees * shape.levels();
    sides = shape.two_sided ? 2 : 1;
    weight_bytes = packed_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    NeuronTreeForward(packed_, x, tokens, y, nullptr, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    NeuronTreeForwardReference(packed_.shape(), weights(), x, tokens, y, nullptr);
  }
  void ForgetReference() override { w_in_ = {}, w_out_ = {}, w_out_left_ = {}; }

 private:
  AlignedArray<float> w_in_, b_in_, w_out_, w_out_left_;

 protected:
  NeuronTreeWeights weights() const { return {w_in_.data(), b_in_.data(), w_out_.data(), w_out_left_.data()}; }
  PackedNeuronTree packed_;
};

class RandomlyRoutedContender : public NeuronTreeContender {
 public:
  explicit RandomlyRoutedContender(const NeuronTreeShape& shape)
      : NeuronTreeContender(shape),
        router_{.width = shape.width, .trees = shape.trees, .depth = shape.depth},
        planes_(RandomWeights(shape.trees * router_.decisions() * shape.width, shape.width, 14)),
        biases_(shape.trees * router_.decisions()),
        packed_planes_(router_, {planes_.data(), biases_.data()}) {
    name += ", random routing";
    decisions = shape.trees * shape.depth;
    weight_bytes += packed_planes_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    std::vector<uint32_t> ends(tokens * router_.trees);
    std::vector<float> gates(ends.size());
    RouteLeaves(packed_planes_, x, tokens, {ends.data(), gates.data()}, pool);
    NeuronTreeForwardAlong(packed_, x, tokens, ends.data(), y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    std::vector<uint32_t> ends(tokens * router_.trees);
    std::vector<double> gates(ends.size());
    RouteLeavesReference(router_, {planes_.data(), biases_.data()}, x, tokens, ends.data(), gates.data());
    NeuronTreeForwardAlongReference(packed_.shape(), weights(), x, tokens, ends.data(), y);
  }

 private:
  LeafRouterShape router_;
  AlignedArray<float> planes_, biases_;
  PackedLeafRouter packed_planes_;
};

// Random small nets, for leaves and experts.
struct RandomExperts {
  explicit RandomExperts(const ExpertsShape& s)
      : shape(s),
        w1(RandomWeights(s.experts * s.in_width * s.hidden_width, s.in_width, 9)),
        b1(RandomWeights(s.experts * s.hidden_width, 16, 10)),
        w2(RandomWeights(s.experts * s.hidden_width * s.out_width, s.hidden_width, 11)),
        b2(RandomWeights(s.experts * s.out_width, 16, 12)) {}
  ExpertsWeights weights() const { return {w1.data(), b1.data(), w2.data(), b2.data()}; }
  ExpertsShape shape;
  AlignedArray<float> w1, b1, w2, b2;
};

ExpertsShape LeavesOf(const LeafTreeShape& shape, size_t trees) {
  ExpertsShape leaves = shape.experts();
  leaves.experts *= trees;
  return leaves;
}

LeafRouterShape RouterOf(const LeafTreeShape& shape, size_t trees) {
  LeafRouterShape router = shape.router();
  router.trees = trees;
  return router;
}

class LeafTreeContender : public LayerContender {
 public:
  LeafTreeContender(const LeafTreeShape& shape, size_t trees)
      : router_(RouterOf(shape, trees)),
        nodes_(RandomWeights(trees * shape.decisions() * shape.in_width, shape.in_width, 7)),
        biases_(RandomWeights(trees * shape.decisions(), 16, 8)),
        leaves_(LeavesOf(shape, trees)),
        packed_router_(router_, router_weights()),
        packed_leaves_(leaves_.shape, leaves_.weights()) {
    name = (trees == 1 ? "leaf tree, " : std::to_string(trees) + " leaf trees, each ") +
           std::to_string(shape.leaves()) + " leaves of " + std::to_string(shape.leaf_width) + ", " +
           std::to_string(shape.paths) + (shape.paths == 1 ? " path" : " paths");
    stored = leaves_.shape.experts * shape.leaf_width;
    active = router_.leaves_per_token() * shape.leaf_width;
    decisions = MeanDecisionsOfRandomInput(router_, router_weights());
    weight_bytes = packed_router_.bytes() + packed_leaves_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    const size_t n = router_.leaves_per_token();
    std::vector<uint32_t> chosen(tokens * n);
    std::vector<float> gates(chosen.size());
    RouteLeaves(packed_router_, x, tokens, {chosen.data(), gates.data()}, pool);
    GatedExpertsForward(packed_leaves_, x, tokens, {chosen.data(), gates.data(), n}, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    const size_t n = router_.leaves_per_token();
    std::vector<uint32_t> chosen(tokens * n);
    std::vector<double> gates(chosen.size());
    RouteLeavesReference(router_, router_weights(), x, tokens, chosen.data(), gates.data());
    GatedExpertsReference(leaves_.shape, leaves_.weights(), x, tokens, chosen.data(), gates.data(), n, y);
  }

 private:
  LeafRouterWeights router_weights() const { return {nodes_.data(), biases_.data()}; }

  LeafRouterShape router_;
  AlignedArray<float> nodes_, biases_;
  RandomExperts leaves_;
  PackedLeafRouter packed_router_;
  PackedExperts packed_leaves_;
};

class MixtureContender : public LayerContender {
 public:
  MixtureContender(const MixtureShape& shape, const ThreadPool& pool)
      : shape_(shape),
        router_(RandomWeights(shape.experts.experts * shape.experts.in_width, shape.experts.in_width, 15)),
        experts_(shape.experts),
        mixture_(shape, weights(), pool) {
    name = "mixture, " + std::to_string(shape.experts.experts) + " experts of " +
           std::to_string(shape.experts.hidden_width) + ", top " + std::to_string(shape.per_token);
    stored = shape.experts.experts * shape.experts.hidden_width;
    active = shape.per_token * shape.experts.hidden_width;
    decisions = shape.experts.experts;
    weight_bytes = mixture_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    mixture_.Forward(x, tokens, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    MixtureReference(shape_, weights(), x, tokens, y);
  }

 private:
  MixtureWeights weights() const { return {router_.data(), experts_.weights()}; }

  MixtureShape shape_;
  AlignedArray<float> router_;
  RandomExperts experts_;
  Mixture mixture_;
};

class ProductKeyContender : public LayerContender {
 public:
  ProductKeyContender(const ProductKeyShape& shape, const ThreadPool& pool)
      : shape_(shape),
        query_(RandomWeights(shape.heads * shape.key_width * shape.width, shape.width, 16)),
        norm_weight_(shape.key_width, 1.0f),
        norm_bias_(shape.key_width, 0.0f),
        sub_keys_(RandomWeights(2 * shape.sub_keys * shape.half(), shape.half(), 17)),
        in_(RandomWeights(shape.neurons().neurons * shape.width, shape.width, 18)),
        out_(RandomWeights(shape.neurons().neurons * shape.width, shape.per_token(), 19)),
        layer_(shape, weights(), pool) {
    const std::string keys = std::to_string(shape.sub_keys);
    name = "product keys, " + keys + "x" + keys + ", " + std::to_string(shape.heads) + " heads of " +
           std::to_string(shape.per_head);
    stored = shape.neurons().neurons;
    active = shape.per_token();
    const size_t scores = 2 * shape.heads * shape.sub_keys * shape.half();
    decisions = shape.heads * shape.key_width + (scores + shape.width / 2) / shape.width;
    weight_bytes = layer_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    layer_.Forward(x, tokens, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    ProductKeyReference(shape_, weights(), x, tokens, y);
  }

 private:
  ProductKeyWeights weights() const {
    return {query_.data(), norm_weight_.data(), norm_bias_.data(), sub_keys_.data(), in_.data(), out_.data()};
  }

  ProductKeyShape shape_;
  AlignedArray<float> query_;
  std::vector<float> norm_weight_, norm_bias_;
  AlignedArray<float> sub_keys_, in_, out_;
  ProductKey layer_;
};

}  // namespace

// Counted from the probabilities of all leaves.
size_t MeanDecisions(const LeafRouterShape& shape, const LeafRouterWeights& weights, const float* x, size_t tokens) {
  if (shape.paths == 1) return shape.trees * shape.depth;
  if (shape.paths == shape.leaves()) return shape.trees * shape.decisions();
  LeafRouterShape all = shape;
  all.paths = shape.leaves();
  all.gates = Gates::kProbability;
  std::vector<float> leaves(tokens * all.leaves_per_token());
  std::vector<uint32_t> chosen(leaves.size());
  ThreadPool pool(1);
  RouteLeaves(PackedLeafRouter(all, weights), x, tokens, {chosen.data(), leaves.data()}, pool);
  size_t computed = 0;
  std::vector<float> reached(2 * shape.leaves() - 1);
  for (size_t search = 0; search < tokens * shape.trees; ++search) {
    std::copy_n(leaves.data() + search * shape.leaves(), shape.leaves(), reached.data() + shape.decisions());
    for (size_t node = shape.decisions(); node-- > 0;) reached[node] = reached[2 * node + 1] + reached[2 * node + 2];
    std::vector<float> sorted(reached.begin() + ptrdiff_t(shape.decisions()), reached.end());
    std::nth_element(sorted.begin(), sorted.begin() + ptrdiff_t(shape.paths) - 1, sorted.end(), std::greater<>());
    const float last = sorted[shape.paths - 1];
    computed += static_cast<size_t>(std::count_if(reached.begin(), reached.begin() + ptrdiff_t(shape.decisions()),
                                                  [&](float p) { return p > last; }));
  }
  return (computed + tokens / 2) / tokens;
}

size_t MeanDecisionsOfRandomInput(const LeafRouterShape& shape, const LeafRouterWeights& weights) {
  constexpr size_t kTokens = 64;
  return MeanDecisions(shape, weights, RandomWeights(kTokens * shape.width, 1, 99).data(), kTokens);
}

DenseWeights::DenseWeights(size_t w, size_t n)
    : width(w),
      neurons(n),
      in(RandomWeights(n * w, w, 1)),
      out(RandomWeights(w * n, n, 2)),
      bias(RandomWeights(n, 4, 3)) {}

void DenseWeights::Reference(const float* x, size_t tokens, float* y) const {
  std::vector<double> hidden(neurons);
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t n = 0; n < neurons; ++n) {
      double logit = bias[n];
      for (size_t i = 0; i < width; ++i) logit += double{in[n * width + i]} * x[t * width + i];
      hidden[n] = Activate(Activation::kGelu, logit);
    }
    for (size_t i = 0; i < width; ++i) {
      double sum = 0;
      for (size_t n = 0; n < neurons; ++n) sum += out[i * neurons + n] * hidden[n];
      y[t * width + i] = static_cast<float>(sum);
    }
  }
}

double LayerContender::BytesPerToken(size_t width, size_t tokens) const {
  const double share = static_cast<double>(active + decisions) / static_cast<double>(stored + decisions);
  const double of_one = static_cast<double>(weight_bytes) * std::min(share, 1.0);
  const double of_batch = std::min(of_one * static_cast<double>(tokens), static_cast<double>(weight_bytes));
  return 2.0 * sizeof(float) * static_cast<double>(width) + of_batch / static_cast<double>(tokens);
}

double LayerContender::FlopsPerToken(size_t width) const {
  return 2.0 * static_cast<double>(width * (active * (1 + sides) + decisions));
}

AlignedArray<float> RandomWeights(size_t count, size_t fan_in, uint64_t seed) {
  constexpr size_t kBlock = size_t{1} << 16;
  const float scale = std::sqrt(3.0f / static_cast<float>(fan_in));
  AlignedArray<float> values(count);
  ThreadPool pool(count > 16 * kBlock ? DefaultThreads() : 1);
  pool.ParallelFor(count, kBlock, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      // The i-th value of splitmix64: each is drawn by its place alone, whichever thread draws it.
      uint64_t z = seed * 0xD1B54A32D192ED03u + (i + 1) * 0x9E3779B97F4A7C15u;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      z ^= z >> 31;
      values[i] = scale * (static_cast<float>(static_cast<int64_t>(z >> 40)) * 0x1p-23f - 1.0f);
    }
  });
  return values;
}

std::unique_ptr<LayerContender> MakeDenseContender(size_t width, size_t neurons, Precision precision,
                                                   const ThreadPool& pool) {
  return std::make_unique<DenseContender>(width, neurons, precision, pool);
}

std::unique_ptr<LayerContender> MakeNeuronTreeContender(const NeuronTreeShape& shape) {
  return std::make_unique<NeuronTreeContender>(shape);
}

std::unique_ptr<LayerContender> MakeRandomlyRoutedContender(const NeuronTreeShape& shape) {
  return std::make_unique<RandomlyRoutedContender>(shape);
}

std::unique_ptr<LayerContender> MakeLeafTreeContender(const LeafTreeShape& shape, size_t trees) {
  return std::make_unique<LeafTreeContender>(shape, trees);
}

std::unique_ptr<LayerContender> MakeMixtureContender(const MixtureShape& shape, const ThreadPool& pool) {
  return std::make_unique<MixtureContender>(shape, pool);
}

std::unique_ptr<LayerContender> MakeProductKeyContender(const ProductKeyShape& shape, const ThreadPool& pool) {
  return std::make_unique<ProductKeyContender>(shape, pool);
}

}  // namespace grove::bench
