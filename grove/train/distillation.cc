// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/distillation.h"

#include <algorithm>
#include <utility>

#include "grove/base/check.h"

namespace grove::train {
namespace {

// 1 at tokens, 0 at padding, [batch x length].
torch::Tensor TokenWeights(const Batch& batch) {
  if (batch.attention_mask.defined()) return batch.attention_mask.flatten().to(torch::kFloat);
  return torch::ones({batch.ids.numel()}, torch::TensorOptions().device(batch.ids.device()));
}

torch::Tensor MeanOver(const torch::Tensor& of_token, const torch::Tensor& tokens) {
  return (of_token * tokens).sum() / tokens.sum().clamp_min(1.0);
}

// student, teacher [tokens, width].
torch::Tensor SquaredLoss(const torch::Tensor& student, const torch::Tensor& teacher, const torch::Tensor& tokens) {
  const torch::Tensor target = teacher.to(torch::kFloat);
  const torch::Tensor size = MeanOver(target.square().sum(-1), tokens).clamp_min(1e-12);
  return MeanOver((student.to(torch::kFloat) - target).square().sum(-1), tokens) / size;
}

torch::Tensor CosineLoss(const torch::Tensor& student, const torch::Tensor& teacher, const torch::Tensor& tokens) {
  return MeanOver(1.0 - torch::cosine_similarity(student.to(torch::kFloat), teacher.to(torch::kFloat), -1), tokens);
}

}  // namespace

int64_t TeacherBlock(int64_t i, int64_t student_blocks, int64_t teacher_blocks) {
  return ((i + 1) * teacher_blocks + student_blocks - 1) / student_blocks - 1;
}

Batch AsReadBy(HeadKind head, const Batch& batch) {
  if (head == HeadKind::kMaskedLm) return batch;
  Batch whole = batch;
  whole.ids = batch.ids.flatten().index_copy(0, batch.positions, batch.labels).view_as(batch.ids);
  return whole;
}

torch::Tensor KlDivergence(const torch::Tensor& teacher, const torch::Tensor& student, double temperature) {
  const torch::Tensor target = torch::log_softmax(teacher.to(torch::kFloat) / temperature, -1);
  const torch::Tensor answer = torch::log_softmax(student.to(torch::kFloat) / temperature, -1);
  const double rows = static_cast<double>(std::max<int64_t>(teacher.size(0), 1));
  return (target.exp() * (target - answer)).sum() / rows;
}

// The student under "student", and the maps of its hidden states and layer outputs into the teacher's.
class Distillation::Trained final : public torch::nn::Module {
 public:
  Trained(const TeacherAndStudent& models, const DistillationOptions& options) {
    register_module("student", models.student);
    const ModelConfig &student = models.student_config, &teacher = models.teacher_config;
    if (student.width == teacher.width && student.family == teacher.family) return;
    const auto maps = [&](const char* name, std::vector<torch::nn::Linear>& list) {
      const auto folder = register_module(name, std::make_shared<torch::nn::Module>());
      for (int64_t i = 0; i < student.layers; ++i) {
        list.push_back(folder->register_module(
            std::to_string(i), nn::MakeLinear(student.width, teacher.width, /*bias=*/true, student.init_std)));
      }
    };
    if (options.hidden > 0) maps("hidden_maps", hidden_);
    if (options.layers > 0) maps("layer_maps", layers_);
  }

  torch::Tensor Hidden(size_t i, const torch::Tensor& h) { return hidden_.empty() ? h : hidden_[i]->forward(h); }
  torch::Tensor Layer(size_t i, const torch::Tensor& y) { return layers_.empty() ? y : layers_[i]->forward(y); }

