// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/score_router.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/score_router.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/top_k-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Sum of exp(values[i] - largest).
HWY_INLINE float SumOfExponentials(const float* values, size_t count, float largest) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const FloatVec shift = hn::Set(d, largest);
  FloatVec sum = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) sum = hn::Add(sum, hn::Exp(d, hn::Sub(hn::LoadU(d, values + i), shift)));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += std::exp(values[i] - largest);
  return total;
}

// Scores of the chosen, falling -> gates that sum to 1.
HWY_INLINE void SoftmaxOfChosen(float* scores, size_t count) {
  const float largest = scores[0];
  float total = 0;
  for (size_t s = 0; s < count; ++s) total += scores[s] = std::exp(scores[s] - largest);
  for (size_t s = 0; s < count; ++s) scores[s] /= total;
}

void ChooseExpertsSimd(const ExpertRouterShape& shape, const float* scores, size_t tokens,
                       const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  const size_t k = shape.per_token;
  pool.ParallelFor(tokens, 128, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const float* row = scores + t * shape.experts;
      float* gates = choices.gates + t * k;
      TopK(row, shape.experts, k, gates, choices.chosen + t * k);
      if (shape.gates == Gates::kRenormalized) {
        SoftmaxOfChosen(gates, k);
        continue;
      }
      const float largest = gates[0], total = SumOfExponentials(row, shape.experts, largest);
      for (size_t s = 0; s < k; ++s) gates[s] = std::exp(gates[s] - largest) / total;
    }
  });
}

// One worker's arrays for the search of the best pairs.
class PairSearch {
 public:
  explicit PairSearch(const ProductKeyRouterShape& shape) : shape_(shape) {
    for (size_t side = 0; side < 2; ++side) {
      top_[side].resize(shape.per_search);
      index_[side].resize(shape.per_search);
    }
  }

  HWY_INLINE void Run(const float* first, const float* second, uint32_t* chosen, float* gates) {
    const size_t k = shape_.per_search;
    TopK(first, shape_.sub_keys, k, top_[0].data(), index_[0].data());
    TopK(second, shape_.sub_keys, k, top_[1].data(), index_[1].data());
    scores_.clear(), names_.clear();
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; (i + 1) * (j + 1) <= k; ++j) {
        scores_.push_back(top_[0][i] + top_[1][j]);
        names_.push_back(index_[0][i] * static_cast<uint32_t>(shape_.sub_keys) + index_[1][j]);
      }
    }
    TopK(scores_.data(), scores_.size(), k, gates, chosen);
    for (size_t s = 0; s < k; ++s) chosen[s] = names_[chosen[s]];
    SoftmaxOfChosen(gates, k);
  }

 private:
  const ProductKeyRouterShape& shape_;
  ScratchVector<float> top_[2], scores_;
  ScratchVector<uint32_t> index_[2], names_;
};

void ChooseProductKeysSimd(const ProductKeyRouterShape& shape, const float* first, const float* second, size_t searches,
                           const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  const size_t k = shape.per_search;
  pool.ParallelFor(searches, 64, [&](size_t begin, size_t end) {
    PairSearch search(shape);
    for (size_t s = begin; s < end; ++s) {
      search.Run(first + s * shape.sub_keys, second + s * shape.sub_keys, choices.chosen + s * k,
                 choices.gates + s * k);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
HWY_EXPORT(ChooseExpertsSimd);
HWY_EXPORT(ChooseProductKeysSimd);

void ChooseExperts(const ExpertRouterShape& shape, const float* scores, size_t tokens,
                   const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(ChooseExpertsSimd)(shape, scores, tokens, choices, pool);
}

void ChooseProductKeys(const ProductKeyRouterShape& shape, const float* first, const float* second, size_t searches,
                       const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(ChooseProductKeysSimd)(shape, first, second, searches, choices, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
