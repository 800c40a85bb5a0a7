// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/json.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

namespace grove {

std::string TextPosition(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t last = before.rfind('\n');
  const size_t column = last == std::string_view::npos ? before.size() + 1 : before.size() - last;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

Result<nlohmann::json> ParseJson(std::string_view text, const std::string& name) {
  using Json = nlohmann::json;
  constexpr int kMaxDepth = 64;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::optional<std::string> duplicate;
  bool too_deep = false;
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) too_deep = true;
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return !too_deep;  // what is too deep is dropped, so that it takes no memory
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    return Error(ErrorCode::kCorrupt, name + " is not valid JSON at " +
                                          TextPosition(text, error.byte == 0 ? 0 : error.byte - 1) +
                                          "; correct it or write it again");
  } catch (const Json::exception&) {  // a number out of range
    return Error(ErrorCode::kCorrupt, name + " has a number that no type can hold; correct it");
  }
  if (too_deep) return Error(ErrorCode::kCorrupt, name + " nests deeper than 64 levels; it is no file of ours");
  if (duplicate) {
    return Error(ErrorCode::kCorrupt, name + " has the key \"" + *duplicate + "\" twice in one object; keep one");
  }
  return json;
}

}  // namespace grove
