// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train`: from text to a model directory. The program that links LibTorch.
#include "cli/verbs.h"

int main(int argc, char** argv) {
  using namespace grove::cli;
  Verbs verbs;
  verbs.push_back(MakeTokenizerVerb());
  verbs.push_back(MakeDataVerb());
  verbs.push_back(MakeBatchesVerb());
  verbs.push_back(MakePretrainVerb());
  verbs.push_back(MakeDistilVerb());
  verbs.push_back(MakeConvertVerb());
  verbs.push_back(MakeReportVerb());
  return Main(argc, argv, "grove-train", "Train encoders whose feedforward layers are trees.", verbs);
}
