// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/distil.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "grove/io/files.h"
#include "grove/train/compare_models.h"
#include "grove/train/distillation.h"
#include "grove/train/inherited_weights.h"
#include "grove/train/opened_model.h"
#include "grove/train/train_loop.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

Error Invalid(std::string text) { return Error(ErrorCode::kInvalidArgument, std::move(text)); }

DistillationOptions WeightsOf(const DistilOptions& options) {
  return {.masked_lm = options.masked_lm_weight,
          .logits = options.logits_weight,
          .hidden = options.hidden_weight,
          .layers = options.layer_weight,
          .temperature = options.temperature,
          .squared = options.hidden_loss == "mse"};
}

// The student's config as it will be saved, and its weights if it has some already.
struct Student {
  ModelConfig config;
  std::shared_ptr<nn::TextModel> weights;  // null: initial ones
};

Result<Student> StudentOf(const DistilOptions& options, const ModelDirectory& teacher, const TrainingData& data) {
  Student student;
  if (options.student.empty()) {
    if (teacher.config.head.kind != HeadKind::kMaskedLm) {
      return Invalid(fmt::format("{} has the head \"{}\"; a student of it must be given by --student", teacher.path,
                                 HeadKindName(teacher.config.head.kind)));
    }
    GROVE_ASSIGN_OR_RETURN(student.config,
                           ModelConfigOf(options, options.dropout, teacher.config.vocabulary, data.pad_id()));
  } else {
    if (options.init != "recipe") return Invalid("--init is for a new model and --student names one; leave it out");
    if (options.inherit) return Invalid("--inherit is for a new model and --student names one; leave it out");
    GROVE_ASSIGN_OR_RETURN(const OpenedModel opened, OpenTextModel(options.student, torch::kCPU));
    GROVE_RETURN_IF_ERROR(CheckFits(opened.directory, data, options.length));
    student = {opened.directory.config, opened.model};
  }
  const ModelConfig &ours = student.config, &theirs = teacher.config;
  if (ours.head.kind != theirs.head.kind) {
    return Invalid(fmt::format("{} has the head \"{}\" and {} has \"{}\"; they must be the same", options.student,
                               HeadKindName(ours.head.kind), teacher.path, HeadKindName(theirs.head.kind)));
  }
  if (ours.vocabulary != theirs.vocabulary) {
    return Invalid(fmt::format("{} has {} words and {} has {}; they must be the same", options.student, ours.vocabulary,
                               teacher.path, theirs.vocabulary));
  }
  if (theirs.head.kind != HeadKind::kMaskedLm && ours.head.labels != theirs.head.labels) {
    return Invalid(fmt::format("{} has {} labels and {} has {}; they must be the same", options.student,
                               ours.head.labels, teacher.path, theirs.head.labels));
  }
  if (options.inherit && (!theirs.crammed() || ours.width != theirs.width)) {
    return Invalid(
        fmt::format("--inherit: {} is a {} model of width {} and the student crammedBERT of width {}; they "
                    "must be the same",
                    teacher.path, ModelFamilyName(theirs.family), theirs.width, ours.width));
  }
  const bool layers =
      ours.feed_forward.kind != FeedForwardKind::kNone && theirs.feed_forward.kind != FeedForwardKind::kNone;
  if (options.layer_weight > 0 && !layers) {
    return Invalid("--layer-weight needs feedforward layers in the teacher and in the student; leave it at 0");
  }
  return student;
}

// Without the options that describe a new model where --student names one.
OptionList Recorded(DistilOptions& options) {
  OptionList list = DistilOptionList(options), shape;
  if (options.student.empty()) return list;
  AddModelOptions(options, shape);
  std::erase_if(list, [&](const Option& option) {
    return option.name != "length" && (option.name == "init" || FindOption(shape, option.name) != nullptr);
  });
  return list;
}

// A model that another owner keeps alive.
std::shared_ptr<nn::TextModel> NotOwned(nn::TextModel& model) { return {std::shared_ptr<void>(), &model}; }

// --inherit, before the first step.
Status Inherit(const TeacherAndStudent& models) {
  const torch::NoGradGuard no_grad;
  for (const auto& [student, teacher] : SharedParameters(models)) student.copy_(teacher);
  return Ok{};
}

