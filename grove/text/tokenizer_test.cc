// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grove/io/files.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

const std::vector<std::string> kTokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##ed",
                                          "a",     "b",     ",",     ".",     "don",    "'",    "t",     "Play"};

Tokenizer Small(const TokenizerOptions& options = {}) {
  return Tokenizer::FromVocabulary(kTokens, options, "small").value();
}

Json SmallJson() { return Json::parse(Small().ToJson()); }

// The error of a changed tokenizer.json.
Error ErrorOf(const Json& json) {
  const Result<Tokenizer> tokenizer = Tokenizer::FromJson(json.dump(), "t.json");
  if (tokenizer.ok()) return Error(ErrorCode::kIo, "none");
  return tokenizer.error();
}

TEST(Tokenizer, SpecialTokensAreFoundInTheTextAndKeepTheirPlace) {
  const Encoding e = Small().Encode("Playing[MASK], played zzz").value();
  EXPECT_EQ(e.ids, (Ids{2, 5, 6, 4, 10, 5, 7, 1, 3}));
  EXPECT_EQ(e.offsets[3].begin, 7u);
  EXPECT_EQ(e.offsets[3].end, 13u);
  EXPECT_EQ(e.offsets[7].begin, 22u);
}

TEST(Tokenizer, OptionsAreKept) {
  EXPECT_EQ(Small({.lowercase = false}).Encode("Play play", {.add_special_tokens = false}).value().ids, (Ids{15, 5}));
  EXPECT_EQ(Small({.max_word_characters = 3}).Encode("play a", {.add_special_tokens = false}).value().ids, (Ids{1, 8}));
}

TEST(Tokenizer, OffsetsAreCodePointsOfTheText) {
  const Encoding e = Small().Encode("é\u0301 日a", {.add_special_tokens = false}).value();
  ASSERT_EQ(e.ids.size(), 3u);
  EXPECT_EQ(e.offsets[1].begin, 3u);
  EXPECT_EQ(e.offsets[2].begin, 4u);
  EXPECT_EQ(e.offsets[2].end, 5u);
}

TEST(Tokenizer, TruncationCountsSpecialTokens) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("a b a b", {.max_length = 4}).value().ids, (Ids{2, 8, 9, 3}));
  EXPECT_EQ(tokenizer.Encode("a b", {.max_length = 2}).value().ids, (Ids{2, 3}));
  EXPECT_EQ(tokenizer.EncodePair("a a a a", "b", {.max_length = 6}).value().ids, (Ids{2, 8, 8, 3, 9, 3}));
  const Encoding pair = tokenizer.EncodePair("a a a a", "b b b b", {.max_length = 8}).value();
  EXPECT_EQ(pair.ids, (Ids{2, 8, 8, 3, 9, 9, 9, 3}));
  EXPECT_EQ(pair.type_ids, (Ids{0, 0, 0, 0, 1, 1, 1, 1}));
  const Result<Encoding> none = tokenizer.EncodePair("a", "b", {.max_length = 2});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), ErrorCode::kInvalidArgument);
}

TEST(Tokenizer, InvalidUtf8IsAnErrorThatNamesTheByte) {
  const Result<Encoding> e = Small().Encode("play \xFF");
  ASSERT_FALSE(e.ok());
  EXPECT_NE(e.error().message().find("byte 5"), std::string::npos);
}

TEST(Tokenizer, DecodeJoinsPiecesAndLeavesOutWhatIsNoWord) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Decode({2, 5, 6, 10, 8, 11, 3}), "playing, a.");
  EXPECT_EQ(tokenizer.Decode({4, 8, 999, -1}, false), "[MASK] a");
  EXPECT_EQ(tokenizer.Decode({}), "");
}

