// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/report_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace grove::train {
namespace {

constexpr double kWidth = 640, kHeight = 300, kLeft = 58, kRight = 630, kTop = 14, kBottom = 254;
constexpr size_t kMostPoints = 500;  // of one line; more are averaged

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // A range of one value gets a width around it.
  void Widen() {
    if (high > low) return;
    const double half = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= half;
    high += half;
  }
  double Share(double value) const { return (value - low) / (high - low); }
};

bool Drawable(const Chart& chart, const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second) && (!chart.log_y || point.second > 0);
}

// What is drawn of a series: at most kMostPoints points, means over equally many neighbours each.
std::vector<std::pair<double, double>> Thinned(const Chart& chart, const Series& series) {
  std::vector<std::pair<double, double>> kept;
  for (const auto& point : series.points) {
    if (Drawable(chart, point)) kept.push_back(point);
  }
  if (kept.size() <= kMostPoints) return kept;
  std::vector<std::pair<double, double>> thinned;
  for (size_t i = 0; i < kMostPoints; ++i) {
    const size_t begin = kept.size() * i / kMostPoints, end = kept.size() * (i + 1) / kMostPoints;
    std::pair<double, double> mean{0, 0};
    for (size_t j = begin; j < end; ++j) {
      mean.first += kept[j].first;
      mean.second += kept[j].second;
    }
    const double count = static_cast<double>(end - begin);
    thinned.emplace_back(mean.first / count, mean.second / count);
  }
  return thinned;
}

// About `count` round values within the range.
std::vector<double> Ticks(const Range& range, int count) {
  const double rough = (range.high - range.low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::ceil(range.low / step); i * step <= range.high + step * 1e-9; ++i) ticks.push_back(i * step);
  return ticks;
}

// 1, 2 and 5 times powers of ten, or round values where fewer than three of those are in range. Of logarithms.
std::vector<double> LogTicks(const Range& range) {
  std::vector<double> ticks;
  for (double power = std::floor(range.low); power <= range.high; ++power) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double at = power + std::log10(digit);
      if (at >= range.low && at <= range.high) ticks.push_back(at);
    }
  }
  if (ticks.size() >= 3 && ticks.size() <= 12) return ticks;
  if (ticks.size() > 12) {
    std::erase_if(ticks, [](double at) { return std::abs(at - std::round(at)) > 1e-9; });
    return ticks;
  }
  ticks.clear();
  for (const double value : Ticks({std::pow(10.0, range.low), std::pow(10.0, range.high)}, 5)) {
    if (value > 0) ticks.push_back(std::log10(value));
  }
  return ticks;
}

std::string StyleClass(size_t style) {
  return fmt::format("s{}{}", style % kSeriesStyles, style / kSeriesStyles % 2 == 1 ? " dashed" : "");
}

class Plot {
 public:
  explicit Plot(const Chart& chart) : chart_(chart) {
    for (const Series& series : chart.series) lines_.push_back(Thinned(chart, series));
    for (const auto& line : lines_) {
      for (const auto& point : line) x_.Add(point.first);
    }
    if (x_.low > x_.high) return;
    for (const auto& line : lines_) {
      for (const auto& point : line) {
        if (x_.high == x_.low || x_.Share(point.first) >= chart.settle_share) y_.Add(Scaled(point.second));
      }
    }
    if (chart.from_zero && !chart.log_y) y_.Add(0);
    if (chart.from_zero && y_.high == 0 && y_.low == 0) y_.high = 1;
    x_.Widen();
    y_.Widen();
    const double margin = 0.03 * (y_.high - y_.low);
    if (!(chart.from_zero && y_.low == 0)) y_.low -= margin;
    y_.high += margin;
    drawable_ = true;
  }

