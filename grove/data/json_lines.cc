// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/data/json_lines.h"

#include <nlohmann/json.hpp>

namespace grove {
namespace {

using Json = nlohmann::json;

// Events of the parser: keeps the one string and no more. A handler that returns false ends the parsing.
class FieldReader final : public nlohmann::json_sax<Json> {
 public:
  FieldReader(const std::string& field, std::string* text) : field_(field), text_(text) {}

  enum class Found { kNothing, kText, kNoString, kTwice };
  Found found() const { return found_; }
  bool is_object() const { return is_object_; }

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool string(string_t& value) override {
    if (!wanted_) return true;
    wanted_ = false;
    if (found_ == Found::kText) found_ = Found::kTwice;
    if (found_ != Found::kNothing) return true;
    *text_ = std::move(value);
    found_ = Found::kText;
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ == 0) is_object_ = true;
    return Open();
  }
  bool start_array(size_t) override { return Open(); }
  bool key(string_t& name) override {
    wanted_ = depth_ == 1 && is_object_ && name == field_;
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  static constexpr int kMaxDepth = 64;
  bool Value() {
    if (wanted_) found_ = Found::kNoString;
    wanted_ = false;
    return true;
  }
  bool Open() {
    Value();
    return ++depth_ <= kMaxDepth;
  }
  bool Close() {
    --depth_;
    return true;
  }

  const std::string& field_;
  std::string* text_;
  int depth_ = 0;
  bool is_object_ = false, wanted_ = false;
  Found found_ = Found::kNothing;
};

}  // namespace

Status ReadJsonLine(std::string_view line, const std::string& field, const std::string& where, std::string* text) {
  text->clear();
  FieldReader reader(field, text);
  bool whole = false;
  try {
    whole = Json::sax_parse(line.begin(), line.end(), &reader);
  } catch (const Json::exception&) {  // a number out of range
  }
  const auto wrong = [&](const std::string& what) { return Error(ErrorCode::kCorrupt, where + what); };
  if (!whole || !reader.is_object()) return wrong(" is no JSON object; every line of a JSONL file must be one");
  switch (reader.found()) {
    case FieldReader::Found::kText:
      return Ok{};
    case FieldReader::Found::kTwice:
      return wrong(" has the key \"" + field + "\" twice; keep one");
    case FieldReader::Found::kNoString:
      return wrong(" has a \"" + field + "\" that is no string; name the key of the text with --field");
    case FieldReader::Found::kNothing:
      return wrong(" has no \"" + field + "\"; name the key of the text with --field");
  }
  return Ok{};
}

}  // namespace grove
