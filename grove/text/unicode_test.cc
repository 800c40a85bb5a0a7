// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace grove {
namespace {

// FNV-1a over bytes.
class Digest {
 public:
  void Add(uint8_t byte) { hash_ = (hash_ ^ byte) * 0x100000001b3u; }
  void Add(std::u32string_view text) {
    for (const char32_t c : text) {
      for (int shift = 0; shift < 32; shift += 8) Add(static_cast<uint8_t>(c >> shift));
    }
    Add(uint8_t{0xFF});
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

template <class Visit>
void ForEachCodePoint(const Visit& visit) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) visit(c);
  }
}

// The four digests were computed from the answers of `tokenizers` 0.23.3 (BertNormalizer, BertPreTokenizer, NFD) to
// every code point.
TEST(Unicode, PropertiesOfEveryCodePointAreThePackages) {
  Digest digest;
  ForEachCodePoint([&](char32_t c) {
    const bool control = IsControl(c), space = IsWhitespace(c);
    digest.Add(static_cast<uint8_t>((control ? 1 : 0) + (space && !control ? 2 : 0) + (space ? 4 : 0) +
                                    (IsPunctuation(c) ? 8 : 0) + (IsNonspacingMark(c) ? 16 : 0) +
                                    (IsChinese(c) ? 32 : 0)));
  });
  EXPECT_EQ(digest.value(), 0xac0ce2d220aa84b2u);
}

TEST(Unicode, LowercaseOfEveryCodePointIsThePackages) {
  Digest digest;
  ForEachCodePoint([&](char32_t c) {
    std::u32string lower;
    AppendLowercase(c, &lower);
    digest.Add(lower);
  });
  EXPECT_EQ(digest.value(), 0x62b407ae3b31e13eu);
}

TEST(Unicode, DecompositionOfEveryCodePointIsThePackages) {
  Digest digest;
  ForEachCodePoint([&](char32_t c) {
    std::u32string parts;
    AppendDecomposed(c, &parts);
    digest.Add(parts);
  });
  EXPECT_EQ(digest.value(), 0xdbb6c6af5eb69ee6u);
}

TEST(Unicode, CombiningClassOfEveryCodePointIsThePackages) {
  Digest digest;
  ForEachCodePoint([&](char32_t c) { digest.Add(static_cast<uint8_t>(CombiningClass(c))); });
  EXPECT_EQ(digest.value(), 0xbeecd6b1771cb0b9u);
}

TEST(Unicode, Utf8RoundTripOfEveryCodePoint) {
  ForEachCodePoint([](char32_t c) {
    const std::string bytes = EncodeUtf8(std::u32string(1, c));
    char32_t back = 0;
    ASSERT_EQ(DecodeUtf8(bytes, &back), bytes.size());
    ASSERT_EQ(back, c);
  });
}

TEST(Unicode, InvalidUtf8IsRefused) {
  const std::vector<std::string> invalid = {"\x80",
                                            "\xC0\x80",
                                            "\xC1\xBF",
                                            "\xC3",
                                            "\xC3(",
                                            "\xE0\x80\x80",
                                            "\xE2\x82",
                                            "\xED\xA0\x80",  // a surrogate
                                            "\xF0\x80\x80\x80",
                                            "\xF4\x90\x80\x80",
                                            "\xF5\x80\x80\x80",
                                            "\xFF",
                                            "\xF0\x9F\x98"};
  for (const std::string& bytes : invalid) {
    std::u32string out;
    EXPECT_FALSE(DecodeUtf8("a" + bytes, &out)) << testing::PrintToString(bytes);
    EXPECT_FALSE(DecodeUtf8(bytes + "a", &out)) << testing::PrintToString(bytes);
  }
}

}  // namespace
}  // namespace grove
