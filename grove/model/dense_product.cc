// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/dense_product.h"

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/model/one_dnn.h"

namespace grove {
namespace {

using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;
constexpr auto kF32 = dnnl::memory::data_type::f32;

// Rows go to the library in blocks of 128 and one for the rest. A block size gets its primitive when it first occurs,
// in less than a millisecond. Cutting the rest into powers of two would save that and read the weights up to seven
// times: 7 rows of 768 -> 3072 -> 768 took 1.5 ms instead of 0.65.
constexpr size_t kMaxBlock = 128;
constexpr size_t kMinColumns = 64;  // of one cut; the library's own column block

const dnnl::engine& CpuEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& ThreadStream() {
  thread_local dnnl::stream stream(CpuEngine());
  return stream;
}

// Memory of this thread that survives from call to call.
float* ThreadScratch(size_t size) {
  thread_local std::vector<float> scratch;
  if (scratch.size() < size) scratch.resize(size);
  return scratch.data();
}

dnnl::memory MemoryAt(const dnnl::memory::desc& desc, const float* data) {
  return dnnl::memory(desc, CpuEngine(), const_cast<float*>(data));
}

struct Primitive {
  std::once_flag created;
  dnnl::inner_product_forward::primitive_desc desc;
  dnnl::inner_product_forward primitive;
};

// Some columns of the product, all that one worker needs to compute them.
class Columns {
 public:
  Columns(const DenseShape& shape, size_t count, const float* weights, const float* bias)
      : shape_(shape), count_(static_cast<int64_t>(count)), has_bias_(bias != nullptr) {
    const auto packed_desc = Describe(kMaxBlock, PlainWeights(Tag::any)).weights_desc();
    packed_ = dnnl::memory(packed_desc, CpuEngine());
    dnnl::memory plain = MemoryAt(PlainWeights(Tag::ab), weights);
    dnnl::reorder(plain, packed_).execute(ThreadStream(), plain, packed_);
    ThreadStream().wait();
    if (has_bias_) {
      bias_ = AlignedArray<float>(count);
      std::copy_n(bias, count, bias_.data());
    }
  }

  size_t count() const { return static_cast<size_t>(count_); }

  // x [block, in] -> y [block, count], dense.
  void Run(const float* x, size_t block, float* y) const {
    Primitive& primitive = primitives_[block - 1];
    std::call_once(primitive.created, [&] {
      // oneDNN shares parts of like primitives behind locks that the thread sanitizer cannot see; this one it can.
      static std::mutex creation;
      const std::lock_guard lock(creation);
      primitive.desc = Describe(block, packed_.get_desc());
      primitive.primitive = dnnl::inner_product_forward(primitive.desc);
    });
    const auto scratch = primitive.desc.scratchpad_desc();
    thread_local AlignedArray<std::byte> library_scratch;
    if (library_scratch.size() < scratch.get_size()) library_scratch = AlignedArray<std::byte>(scratch.get_size());
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, MemoryAt(primitive.desc.src_desc(), x)},
        {DNNL_ARG_WEIGHTS, packed_},
        {DNNL_ARG_DST, MemoryAt(primitive.desc.dst_desc(), y)},
        {DNNL_ARG_SCRATCHPAD, dnnl::memory(scratch, CpuEngine(), library_scratch.data())}};
    if (has_bias_) arguments.emplace(DNNL_ARG_BIAS, MemoryAt(primitive.desc.bias_desc(), bias_.data()));
    primitive.primitive.execute(ThreadStream(), arguments);
  }

 private:
  dnnl::memory::desc PlainWeights(Tag tag) const { return {{count_, static_cast<int64_t>(shape_.in)}, kF32, tag}; }

  dnnl::inner_product_forward::primitive_desc Describe(size_t block, const dnnl::memory::desc& weights) const {
    const auto rows = static_cast<int64_t>(block);
    const dnnl::memory::desc x({rows, static_cast<int64_t>(shape_.in)}, kF32, Tag::ab);
    const dnnl::memory::desc y({rows, count_}, kF32, Tag::ab);
    const dnnl::memory::desc bias = has_bias_ ? dnnl::memory::desc(Dims{count_}, kF32, Tag::a) : dnnl::memory::desc();
    const dnnl::inner_product_forward::desc operation(dnnl::prop_kind::forward_inference, x, weights, bias, y);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    dnnl::post_ops after;
    if (shape_.activation == DenseActivation::kGelu) {
      after.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
    } else if (shape_.activation == DenseActivation::kRelu) {
      after.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    }
    attributes.set_post_ops(after);
    return {operation, attributes, CpuEngine()};
  }

  DenseShape shape_;
  int64_t count_;
  bool has_bias_;
  AlignedArray<float> bias_;
  dnnl::memory packed_;
  mutable std::array<Primitive, kMaxBlock> primitives_;
};

// One cut for one thread. For more, a few cuts per thread, so that even one row keeps all of them busy.
size_t ColumnsPerCut(size_t out, size_t threads) {
  if (threads == 1) return out;
  const size_t fair = (out + 2 * threads - 1) / (2 * threads);
  return (std::max(fair, size_t{1}) + kMinColumns - 1) / kMinColumns * kMinColumns;
}

}  // namespace

struct DenseProduct::State {
  DenseShape shape;
  std::vector<std::unique_ptr<Columns>> cuts;
  size_t columns_per_cut = 0;
};

DenseProduct::DenseProduct(const DenseShape& shape, const float* weights, const float* bias, const ThreadPool& pool)
    : state_(std::make_unique<State>()) {
  const OneDnnOnThisThread alone;
  state_->shape = shape;
  state_->columns_per_cut = ColumnsPerCut(shape.out, pool.threads());
  for (size_t begin = 0; begin < shape.out; begin += state_->columns_per_cut) {
    const size_t count = std::min(state_->columns_per_cut, shape.out - begin);
    const float* cut_bias = bias != nullptr ? bias + begin : nullptr;
    state_->cuts.push_back(std::make_unique<Columns>(shape, count, weights + begin * shape.in, cut_bias));
  }
}

DenseProduct::DenseProduct(DenseProduct&&) noexcept = default;
DenseProduct& DenseProduct::operator=(DenseProduct&&) noexcept = default;
DenseProduct::~DenseProduct() = default;

const DenseShape& DenseProduct::shape() const { return state_->shape; }

void DenseProduct::Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const {
  const auto& cuts = state_->cuts;
  const size_t in = state_->shape.in, out = state_->shape.out;
  const auto run = [&](size_t row, size_t cut) {
    const Columns& columns = *cuts[cut];
    const size_t block = std::min(kMaxBlock, rows - row);
    float* block_y = y + row * out + cut * state_->columns_per_cut;
    if (cuts.size() == 1 || block == 1) return columns.Run(x + row * in, block, block_y);
    // The library is slow with rows that are not next to each other: a dense block, then copied where it belongs.
    float* dense = ThreadScratch(block * columns.count());
    columns.Run(x + row * in, block, dense);
    for (size_t r = 0; r < block; ++r) std::copy_n(dense + r * columns.count(), columns.count(), block_y + r * out);
  };
  const size_t blocks = (rows + kMaxBlock - 1) / kMaxBlock;
  pool.ParallelFor(blocks * cuts.size(), 1, [&](size_t begin, size_t end) {
    const OneDnnOnThisThread alone;
    for (size_t task = begin; task < end; ++task) run(task / cuts.size() * kMaxBlock, task % cuts.size());
  });
}

}  // namespace grove
