// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Initial weights other than those that modules are built with.
//
//   recipe     as built: normal(init_std) everywhere; decisions of leaf trees uniform in +-1/sqrt(width) without bias;
//              neuron trees as the published class
//   scaled     recipe, and every matrix that writes into the residual stream (attention and feedforward outputs) times
//              1/sqrt(2 layers), as GPT-2 does: the stream's variance then does not grow with depth
//   published  leaf trees as the published class of arXiv 2308.14711: decisions, w1s and all their biases uniform in
//              +-1/sqrt(width), w2s and b2s in +-1/sqrt(leaf_width); the rest as the recipe
//   alike      every leaf (or expert) of a layer is a copy of the first plus normal noise of a tenth of its spread, as
//              in upcycling (arXiv 2212.05055): routing starts without consequence, so that no leaf is ruined by the
//              tokens that an untrained tree happens to send it
#pragma once

#include <string>

#include "grove/base/result.h"
#include "grove/nn/text_model.h"

namespace grove::train {

// Changes the model's weights in place, with LibTorch's default random generator. An error if `scheme` has no meaning
// for the model's feedforward layers.
Status Initialize(nn::TextModel& model, const std::string& scheme);

}  // namespace grove::train
