// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "grove/base/check.h"
#include "grove/base/clock.h"

namespace grove::cli {
namespace {

bool bar_is_drawn = false;  // on the terminal's current line

void ClearBar() {
  if (std::exchange(bar_is_drawn, false)) std::fputs("\r\033[K", stderr);
}

}  // namespace

void PrintText(std::string_view text) {
  ClearBar();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void PrintJson(const Json& json) {
  PrintText(json.dump(2, ' ', false, Json::error_handler_t::replace));
  PrintText("\n");
}

size_t CodePoints(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Table::Add(std::vector<std::string> cells) {
  GROVE_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    widths.push_back(CodePoints(columns_[c].title));
    for (const auto& row : rows_) widths[c] = std::max(widths[c], CodePoints(row[c]));
  }
  std::string text;
  const auto append = [&](size_t c, const std::string& cell) {
    const std::string blanks(widths[c] - CodePoints(cell), ' ');
    if (c > 0) text += "  ";
    text += columns_[c].align == Align::kRight ? blanks + cell : cell + blanks;
  };
  const auto end_line = [&] { text.erase(text.find_last_not_of(' ') + 1).push_back('\n'); };
  for (size_t c = 0; c < columns_.size(); ++c) append(c, columns_[c].title);
  end_line();
  for (const auto& row : rows_) {
    for (size_t c = 0; c < columns_.size(); ++c) append(c, row[c]);
    end_line();
  }
  return text;
}

std::string CountText(int64_t count) {
  std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::string BytesText(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string SecondsText(double seconds) {
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

Progress::Progress(std::string label) : label_(std::move(label)), start_(NowSeconds()), last_(start_ - 1) {
  const char* mode = std::getenv("GROVE_PROGRESS");
  const std::string_view wish = mode ? mode : "";
  if (wish == "lines") {
    mode_ = Mode::kLines;
    last_ = start_;
  } else {
    mode_ = wish != "off" && isatty(STDERR_FILENO) ? Mode::kBar : Mode::kOff;
  }
}

Progress::~Progress() { ClearBar(); }

void Progress::Update(double fraction, std::string_view note) {
  const double now = NowSeconds();
  if (mode_ == Mode::kOff || now - last_ < (mode_ == Mode::kBar ? 0.1 : 10.0)) return;
  last_ = now;
  fraction = std::clamp(fraction, 0.0, 1.0);
  std::string text(note);
  if (fraction > 0.01) {
    if (!text.empty()) text += ", ";
    text += SecondsText((now - start_) * (1 - fraction) / fraction) + " left";
  }
  Draw(fraction, text);
}

void Progress::Draw(double fraction, const std::string& note) {
  const int percent = static_cast<int>(fraction * 100);
  if (mode_ == Mode::kLines) {
    fmt::print(stderr, "{}: {} %, {}\n", label_, percent, note);
    return;
  }
  constexpr size_t kCells = 28;
  const auto filled = static_cast<size_t>(fraction * kCells);
  fmt::print(stderr, "\r{}  [{}{}] {:3} %  {}\033[K", label_, std::string(filled, '#'),
             std::string(kCells - filled, '.'), percent, note);
  std::fflush(stderr);
  bar_is_drawn = true;
}

}  // namespace grove::cli
