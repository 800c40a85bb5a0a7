// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_leaf_tree.h"

#include "grove/base/aligned.h"
#include "grove/base/check.h"

namespace grove {

void LeafTreeForward(const QuantizedLeafTree& tree, const float* x, size_t tokens, float* y, ThreadPool& pool) {
  const ExpertsShape& leaves = tree.leaves.shape();
  const size_t per_token = tree.router.shape().leaves_per_token();
  GROVE_DCHECK(tree.leaves.precision() == tree.router.precision());
  pool.ParallelFor(tokens, ExpertTokens(tokens, pool), [&](size_t begin, size_t end) {
    thread_local EncodedRows rows;
    thread_local AlignedArray<uint32_t> chosen;
    thread_local AlignedArray<float> gates;
    const size_t count = end - begin;
    rows.Resize(count, tree.leaves.w1().groups(), tree.leaves.precision(), EncodedRows::ScaleInRow::kYes);
    for (size_t t = 0; t < count; ++t) rows.Encode(t, x + (begin + t) * leaves.in_width, leaves.in_width);
    const ExpertChoiceBuffers choices{AtLeast(chosen, count * per_token), AtLeast(gates, count * per_token)};
    RouteLeaves(tree.router, rows, count, choices);
    GatedExpertsForward(tree.leaves, rows, count, {choices.chosen, choices.gates, per_token},
                        y + begin * leaves.out_width);
  });
}

}  // namespace grove
