// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/task_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>  // join

#include <algorithm>
#include <charconv>
#include <cmath>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "grove/data/sequences.h"

namespace grove::train {
namespace {

constexpr size_t kWindow = 50;  // batches that are sorted by length together

template <class T>
bool ParseNumber(const std::string& text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool IsWhole(const std::string& text) {
  int64_t ignored = 0;
  return ParseNumber(text, &ignored);
}

bool IsNumber(const std::string& text) {
  double value = 0;
  return ParseNumber(text, &value) && std::isfinite(value);
}

std::string ListText(const std::vector<std::string>& names) {
  constexpr size_t kShown = 20;
  const size_t shown = std::min(names.size(), kShown);
  return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < names.size() ? ", ..." : "");
}

std::optional<int64_t> LabelNumber(const LabelSet& labels, const std::string& label) {
  const auto found = std::find(labels.names.begin(), labels.names.end(), label);
  if (found != labels.names.end()) return found - labels.names.begin();
  int64_t number = 0;
  if (labels.numbers_too && ParseNumber(label, &number) && number >= 0 &&
      number < static_cast<int64_t>(labels.names.size())) {
    return number;
  }
  return std::nullopt;
}

// Turns the rows of one file into examples.
class Encoder {
 public:
  Encoder(const LabelledText& text, const LabelSet& labels, const Tokenizer& tokenizer, int64_t length)
      : text_(text), labels_(labels), tokenizer_(tokenizer), length_(static_cast<size_t>(length)) {}

  struct Encoded {
    TaskExample example;
    bool cut = false;
    int64_t words_lost = 0;
  };
  Result<Encoded> Encode(const LabelledRow& row) const {
    return labels_.kind == TaskKind::kTokens ? EncodeWords(row) : EncodeText(row);
  }

 private:
  Error At(const LabelledRow& row, const std::string& sentence) const {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}", text_.path, row.line, sentence));
  }

  Result<Encoding> Tokens(const LabelledRow& row, size_t max_length) const {
    const EncodeOptions options{.max_length = max_length};
    Result<Encoding> encoding =
        text_.pairs ? tokenizer_.EncodePair(row.text, row.pair, options) : tokenizer_.Encode(row.text, options);
    if (!encoding.ok()) return At(row, encoding.error().message());
    return encoding;
  }

  Result<int64_t> Class(const LabelledRow& row, const std::string& label) const {
    const auto number = LabelNumber(labels_, label);
    if (number) return *number;
    return At(row, fmt::format("the label \"{}\" is none of the task's labels, which are: {}", label,
                               ListText(labels_.names)));
  }

  Result<Encoded> EncodeText(const LabelledRow& row) const {
    Encoded result;
    GROVE_ASSIGN_OR_RETURN(Encoding tokens, Tokens(row, length_));
    if (tokens.ids.size() == length_) {
      GROVE_ASSIGN_OR_RETURN(const Encoding whole, Tokens(row, 0));
      result.cut = whole.ids.size() > length_;
    }
    result.example.ids = std::move(tokens.ids);
    result.example.type_ids = std::move(tokens.type_ids);
    if (!text_.labelled) return result;
    if (labels_.kind == TaskKind::kClassification) {
      GROVE_ASSIGN_OR_RETURN(const int64_t label, Class(row, row.label));
      result.example.classes = {label};
      return result;
    }
    double value = 0;
    if (!ParseNumber(row.label, &value) || !std::isfinite(value)) {
      return At(row, fmt::format("the label \"{}\" is no number, which regression needs", row.label));
    }
    result.example.value = static_cast<float>(value);
    return result;
  }