Result<PretrainSummary> DistilChecked(const DistilOptions& options, const PretrainContext& context) {
  GROVE_RETURN_IF_ERROR(CheckDistilOptions(options));
  GROVE_RETURN_IF_ERROR(CheckKeepsInput(options.output, options.teacher, "--teacher"));
  GROVE_RETURN_IF_ERROR(CheckKeepsInput(options.output, options.student, "--student"));
  GROVE_ASSIGN_OR_RETURN(Compute compute, ComputeOf(options, context));
  GROVE_ASSIGN_OR_RETURN(const OpenedModel teacher, OpenTextModel(options.teacher, compute.device));
  GROVE_ASSIGN_OR_RETURN(TrainingData data, DataOf(options, compute));
  GROVE_RETURN_IF_ERROR(CheckFits(teacher.directory, data, options.length));
  GROVE_ASSIGN_OR_RETURN(const Student student, StudentOf(options, teacher.directory, data));
  const ModelConfig training = WithDropout(student.config, options.dropout);
  const nn::ModuleOptions module_options = ModuleOptionsOf(options);
  const HeadKind head = student.config.head.kind;
  const bool bf16 = compute.bf16;
  const auto with = [&](std::shared_ptr<nn::TextModel> model) {
    return TeacherAndStudent{teacher.model, teacher.directory.config, std::move(model), training};
  };
  DistilOptions copy = options;
  const TrainingTask task{
      .config = student.config,
      .make = [&]() -> std::shared_ptr<Objective> {
        const auto model = student.weights ? CopyModel(*student.weights, training, module_options)
                                           : nn::MakeTextModel(training, module_options);
        return std::make_shared<Distillation>(with(model), WeightsOf(options));
      },
      .initialize = [&](nn::TextModel& model) -> Status {
        return options.inherit ? Inherit(with(NotOwned(model))) : Status(Ok{});
      },
      .options = Recorded(copy),
      .judge = [&](Objective& objective, const std::vector<Batch>& validation) -> Json {
        Json json{{"model", options.teacher}};
        if (options.inherit) json["inherited"] = CountNumbers(SharedParameters(with(NotOwned(objective.model()))));
        json.update(ComparisonJson(CompareModels(*teacher.model, objective.model(), head, validation, bf16)));
        return {{"teacher", json}};
      }};
  return Train(options, context, std::move(compute), std::move(data), task);
}

}  // namespace

OptionList DistilOptionList(DistilOptions& o) {
  OptionList list = PretrainOptionList(o);
  std::erase_if(list, [](const Option& option) { return option.name == "start_from"; });  // here it is "student"
  const OptionList own = {
      {"teacher", &o.teacher, "Model directory to learn from: BERT, DistilBERT or crammedBERT"},
      {"student", &o.student, "Model directory to begin with; empty: the model of the options, with initial weights"},
      {"inherit", &o.inherit, "Begin with the teacher's weights wherever name and shape agree: attention, embeddings"},
      {"masked_lm_weight", &o.masked_lm_weight, "Weight of the masked-LM loss", 0, 1e6},
      {"logits_weight", &o.logits_weight, "Weight of T^2 KL(teacher || student)", 0, 1e6},
      {"hidden_weight", &o.hidden_weight, "Weight of the hidden states' loss", 0, 1e6},
      {"layer_weight", &o.layer_weight, "Weight of the feedforward outputs' loss", 0, 1e6},
      {"temperature", &o.temperature, "T, which divides the logits", 0.01, 1000},
      {"hidden_loss", &o.hidden_loss, "Of hidden states: 1 - cosine, or relative squared error", 0, 0, "cosine mse"},
  };
  list.insert(list.end(), own.begin(), own.end());
  return list;
}

Status CheckDistilOptions(const DistilOptions& options) {
  GROVE_RETURN_IF_ERROR(CheckOptions(options));
  if (options.teacher.empty()) return Invalid("--teacher is missing; name the model directory to learn from");
  if (options.masked_lm_weight + options.logits_weight + options.hidden_weight + options.layer_weight == 0) {
    return Invalid("every weight is 0; give --logits-weight, --hidden-weight, --layer-weight or --masked-lm-weight");
  }
  return Ok{};
}

Result<PretrainSummary> Distil(const DistilOptions& options, const PretrainContext& context) {
  return WithoutExceptions([&] { return DistilChecked(options, context); });
}

}  // namespace grove::train
