// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The objective of distillation: a student model learns to answer as a teacher does. Per batch, each part times its
// weight:
//
//   masked_lm  cross-entropy with the hidden words (masked-LM models)
//   logits     T^2 KL(teacher || student) of softmax(logits / T) at the masked positions (arXiv 1503.02531); of a
//              classifier: of its classes, the text unmasked
//   hidden     after each student block, against the teacher's block at the same share of the depth: 1 - cosine, or
//              |student - teacher|^2 / mean |teacher|^2, mean over tokens
//   layers     the feedforward layers' outputs, the squared form of the same
//
// Where the widths or the families differ, hidden states and layer outputs go through a learnt linear map, which is
// trained and kept in checkpoints with the student and does not belong to the model that is left.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grove/train/objective.h"

namespace grove::train {

struct DistillationOptions {
  double masked_lm = 1, logits = 1, hidden = 1, layers = 0;  // weights
  double temperature = 2;
  bool squared = false;  // hidden states: the squared form in place of the cosine
};

// A teacher and a student with the same head and the same vocabulary or labels.
struct TeacherAndStudent {
  std::shared_ptr<nn::TextModel> teacher;  // in evaluation mode, on the device; shared by the replicas
  ModelConfig teacher_config;
  std::shared_ptr<nn::TextModel> student;
  ModelConfig student_config;
};

class Distillation final : public Objective {
 public:
  Distillation(TeacherAndStudent models, const DistillationOptions& options);
  ~Distillation() override;

  torch::nn::Module& trained() override;
  nn::TextModel& model() override { return *models_.student; }
  ObjectiveLoss ComputeLoss(const Batch& batch) override;
  std::vector<std::string> term_names() const override;
  // Masked-LM loss of the student; of another head: KL(teacher || student); without a head: the hidden loss.
  torch::Tensor ValidationLoss(const Batch& batch) override;

 private:
  class Trained;
  struct Pass {
    nn::ForwardTrace trace;
    nn::EncoderOutput out;
  };
  Pass Run(nn::TextModel& model, const Batch& batch) const;
  torch::Tensor HiddenLoss(const Pass& student, const Pass& teacher, const torch::Tensor& tokens);
  torch::Tensor LayerLoss(const Pass& student, const Pass& teacher, const torch::Tensor& tokens);

  TeacherAndStudent models_;
  DistillationOptions options_;
  std::shared_ptr<Trained> trained_;
};

// The teacher's block for block `i` of the student, both 0-based: the same share of the depth, the last for the last.
int64_t TeacherBlock(int64_t i, int64_t student_blocks, int64_t teacher_blocks);

// The batch as a model with this head reads it: masked for a masked LM, else with the hidden words put back.
Batch AsReadBy(HeadKind head, const Batch& batch);

// Mean over rows of KL(softmax(teacher / T) || softmax(student / T)), natural log. Logits [rows, choices].
torch::Tensor KlDivergence(const torch::Tensor& teacher, const torch::Tensor& student, double temperature);

}  // namespace grove::train
