// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/fill_mask.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "grove/base/check.h"

namespace grove {
namespace {

constexpr size_t kBatchTokens = 4096;  // padding included

Error BadText(size_t index, const std::string& text) {
  return Error(ErrorCode::kInvalidArgument, "text " + std::to_string(index + 1) + " " + text);
}

// What FillMasks needs of a model, all there.
struct Parts {
  const LoadedModel& model;
  const Tokenizer& tokenizer;
  int32_t mask_id, pad_id;
};

Result<Parts> PartsOf(const LoadedModel& model) {
  if (!model.masked_lm) {
    return Error(ErrorCode::kUnsupported, model.path + " has no masked-LM head; fill masks with a masked-LM model");
  }
  GROVE_CHECK(model.tokenizer.has_value());
  if (!model.tokenizer->mask_id()) {
    return Error(ErrorCode::kInvalidArgument,
                 model.path + ": the tokenizer has no [MASK] token; use one made for masked words");
  }
  const auto pad = static_cast<int32_t>(model.config().pad_id);
  return Parts{model, *model.tokenizer, *model.tokenizer->mask_id(), model.tokenizer->pad_id().value_or(pad)};
}

Result<Encoding> EncodeText(const Parts& parts, size_t index, const std::string& text, bool truncate) {
  const auto limit = static_cast<size_t>(parts.model.config().max_length);
  Result<Encoding> encoding = parts.tokenizer.Encode(text);
  if (!encoding.ok()) return BadText(index, "cannot be read: " + encoding.error().message());
  const bool has_mask = std::ranges::count(encoding.value().ids, parts.mask_id) > 0;
  if (!has_mask) return BadText(index, "has no [MASK]; write [MASK] where a word is to be found");
  if (encoding.value().ids.size() <= limit) return encoding;
  if (!truncate) {
    return BadText(index, "has " + std::to_string(encoding.value().ids.size()) +
                              " tokens and the model takes at most " + std::to_string(limit) +
                              "; shorten it or pass --truncate");
  }
  encoding = parts.tokenizer.Encode(text, {.max_length = limit});
  if (!encoding.ok()) return BadText(index, "cannot be truncated: " + encoding.error().message());
  if (std::ranges::count(encoding.value().ids, parts.mask_id) == 0) {
    return BadText(index, "has its [MASK] beyond the " + std::to_string(limit) + " tokens that the model takes");
  }
  return encoding;
}

// The `top` most probable words of one row of logits. Ids that the tokenizer does not know get a share of the
// probability but are no words.
Result<std::vector<MaskWord>> TopWords(const Parts& parts, std::span<const float> logits, size_t top) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  if (!std::isfinite(sum)) {
    return Error(ErrorCode::kCorrupt, parts.model.path + " gives scores that are no numbers; its weights are damaged");
  }
  std::vector<int32_t> ids(std::min(logits.size(), parts.tokenizer.vocabulary_size()));
  std::iota(ids.begin(), ids.end(), 0);
  const size_t count = std::min(top, ids.size());
  const auto better = [&](int32_t a, int32_t b) {
    const float la = logits[static_cast<size_t>(a)], lb = logits[static_cast<size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count), ids.end(), better);
  std::vector<MaskWord> words;
  for (const int32_t id : std::span(ids).first(count)) {
    const double share = std::exp(static_cast<double>(logits[static_cast<size_t>(id)] - largest)) / sum;
    words.push_back({id, parts.tokenizer.Token(id), share});
  }
  return words;
}

// A [MASK] of the batch: where it is in its text, and its row among the batch's hidden vectors.
struct MaskPlace {
  size_t text, token, row;
};

// Scores the masks, some at a time: every run reads the whole decoder, and logits of a large batch would take
// gigabytes.
Status FillPlaces(const Parts& parts, std::span<const Encoding> encodings, std::span<const MaskPlace> places,
                  const AlignedArray<float>& hidden, size_t top, std::vector<FilledText>& filled) {
  constexpr size_t kAtOnce = 64;
  const auto width = static_cast<size_t>(parts.model.config().width);
  const auto vocabulary = static_cast<size_t>(parts.model.config().vocabulary);
  AlignedArray<float> rows(std::min(places.size(), kAtOnce) * width);
  AlignedArray<float> logits(std::min(places.size(), kAtOnce) * vocabulary);
  for (size_t begin = 0; begin < places.size(); begin += kAtOnce) {
    const auto some = places.subspan(begin, std::min(kAtOnce, places.size() - begin));
    for (size_t i = 0; i < some.size(); ++i) {
      std::copy_n(hidden.data() + some[i].row * width, width, rows.data() + i * width);
    }
    parts.model.masked_lm->Forward(rows.data(), some.size(), logits.data(), parts.model.encoder.pool());
    for (size_t i = 0; i < some.size(); ++i) {
      const TokenOffset offset = encodings[some[i].text].offsets[some[i].token];
      const auto scores = logits.span().subspan(i * vocabulary, vocabulary);
      GROVE_ASSIGN_OR_RETURN(std::vector<MaskWord> words, TopWords(parts, scores, top));
      filled[some[i].text].masks.push_back({offset, std::move(words)});
    }
  }
  return Ok{};
}

// Texts `indices`, padded to the longest of them, in one run of the encoder.
Status FillBatch(const Parts& parts, std::span<const Encoding> encodings, std::span<const size_t> indices, size_t top,
                 std::vector<FilledText>& filled) {
  size_t length = 0;
  for (const size_t index : indices) length = std::max(length, encodings[index].ids.size());
  std::vector<int32_t> ids(indices.size() * length, parts.pad_id);
  std::vector<uint8_t> mask(ids.size(), 0);
  std::vector<MaskPlace> places;
  for (size_t b = 0; b < indices.size(); ++b) {
    const std::vector<int32_t>& own = encodings[indices[b]].ids;
    for (size_t t = 0; t < own.size(); ++t) {
      ids[b * length + t] = own[t];
      mask[b * length + t] = 1;
      if (own[t] == parts.mask_id) places.push_back({indices[b], t, b * length + t});
    }
  }
  GROVE_ASSIGN_OR_RETURN(
      const AlignedArray<float> hidden,
      parts.model.encoder.Forward({.ids = ids, .mask = mask, .batch = indices.size(), .length = length}));
  return FillPlaces(parts, encodings, places, hidden, top, filled);
}

// The text with the most probable words in place of its masks.
std::string BestText(const Parts& parts, const Encoding& encoding, const FilledText& filled) {
  std::vector<int32_t> ids = encoding.ids;
  size_t next = 0;
  for (int32_t& id : ids) {
    if (id != parts.mask_id) continue;
    const std::vector<MaskWord>& words = filled.masks[next++].words;
    if (!words.empty()) id = words[0].id;
  }
  return parts.tokenizer.Decode(ids);
}

}  // namespace

Result<std::vector<FilledText>> FillMasks(const LoadedModel& model, std::span<const std::string> texts,
                                          const FillMaskOptions& options) {
  GROVE_ASSIGN_OR_RETURN(const Parts parts, PartsOf(model));
  std::vector<Encoding> encodings;
  for (size_t i = 0; i < texts.size(); ++i) {
    GROVE_ASSIGN_OR_RETURN(Encoding encoding, EncodeText(parts, i, texts[i], options.truncate));
    encodings.push_back(std::move(encoding));
  }
  // Texts of like length together, so that little is padded.
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return encodings[i].ids.size(); });
  std::vector<FilledText> filled(texts.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && (end + 1 - begin) * encodings[order[end]].ids.size() <= kBatchTokens) ++end;
    const std::span<const size_t> batch = std::span(order).subspan(begin, end - begin);
    GROVE_RETURN_IF_ERROR(FillBatch(parts, encodings, batch, options.top, filled));
    begin = end;
  }
  for (size_t i = 0; i < filled.size(); ++i) filled[i].best = BestText(parts, encodings[i], filled[i]);
  return filled;
}

}  // namespace grove
