// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/token_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace grove {
namespace {

const std::vector<int32_t> kIds = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};
const std::vector<uint8_t> kTypes = {0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1};

template <class T>
std::vector<T> Copy(const T* from, size_t count) {
  return from == nullptr ? std::vector<T>() : std::vector<T>(from, from + count);
}

TEST(PackTokens, LeavesPaddingOutWhereverItIs) {
  const std::vector<uint8_t> mask = {1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0};  // right, left and inner, nothing else
  Arena arena;
  const PackedTokens packed = PackTokens({.ids = kIds, .mask = mask, .types = kTypes, .batch = 3, .length = 4}, arena);
  ASSERT_EQ(packed.tokens, 8u);
  EXPECT_FALSE(packed.whole);
  EXPECT_EQ(Copy(packed.ids, 8), (std::vector<int32_t>{10, 11, 15, 17, 18, 19, 20, 21}));
  EXPECT_EQ(Copy(packed.types, 8), (std::vector<uint8_t>{0, 0, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(Copy(packed.places, 8), (std::vector<uint32_t>{0, 1, 5, 7, 8, 9, 10, 11}));
  EXPECT_EQ(packed.is_key, nullptr);
  ASSERT_EQ(packed.sequences.size(), 3u);
  EXPECT_EQ(packed.sequences[1].begin, 2u);
  EXPECT_EQ(packed.sequences[1].count, 2u);
  EXPECT_EQ(packed.sequences[2].count, 4u);  // wholly masked: as if it were not

  const std::vector<float> rows = {1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8};
  std::vector<float> unpacked(24, 9.0f);
  Unpack(packed, 3, rows.data(), 2, unpacked.data());
  EXPECT_EQ(unpacked,
            (std::vector<float>{1, -1, 2, -2, 0, 0, 0, 0, 0, 0, 3, -3, 0, 0, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8}));
}

TEST(PackTokens, PartsAreWholeSequences) {
  const std::vector<uint8_t> mask = {1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0};
  Arena arena;
  const PackedTokens packed = PackTokens({.ids = kIds, .mask = mask, .types = kTypes, .batch = 3, .length = 4}, arena);
  const PackedTokens two = PartOf(packed, 0, 5, arena), last = PartOf(packed, 2, 1, arena);
  EXPECT_EQ(two.tokens, 4u);
  EXPECT_EQ(two.sequences.size(), 2u);
  EXPECT_EQ(Copy(two.ids, 4), (std::vector<int32_t>{10, 11, 15, 17}));
  ASSERT_EQ(last.tokens, 4u);  // more than asked for: one sequence is the least
  ASSERT_EQ(last.sequences.size(), 1u);
  EXPECT_EQ(last.sequences[0].begin, 0u);
  EXPECT_EQ(Copy(last.ids, 4), (std::vector<int32_t>{18, 19, 20, 21}));
  EXPECT_EQ(Copy(last.types, 4), (std::vector<uint8_t>{0, 0, 0, 1}));
  EXPECT_EQ(Copy(last.places, 4), (std::vector<uint32_t>{8, 9, 10, 11}));
  EXPECT_EQ(PartOf(packed, 0, 100, arena).sequences.size(), 3u);
}

// Every sequence once, in order; the tokens of each share; and how many the busiest thread computes.
void ExpectShares(const std::vector<size_t>& lengths, size_t threads, size_t least, size_t most,
                  const std::vector<size_t>& expected) {
  const size_t longest = *std::max_element(lengths.begin(), lengths.end());
  const std::vector<int32_t> ids(lengths.size() * longest, 1);
  std::vector<uint8_t> mask(ids.size(), 0);
  for (size_t i = 0; i < lengths.size(); ++i) std::fill_n(mask.begin() + i * longest, lengths[i], 1);
  Arena arena;
  const PackedTokens packed = PackTokens({.ids = ids, .mask = mask, .batch = lengths.size(), .length = longest}, arena);
  const Shares shares = ShareOut(packed, threads, least, most, arena);
  EXPECT_EQ(std::vector<size_t>(shares.tokens.begin(), shares.tokens.end()), expected);
  size_t next = 0;
  for (size_t i = 0; i < shares.first.size(); ++i) {
    ASSERT_EQ(shares.first[i], next);
    const PackedTokens share = PartOf(packed, shares.first[i], shares.tokens[i], arena);
    EXPECT_EQ(share.tokens, shares.tokens[i]);
    next += share.sequences.size();
  }
  EXPECT_EQ(next, expected.empty() ? 0 : lengths.size());
}

TEST(ShareOut, GivesThreadsAboutAsMuch) {
  const std::vector<size_t> eight(8, 128);
  ExpectShares(eight, 2, 512, 512, {512, 512});
  ExpectShares(eight, 2, 256, 512, {256, 256, 256, 256});
  ExpectShares(eight, 2, 128, 512, {128, 128, 128, 128, 128, 128, 128, 128});
  ExpectShares(eight, 1, 128, 512, {});                           // nobody to share with
  ExpectShares(eight, 3, 128, 512, std::vector<size_t>(8, 128));  // three, three and two
  ExpectShares(std::vector<size_t>(7, 128), 3, 128, 512, {});     // three, two and two
  ExpectShares(eight, 4, 512, 512, {});                           // too few tokens for four
  ExpectShares({20, 30, 40, 50, 60}, 2, 60, 1000, {90, 50, 60});
  ExpectShares({500, 20, 30}, 2, 100, 1000, {});  // one sequence is most of the work
  ExpectShares({500, 300, 200}, 2, 100, 400, {500, 300, 200});
}

TEST(PackTokens, KeepsAWholeBatchWhereItIs) {
  const std::vector<uint8_t> mask = {1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0};
  Arena arena;
  const TokenBatch batch{.ids = kIds, .mask = mask, .batch = 3, .length = 4, .compute_padding = true};
  const PackedTokens padded = PackTokens(batch, arena);
  EXPECT_TRUE(padded.whole);
  EXPECT_EQ(padded.ids, kIds.data());
  EXPECT_EQ(padded.is_key, mask.data());
  const PackedTokens unmasked = PackTokens({.ids = kIds, .batch = 3, .length = 4}, arena);
  EXPECT_TRUE(unmasked.whole);
  EXPECT_EQ(unmasked.is_key, nullptr);
  EXPECT_EQ(PackTokens({}, arena).tokens, 0u);
}

}  // namespace
}  // namespace grove
