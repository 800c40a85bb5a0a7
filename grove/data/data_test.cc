// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <gtest/gtest.h>
#include <zstd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "grove/data/pack_text.h"
#include "grove/data/packed_text.h"
#include "grove/data/sequences.h"
#include "grove/data/text_reader.h"
#include "grove/io/files.h"
#include "grove/text/tokenizer.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

std::string Compress(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

std::vector<std::string> ReadAll(const std::vector<std::string>& paths) {
  Result<TextReader> reader = TextReader::Open(paths);
  EXPECT_TRUE(reader.ok());
  std::vector<std::string> documents;
  std::string document;
  for (;;) {
    Result<bool> more = reader.value().Next(&document);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !more.value()) return documents;
    documents.push_back(document);
  }
}

class DataTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = folder_.path() + "/" + name;
    EXPECT_TRUE(WriteTextFile(path, content).ok());
    return path;
  }
  // A vocabulary of letters and a few words.
  std::string WriteVocabulary() {
    std::string tokens = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\non\nmat\n.\n";
    for (char c = 'a'; c <= 'z'; ++c) tokens += std::string(1, c) + "\n##" + c + "\n";
    return Write("vocab.txt", tokens);
  }
  test::TemporaryFolder folder_;
};

TEST_F(DataTest, ReaderSplitsDocumentsAtBlankLinesAndFileEnds) {
  const std::string a = Write("a.txt", "\n\none\ntwo\n \t\nthree\r\n\n\n");
  const std::string b = Write("b.txt", "four");
  EXPECT_EQ(ReadAll({a, b}), (std::vector<std::string>{"one\ntwo\n", "three\r\n", "four\n"}));
  EXPECT_EQ(ReadAll({folder_.path()}).size(), 3u);
}

TEST_F(DataTest, JsonLinesAreADocumentEach) {
  const std::string lines =
      "{\"id\": 1, \"text\": \"one\\n\\ntwo \\u00e4\", \"meta\": {\"text\": \"inner\", \"list\": [1, {\"text\": 2}]}}\n"
      "\n"
      "{\"text\": \"  \"}\n"
      "{\"text\":\"three\"}";  // no line end
  const std::vector<std::string> expected{"one\n\ntwo \u00e4", "three"};
  EXPECT_EQ(ReadAll({Write("a.jsonl", lines)}), expected);
  EXPECT_EQ(ReadAll({Write("b.ndjson.zst", Compress(lines))}), expected);
  EXPECT_EQ(ReadAll({folder_.path(), Write("c.txt", "four\n")}).size(), 6u);
  Result<TextReader> reader = TextReader::Open({Write("d.jsonl", "{\"body\": \"five\"}\n")}, {.field = "body"});
  std::string document;
  ASSERT_TRUE(reader.value().Next(&document).value());
  EXPECT_EQ(document, "five");
}

TEST_F(DataTest, BadJsonLinesAreNamedWithTheirNumber) {
  const std::string deep = "{\"text\": \"x\", \"a\": " + std::string(100, '[') + std::string(100, ']') + "}";
  const std::pair<std::string, const char*> wrong[] = {{"{\"text\": \"cut", "no JSON object"},
                                                       {"[\"text\"]", "no JSON object"},
                                                       {"\"text\"", "no JSON object"},
                                                       {"{\"text\": 5}", "no string"},
                                                       {"{\"text\": [\"x\"]}", "no string"},
                                                       {"{\"title\": \"x\"}", "--field"},
                                                       {"{\"text\": \"a\", \"text\": \"b\"}", "twice"},
                                                       {"{\"text\": \"\xff\"}", "no JSON object"},
                                                       {"{\"text\": \"a\"} {}", "no JSON object"},
                                                       {deep, "no JSON object"}};
  for (const auto& [line, what] : wrong) {
    Result<TextReader> reader = TextReader::Open({Write("bad.jsonl", "{\"text\": \"good\"}\n\n" + line + "\n")});
    ASSERT_TRUE(reader.ok());
    std::string document;
    ASSERT_TRUE(reader.value().Next(&document).ok());
    const Result<bool> more = reader.value().Next(&document);
    ASSERT_FALSE(more.ok()) << line;
    EXPECT_NE(more.error().message().find("bad.jsonl, line 3"), std::string::npos) << more.error().message();
    EXPECT_NE(more.error().message().find(what), std::string::npos) << more.error().message();
  }
}

