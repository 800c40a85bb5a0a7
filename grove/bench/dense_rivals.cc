// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/dense_rivals.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <dnnl.hpp>
#include <map>
#include <unordered_map>
#include <utility>

#include "grove/model/one_dnn.h"
#include "grove/quant/exact_activation.h"

namespace grove::bench {
namespace {

constexpr size_t kBlock = 2048;  // tokens: their hidden values stay in the third-level cache

using dnnl::memory;
using dnnl::primitive;

// Calls of oneDNN use as many threads as the pool has; the pool's own sleep meanwhile.
class OneDnnThreads {
 public:
  explicit OneDnnThreads(size_t threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(static_cast<int>(threads));
  }
  ~OneDnnThreads() { omp_set_num_threads(before_); }
  OneDnnThreads(const OneDnnThreads&) = delete;
  OneDnnThreads& operator=(const OneDnnThreads&) = delete;

 private:
  int before_;
};

// Without instructions that add four products at once, oneDNN adds two in 16 bits, which overflow unless weights are
// half as large: its own guide says so.
bool AddsPairsIn16Bits() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto has = [isa](dnnl::cpu_isa wanted) {
    return (isa & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
  };
  return !has(dnnl::cpu_isa::avx512_core_vnni) && !has(dnnl::cpu_isa::avx2_vnni);
}

// Returns the scale, as QuantizeRow() does.
float QuantizeForOneDnn(const float* weights, size_t count, int8_t* quantized) {
  const float scale = QuantizeRow(weights, count, quantized);
  if (!AddsPairsIn16Bits() || scale == 0) return scale;
  for (size_t i = 0; i < count; ++i) quantized[i] = static_cast<int8_t>(std::lround(weights[i] / (2 * scale)));
  return 2 * scale;
}

// One layer for one number of tokens: a chain of primitives and their arguments.
class OneDnnLayer {
 public:
  OneDnnLayer(const DenseWeights& weights, std::optional<Quantization> precision, const DenseRange& range,
              size_t tokens)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const bool int8 = precision == Quantization::kInt8;
    const auto type = !precision ? memory::data_type::f32 : int8 ? memory::data_type::s8 : memory::data_type::bf16;
    const auto n = static_cast<memory::dim>(tokens), width = static_cast<memory::dim>(weights.width),
               neurons = static_cast<memory::dim>(weights.neurons);
    x_ = memory(Rows(n, width, memory::data_type::f32), engine_, nullptr);
    y_ = memory(Rows(n, width, memory::data_type::f32), engine_, nullptr);
    memory source = x_;
    if (precision) {
      source = memory(Rows(n, width, type), engine_);
      dnnl::primitive_attr attributes;
      if (int8) attributes.set_output_scales(0, {127.0f / range.input});
      Add(dnnl::reorder({engine_, x_.get_desc(), engine_, source.get_desc(), attributes}),
          {{DNNL_ARG_FROM, x_}, {DNNL_ARG_TO, source}});
    }
    const memory hidden(Rows(n, neurons, type), engine_);
    AddProduct(weights.in.data(), weights.bias.data(), range.input / 127, int8 ? range.hidden / 127 : 0, source,
               hidden);
    AddProduct(weights.out.data(), nullptr, range.hidden / 127, 0, hidden, y_);
  }