TEST(Tokenizer, JsonRoundTripKeepsEverything) {
  const Tokenizer tokenizer = Small({.lowercase = false, .strip_accents = true, .max_word_characters = 7});
  const Tokenizer again = Tokenizer::FromJson(tokenizer.ToJson(), "again").value();
  EXPECT_EQ(again.ToJson(), tokenizer.ToJson());
  EXPECT_FALSE(again.options().lowercase);
  EXPECT_EQ(again.options().strip_accents, true);
  EXPECT_EQ(again.options().max_word_characters, 7u);
  EXPECT_EQ(again.mask_id(), 4);
  EXPECT_EQ(again.pad_id(), 0);
}

TEST(Tokenizer, AVocabularyMayLackMaskAndPadButNotTheOthers) {
  const Tokenizer tokenizer = Tokenizer::FromVocabulary({"[UNK]", "[CLS]", "[SEP]", "a"}, {}, "v").value();
  EXPECT_FALSE(tokenizer.mask_id().has_value());
  EXPECT_FALSE(tokenizer.pad_id().has_value());
  for (const std::string lacking : {"[UNK]", "[CLS]", "[SEP]"}) {
    std::vector<std::string> tokens = kTokens;
    std::erase(tokens, lacking);
    const Result<Tokenizer> result = Tokenizer::FromVocabulary(tokens, {}, "v");
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message().find(lacking), std::string::npos);
  }
  EXPECT_FALSE(Tokenizer::FromVocabulary({"[UNK]", "[CLS]", "[SEP]", "a", "a"}, {}, "v").ok());
  EXPECT_FALSE(Tokenizer::FromVocabulary({"[UNK]", "[CLS]", "[SEP]", "\xFF"}, {}, "v").ok());
}

TEST(Tokenizer, IdsMayLeaveGapsThatDecodeToNothing) {
  Json json = SmallJson();
  json["model"]["vocab"]["zebra"] = 40;
  const Tokenizer tokenizer = Tokenizer::FromJson(json.dump(), "t").value();
  EXPECT_EQ(tokenizer.vocabulary_size(), 41u);
  EXPECT_EQ(tokenizer.Token(30), "");
  EXPECT_EQ(tokenizer.Decode({30, 40}), "zebra");
  EXPECT_FALSE(tokenizer.Id("").has_value());
}

TEST(Tokenizer, MalformedJsonIsOneSentenceThatNamesThePlace) {
  const std::vector<std::pair<Json::json_pointer, Json>> changes = {
      {Json::json_pointer("/model/vocab"), Json::array()},
      {Json::json_pointer("/model/vocab/play"), 6},  // the id of ##ing
      {Json::json_pointer("/model/vocab/play"), -1},
      {Json::json_pointer("/model/vocab/play"), 1.5},
      {Json::json_pointer("/model/vocab/play"), "5"},
      {Json::json_pointer("/model/vocab/play"), 4000000000u},
      {Json::json_pointer("/model/max_input_chars_per_word"), -3},
      {Json::json_pointer("/model/unk_token"), 1},
      {Json::json_pointer("/model/unk_token"), "<unk>"},
      {Json::json_pointer("/normalizer/lowercase"), "yes"},
      {Json::json_pointer("/normalizer/strip_accents"), 1},
      {Json::json_pointer("/added_tokens"), 5},
      {Json::json_pointer("/added_tokens/0"), 5},
      {Json::json_pointer("/added_tokens/0/content"), ""},
      {Json::json_pointer("/added_tokens/0/id"), 3},  // of another token
      {Json::json_pointer("/added_tokens/0/content"), "new"},
      {Json::json_pointer("/added_tokens/0/id"), 3000000000u},
      {Json::json_pointer("/added_tokens/0/lstrip"), "no"},
      {Json::json_pointer("/post_processor/special_tokens/[CLS]/ids/0"), 5},
      {Json::json_pointer("/post_processor/special_tokens/[CLS]/ids"), Json::array()},
      {Json::json_pointer("/post_processor/special_tokens"), nullptr},
  };
  for (const auto& [pointer, value] : changes) {
    Json json = SmallJson();
    json[pointer] = value;
    const Error error = ErrorOf(json);
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << pointer.to_string() << " " << value << ": " << error.message();
    EXPECT_TRUE(error.message().starts_with("t.json: ")) << error.message();
  }
}