TEST_F(DataTest, JsonLinesPackAsTheSameTextDoes) {
  std::string text, lines;
  for (int i = 0; i < 500; ++i) {
    const std::string document = "the cat " + std::to_string(i) + " sat\n";
    text += document + "\n";
    lines += "{\"text\": \"" + document.substr(0, document.size() - 1) + "\\n\"}\n";
  }
  PackOptions options{.texts = {Write("a.txt", text)},
                      .valid_fraction = 0.1,
                      .tokenizer = WriteVocabulary(),
                      .output = folder_.path() + "/plain"};
  ASSERT_TRUE(PackText(options, {}).ok());
  options.texts = {Write("a.jsonl", lines)};
  options.output = folder_.path() + "/lines";
  ASSERT_TRUE(PackText(options, {}).ok());
  for (const char* shard : {"train-00000.safetensors", "valid-00000.safetensors"}) {
    EXPECT_EQ(ReadTextFile(folder_.path() + "/plain/" + shard).value(),
              ReadTextFile(folder_.path() + "/lines/" + shard).value());
  }
}

TEST_F(DataTest, ReaderUnpacksZstdEvenLongerThanItsBuffers) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "line number " + std::to_string(i) + (i % 1000 == 999 ? "\n\n" : "\n");
  const std::string path = Write("c.txt.zst", Compress(text));
  const std::vector<std::string> documents = ReadAll({path});
  ASSERT_EQ(documents.size(), 200u);
  EXPECT_EQ(documents[199].substr(documents[199].size() - 19), "line number 199999\n");
}

TEST_F(DataTest, ReaderNamesTheFileThatIsCutOrMissing) {
  const std::string packed = Compress(std::string(100000, 'x') + "\n");
  for (const std::string& content : {packed.substr(0, packed.size() / 2), std::string("no zstd")}) {
    const std::string path = Write("broken.txt.zst", content);
    Result<TextReader> reader = TextReader::Open({path});
    ASSERT_TRUE(reader.ok());
    std::string document;
    const Result<bool> more = reader.value().Next(&document);
    ASSERT_FALSE(more.ok());
    EXPECT_NE(more.error().message().find("broken.txt.zst"), std::string::npos);
  }
  EXPECT_FALSE(TextReader::Open({folder_.path() + "/missing.txt"}).ok());
  EXPECT_FALSE(TextReader::Open({}).ok());
}

TEST_F(DataTest, PackedTextHasTheTokensOfTheTokenizer) {
  const std::string text = Write("text.txt", "The cat sat.\n\nOn the mat\nsat the cat.\n\nzz\n");
  const std::string valid = Write("valid.txt", "The mat.\n");
  const PackOptions options{.texts = {text},
                            .valid_texts = {valid},
                            .tokenizer = WriteVocabulary(),
                            .output = folder_.path() + "/packed",
                            .threads = 2};
  const Result<PackReport> report = PackText(options, {});
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report.value().train_documents, 3u);
  EXPECT_EQ(report.value().train_tokens, 4u + 7u + 2u);
  EXPECT_EQ(report.value().valid_tokens, 3u);
  // the: 3 of 13, mat: 1, '.': 2, each plus one over 13 + the vocabulary
  const double total = 13.0 + static_cast<double>(report.value().vocabulary);
  EXPECT_NEAR(report.value().unigram_entropy, -(std::log(4 / total) + std::log(2 / total) + std::log(3 / total)) / 3,
              1e-9);

  const Result<PackedText> packed = PackedText::Open(options.output);
  ASSERT_TRUE(packed.ok()) << packed.error().message();
  const PackedDocuments& train = packed.value().train;
  ASSERT_EQ(train.documents(), 3u);
  std::vector<int64_t> ids(train.length(1));
  train.Read(1, 0, ids.size(), ids.data());
  const Tokenizer tokenizer = Tokenizer::Load(packed.value().tokenizer_path).value();
  const Encoding expected = tokenizer.Encode("On the mat\nsat the cat.\n", {.add_special_tokens = false}).value();
  EXPECT_EQ(ids, std::vector<int64_t>(expected.ids.begin(), expected.ids.end()));
}

