// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/compare_precision.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "grove/base/check.h"
#include "grove/data/sequences.h"

namespace grove {
namespace {

constexpr size_t kBatch = 16;      // sequences
constexpr size_t kScoreRows = 64;  // words whose scores are in memory together
constexpr double kMaskShare = 0.25;

// Sums of squares, of differences and of what they are measured by.
struct ErrorSums {
  double difference = 0, reference = 0;
  void Add(const float* is, const float* was, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const double off = double{is[i]} - was[i];
      difference += off * off;
      reference += double{was[i]} * was[i];
    }
  }
  double relative() const { return reference > 0 ? std::sqrt(difference / reference) : 0; }
};

// One batch, padded.
struct Sequences {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask;
  size_t batch = 0, length = 0;
  std::vector<int64_t> places, labels;  // of masked words

  TokenBatch view() const { return {.ids = ids, .mask = mask, .batch = batch, .length = length}; }
};

class Comparison {
 public:
  Comparison(const LoadedModel& fp32, const LoadedModel& rounded) : fp32_(fp32), rounded_(rounded) {}

  Status Add(std::span<const std::vector<int32_t>> sequences, size_t number) {
    const Sequences batch = Pad(sequences, number);
    result_.sequences += batch.batch;
    result_.tokens += static_cast<size_t>(std::ranges::count(batch.mask, 1));
    GROVE_RETURN_IF_ERROR(AddHidden(batch));
    if (fp32_.masked_lm) return AddMaskedWords(batch);
    if (fp32_.classifier || fp32_.token_classifier) return AddClasses(batch);
    return Ok{};
  }

  PrecisionComparison Finish() const {
    PrecisionComparison result = result_;
    for (const ErrorSums& sums : hidden_) result.hidden_error.push_back(sums.relative());
    if (result.answers == 0) return result;
    const auto answers = static_cast<double>(result.answers);
    if (fp32_.masked_lm) result.loss = {.fp32 = loss_[0] / answers, .rounded = loss_[1] / answers};
    if (fp32_.config().head.regression) {
      result.answer_error = regression_.relative();
    } else {
      result.same_answer = static_cast<double>(same_) / answers;
    }
    return result;
  }

 private:
  Sequences Pad(std::span<const std::vector<int32_t>> sequences, size_t number) const {
    Sequences batch{.ids = {}, .mask = {}, .batch = sequences.size(), .places = {}, .labels = {}};
    for (const auto& sequence : sequences) batch.length = std::max(batch.length, sequence.size());
    const auto pad = static_cast<int32_t>(fp32_.config().pad_id);
    for (size_t b = 0; b < sequences.size(); ++b) {
      const std::vector<int32_t>& own = sequences[b];
      std::vector<int64_t> ids(own.begin(), own.end());
      if (fp32_.masked_lm) Mask(ids, number + b, static_cast<int64_t>(b * batch.length), batch);
      for (size_t t = 0; t < batch.length; ++t) {
        batch.ids.push_back(t < ids.size() ? static_cast<int32_t>(ids[t]) : pad);
        batch.mask.push_back(t < ids.size() ? 1 : 0);
      }
    }
    return batch;
  }

  void Mask(std::vector<int64_t>& ids, size_t number, int64_t offset, Sequences& batch) const {
    const Tokenizer& tokenizer = *fp32_.tokenizer;
    MaskOptions options{.share = kMaskShare,
                        .mask_id = tokenizer.mask_id().value_or(tokenizer.unknown_id()),
                        .vocabulary = static_cast<int64_t>(tokenizer.vocabulary_size()),
                        .special = {tokenizer.unknown_id(), tokenizer.cls_id(), tokenizer.sep_id()}};
    if (tokenizer.mask_id()) options.special.push_back(*tokenizer.mask_id());
    if (tokenizer.pad_id()) options.special.push_back(*tokenizer.pad_id());
    KeyedRandom random(1, number);
    MaskTokens(options, random, ids, offset, &batch.places, &batch.labels);
  }

  // Runs both encoders and adds up the errors after every layer.
  Status AddHidden(const Sequences& batch) {
    const size_t width = static_cast<size_t>(fp32_.config().width), size = batch.ids.size() * width;
    std::vector<std::vector<float>> layers;
    for (size_t form = 0; form < 2; ++form) {
      output_[form] = AlignedArray<float>(size);
      size_t index = 0;
      const auto observe = [&](const float* hidden, size_t count) {
        if (form == 0) {
          layers.emplace_back(hidden, hidden + count);
        } else {
          At(index).Add(hidden, layers[index].data(), count);
        }
        ++index;
      };
      Arena arena;
      const Encoder& encoder = (form == 0 ? fp32_ : rounded_).encoder;
      GROVE_RETURN_IF_ERROR(encoder.Forward(batch.view(), arena, output_[form].data(), observe));
      if (form == 1 && fp32_.config().final_norm) At(index).Add(output_[1].data(), output_[0].data(), size);
    }
    return Ok{};
  }