TEST(Tokenizer, OtherKindsOfTokenizerAreUnsupported) {
  const std::vector<std::pair<Json::json_pointer, Json>> changes = {
      {Json::json_pointer("/model/type"), "BPE"},
      {Json::json_pointer("/model/continuing_subword_prefix"), "@@"},
      {Json::json_pointer("/normalizer/type"), "NFC"},
      {Json::json_pointer("/normalizer"), nullptr},
      {Json::json_pointer("/pre_tokenizer/type"), "Whitespace"},
      {Json::json_pointer("/post_processor"), nullptr},
      {Json::json_pointer("/post_processor/type"), "RobertaProcessing"},
      {Json::json_pointer("/post_processor/single/0/SpecialToken/type_id"), 1},
      {Json::json_pointer("/post_processor/pair"), Json::array()},
  };
  for (const auto& [pointer, value] : changes) {
    Json json = SmallJson();
    json[pointer] = value;
    EXPECT_EQ(ErrorOf(json).code(), ErrorCode::kUnsupported) << pointer.to_string() << ": " << ErrorOf(json).message();
  }
}

TEST(Tokenizer, HostileTextIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{\"model\":\"\xFF\"}"),
        std::string(100000, '['), "{\"model\":" + std::string(100000, '{'), SmallJson().dump().substr(0, 300)}) {
    EXPECT_FALSE(Tokenizer::FromJson(text, "t.json").ok()) << text.substr(0, 20);
  }
}

TEST(Tokenizer, TruncationAndPaddingOfTheFileAreIgnored) {
  Json json = SmallJson();
  json["truncation"] = {{"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 10}}}};
  EXPECT_EQ(Tokenizer::FromJson(json.dump(), "t").value().Encode("a b a").value().ids, (Ids{2, 8, 9, 8, 3}));
}

TEST(TokenizerFile, VocabularyTextWithOptionsBeside) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/vocab.txt";
  ASSERT_TRUE(WriteTextFile(path, "[UNK]\r\n[CLS]\r\n[SEP]\r\n\r\nPlay\r\nplay\r\n\r\n").ok());
  const Tokenizer lower = Tokenizer::Load(path).value();
  EXPECT_EQ(lower.vocabulary_size(), 6u);
  EXPECT_EQ(lower.Encode("Play").value().ids, (Ids{1, 5, 2}));
  ASSERT_TRUE(WriteTextFile(folder.path() + "/tokenizer_config.json", R"({"do_lower_case": false})").ok());
  EXPECT_EQ(Tokenizer::Load(path).value().Encode("Play").value().ids, (Ids{1, 4, 2}));
  ASSERT_TRUE(WriteTextFile(folder.path() + "/tokenizer_config.json", R"({"do_lower_case": 0})").ok());
  EXPECT_FALSE(Tokenizer::Load(path).ok());
}

TEST(TokenizerFile, BrokenFilesAreRefused) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/vocab.txt";
  for (const std::string& text : {std::string(), std::string("\n\n"), std::string("[UNK]\n[CLS]\n[SEP]\na\na\n"),
                                  std::string("[UNK]\n[CLS]\n[SEP]\n\xC3\n")}) {
    ASSERT_TRUE(WriteTextFile(path, text).ok());
    const Result<Tokenizer> tokenizer = Tokenizer::Load(path);
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_NE(tokenizer.error().message().find(path), std::string::npos) << tokenizer.error().message();
  }
  EXPECT_FALSE(Tokenizer::Load(folder.path() + "/missing.json").ok());
  EXPECT_FALSE(Tokenizer::Load(folder.path()).ok());
}

}  // namespace
}  // namespace grove