TEST_F(DataTest, HeldOutDocumentsAreAShareOfTheTextAndNeverTrainedOn) {
  std::string text;
  for (int i = 0; i < 4000; ++i) text += "cat " + std::to_string(i) + "\n\n";
  const PackOptions options{.texts = {Write("text.txt", text)},
                            .valid_fraction = 0.1,
                            .tokenizer = WriteVocabulary(),
                            .output = folder_.path() + "/packed"};
  const Result<PackReport> report = PackText(options, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report.value().train_documents + report.value().valid_documents, 4000u);
  EXPECT_NEAR(static_cast<double>(report.value().valid_documents), 400, 80);
}

TEST_F(DataTest, OneOfFewDocumentsIsHeldOut) {
  for (const int documents : {1, 2, 39}) {
    std::string text;
    for (int i = 0; i < documents; ++i) text += "cat " + std::to_string(i) + "\n\n";
    const PackOptions options{.texts = {Write("text.txt", text)},
                              .valid_fraction = 1e-6,
                              .tokenizer = WriteVocabulary(),
                              .output = folder_.path() + "/packed"};
    const Result<PackReport> report = PackText(options, {});
    ASSERT_TRUE(report.ok()) << report.error().message();
    EXPECT_EQ(report.value().valid_documents, documents > 1 ? 1u : 0u);
    EXPECT_EQ(report.value().train_documents + report.value().valid_documents, static_cast<uint64_t>(documents));
    EXPECT_EQ(PackedText::Open(options.output).value().train.documents(), report.value().train_documents);
  }
}

TEST_F(DataTest, UnfinishedOrBrokenFoldersAreRefused) {
  const PackOptions options{.texts = {Write("text.txt", "cat\n")},
                            .valid_fraction = 0,
                            .tokenizer = WriteVocabulary(),
                            .output = folder_.path() + "/packed"};
  ASSERT_TRUE(PackText(options, {}).ok());
  ASSERT_TRUE(PackedText::Open(options.output).ok());
  std::filesystem::remove(options.output + "/train-00000.safetensors");
  EXPECT_FALSE(PackedText::Open(options.output).ok());
  std::filesystem::remove(options.output + "/data.json");
  const Result<PackedText> unfinished = PackedText::Open(options.output);
  ASSERT_FALSE(unfinished.ok());
  EXPECT_NE(unfinished.error().message().find("data.json"), std::string::npos);
}

TEST_F(DataTest, TextThatIsNoUtf8NamesTheDocument) {
  const PackOptions options{.texts = {Write("text.txt", "good\n\nbad \xFF\n")},
                            .tokenizer = WriteVocabulary(),
                            .output = folder_.path() + "/packed"};
  const Result<PackReport> report = PackText(options, {});
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message().find("bad"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(options.output + "/data.json"));
}

TEST(Permutation, IsOneToOneAndDependsOnTheSeed) {
  for (const uint64_t size : {1, 2, 5, 64, 1000, 4097}) {
    const Permutation a(size, 1), b(size, 2);
    std::set<uint64_t> seen;
    uint64_t same = 0;
    for (uint64_t i = 0; i < size; ++i) {
      EXPECT_LT(a(i), size);
      seen.insert(a(i));
      same += a(i) == b(i) ? 1 : 0;
    }
    EXPECT_EQ(seen.size(), size);
    if (size >= 1000) {
      EXPECT_LT(same, 20u);
    }
  }
}

