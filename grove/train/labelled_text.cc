// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/labelled_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>  // join

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "grove/base/check.h"
#include "grove/io/files.h"
#include "grove/io/json.h"

namespace grove::train {
namespace {

using ParsedJson = nlohmann::json;

std::string_view Strip(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

std::vector<std::string> Fields(std::string_view line) {
  std::vector<std::string> fields;
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find('\t', begin), line.size());
    fields.emplace_back(Strip(line.substr(begin, end - begin)));
    begin = end + 1;
  }
  return fields;
}

// Lines one by one, without their ends and without a byte order mark.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
  }
  bool Next(std::string_view* line) {
    if (rest_.empty()) return false;
    const size_t end = std::min(rest_.find('\n'), rest_.size());
    *line = rest_.substr(0, end);
    if (line->ends_with('\r')) line->remove_suffix(1);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    ++number_;
    return true;
  }
  size_t number() const { return number_; }  // of the last line, from 1

 private:
  std::string_view rest_;
  size_t number_ = 0;
};

Error At(const std::string& path, size_t line, const std::string& text) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}", path, line, text));
}

// The first of `wanted` among `names`.
std::optional<size_t> FindColumn(const std::vector<std::string>& names, const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
  }
  return std::nullopt;
}

Error NoColumn(const std::string& path, const char* role, const std::vector<std::string>& wanted,
               const std::vector<std::string>& names) {
  std::string list = fmt::format("{}", fmt::join(names, ", "));
  if (list.size() > 200) list = list.substr(0, 200) + "...";
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} has no column \"{}\"; its columns are: {}; choose one with --{}-column", path,
                           fmt::join(wanted, "\" or \""), list, role));
}

// Where the parts of a row are.
struct Places {
  size_t text = 0;
  std::optional<size_t> pair, label, index;
};

Result<Places> FindPlaces(const std::string& path, const std::vector<std::string>& names, const TextColumns& columns) {
  Places places;
  const auto text = FindColumn(names, columns.text);
  if (!text) return NoColumn(path, "text", columns.text, names);
  places.text = *text;
  places.pair = FindColumn(names, columns.pair);
  if (!places.pair && columns.pair_required) return NoColumn(path, "pair", columns.pair, names);
  places.label = FindColumn(names, columns.label);
  if (!places.label && columns.label_required) return NoColumn(path, "label", columns.label, names);
  places.index = FindColumn(names, {"index"});
  return places;
}

Result<LabelledText> ReadTsv(const std::string& path, std::string_view text, const TextColumns& columns) {
  Lines lines(text);
  std::string_view line;
  if (!lines.Next(&line)) return Error(ErrorCode::kInvalidArgument, path + " is empty; give a file with labelled rows");
  std::vector<std::string> names = Fields(line);
  const bool bare = !columns.without_header.empty() && names.size() == columns.without_header.size() &&
                    !FindColumn(names, columns.text);
  if (bare) names = columns.without_header;
  GROVE_ASSIGN_OR_RETURN(const Places at, FindPlaces(path, names, columns));
  LabelledText result{path, at.pair.has_value(), at.label.has_value(), {}, 0};
  const size_t needed = 1 + std::max({at.text, at.pair.value_or(0), at.label.value_or(0), at.index.value_or(0)});
  for (bool more = bare || lines.Next(&line); more; more = lines.Next(&line)) {
    if (Strip(line).empty()) continue;
    std::vector<std::string> fields = Fields(line);
    const bool complete = fields.size() >= needed && !(at.label && fields[*at.label].empty());
    if (!complete && columns.skip_broken_rows) {
      ++result.skipped;
      continue;
    }
    if (fields.size() < needed) {
      return At(path, lines.number(),
                fmt::format("the row has {} fields and needs {}; separate fields by tabs", fields.size(), needed));
    }
    if (!complete) return At(path, lines.number(), fmt::format("the column \"{}\" is empty", names[*at.label]));
    LabelledRow row{.line = lines.number(), .text = std::move(fields[at.text])};
    row.index = at.index ? fields[*at.index] : std::to_string(result.rows.size());
    if (at.label) row.label = std::move(fields[*at.label]);
    if (at.pair) row.pair = std::move(fields[*at.pair]);
    result.rows.push_back(std::move(row));
  }
  return result;
}

Result<LabelledText> ReadConll(const std::string& path, std::string_view text) {
  LabelledText result{path, false, true, {}, 0};
  Lines lines(text);
  LabelledRow row;
  const auto finish = [&] {
    if (!row.words.empty()) result.rows.push_back(std::move(row));
    row = {};
    row.index = std::to_string(result.rows.size());
  };
  finish();
  for (std::string_view line; lines.Next(&line);) {
    if (Strip(line).empty()) {
      finish();
      continue;
    }
    if (line.starts_with("-DOCSTART-")) continue;
    const char* separators = line.find('\t') != std::string_view::npos ? "\t" : " ";
    const std::string_view stripped = Strip(line);
    const size_t first = stripped.find_first_of(separators), last = stripped.find_last_of(separators);
    if (first == std::string_view::npos) {
      return At(path, lines.number(), "a line must be a word, a tab and its label; a blank line ends a sentence");
    }
    if (row.words.empty()) row.line = lines.number();
    row.words.emplace_back(Strip(stripped.substr(0, first)));
    row.word_labels.emplace_back(Strip(stripped.substr(last + 1)));
  }
  finish();
  return result;
}

