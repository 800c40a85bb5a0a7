// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every verb of both programs; each is defined in the file of its name.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace grove::cli {

// grove
std::unique_ptr<Verb> MakeBenchEncoderVerb();
std::unique_ptr<Verb> MakeBenchLayerVerb();
std::unique_ptr<Verb> MakeBenchRoundsVerb();
std::unique_ptr<Verb> MakeFillMaskVerb();
std::unique_ptr<Verb> MakeForwardVerb();
std::unique_ptr<Verb> MakeInfoVerb();
std::unique_ptr<Verb> MakeQuantizeVerb();
std::unique_ptr<Verb> MakeTokenizeVerb();

// grove-train
std::unique_ptr<Verb> MakeBatchesVerb();
std::unique_ptr<Verb> MakeConvertVerb();
std::unique_ptr<Verb> MakeDataVerb();
std::unique_ptr<Verb> MakeDistilVerb();
std::unique_ptr<Verb> MakeEvalVerb();
std::unique_ptr<Verb> MakeFinetuneVerb();
std::unique_ptr<Verb> MakePretrainVerb();
std::unique_ptr<Verb> MakeReportVerb();
std::unique_ptr<Verb> MakeTokenizerVerb();

}  // namespace grove::cli
