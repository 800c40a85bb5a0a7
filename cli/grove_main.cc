// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove`: everything one does with a finished model. It must never need LibTorch (tests/link_test.py).
#include "cli/verbs.h"

int main(int argc, char** argv) {
  using namespace grove::cli;
  Verbs verbs;
  verbs.push_back(MakeInfoVerb());
  verbs.push_back(MakeFillMaskVerb());
  verbs.push_back(MakeForwardVerb());
  verbs.push_back(MakeTokenizeVerb());
  verbs.push_back(MakeQuantizeVerb());
  verbs.push_back(MakeBenchLayerVerb());
  verbs.push_back(MakeBenchEncoderVerb());
  verbs.push_back(MakeBenchRoundsVerb());
  return Main(argc, argv, "grove", "Use and measure encoders whose feedforward layers are trees.", verbs);
}