// A label as text: "B-PER", "1", "2.5".
std::optional<std::string> LabelText(const ParsedJson& value) {
  if (value.is_string()) return std::string(Strip(value.get_ref<const std::string&>()));
  if (value.is_number() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

Status ReadWords(const ParsedJson& words, const ParsedJson* labels, const std::string& path, LabelledRow* row) {
  const auto all = [](const ParsedJson& list, const auto& accept) {
    return list.is_array() && std::all_of(list.begin(), list.end(), accept);
  };
  if (!all(words, [](const ParsedJson& word) { return word.is_string(); }) || words.empty()) {
    return At(path, row->line, "the words must be a list of strings, at least one");
  }
  row->words = words.get<std::vector<std::string>>();
  if (labels == nullptr) return Ok{};
  if (!all(*labels, [](const ParsedJson& label) { return LabelText(label).has_value(); })) {
    return At(path, row->line, "the labels must be a list of strings or numbers");
  }
  if (labels->size() != words.size()) {
    return At(path, row->line,
              fmt::format("{} words have {} labels; give every word one", words.size(), labels->size()));
  }
  for (const ParsedJson& label : *labels) row->word_labels.push_back(*LabelText(label));
  return Ok{};
}

Result<LabelledRow> ReadObject(const std::string& path, size_t line, const ParsedJson& object, TaskKind kind,
                               const TextColumns& columns) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  GROVE_ASSIGN_OR_RETURN(const Places at, FindPlaces(fmt::format("{}:{}", path, line), names, columns));
  const auto value = [&](const std::optional<size_t>& place) { return place ? &object[names[*place]] : nullptr; };
  LabelledRow row{.line = line};
  const ParsedJson* label = value(at.label);
  if (kind == TaskKind::kTokens) {
    GROVE_RETURN_IF_ERROR(ReadWords(*value(at.text), label, path, &row));
    return row;
  }
  const auto text = [&](size_t place, std::string* out) -> Status {
    const ParsedJson& found = object[names[place]];
    if (!found.is_string()) return At(path, line, fmt::format("\"{}\" must be a string", names[place]));
    *out = found.get<std::string>();
    return Ok{};
  };
  GROVE_RETURN_IF_ERROR(text(at.text, &row.text));
  if (at.pair) GROVE_RETURN_IF_ERROR(text(*at.pair, &row.pair));
  if (label != nullptr) {
    const auto label_text = LabelText(*label);
    if (!label_text || label_text->empty()) {
      return At(path, line, fmt::format("\"{}\" must be a string or a number", names[*at.label]));
    }
    row.label = *label_text;
  }
  if (at.index) row.index = LabelText(*value(at.index)).value_or("");
  return row;
}

Result<LabelledText> ReadJsonl(const std::string& path, std::string_view text, TaskKind kind,
                               const TextColumns& columns) {
  LabelledText result{path, false, true, {}, 0};
  Lines lines(text);
  for (std::string_view line; lines.Next(&line);) {
    if (Strip(line).empty()) continue;
    GROVE_ASSIGN_OR_RETURN(const ParsedJson object, ParseJson(line, fmt::format("{}:{}", path, lines.number())));
    if (!object.is_object()) return At(path, lines.number(), "a line must be one JSON object");
    GROVE_ASSIGN_OR_RETURN(LabelledRow row, ReadObject(path, lines.number(), object, kind, columns));
    if (row.index.empty()) row.index = std::to_string(result.rows.size());
    // A pair may have an empty second text, so the keys decide, as a header would: those of the first line.
    const auto has = [&](const std::vector<std::string>& names) {
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return object.contains(name); });
    };
    const bool pairs = kind != TaskKind::kTokens && has(columns.pair), labelled = has(columns.label);
    if (result.rows.empty()) result.pairs = pairs, result.labelled = labelled;
    if (pairs != result.pairs || labelled != result.labelled) {
      return At(path, lines.number(), "the line has other keys than the first; all need the same");
    }
    result.rows.push_back(std::move(row));
  }
  return result;
}

}  // namespace

std::string_view TaskKindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kClassification:
      return "classification";
    case TaskKind::kRegression:
      return "regression";
    case TaskKind::kTokens:
      return "tokens";
  }
  GROVE_CHECK(false);
}

Result<LabelledText> ReadLabelledText(const std::string& path, TaskKind kind, const TextColumns& columns) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const bool json = path.ends_with(".jsonl") || path.ends_with(".json");
  GROVE_ASSIGN_OR_RETURN(LabelledText result, json                        ? ReadJsonl(path, text, kind, columns)
                                              : kind == TaskKind::kTokens ? ReadConll(path, text)
                                                                          : ReadTsv(path, text, columns));
  if (result.rows.empty()) {
    return Error(ErrorCode::kInvalidArgument, path + " holds no rows; give a file with labelled texts");
  }
  return result;
}

}  // namespace grove::train