  void Run(const float* x, float* y) {
    x_.set_data_handle(const_cast<float*>(x));  // read only
    y_.set_data_handle(y);
    for (auto& [step, arguments] : steps_) step.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  static memory::desc Rows(memory::dim rows, memory::dim columns, memory::data_type type) {
    return {{rows, columns}, type, memory::format_tag::ab};
  }
  void Add(primitive step, std::unordered_map<int, memory> arguments) {
    steps_.emplace_back(std::move(step), std::move(arguments));
  }

  // to = act(from W^T + bias); W [out, in]. int8: `from` has scale from_scale, `to` to_scale (0: it is fp32).
  void AddProduct(const float* weights, const float* bias, float from_scale, float to_scale, const memory& from,
                  const memory& to) {
    const memory::dim in = from.get_desc().dims()[1], out = to.get_desc().dims()[1];
    const auto type = from.get_desc().data_type();
    const bool int8 = type == memory::data_type::s8;
    std::vector<float> scales(static_cast<size_t>(out), 1.0f), scaled_bias(scales.size());
    std::vector<int8_t> quantized(int8 ? scales.size() * static_cast<size_t>(in) : 0);
    for (size_t n = 0; n < scales.size(); ++n) {
      const size_t row = n * static_cast<size_t>(in);
      if (int8) {
        scales[n] = from_scale * QuantizeForOneDnn(weights + row, static_cast<size_t>(in), quantized.data() + row);
      }
      if (bias) scaled_bias[n] = bias[n] / scales[n];  // it is added to the sums before they are scaled
    }
    dnnl::primitive_attr attributes;
    if (int8) attributes.set_output_scales(2, scales);
    dnnl::post_ops after;
    if (bias) after.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
    if (to_scale != 0) after.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, 1.0f / to_scale, 0.0f);
    attributes.set_post_ops(after);
    const memory::desc any({in, out}, type, memory::format_tag::any);
    const memory::desc bias_row({1, out}, memory::data_type::f32, memory::format_tag::ab);
    const auto operation = bias ? dnnl::matmul::desc(from.get_desc(), any, bias_row, to.get_desc())
                                : dnnl::matmul::desc(from.get_desc(), any, to.get_desc());
    const dnnl::matmul::primitive_desc product(operation, attributes, engine_);
    const memory packed(product.weights_desc(), engine_);
    const memory::desc given({in, out}, int8 ? type : memory::data_type::f32, memory::format_tag::ba);
    memory plain(given, engine_, int8 ? static_cast<void*>(quantized.data()) : const_cast<float*>(weights));
    dnnl::reorder(plain, packed).execute(stream_, plain, const_cast<memory&>(packed));
    stream_.wait();
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, from}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, to}};
    if (bias) {
      const memory kept(bias_row, engine_);
      std::copy(scaled_bias.begin(), scaled_bias.end(), static_cast<float*>(kept.get_data_handle()));
      arguments.emplace(DNNL_ARG_BIAS, kept);
    }
    Add(dnnl::matmul(product), std::move(arguments));
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  memory x_, y_;
  std::vector<std::pair<primitive, std::unordered_map<int, memory>>> steps_;
};

