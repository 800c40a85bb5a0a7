// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a verb writes: text, JSON and tables on stdout, a progress bar on stderr. A write that fails (closed pipe, full
// disk) is noticed once, when the verb is done: the framework then exits with 1.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace grove::cli {

void PrintText(std::string_view text);

template <class... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  PrintText(fmt::format(format, std::forward<Args>(args)...));
}

// One JSON document and a newline; invalid UTF-8 in strings becomes U+FFFD. Keys keep the order they were given.
using Json = nlohmann::ordered_json;
void PrintJson(const Json& json);

// Columns as wide as their widest cell (in code points), two blanks between them. Numbers look right to the right.
//
//   Table table({{"feedforward"}, {"active", Align::kRight}});
//   table.Add({"dense 3072", "3072"});
//   PrintText(table.Text());
enum class Align { kLeft, kRight };
struct Column {
  std::string title;
  Align align = Align::kLeft;
};
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void Add(std::vector<std::string> cells);
  std::string Text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string CountText(int64_t count);      // 12345678 -> "12,345,678"
std::string BytesText(uint64_t bytes);     // 7654321 -> "7.7 MB"
std::string SecondsText(double seconds);   // 75 -> "1 min 15 s"
size_t CodePoints(std::string_view text);  // of UTF-8 text: what a terminal needs columns for, nearly

// A bar on stderr, redrawn in place at most ten times a second:
//
//   pretrain  [############..............]  43 %  loss 5.12, 8,300 tokens/s, 34 s left
//
// Only where stderr is a terminal. GROVE_PROGRESS=lines prints a plain line every ten seconds instead (for logs),
// GROVE_PROGRESS=off nothing at all. Printing a result clears the bar.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `fraction` in [0, 1]; the time left is estimated from it and appended to `note`.
  void Update(double fraction, std::string_view note);

 private:
  enum class Mode { kBar, kLines, kOff };
  void Draw(double fraction, const std::string& note);

  std::string label_;
  Mode mode_;
  double start_, last_;
};

}  // namespace grove::cli
