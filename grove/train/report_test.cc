// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "grove/io/files.h"
#include "grove/train/report_chart.h"
#include "grove/train/report_page.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Every tag closed in order; what the page is made of has no others.
void ExpectBalanced(const std::string& html) {
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find_first_of(" >/", at + 2);
    const std::string name = html.substr(at + 1, end - at - 1);
    if (name == "script" || name == "style") {  // text up to their end
      at = html.find("</" + name, at);
      ASSERT_NE(at, std::string::npos);
    } else if (name.starts_with('/')) {
      ASSERT_FALSE(open.empty()) << name;
      EXPECT_EQ(open.back(), html.substr(at + 2, html.find('>', at) - at - 2));
      open.pop_back();
    } else if (name != "!DOCTYPE" && name != "meta" && html[html.find('>', at) - 1] != '/') {
      open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

class Report : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    fs::create_directories(folder_.path() + "/" + name);
    EXPECT_TRUE(WriteTextFile(folder_.path() + "/" + name + "/log.jsonl", text).ok());
    return folder_.path() + "/" + name;
  }
  std::string Log(const std::string& kind, double loss, int64_t tokens = 1000) const {
    const Json options{{"output", kind}, {"layers", 2},     {"width", 64}, {"heads", 2}, {"feed_forward", kind},
                       {"depth", 3},     {"leaf_width", 8}, {"paths", 2},  {"seed", 1}};
    const Json start{{"event", "start"},      {"options", options},
                     {"device", "CPU"},       {"feed_forward", kind + " <of> &"},
                     {"parameters", 1234567}, {"data", {{"vocabulary", 100}}}};
    std::string text = start.dump() + "\n";
    for (int step = 1; step <= 3; ++step) {
      const Json line{{"event", "step"},         {"step", step},
                      {"loss", loss + 3 - step}, {"tokens", tokens * step / 3},
                      {"seconds", 10 * step},    {"tokens_per_second", 100 * step}};
      text += line.dump() + "\n";
    }
    const Json validation{{"event", "validation"}, {"step", 3}, {"loss", loss}, {"tokens", tokens}, {"seconds", 31}};
    return text + validation.dump() + "\n";
  }
  static RunHistory Read(const std::string& path) {
    auto run = ReadRunHistory(path);
    EXPECT_TRUE(run.ok()) << run.error().message();
    return std::move(run).value();
  }
  test::TemporaryFolder folder_;
};