  Result<Encoded> EncodeWords(const LabelledRow& row) const {
    Encoded result;
    TaskExample& example = result.example;
    example.ids.push_back(tokenizer_.cls_id());
    for (size_t i = 0; i < row.words.size(); ++i) {
      Result<Encoding> word = tokenizer_.Encode(row.words[i], {.add_special_tokens = false});
      if (!word.ok()) return At(row, word.error().message());
      std::vector<int32_t> pieces = std::move(word).value().ids;
      if (pieces.empty()) pieces.push_back(tokenizer_.unknown_id());  // of characters that the normalizer drops
      if (text_.labelled) {
        GROVE_ASSIGN_OR_RETURN(const int64_t label, Class(row, row.word_labels[i]));
        if (example.ids.size() < length_ - 1) example.classes.push_back(label);
      }
      if (example.ids.size() < length_ - 1) {
        example.positions.push_back(static_cast<int64_t>(example.ids.size()));
      } else {
        ++result.words_lost;
      }
      const size_t room = length_ - 1 - std::min(example.ids.size(), length_ - 1);
      result.cut = result.cut || pieces.size() > room;
      pieces.resize(std::min(pieces.size(), room));
      example.ids.insert(example.ids.end(), pieces.begin(), pieces.end());
    }
    example.ids.push_back(tokenizer_.sep_id());
    example.type_ids.assign(example.ids.size(), 0);
    return result;
  }

  const LabelledText& text_;
  const LabelSet& labels_;
  const Tokenizer& tokenizer_;
  size_t length_;
};

void Shuffle(KeyedRandom& random, auto& items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.Below(i)]);
}

std::vector<std::vector<size_t>> Cut(const std::vector<size_t>& order, size_t batch) {
  std::vector<std::vector<size_t>> batches;
  for (size_t begin = 0; begin < order.size(); begin += batch) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    batches.emplace_back(first, first + static_cast<std::ptrdiff_t>(std::min(batch, order.size() - begin)));
  }
  return batches;
}

// Ids, mask and types of a batch, in zeros that `make` gives.
template <class Make>
nn::TextInput MakeInput(const TaskData& data, std::span<const size_t> examples, int64_t pad_id, const Make& make) {
  const auto count = static_cast<int64_t>(examples.size());
  int64_t longest = 0, tokens = 0;
  bool types = false;
  for (const size_t i : examples) {
    const TaskExample& example = data.examples[i];
    longest = std::max(longest, static_cast<int64_t>(example.ids.size()));
    tokens += static_cast<int64_t>(example.ids.size());
    types = types || example.type_ids.back() != 0;
  }
  nn::TextInput input;
  input.ids = make({count, longest}, torch::kLong).fill_(pad_id);
  if (tokens < count * longest) input.attention_mask = make({count, longest}, torch::kLong);
  if (types) input.token_types = make({count, longest}, torch::kLong);
  int64_t offset = 0;
  for (const size_t i : examples) {
    const TaskExample& example = data.examples[i];
    const auto row = [&](const torch::Tensor& t) { return t.data_ptr<int64_t>() + offset; };
    std::copy(example.ids.begin(), example.ids.end(), row(input.ids));
    if (tokens < count * longest) std::fill_n(row(input.attention_mask), example.ids.size(), int64_t{1});
    if (types) std::copy(example.type_ids.begin(), example.type_ids.end(), row(input.token_types));
    offset += longest;
  }
  return input;
}

}  // namespace

Result<LabelSet> LabelsOf(const LabelledText& text, TaskKind kind) {
  if (kind == TaskKind::kRegression) return LabelSet{kind, {}, false};
  std::set<std::string> found;
  for (const LabelledRow& row : text.rows) {
    if (kind == TaskKind::kTokens) {
      found.insert(row.word_labels.begin(), row.word_labels.end());
    } else {
      found.insert(row.label);
    }
  }
  std::vector<std::string> names(found.begin(), found.end());
  if (std::all_of(names.begin(), names.end(), IsWhole)) {
    std::sort(names.begin(), names.end(),
              [](const std::string& a, const std::string& b) { return std::stoll(a) < std::stoll(b); });
  } else if (names.size() > 2 && std::all_of(names.begin(), names.end(), IsNumber)) {
    return Error(ErrorCode::kInvalidArgument,
                 text.path + " has fractional numbers as labels; pass --kind regression, or name classes by words");
  }
  if (names.size() < 2) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} has only the label \"{}\"; a classifier needs at least two", text.path,
                             names.empty() ? "" : names[0]));
  }
  return LabelSet{kind, std::move(names), false};
}

int64_t TaskData::Units(std::span<const size_t> some) const {
  if (labels.kind != TaskKind::kTokens) return static_cast<int64_t>(some.size());
  return std::accumulate(some.begin(), some.end(), int64_t{0}, [&](int64_t sum, size_t i) {
    return sum + static_cast<int64_t>(examples[i].positions.size());
  });
}