TEST_F(DataTest, SequencesCoverDocumentsAndFrameThem) {
  const std::string text = Write("text.txt", "a b c d e f g\n\nx y\n");
  const PackOptions options{
      .texts = {text}, .valid_fraction = 0, .tokenizer = WriteVocabulary(), .output = folder_.path() + "/packed"};
  ASSERT_TRUE(PackText(options, {}).ok());
  const Result<PackedText> packed = PackedText::Open(options.output);
  ASSERT_TRUE(packed.ok());
  const SequenceIndex index(packed.value().train, {.length = 6, .cls_id = 2, .sep_id = 3, .pad_id = 0, .seed = 7});
  ASSERT_EQ(index.size(), 3u);  // abcd, defg (the last piece begins earlier), xy
  const Tokenizer tokenizer = Tokenizer::Load(packed.value().tokenizer_path).value();
  std::vector<std::string> texts;
  for (size_t piece = 0; piece < 3; ++piece) {
    std::vector<int64_t> ids(6);
    index.ReadPiece(piece, ids.data());
    std::string line;
    for (const int64_t id : ids) line += tokenizer.Token(static_cast<int32_t>(id)) + " ";
    texts.push_back(line);
  }
  EXPECT_EQ(texts[0], "[CLS] a b c d [SEP] ");
  EXPECT_EQ(texts[1], "[CLS] d e f g [SEP] ");
  EXPECT_EQ(texts[2], "[CLS] x y [SEP] [PAD] [PAD] ");
  std::set<std::vector<int64_t>> epoch;
  for (uint64_t number = 3; number < 6; ++number) {
    std::vector<int64_t> ids(6);
    index.Read(number, ids.data());
    epoch.insert(ids);
  }
  EXPECT_EQ(epoch.size(), 3u);
}

TEST(MaskTokens, ChoosesTheShareAndKeepsSpecialTokens) {
  const MaskOptions options{.share = 0.25, .mask_id = 4, .vocabulary = 100, .special = {0, 1, 2, 3, 4}};
  size_t chosen = 0, masked = 0, kept = 0;
  const size_t length = 100, sequences = 400;
  for (uint64_t key = 0; key < sequences; ++key) {
    std::vector<int64_t> ids(length, 50), positions, labels;
    ids.front() = 2;
    ids.back() = 3;
    KeyedRandom random(1, key);
    MaskTokens(options, random, ids, 1000, &positions, &labels);
    ASSERT_EQ(positions.size(), labels.size());
    EXPECT_EQ(ids.front(), 2);
    EXPECT_EQ(ids.back(), 3);
    for (const int64_t position : positions) {
      const int64_t id = ids[static_cast<size_t>(position - 1000)];
      ++chosen;
      masked += id == 4 ? 1 : 0;
      kept += id == 50 ? 1 : 0;
      EXPECT_GE(id, 4);
    }
    for (const int64_t label : labels) EXPECT_EQ(label, 50);
    std::vector<int64_t> again(length, 50), same_positions, same_labels;
    again.front() = 2;
    again.back() = 3;
    KeyedRandom same(1, key);
    MaskTokens(options, same, again, 1000, &same_positions, &same_labels);
    EXPECT_EQ(again, ids);
  }
  EXPECT_NEAR(static_cast<double>(chosen), 0.25 * 98 * sequences, 400);
  EXPECT_NEAR(static_cast<double>(masked) / static_cast<double>(chosen), 0.8, 0.02);
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(chosen), 0.1, 0.02);
}

TEST(MaskTokens, ShortSequencesHaveAtLeastOneWordToPredict) {
  const MaskOptions options{.share = 0.01, .mask_id = 4, .vocabulary = 100, .special = {0, 1, 2, 3, 4}};
  for (uint64_t key = 0; key < 50; ++key) {
    std::vector<int64_t> ids = {2, 60, 61, 3, 0, 0}, positions, labels;
    KeyedRandom random(1, key);
    MaskTokens(options, random, ids, 0, &positions, &labels);
    EXPECT_GE(positions.size(), 1u);
  }
}

}  // namespace
}  // namespace grove
