// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A neuron tree in a form that is given, not chosen by the number of tokens: what the choice is checked with.
#include <utility>

#include "grove/bench/layer_contender.h"

namespace grove::bench {
namespace {

const char* FormName(WalkForm form) {
  switch (form) {
    case WalkForm::kOneByThreads:
      return "threads share tokens";
    case WalkForm::kFewTokens:
      return "few tokens";
    case WalkForm::kGrouped:
      return "many tokens";
  }
  return "";
}

class TreeFormContender : public LayerContender {
 public:
  TreeFormContender(std::unique_ptr<LayerContender> tree, WalkForm form)
      : LayerContender(*tree), tree_(std::move(tree)), form_(form) {
    name += std::string(", form: ") + FormName(form);
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    const ForcedWalkForm forced(form_);
    tree_->Forward(x, tokens, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override { tree_->Reference(x, tokens, y); }
  void ForgetReference() override { tree_->ForgetReference(); }

 private:
  std::unique_ptr<LayerContender> tree_;
  WalkForm form_;
};

}  // namespace

std::unique_ptr<LayerContender> MakeTreeFormContender(std::unique_ptr<LayerContender> tree, WalkForm form) {
  return std::make_unique<TreeFormContender>(std::move(tree), form);
}

}  // namespace grove::bench