Result<TaskData> EncodeTask(const LabelledText& text, const LabelSet& labels, const Tokenizer& tokenizer,
                            int64_t length, ThreadPool& pool) {
  TaskData data{text.path, labels, text.labelled, std::vector<TaskExample>(text.rows.size()), {}, 0, 0};
  const Encoder encoder(text, labels, tokenizer, length);
  std::mutex mutex;
  std::optional<std::pair<size_t, Error>> first_error;  // of the earliest row, whatever the threads do
  pool.ParallelFor(text.rows.size(), 256, [&](size_t begin, size_t end) {
    int64_t cut = 0, lost = 0;
    for (size_t i = begin; i < end; ++i) {
      Result<Encoder::Encoded> encoded = encoder.Encode(text.rows[i]);
      if (!encoded.ok()) {
        const std::lock_guard lock(mutex);
        if (!first_error || i < first_error->first) first_error.emplace(i, encoded.error());
        return;
      }
      cut += encoded.value().cut ? 1 : 0;
      lost += encoded.value().words_lost;
      data.examples[i] = std::move(encoded.value().example);
    }
    const std::lock_guard lock(mutex);
    data.cut += cut;
    data.words_lost += lost;
  });
  if (first_error) return first_error->second;
  for (const LabelledRow& row : text.rows) data.index.push_back(row.index);
  return data;
}

std::vector<std::vector<size_t>> EpochBatches(const TaskData& data, int64_t batch, uint64_t seed, int64_t epoch) {
  std::vector<size_t> order(data.examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  KeyedRandom random(seed, static_cast<uint64_t>(epoch));
  Shuffle(random, order);
  const auto size = static_cast<size_t>(batch);
  for (size_t begin = 0; begin < order.size(); begin += kWindow * size) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min(kWindow * size, order.size() - begin));
    std::stable_sort(first, last,
                     [&](size_t a, size_t b) { return data.examples[a].ids.size() < data.examples[b].ids.size(); });
  }
  std::vector<std::vector<size_t>> batches = Cut(order, size);
  Shuffle(random, batches);
  return batches;
}

std::vector<std::vector<size_t>> ScoringBatches(const TaskData& data, int64_t batch) {
  std::vector<size_t> order(data.examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return data.examples[a].ids.size() < data.examples[b].ids.size(); });
  return Cut(order, static_cast<size_t>(batch));
}

TaskBatch TaskBatch::To(const torch::Device& device) const {
  const auto move = [&](const torch::Tensor& t) {
    return t.defined() ? t.to(device, t.scalar_type(), /*non_blocking=*/true) : t;
  };
  return {{move(input.ids), move(input.attention_mask), move(input.token_types)},
          move(positions),
          move(classes),
          move(values)};
}

TaskBatch MakeTaskBatch(const TaskData& data, std::span<const size_t> examples, int64_t pad_id, bool pinned) {
  const auto make = [&](at::IntArrayRef shape, torch::ScalarType dtype) {
    return torch::zeros(shape, torch::TensorOptions(dtype).pinned_memory(pinned));
  };
  TaskBatch batch{MakeInput(data, examples, pad_id, make), {}, {}, {}};
  const int64_t length = batch.input.ids.size(1);
  std::vector<int64_t> positions, classes;
  std::vector<float> values;
  int64_t offset = 0;
  for (const size_t i : examples) {
    const TaskExample& example = data.examples[i];
    for (const int64_t position : example.positions) positions.push_back(offset + position);
    classes.insert(classes.end(), example.classes.begin(), example.classes.end());
    values.push_back(example.value);
    offset += length;
  }
  const auto fill = [&](const auto& from, torch::ScalarType dtype) {
    const torch::Tensor to = make({static_cast<int64_t>(from.size())}, dtype);
    std::copy(from.begin(), from.end(), to.data_ptr<std::decay_t<decltype(from[0])>>());
    return to;
  };
  if (data.labels.kind == TaskKind::kTokens) batch.positions = fill(positions, torch::kLong);
  if (!data.labelled) return batch;
  if (data.labels.kind == TaskKind::kRegression) {
    batch.values = fill(values, torch::kFloat);
  } else {
    batch.classes = fill(classes, torch::kLong);
  }
  return batch;
}

}  // namespace grove::train