  std::string Svg() const {
    if (!drawable_) return "";
    std::string out = fmt::format(
        "<figure><figcaption>{0}</figcaption>\n<svg class=\"chart\" viewBox=\"0 0 {1} {2}\" role=\"img\" "
        "aria-label=\"{0}\" data-x0=\"{3}\" data-x1=\"{4}\" data-y0=\"{5}\" data-y1=\"{6}\" data-log=\"{7}\" "
        "data-x=\"{8}\" data-plot=\"{9} {10} {11} {12}\">\n",
        EscapeHtml(chart_.title), kWidth, kHeight, x_.low, x_.high, y_.low, y_.high, chart_.log_y ? 1 : 0,
        EscapeHtml(chart_.x_label), kLeft, kTop, kRight, kBottom);
    AppendAxes(out);
    // An inner SVG cuts off what lies outside the frame; its coordinates are the outer one's.
    out += fmt::format("<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"{0} {1} {2} {3}\">\n",
                       kLeft - 2, kTop - 2, kRight - kLeft + 4, kBottom - kTop + 4);
    for (size_t i = 0; i < lines_.size(); ++i) AppendLine(i, out);
    out += fmt::format("<line class=\"cursor\" y1=\"{}\" y2=\"{}\"/></svg></svg>", kTop, kBottom);
    return out + (chart_.legend ? Legend() : "") + "</figure>\n";
  }

 private:
  double Scaled(double y) const { return chart_.log_y ? std::log10(y) : y; }
  double PixelX(double x) const { return kLeft + x_.Share(x) * (kRight - kLeft); }
  double PixelY(double scaled) const { return kBottom - y_.Share(scaled) * (kBottom - kTop); }

  std::string Legend() const {
    std::string out = "<div class=\"legend\">";
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].empty()) continue;
      out += "<span>" + KeyHtml(chart_.series[i].style) + EscapeHtml(chart_.series[i].name) + "</span> ";
    }
    return out + "</div>";
  }

  void AppendAxes(std::string& out) const {
    for (const double tick : chart_.log_y ? LogTicks(y_) : Ticks(y_, 5)) {
      out += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, kRight,
                         PixelY(tick), PixelY(tick));
      out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 6, PixelY(tick) + 4,
                         ShortNumber(chart_.log_y ? std::pow(10.0, tick) : tick));
    }
    for (const double tick : Ticks(x_, 6)) {
      out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", PixelX(tick),
                         kTop, kBottom);
      out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", PixelX(tick), kBottom + 17,
                         ShortNumber(tick));
    }
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>", (kLeft + kRight) / 2, kHeight - 8,
                       EscapeHtml(chart_.x_label));
    out += fmt::format("<text transform=\"translate(13 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                       (kTop + kBottom) / 2, EscapeHtml(chart_.y_label));
  }

  void AppendLine(size_t i, std::string& out) const {
    const auto& line = lines_[i];
    const Series& series = chart_.series[i];
    if (line.empty()) return;
    const std::string style = StyleClass(series.style);
    // A single point has no line: a dot.
    if (line.size() == 1 && PixelY(Scaled(line[0].second)) >= kTop) {
      out += fmt::format("<circle class=\"{}\" r=\"3\" cx=\"{:.2f}\" cy=\"{:.2f}\"/>", style, PixelX(line[0].first),
                         PixelY(Scaled(line[0].second)));
    }
    out += fmt::format("<polyline class=\"{}\" data-name=\"{}\" points=\"", style, EscapeHtml(series.name));
    for (const auto& [x, y] : line) out += fmt::format("{:.2f},{:.2f} ", PixelX(x), PixelY(Scaled(y)));
    out.back() = '"';
    out += "/>\n";
  }

  const Chart& chart_;
  std::vector<std::vector<std::pair<double, double>>> lines_;
  Range x_, y_;  // y of logarithms, if the axis is logarithmic
  bool drawable_ = false;
};

}  // namespace

std::string ChartSvg(const Chart& chart) { return Plot(chart).Svg(); }

std::string KeyHtml(size_t style) { return fmt::format("<span class=\"key {}\"></span>", StyleClass(style)); }

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string ShortNumber(double value) {
  for (const auto& [unit, letter] :
       {std::pair(1e12, "T"), std::pair(1e9, "G"), std::pair(1e6, "M"), std::pair(1e3, "k")}) {
    if (std::abs(value) >= 0.9995 * unit) return fmt::format("{:.3g}{}", value / unit, letter);
  }
  return fmt::format("{:.3g}", std::abs(value) < 1e-12 ? 0.0 : value);
}

}  // namespace grove::train
