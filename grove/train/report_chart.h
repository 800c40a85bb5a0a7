// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A line chart as inline SVG. Colors are CSS classes s0, s1, ... of the page (report_page.cc), whose script reads the
// plotted points and the axes' ranges back from the SVG for its hover read-out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grove::train {

struct Series {
  std::string name;
  size_t style = 0;                               // color: of a run, a level, ...
  std::vector<std::pair<double, double>> points;  // x ascending; points that are not finite are left out
};

struct Chart {
  std::string title{}, x_label{}, y_label{};
  bool log_y = false;      // values that are not positive are left out
  bool from_zero = false;  // the y axis begins at 0, not at the least value; linear only
  // The y axis ends at the largest value right of this share of the x axis: a loss falls so far in its first steps that
  // nothing else would show. What lies above is cut off.
  double settle_share = 0;
  bool legend = false;  // below the chart; not needed for colors of runs, which the page explains once
  std::vector<Series> series{};
};

constexpr size_t kSeriesStyles = 8;

// Empty if no series has a point that can be drawn.
std::string ChartSvg(const Chart& chart);

std::string KeyHtml(size_t style);  // the swatch of a color
std::string EscapeHtml(std::string_view text);
std::string ShortNumber(double value);  // 1234567 -> "1.23M", 0.01234 -> "0.0123"

}  // namespace grove::train
