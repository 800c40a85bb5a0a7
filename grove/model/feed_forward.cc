// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/feed_forward.h"

#include <utility>

#include "grove/base/check.h"
#include "grove/model/feed_forward_kinds.h"

namespace grove {
namespace {

struct Kind {
  FeedForwardKind kind;
  FeedForwardResult (*load)(const FeedForwardSource&);
};

constexpr Kind kKinds[] = {
    {FeedForwardKind::kDense, LoadDense},
    {FeedForwardKind::kLeafTree, LoadLeafTree},
    {FeedForwardKind::kMoe, LoadMoe},
    {FeedForwardKind::kNeuronTree, LoadNeuronTree},
    {FeedForwardKind::kProductKey, LoadProductKey},
};

}  // namespace

bool HasLowPrecision(const FeedForwardConfig& config) {
  switch (config.kind) {
    case FeedForwardKind::kDense:
    case FeedForwardKind::kLeafTree:
    case FeedForwardKind::kNone:  // nothing to multiply
      return true;
    case FeedForwardKind::kNeuronTree:
      return config.routing == TreeRouting::kHard || config.routing == TreeRouting::kStraightThrough;
    case FeedForwardKind::kMoe:
    case FeedForwardKind::kProductKey:
      return false;
  }
  GROVE_CHECK(false);
}

FeedForwardResult LoadFeedForward(const ParameterSource& parameters, const FeedForwardNames& names,
                                  const FeedForwardConfig& config, int64_t width, int64_t layer, const ThreadPool& pool,
                                  Precision precision) {
  const FeedForwardSource source{parameters, names, config, width, layer, pool, precision};
  for (const Kind& entry : kKinds) {
    if (entry.kind != config.kind) continue;
    GROVE_ASSIGN_OR_RETURN(std::unique_ptr<FeedForward> loaded, entry.load(source));
    if (!config.conditional() || config.always_on == 0) return loaded;
    return LoadAlwaysOn(source, std::move(loaded));
  }
  GROVE_CHECK(!"every kind but kNone has a line in kKinds");
}

}  // namespace grove
