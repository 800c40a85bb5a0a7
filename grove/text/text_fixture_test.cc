// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The tokenizer against the encodings of Hugging Face `tokenizers`, loaded from each of the two kinds of file.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grove/io/files.h"
#include "grove/text/tokenizer.h"
#include "tests/fixtures.h"

namespace grove {
namespace {

using Json = nlohmann::json;

class TokenizerFixture : public testing::TestWithParam<std::string> {
 protected:
  static Json ReadJson(const std::string& path) {
    Result<std::string> text = ReadTextFile(path);
    EXPECT_TRUE(text.ok()) << path;
    return Json::parse(text.value());
  }
  static std::string Beside(const std::string& file) {
    return (std::filesystem::path(GetParam()).parent_path() / file).string();
  }

  static Tokenizer FromJson(bool lowercase) {
    Json json = ReadJson(Beside("tokenizer.json"));
    json["normalizer"]["lowercase"] = lowercase;
    if (!lowercase) json["normalizer"]["strip_accents"] = nullptr;
    Result<Tokenizer> tokenizer = Tokenizer::FromJson(json.dump(), "tokenizer.json");
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message();
    return std::move(tokenizer).value();
  }

  static Tokenizer FromVocabulary(bool lowercase) {
    Result<Tokenizer> loaded = Tokenizer::Load(Beside("vocab.txt"));
    EXPECT_TRUE(loaded.ok()) << loaded.error().message();
    if (lowercase) return std::move(loaded).value();
    std::vector<std::string> tokens;
    for (size_t id = 0; id < loaded.value().vocabulary_size(); ++id) {
      tokens.push_back(loaded.value().Token(static_cast<int32_t>(id)));
    }
    Result<Tokenizer> cased = Tokenizer::FromVocabulary(tokens, {.lowercase = false}, "vocab.txt");
    EXPECT_TRUE(cased.ok());
    return std::move(cased).value();
  }

  static std::vector<Tokenizer> Both(bool lowercase) { return {FromJson(lowercase), FromVocabulary(lowercase)}; }

  static void CheckCase(const Tokenizer& tokenizer, const Json& expected) {
    const std::string text = expected["text"].get<std::string>();
    const Result<Encoding> encoding = tokenizer.Encode(text);
    ASSERT_TRUE(encoding.ok()) << text << ": " << encoding.error().message();
    const Encoding& e = encoding.value();
    ASSERT_EQ(e.ids, expected["ids"].get<std::vector<int32_t>>()) << text;
    ASSERT_EQ(e.type_ids, expected["type_ids"].get<std::vector<int32_t>>()) << text;
    std::vector<std::string> tokens;
    std::vector<std::vector<size_t>> offsets;
    for (const int32_t id : e.ids) tokens.push_back(tokenizer.Token(id));
    for (const TokenOffset& offset : e.offsets) offsets.push_back({offset.begin, offset.end});
    ASSERT_EQ(tokens, expected["tokens"].get<std::vector<std::string>>()) << text;
    ASSERT_EQ(offsets, expected["offsets"].get<std::vector<std::vector<size_t>>>()) << text;
  }

  static void CheckCases(const std::string& key, bool lowercase) {
    const Json cases = ReadJson(GetParam());
    ASSERT_FALSE(cases[key].empty());
    for (const Tokenizer& tokenizer : Both(lowercase)) {
      for (const Json& expected : cases[key]) CheckCase(tokenizer, expected);
    }
  }
};

TEST_P(TokenizerFixture, Uncased) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  CheckCases("uncased", true);
}

TEST_P(TokenizerFixture, Cased) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  CheckCases("cased", false);
}

TEST_P(TokenizerFixture, Pairs) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const Json cases = ReadJson(GetParam());
  ASSERT_FALSE(cases["pairs"].empty());
  for (const Tokenizer& tokenizer : Both(true)) {
    for (const Json& pair : cases["pairs"]) {
      EncodeOptions options;
      if (!pair["max_length"].is_null()) options.max_length = pair["max_length"].get<size_t>();
      const std::string a = pair["a"].get<std::string>(), b = pair["b"].get<std::string>();
      const Result<Encoding> encoding = tokenizer.EncodePair(a, b, options);
      ASSERT_TRUE(encoding.ok()) << encoding.error().message();
      ASSERT_EQ(encoding.value().ids, pair["ids"].get<std::vector<int32_t>>()) << a << "\n" << b;
      ASSERT_EQ(encoding.value().type_ids, pair["type_ids"].get<std::vector<int32_t>>()) << a << "\n" << b;
    }
  }
}

TEST_P(TokenizerFixture, WrittenJsonEncodesTheSame) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const Json cases = ReadJson(GetParam());
  const Result<Tokenizer> again = Tokenizer::FromJson(FromJson(true).ToJson(), "written");
  ASSERT_TRUE(again.ok()) << again.error().message();
  for (const Json& expected : cases["uncased"]) CheckCase(again.value(), expected);
}

INSTANTIATE_TEST_SUITE_P(Files, TokenizerFixture, testing::ValuesIn(test::FixtureFiles("tokenizer", "cases", ".json")),
                         test::FixtureName);

}  // namespace
}  // namespace grove
