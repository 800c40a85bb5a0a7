// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/glue_tasks.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "grove/io/files.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

TEST(GlueTasks, NamesAreForgiving) {
  EXPECT_EQ(GlueTasks().size(), 9u);
  ASSERT_NE(FindGlueTask("sst2"), nullptr);
  EXPECT_EQ(FindGlueTask("sst2")->name, "SST-2");
  EXPECT_EQ(FindGlueTask("STS_B")->kind, TaskKind::kRegression);
  EXPECT_EQ(FindGlueTask("SST"), nullptr);
}

// The first lines of GLUE's own files.
TEST(GlueTasks, OfficialFilesAreRead) {
  struct Case {
    const char *task, *text, *first, *second, *label;
  };
  const Case cases[] = {
      {"CoLA", "gj04\t1\t\tOur friends.\n", "Our friends.", "", "1"},
      {"SST-2", "sentence\tlabel\nhide new \t0\n", "hide new", "", "0"},
      {"MRPC", "\xef\xbb\xbfQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tA.\tB.\n", "A.", "B.", "1"},
      {"QQP", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tA?\tB?\t0\nbroken\n", "A?", "B?", "0"},
      {"STS-B", "index\tgenre\tsource1\tsentence1\tsentence2\tscore\n0\tx\ty\tA\tB\t4.25\n", "A", "B", "4.25"},
      {"MNLI", "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\tentailment\n", "A", "B",
       "entailment"},
      {"QNLI", "index\tquestion\tsentence\tlabel\n0\tA?\tB.\tnot_entailment\n", "A?", "B.", "not_entailment"},
      {"RTE", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n", "A", "B", "entailment"},
      {"WNLI", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n", "A", "B", "1"},
  };
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/file.tsv";
  for (const Case& one : cases) {
    ASSERT_TRUE(WriteTextFile(path, one.text).ok());
    const GlueTask* task = FindGlueTask(one.task);
    const auto text = ReadLabelledText(path, task->kind, task->columns);
    ASSERT_TRUE(text.ok()) << one.task << ": " << text.error().message();
    ASSERT_EQ(text.value().rows.size(), 1u) << one.task;
    const LabelledRow& row = text.value().rows[0];
    EXPECT_EQ(row.text, one.first) << one.task;
    EXPECT_EQ(row.pair, one.second) << one.task;
    EXPECT_EQ(row.label, one.label) << one.task;
  }
}

TEST(GlueTasks, FilesAreFoundAndMissingOnesNamed) {
  const test::TemporaryFolder root;
  const std::string folder = root.path() + "/QQP";
  std::filesystem::create_directory(folder);
  for (const char* name : {"dev_part.tsv", "train.tsv", "train_part.tsv", "test_a.tsv", "test_b.tsv"}) {
    ASSERT_TRUE(WriteTextFile(folder + "/" + name, "x\n").ok());
  }
  const GlueTask* task = FindGlueTask("QQP");
  EXPECT_EQ(TaskFolder(*task, root.path()), folder);
  EXPECT_EQ(TaskFolder(*task, folder), folder);
  EXPECT_EQ(FindTaskFile(*task, folder, "train").value(), folder + "/train.tsv");
  EXPECT_EQ(FindTaskFile(*task, folder, "dev").value(), folder + "/dev_part.tsv");
  EXPECT_FALSE(FindTaskFile(*task, folder, "test").ok());  // two
  std::filesystem::remove(folder + "/dev_part.tsv");
  const std::string told = FindTaskFile(*task, folder, "dev").error().message();
  EXPECT_NE(told.find("40430"), std::string::npos) << told;
  EXPECT_NE(told.find("train_part.tsv"), std::string::npos) << told;
  EXPECT_TRUE(PartialFileNotice(*task, "f", 40430, 40430).empty());
  EXPECT_NE(PartialFileNotice(*task, "f", 2111, 40430).find("2111"), std::string::npos);
}

TEST(GlueTasks, AverageLeavesOutWnliAndSaysWhatIsMissing) {
  const GlueAverage average = AverageGlue({{"SST-2", 0.9}, {"RTE", 0.7}, {"CoLA", 0.2}, {"WNLI", 0.1}});
  EXPECT_NEAR(*average.without_cola, 0.8, 1e-12);
  EXPECT_NEAR(*average.with_cola, 0.6, 1e-12);
  EXPECT_EQ(average.missing.size(), 5u);
  EXPECT_FALSE(AverageGlue({{"SST-2", 0.9}}).with_cola);
  EXPECT_FALSE(AverageGlue({{"CoLA", 0.9}}).without_cola);
}

TEST(GlueTasks, SubmissionsHaveGluesFormat) {
  const std::vector<std::string> index{"0", "1"};
  EXPECT_EQ(SubmissionText(index, FindGlueTask("RTE")->labels),
            "index\tprediction\n0\tentailment\n1\tnot_entailment\n");
  const std::vector<double> values{5.7, -0.1};
  EXPECT_EQ(SubmissionText(index, values, true), "index\tprediction\n0\t5.000\n1\t0.000\n");
  EXPECT_EQ(SubmissionText(index, values, false), "index\tprediction\n0\t5.700\n1\t-0.100\n");
}

}  // namespace
}  // namespace grove::train