  ErrorSums& At(size_t index) {
    if (hidden_.size() <= index) hidden_.resize(index + 1);
    return hidden_[index];
  }

  Status AddMaskedWords(const Sequences& batch) {
    const auto width = static_cast<size_t>(fp32_.config().width);
    const auto words = static_cast<size_t>(fp32_.config().vocabulary);
    AlignedArray<float> rows(kScoreRows * width), scores[2];
    for (auto& array : scores) array = AlignedArray<float>(kScoreRows * words);
    for (size_t begin = 0; begin < batch.places.size(); begin += kScoreRows) {
      const size_t count = std::min(kScoreRows, batch.places.size() - begin);
      for (size_t form = 0; form < 2; ++form) {
        const LoadedModel& model = form == 0 ? fp32_ : rounded_;
        for (size_t i = 0; i < count; ++i) {
          const auto place = static_cast<size_t>(batch.places[begin + i]);
          std::copy_n(output_[form].data() + place * width, width, rows.data() + i * width);
        }
        model.masked_lm->Forward(rows.data(), count, scores[form].data(), model.encoder.pool());
      }
      for (size_t i = 0; i < count; ++i) {
        const std::span was(scores[0].data() + i * words, words), is(scores[1].data() + i * words, words);
        GROVE_RETURN_IF_ERROR(AddAnswer(was, is));
        const auto label = static_cast<size_t>(batch.labels[begin + i]);
        loss_[0] += Loss(was, label);
        loss_[1] += Loss(is, label);
      }
    }
    return Ok{};
  }

  Status AddClasses(const Sequences& batch) {
    GROVE_ASSIGN_OR_RETURN(const ModelOutput was, RunModel(fp32_, batch.view()));
    GROVE_ASSIGN_OR_RETURN(const ModelOutput is, RunModel(rounded_, batch.view()));
    const auto labels = static_cast<size_t>(fp32_.config().head.labels);
    const bool tokens = fp32_.token_classifier.has_value();
    for (size_t row = 0; row < was.logits.size() / labels; ++row) {
      if (tokens && batch.mask[row] == 0) continue;
      GROVE_RETURN_IF_ERROR(
          AddAnswer({was.logits.data() + row * labels, labels}, {is.logits.data() + row * labels, labels}));
    }
    return Ok{};
  }

  Status AddAnswer(std::span<const float> was, std::span<const float> is) {
    for (size_t form = 0; form < 2; ++form) {
      for (const float score : form == 0 ? was : is) {
        if (std::isfinite(score)) continue;
        return Error(ErrorCode::kCorrupt, (form == 0 ? fp32_.path : std::string("the rounded model")) +
                                              " gives scores that are no numbers; its weights are damaged");
      }
    }
    ++result_.answers;
    same_ += std::ranges::max_element(was) - was.begin() == std::ranges::max_element(is) - is.begin();
    regression_.Add(is.data(), was.data(), was.size());
    return Ok{};
  }

  static double Loss(std::span<const float> scores, size_t label) {
    const double largest = *std::ranges::max_element(scores);
    double sum = 0;
    for (const float score : scores) sum += std::exp(score - largest);
    return std::log(sum) + largest - scores[label];
  }

  const LoadedModel& fp32_;
  const LoadedModel& rounded_;
  AlignedArray<float> output_[2];  // hidden vectors of the batch, fp32 and rounded
  std::vector<ErrorSums> hidden_;
  ErrorSums regression_;
  double loss_[2] = {0, 0};
  size_t same_ = 0;
  PrecisionComparison result_;
};

}  // namespace

Result<PrecisionComparison> ComparePrecision(const LoadedModel& fp32, const LoadedModel& rounded,
                                             const std::vector<std::vector<int32_t>>& sequences,
                                             const std::function<bool(double)>& progress) {
  GROVE_CHECK(!fp32.masked_lm || fp32.tokenizer);
  // Sequences of like length together, so that little is padded.
  std::vector<std::vector<int32_t>> sorted = sequences;
  std::ranges::stable_sort(sorted, {}, [](const auto& sequence) { return sequence.size(); });
  Comparison comparison(fp32, rounded);
  for (size_t begin = 0; begin < sorted.size(); begin += kBatch) {
    if (!progress(static_cast<double>(begin) / static_cast<double>(sorted.size()))) {
      return Error(ErrorCode::kInvalidArgument, "stopped before the comparison was done");
    }
    const size_t count = std::min(kBatch, sorted.size() - begin);
    GROVE_RETURN_IF_ERROR(comparison.Add(std::span(sorted).subspan(begin, count), begin));
  }
  return comparison.Finish();
}

}  // namespace grove