 private:
  std::vector<torch::nn::Linear> hidden_, layers_;
};

Distillation::Distillation(TeacherAndStudent models, const DistillationOptions& options)
    : models_(std::move(models)), options_(options), trained_(std::make_shared<Trained>(models_, options)) {
  GROVE_CHECK(models_.teacher_config.head.kind == models_.student_config.head.kind);
}
Distillation::~Distillation() = default;

torch::nn::Module& Distillation::trained() { return *trained_; }

std::vector<std::string> Distillation::term_names() const {
  std::vector<std::string> names;
  const HeadKind head = models_.student_config.head.kind;
  if (head == HeadKind::kMaskedLm && options_.masked_lm > 0) names.emplace_back("masked_lm");
  if (head != HeadKind::kNone && options_.logits > 0) names.emplace_back("kl");
  if (options_.hidden > 0) names.emplace_back("hidden");
  if (options_.layers > 0) names.emplace_back("layers");
  return names;
}

Distillation::Pass Distillation::Run(nn::TextModel& model, const Batch& batch) const {
  Pass pass;
  pass.out = model.Encode(InputOf(batch), options_.hidden > 0 || options_.layers > 0 ? &pass.trace : nullptr);
  return pass;
}

torch::Tensor Distillation::HiddenLoss(const Pass& student, const Pass& teacher, const torch::Tensor& tokens) {
  torch::Tensor sum = torch::zeros({}, tokens.options());
  const int64_t blocks = static_cast<int64_t>(student.trace.hidden.size());
  for (int64_t i = 0; i < blocks; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto of = static_cast<size_t>(TeacherBlock(i, blocks, static_cast<int64_t>(teacher.trace.hidden.size())));
    const torch::Tensor mapped = trained_->Hidden(at, student.trace.hidden[at].flatten(0, 1));
    const torch::Tensor target = teacher.trace.hidden[of].flatten(0, 1);
    sum = sum + (options_.squared ? SquaredLoss(mapped, target, tokens) : CosineLoss(mapped, target, tokens));
  }
  return sum / static_cast<double>(std::max<int64_t>(blocks, 1));
}

torch::Tensor Distillation::LayerLoss(const Pass& student, const Pass& teacher, const torch::Tensor& tokens) {
  torch::Tensor sum = torch::zeros({}, tokens.options());
  const auto &outs = student.trace.feed_forward_out, &targets = teacher.trace.feed_forward_out;
  const int64_t blocks = static_cast<int64_t>(outs.size());
  for (int64_t i = 0; i < blocks; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto of = static_cast<size_t>(TeacherBlock(i, blocks, static_cast<int64_t>(targets.size())));
    sum = sum + SquaredLoss(trained_->Layer(at, outs[at]), targets[of], tokens);
  }
  return sum / static_cast<double>(std::max<int64_t>(blocks, 1));
}

ObjectiveLoss Distillation::ComputeLoss(const Batch& masked) {
  const HeadKind head = models_.student_config.head.kind;
  const Batch batch = AsReadBy(head, masked);
  const torch::Tensor tokens = TokenWeights(batch);
  Pass teacher;
  torch::Tensor target;
  const bool logits = options_.logits > 0 && head != HeadKind::kNone;
  {
    const torch::NoGradGuard no_grad;
    teacher = Run(*models_.teacher, batch);
    if (logits) target = models_.teacher->Logits(teacher.out.hidden, batch.attention_mask, batch.positions);
  }
  const Pass student = Run(*models_.student, batch);
  torch::Tensor per_word = torch::zeros({}, tokens.options()), per_token = student.out.regularizer;
  std::vector<torch::Tensor> terms;
  const auto add = [&](torch::Tensor& sum, const torch::Tensor& term, double weight) {
    sum = sum.defined() ? sum + weight * term : weight * term;
    terms.push_back(term.detach());
  };
  if (head == HeadKind::kMaskedLm && options_.masked_lm > 0) {
    add(per_word, MaskedLmLoss(*models_.student, student.out.hidden, batch), options_.masked_lm);
  }
  if (logits) {
    const torch::Tensor answer = models_.student->Logits(student.out.hidden, batch.attention_mask, batch.positions);
    const double square = options_.temperature * options_.temperature;
    add(per_word, KlDivergence(target, answer, options_.temperature), options_.logits * square);
  }
  // Without a head nothing else is there to report as the loss.
  torch::Tensor& rest = head == HeadKind::kNone ? per_word : per_token;
  if (options_.hidden > 0) add(rest, HiddenLoss(student, teacher, tokens), options_.hidden);
  if (options_.layers > 0) add(rest, LayerLoss(student, teacher, tokens), options_.layers);
  return {per_word, per_token, terms.empty() ? torch::Tensor() : torch::stack(terms)};
}

torch::Tensor Distillation::ValidationLoss(const Batch& masked) {
  const HeadKind head = models_.student_config.head.kind;
  const Batch batch = AsReadBy(head, masked);
  Pass student, teacher;
  student.out = models_.student->Encode(InputOf(batch), &student.trace);
  if (head == HeadKind::kMaskedLm) return MaskedLmLoss(*models_.student, student.out.hidden, batch);
  teacher.out = models_.teacher->Encode(InputOf(batch), &teacher.trace);
  if (head == HeadKind::kNone) return HiddenLoss(student, teacher, TokenWeights(batch));
  return KlDivergence(models_.teacher->Logits(teacher.out.hidden, batch.attention_mask, batch.positions),
                      models_.student->Logits(student.out.hidden, batch.attention_mask, batch.positions), 1.0);
}

}  // namespace grove::train