TEST_F(Report, ReadsWhatIsThere) {
  const RunHistory run = Read(Write("run", Log("leaf_tree", 2) + R"({"event":"end","step":3})" + "\n"));
  EXPECT_EQ(run.name, "run");
  EXPECT_TRUE(run.finished);
  ASSERT_EQ(run.steps.size(), 3u);
  EXPECT_EQ(run.steps[2].at.step, 3);
  EXPECT_EQ(run.steps[2].at.seconds, 30);
  EXPECT_EQ(run.steps[2].figures.at("loss"), 2);
  EXPECT_FALSE(run.steps[2].figures.contains("tokens"));
  EXPECT_EQ(run.validations.size(), 1u);

  const RunHistory half = Read(Write("half", Log("leaf_tree", 2) + R"({"event":"step","step":4,"lo)"));
  EXPECT_FALSE(half.finished);
  EXPECT_EQ(half.steps.size(), 3u);
  EXPECT_EQ(half.unreadable_lines, 1);
  // Lines of other shapes than ours are left out, or have no figures; none is a crash.
  const RunHistory odd = Read(Write("odd", R"([1]
{"event":5}
{"event":"step","step":"x","loss":null}
{"event":"routing","layers":[3,{"layer":0,"entropy":["a",0.5]}]}
)"));
  EXPECT_EQ(odd.unreadable_lines, 2);
  EXPECT_TRUE(std::isnan(odd.routings.at(0).layers.at(0).columns.at("entropy").at(0)));
}

TEST_F(Report, WhatIsNoRunIsAnError) {
  fs::create_directories(folder_.path() + "/empty");
  EXPECT_NE(ReadRunHistory(folder_.path() + "/empty").error().message().find("log.jsonl"), std::string::npos);
  EXPECT_FALSE(ReadRunHistory(folder_.path() + "/nowhere").ok());
  EXPECT_FALSE(ReadRunHistory(Write("blank", "")).ok());
  EXPECT_FALSE(ReadRunHistory(Write("text", "hello\nworld\n")).ok());
}

TEST_F(Report, RecoveredShareNeedsBothTwins) {
  std::vector<RunHistory> runs;
  runs.push_back(Read(Write("tree", Log("leaf_tree", 2.2))));
  runs.push_back(Read(Write("dense", Log("dense", 2))));
  EXPECT_FALSE(Summarize(runs)[0].recovered_share);
  runs.push_back(Read(Write("longer", Log("none", 3, 2000))));  // more tokens: no twin
  EXPECT_FALSE(Summarize(runs)[0].recovered_share);
  runs.push_back(Read(Write("none", Log("none", 2.9))));
  runs.push_back(Read(Write("other-seed", Log("none", 3.1))));
  const std::vector<RunSummary> summaries = Summarize(runs);
  EXPECT_NEAR(*summaries[0].recovered_share, 0.8, 1e-9);
  EXPECT_FALSE(summaries[1].recovered_share);
  EXPECT_EQ(summaries[0].active_neurons, 2 * 8 + 7);  // two leaves, and the decisions that a search may open
  EXPECT_EQ(summaries[0].stored_neurons, 64);
  EXPECT_EQ(summaries[0].tokens, 1000);
  EXPECT_EQ(summaries[0].seconds, 31);
  EXPECT_EQ(*summaries[0].tokens_per_second, 200);
}

TEST_F(Report, NamesAreSetApart) {
  std::vector<RunHistory> runs{Read(Write("a/tree", Log("dense", 2))), Read(Write("b/tree", Log("dense", 2))),
                               Read(Write("c", Log("dense", 2)))};
  UniqueNames(runs);
  EXPECT_NE(runs[0].name, runs[1].name);
  EXPECT_EQ(runs[2].name, "c");
}

TEST_F(Report, PageHoldsEverythingAndEscapesIt) {
  const std::string routing = R"({"event":"routing","step":2,"tokens":600,"layers":[{"layer":0,"units":[8],
"entropy":[0.6,0.5,0.4],"effective_batch":[12],"dead":[1],"fragmented":[0],"usage_entropy":[0.9],"gradient_norm":[0.1]}]})";
  std::string flat = routing;
  std::erase(flat, '\n');
  std::vector<RunHistory> runs{Read(Write("tree", Log("leaf_tree", 2.2) + flat + "\n")),
                               Read(Write("dense", Log("dense", 2) + "{\"event\":\"st"))};
  const std::string page = ReportPage(runs, Summarize(runs));
  ExpectBalanced(page);
  EXPECT_NE(page.find("leaf_tree &lt;of&gt; &amp;"), std::string::npos);
  EXPECT_EQ(page.find("<of>"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
  for (const char* text :
       {"Validation loss against tokens", "Training loss against time", "Decision entropy (nats", "Dead units (%)",
        "level 2", "1.23M", "1 line of the log could not be read", "feed_forward"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
  for (const char* outside : {"http", "src=", "@import", "url("}) EXPECT_EQ(page.find(outside), std::string::npos);
  EXPECT_EQ(page.find(">seed<"), std::string::npos);  // the same in both
}

TEST(Chart, PutsPointsWhereTheyBelong) {
  const std::string svg = ChartSvg({.title = "t",
                                    .x_label = "x",
                                    .y_label = "y",
                                    .from_zero = true,
                                    .series = {{"a<b", 0, {{0, 0}, {10, 100}}}, {"c", 9, {{5, 50}}}}});
  ExpectBalanced(svg);
  // From the lower left corner of the frame to its upper right, less the margin of 3 %.
  EXPECT_NE(svg.find("class=\"s0\" data-name=\"a&lt;b\" points=\"58.00,254.00 630.00,20.99\""), std::string::npos)
      << svg;
  EXPECT_NE(svg.find("class=\"s1 dashed\""), std::string::npos);
  EXPECT_EQ(Count(svg, "<circle"), 1u);
}

TEST(Chart, LeavesOutWhatCannotBeDrawn) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(ChartSvg({.title = "t"}), "");
  EXPECT_EQ(ChartSvg({.title = "t", .series = {{"a", 0, {{1, nan}}}}}), "");
  EXPECT_EQ(ChartSvg({.title = "t", .log_y = true, .series = {{"a", 0, {{1, 0}, {2, -1}}}}}), "");
  const std::string svg = ChartSvg({.title = "t", .log_y = true, .series = {{"a", 0, {{1, 0}, {2, 10}, {3, nan}}}}});
  EXPECT_EQ(Count(svg, "nan"), 0u);
  EXPECT_EQ(Count(svg, "inf"), 0u);
}

TEST(Chart, LongLinesAreThinned) {
  Series series{"a", 0, {}};
  for (int i = 0; i < 12345; ++i) series.points.emplace_back(i, std::sin(i * 0.01));
  const std::string svg = ChartSvg({.title = "t", .series = {series}});
  const size_t begin = svg.find("points=\""), end = svg.find('"', begin + 8);
  EXPECT_EQ(Count(svg.substr(begin, end - begin), ","), 500u);
}

TEST(Chart, NumbersAreShort) {
  EXPECT_EQ(ShortNumber(1234567), "1.23M");
  EXPECT_EQ(ShortNumber(999.9), "1k");
  EXPECT_EQ(ShortNumber(0.01234), "0.0123");
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortNumber(-2500), "-2.5k");
}

}  // namespace
}  // namespace grove::train
