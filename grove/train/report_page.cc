// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/report_page.h"

#include <fmt/format.h>

#include "grove/train/report_chart.h"
#include "grove/train/report_routing.h"

namespace grove::train {
namespace {

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --page: #fff; --ink: #1c1e21; --soft: #626770; --line: #dfe2e6; --box: #f6f7f8;
  --c0: #2166ac; --c1: #d6604d; --c2: #1b7837; --c3: #7b3294; --c4: #b8860b; --c5: #008b8b; --c6: #c2185b; --c7: #5d5d5d }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --ink: #e4e6e9; --soft: #9aa0a8; --line: #33373d;
  --box: #1e2125; --c0: #6baed6; --c1: #f4977f; --c2: #74c476; --c3: #c2a5cf; --c4: #e6c35c; --c5: #5fd3d3;
  --c6: #f48fb1; --c7: #b0b0b0 } }
body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 84rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { max-width: 50rem }
.soft, figcaption, th { color: var(--soft) }
.wide { overflow-x: auto } table { border-collapse: collapse } th, td { padding: .25rem .8rem .25rem 0; text-align: right;
  border-bottom: 1px solid var(--line); white-space: nowrap } th { font-weight: 500 } .left { text-align: left }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem } figure { margin: 0;
  background: var(--box); border-radius: .4rem; padding: .6rem } figcaption { font-weight: 500 }
svg.chart { display: block; width: 100% } svg text { fill: var(--soft); font-size: 12px } .grid { stroke: var(--line) }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round } .dashed { stroke-dasharray: 5 3 }
.cursor { stroke: var(--soft); visibility: hidden } circle { stroke: none }
.key { display: inline-block; width: 1.1rem; border-top: 3px solid; margin-right: .5rem; vertical-align: middle }
.key.dashed { border-top-style: dashed } .legend > span { margin-right: 1.2rem; white-space: nowrap }
div.legend { color: var(--soft); font-size: 12px }
#tip { position: fixed; visibility: hidden; pointer-events: none; background: var(--page); border: 1px solid var(--line);
  border-radius: .3rem; padding: .35rem .6rem; font-size: 13px; white-space: pre; box-shadow: 0 2px 8px #0004 }
summary { cursor: pointer; padding: .3rem 0 }
)";

// The nearest point of every line to the pointer, read back from the polylines.
constexpr char kScript[] = R"(
const tip = document.getElementById('tip');
const short = v => { const a = Math.abs(v);
  for (const [u, l] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) if (a >= u) return (v / u).toPrecision(4) + l;
  return a < 1e-12 ? '0' : v.toPrecision(4); };
for (const svg of document.querySelectorAll('svg.chart')) {
  const d = svg.dataset, [left, top, right, bottom] = d.plot.split(' ').map(Number), n = k => Number(d[k]);
  const lines = [...svg.querySelectorAll('polyline')].map(p => ({ name: p.dataset.name,
    points: p.getAttribute('points').split(' ').map(q => q.split(',').map(Number)) }));
  const cursor = svg.querySelector('.cursor');
  const hide = () => { tip.style.visibility = cursor.style.visibility = 'hidden'; };
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', e => {
    const box = svg.getBoundingClientRect(), x = (e.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    if (x < left || x > right) return hide();
    const rows = lines.map(l => { const q = l.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      const y = n('y0') + (bottom - q[1]) / (bottom - top) * (n('y1') - n('y0'));
      return short(d.log === '1' ? 10 ** y : y) + '  ' + l.name; });
    tip.textContent = d.x + ': ' + short(n('x0') + (x - left) / (right - left) * (n('x1') - n('x0'))) + '\n' + rows.join('\n');
    cursor.setAttribute('x1', x); cursor.setAttribute('x2', x);
    tip.style.visibility = cursor.style.visibility = 'visible';
    tip.style.left = Math.max(4, Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8)) + 'px';
    tip.style.top = Math.max(4, Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8)) + 'px';
  });
}
)";

template <class T>
std::string OrDash(const std::optional<T>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "–";
}