// Whether it has products of that precision on this machine; it says so by an exception alone.
bool OneDnnHas(std::optional<Quantization> precision) {
  try {
    const OneDnnLayer small(DenseWeights(16, 16), precision, {}, 1);
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

class OneDnnContender : public LayerContender {
 public:
  OneDnnContender(size_t width, size_t neurons, std::optional<Quantization> precision, const DenseRange& range)
      : weights_(width, neurons), precision_(precision), range_(range) {
    name = "dense " + std::to_string(neurons) + ", oneDNN";
    dense = true;
    stored = active = neurons;
    const size_t bytes = !precision ? 4 : *precision == Quantization::kBf16 ? 2 : 1;
    weight_bytes = 2 * width * neurons * bytes + neurons * sizeof(float);
    // Static scales, and 64 steps of a weight without VNNI: hidden states of a trained model, a few values of which are
    // far larger than the rest, lose more than random ones.
    if (precision) tolerance = *precision == Quantization::kBf16 ? 2e-2 : 1e-1;
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    const OneDnnThreads threads(pool.threads());
    for (size_t first = 0; first < tokens; first += kBlock) {
      const size_t count = std::min(kBlock, tokens - first);
      auto at = layers_.find(count);
      if (at == layers_.end()) {
        if (layers_.size() == kMostLayers) layers_.clear();
        at = layers_.try_emplace(count, weights_, precision_, range_, count).first;
      }
      at->second.Run(x + first * weights_.width, y + first * weights_.width);
    }
  }
  void Reference(const float* x, size_t tokens, float* y) const override { weights_.Reference(x, tokens, y); }

 private:
  // A batch is timed at a time: whole blocks and a rest. Each has a packed copy of the weights.
  static constexpr size_t kMostLayers = 2;

  DenseWeights weights_;
  std::optional<Quantization> precision_;
  DenseRange range_;
  mutable std::map<size_t, OneDnnLayer> layers_;  // by tokens; made in the round that warms up
};

// The part of CBLAS that a dense layer needs, looked up by name.
struct OpenBlas {
  void (*gemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a, int lda,
               const float* b, int ldb, float beta, float* c, int ldc) = nullptr;
  void (*gemv)(int order, int trans, int m, int n, float alpha, const float* a, int lda, const float* x, int incx,
               float beta, float* y, int incy) = nullptr;
  void (*set_threads)(int threads) = nullptr;

  static const OpenBlas* Load() {
    static const OpenBlas library = [] {
      OpenBlas found;
      void* handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
      if (!handle) return found;
      found.gemm = reinterpret_cast<decltype(gemm)>(dlsym(handle, "cblas_sgemm"));
      found.gemv = reinterpret_cast<decltype(gemv)>(dlsym(handle, "cblas_sgemv"));
      found.set_threads = reinterpret_cast<decltype(set_threads)>(dlsym(handle, "openblas_set_num_threads"));
      return found;
    }();
    return library.gemm && library.gemv && library.set_threads ? &library : nullptr;
  }
};

class OpenBlasContender : public LayerContender {
 public:
  OpenBlasContender(const OpenBlas& blas, size_t width, size_t neurons) : blas_(blas), weights_(width, neurons) {
    name = "dense " + std::to_string(neurons) + ", OpenBLAS";
    dense = true;
    stored = active = neurons;
    weight_bytes = (2 * width + 1) * neurons * sizeof(float);
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    blas_.set_threads(static_cast<int>(pool.threads()));
    const size_t neurons = weights_.neurons, width = weights_.width, block = std::min(kBlock, tokens);
    if (hidden_.size() < block * neurons) hidden_ = AlignedArray<float>(block * neurons);
    for (size_t first = 0; first < tokens; first += kBlock) {
      const size_t count = std::min(kBlock, tokens - first);
      Multiply(x + first * width, count, weights_.in, width, neurons, hidden_.data());
      for (size_t t = 0; t < count; ++t) {
        float* row = hidden_.data() + t * neurons;
        AddRow(weights_.bias.data(), neurons, row);
        ExactActivate(Activation::kGelu, 1.0f, row, neurons, row);
      }
      Multiply(hidden_.data(), count, weights_.out, neurons, width, y + first * width);
    }
  }
  void Reference(const float* x, size_t tokens, float* y) const override { weights_.Reference(x, tokens, y); }

 private:
  static constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;

  // to [count, out] = from [count, in] W^T, W [out, in]
  void Multiply(const float* from, size_t count, const AlignedArray<float>& w, size_t in, size_t out, float* to) const {
    const int n = static_cast<int>(count), k = static_cast<int>(in), m = static_cast<int>(out);
    if (count == 1) return blas_.gemv(kRowMajor, kPlain, m, k, 1.0f, w.data(), k, from, 1, 0.0f, to, 1);
    blas_.gemm(kRowMajor, kPlain, kTransposed, n, m, k, 1.0f, from, k, w.data(), k, 0.0f, to, m);
  }

  const OpenBlas& blas_;
  DenseWeights weights_;
  mutable AlignedArray<float> hidden_;
};

}  // namespace

std::unique_ptr<LayerContender> MakeOneDnnContender(size_t width, size_t neurons, std::optional<Quantization> precision,
                                                    const DenseRange& range) {
  if (!OneDnnHas(precision)) return nullptr;
  return std::make_unique<OneDnnContender>(width, neurons, precision, range);
}

std::unique_ptr<LayerContender> MakeOpenBlasContender(size_t width, size_t neurons) {
  const OpenBlas* blas = OpenBlas::Load();
  return blas ? std::make_unique<OpenBlasContender>(*blas, width, neurons) : nullptr;
}

}  // namespace grove::bench