std::string TimeText(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{:.1f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string Row(const char* tag, const std::vector<std::string>& cells, size_t left) {
  std::string row = "<tr>";
  for (size_t i = 0; i < cells.size(); ++i)
    row += fmt::format("<{0}{1}>{2}</{0}>", tag, i < left ? " class=\"left\"" : "", cells[i]);
  return row + "</tr>\n";
}

std::string SummaryTable(const std::vector<RunSummary>& summaries) {
  std::string out = "<div class=\"wide\"><table>\n";
  out += Row("th",
             {"run", "feedforward", "parameters", "active neurons", "stored neurons", "tokens", "time", "tokens/s",
              "loss", "validation loss", "recovered share"},
             2);
  for (size_t i = 0; i < summaries.size(); ++i) {
    const RunSummary& run = summaries[i];
    const auto recovered = run.recovered_share ? std::optional(100 * *run.recovered_share) : std::nullopt;
    const auto parameters = run.parameters ? ShortNumber(static_cast<double>(*run.parameters)) : "–";
    const auto speed = run.tokens_per_second ? ShortNumber(*run.tokens_per_second) : "–";
    out += Row("td",
               {KeyHtml(i) + EscapeHtml(run.name) + (run.finished ? "" : " (unfinished)"), EscapeHtml(run.kind),
                parameters, OrDash(run.active_neurons, "{}"), OrDash(run.stored_neurons, "{}"), ShortNumber(run.tokens),
                TimeText(run.seconds), speed, OrDash(run.loss, "{:.4f}"), OrDash(run.validation_loss, "{:.4f}"),
                OrDash(recovered, "{:.0f} %")},
               2);
  }
  out +=
      "</table></div>\n<p class=\"soft\">Losses: nats per masked word. Neurons: of one layer. tokens/s: median of the "
      "logged steps.";
  for (const RunSummary& run : summaries) {
    if (!run.recovered_share) continue;
    out +=
        " Recovered share: of the validation loss that a dense layer gains over none, what the run's layer keeps; "
        "its twins have the same data, layers, width, heads and length and saw as many tokens within 2 %.";
    break;
  }
  return out + "</p>\n";
}

enum class Axis { kTokens, kTime };

// Minutes, or hours where a run took many.
struct TimeUnit {
  explicit TimeUnit(const std::vector<RunHistory>& runs) {
    for (const RunHistory& run : runs) {
      if (!run.steps.empty() && run.steps.back().at.seconds > 3 * 3600) *this = {"hours", 3600};
    }
  }
  TimeUnit(const char* unit_name, double unit_seconds) : name(unit_name), seconds(unit_seconds) {}
  const char* name = "minutes";
  double seconds = 60;
};

Chart StepChart(const std::vector<RunHistory>& runs, const char* title, const char* figure, bool validation,
                Axis axis) {
  const TimeUnit unit(runs);
  Chart chart{.title = title,
              .x_label = axis == Axis::kTokens ? "tokens" : unit.name,
              .y_label = "",
              .log_y = true,
              .settle_share = 0.1};
  for (size_t i = 0; i < runs.size(); ++i) {
    Series series{runs[i].name, i, {}};
    for (const LoggedStep& step : validation ? runs[i].validations : runs[i].steps) {
      const auto found = step.figures.find(figure);
      if (found == step.figures.end()) continue;
      series.points.emplace_back(axis == Axis::kTokens ? step.at.tokens : step.at.seconds / unit.seconds,
                                 found->second);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string LossCharts(const std::vector<RunHistory>& runs) {
  std::string out = "<h2>Loss</h2>\n" + LegendHtml(runs) + "<div class=\"charts\">\n";
  out += ChartSvg(StepChart(runs, "Validation loss against tokens", "loss", true, Axis::kTokens));
  out += ChartSvg(StepChart(runs, "Validation loss against time", "loss", true, Axis::kTime));
  out += ChartSvg(StepChart(runs, "Training loss against tokens", "loss", false, Axis::kTokens));
  out += ChartSvg(StepChart(runs, "Training loss against time", "loss", false, Axis::kTime));
  out += ChartSvg(StepChart(runs, "Gradient norm before clipping", "gradient_norm", false, Axis::kTokens));
  out += ChartSvg(StepChart(runs, "Tokens per second", "tokens_per_second", false, Axis::kTokens));
  return out +
         "</div>\n<p class=\"soft\">Logarithmic from top to bottom; what the first tenth shows above the rest is cut "
         "off. Lines of more than 500 points are means of neighbours.</p>\n";
}

std::string OptionsTable(const std::vector<RunHistory>& runs) {
  const std::vector<DifferingOption> options = DifferingOptions(runs);
  if (runs.size() < 2) return "";
  std::string out = "<h2>Options that differ</h2>\n";
  if (options.empty()) return out + "<p>None.</p>\n";
  out += "<div class=\"wide\"><table>\n";
  std::vector<std::string> head{"option"};
  for (size_t i = 0; i < runs.size(); ++i) head.push_back(KeyHtml(i) + EscapeHtml(runs[i].name));
  out += Row("th", head, 1);
  for (const DifferingOption& option : options) {
    std::vector<std::string> cells{EscapeHtml(option.name)};
    for (const std::string& value : option.values) cells.push_back(value.empty() ? "–" : EscapeHtml(value));
    out += Row("td", cells, 1);
  }
  return out + "</table></div>\n";
}

std::string Remarks(const std::vector<RunHistory>& runs) {
  std::string out;
  for (const RunHistory& run : runs) {
    if (run.unreadable_lines == 0) continue;
    out += fmt::format("<p class=\"soft\">{}: {} line{} of the log could not be read and {} left out.</p>\n",
                       EscapeHtml(run.name), run.unreadable_lines, run.unreadable_lines == 1 ? "" : "s",
                       run.unreadable_lines == 1 ? "is" : "are");
  }
  return out;
}

}  // namespace

std::string ReportPage(const std::vector<RunHistory>& runs, const std::vector<RunSummary>& summaries) {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Training runs</title>\n<style>";
  page += kStyle;
  for (size_t i = 0; i < kSeriesStyles; ++i)
    page += fmt::format(
        "polyline.s{0} {{ stroke: var(--c{0}) }} circle.s{0} {{ fill: var(--c{0}) }} "
        ".key.s{0} {{ border-color: var(--c{0}) }}\n",
        i);
  page += "</style>\n</head>\n<body>\n<h1>Training runs</h1>\n";
  page += SummaryTable(summaries) + Remarks(runs) + LossCharts(runs) + RoutingSection(runs) + OptionsTable(runs);
  page += "<div id=\"tip\"></div>\n<script>";
  page += kScript;
  return page + "</script>\n</body>\n</html>\n";
}

}  // namespace grove::train
