// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace grove {
namespace {

using test::TemporaryFolder;

// Length, header and `data_bytes` zeros.
std::string Image(const std::string& header, size_t data_bytes) {
  std::string image(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(image.data(), &length, sizeof(length));
  return image + header + std::string(data_bytes, '\0');
}

Result<TensorMap> Parse(const std::string& image) {
  return ParseSafetensors(std::as_bytes(std::span(image)), "bad.safetensors", nullptr);
}

// The image is refused, and the message names the file and says `word`.
void ExpectRefused(const std::string& image, const std::string& word) {
  const Result<TensorMap> result = Parse(image);
  ASSERT_FALSE(result.ok()) << word;
  EXPECT_NE(result.error().message().find("bad.safetensors"), std::string::npos) << result.error().message();
  EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape, uint64_t begin,
                   uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

std::string Braced(const std::string& inside) {
  std::string text = "{";
  text += inside;
  return text += "}";
}

TEST(SafetensorsTest, AcceptsWhatTheFormatAllows) {
  EXPECT_TRUE(Parse(Image("{}", 0)).ok());
  EXPECT_TRUE(Parse(Image("{}   ", 0)).ok());
  EXPECT_TRUE(
      Parse(Image(Braced(Tensor("a", "F32", "[2,3]", 0, 24) + "," + Tensor("b", "U8", "[]", 24, 25)), 25)).ok());
  // Empty tensors may share an offset with another.
  const std::string empty =
      Tensor("a", "F32", "[0,7]", 0, 0) + "," + Tensor("b", "I64", "[1]", 0, 8) + "," + Tensor("c", "F32", "[0]", 8, 8);
  const Result<TensorMap> result = Parse(Image("{\"__metadata__\":{\"k\":\"v\"}," + empty + "}", 8));
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_EQ(result.value().at("a").shape, (Shape{0, 7}));
}

TEST(SafetensorsTest, RefusesABrokenHeader) {
  ExpectRefused("", "shorter");
  ExpectRefused("1234567", "shorter");
  ExpectRefused(std::string(8, '\xFF') + "{}", "limit");
  ExpectRefused(std::string("\x03\0\0\0\0\0\0\0{}", 10), "beyond the end");
  ExpectRefused(Image("", 0), "start with");
  ExpectRefused(Image(" {}", 0), "start with");
  ExpectRefused(Image("[]", 0), "start with");
  ExpectRefused(Image("{", 0), "not valid JSON");
  ExpectRefused(Image("{}x", 0), "not valid JSON");
  ExpectRefused(Image(std::string("{}\0{", 4), 0), "NUL");
  ExpectRefused(Image("{\"\xFF\":1}", 0), "not valid JSON");
}

TEST(SafetensorsTest, RefusesWrongTypesAndKeys) {
  ExpectRefused(Image("{\"a\":1}", 0), "wrong type");
  ExpectRefused(Image("{\"a\":null}", 0), "wrong type");
  ExpectRefused(Image("{\"a\":[]}", 0), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", 4), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4), "wrong type");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4), "unknown key");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "lacks");
  ExpectRefused(Image("{\"a\":{}}", 4), "lacks");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4), "two numbers");
  ExpectRefused(Image(Braced(Tensor("a", "F12", "[1]", 0, 4)), 4), "unknown dtype");
  ExpectRefused(Image("{\"__metadata__\":{\"k\":1}}", 0), "wrong type");
  ExpectRefused(Image("{\"__metadata__\":{\"k\":{}}}", 0), "wrong type");
}

TEST(SafetensorsTest, RefusesDuplicates) {
  const std::string a = Tensor("a", "F32", "[1]", 0, 4);
  ExpectRefused(Image(Braced(a + "," + a), 4), "twice");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
                "twice");
  ExpectRefused(Image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4), "twice");
  ExpectRefused(Image("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "twice");
  ExpectRefused(Image("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0), "twice");
}

TEST(SafetensorsTest, RefusesWrongRanges) {
  const auto one = [](const std::string& shape, uint64_t begin, uint64_t end, size_t data) {
    return Image(Braced(Tensor("a", "F32", shape, begin, end)), data);
  };
  ExpectRefused(one("[1]", 0, 8, 8), "needs 4 bytes");
  ExpectRefused(one("[1]", 4, 0, 8), "outside");
  ExpectRefused(one("[2]", 0, 8, 4), "outside");
  ExpectRefused(one("[1]", UINT64_MAX - 3, UINT64_MAX, 4), "outside");
  ExpectRefused(one("[4294967296,4294967296]", 0, 0, 0), "overflows");
  ExpectRefused(one("[4611686018427387904,4]", 0, 0, 0), "overflows");
  ExpectRefused(one("[18446744073709551615]", 0, 4, 4), "overflows");
  ExpectRefused(one("[18446744073709551616]", 0, 4, 4), "wrong type");  // beyond 64 bits: read as a float
  ExpectRefused(one("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 0, 4, 4), "16 dimensions");
  ExpectRefused(one("[1]", 4, 8, 8), "belong to no tensor");
  ExpectRefused(one("[1]", 0, 4, 8), "belong to no tensor");
  const std::string a = Tensor("a", "F32", "[2]", 0, 8);
  ExpectRefused(Image(Braced(a + "," + Tensor("b", "F32", "[2]", 4, 12)), 12), "overlaps");
  ExpectRefused(Image(Braced(a + "," + Tensor("b", "F32", "[2]", 0, 8)), 8), "overlaps");
  ExpectRefused(Image(Braced(a + "," + Tensor("b", "F32", "[1]", 12, 16)), 16), "belong to no tensor");
}

TEST(SafetensorsTest, RefusesFloodsOfEntriesAndDeepNesting) {
  std::string flood = "{\"t0\":" + std::string("{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
  for (int i = 1; i <= 100'000; ++i) {
    flood += ",\"t" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  }
  ExpectRefused(Image(flood + "}", 0), "100000 entries");
  std::string nested = "{\"a\":";
  for (int i = 0; i < 1'000'000; ++i) nested += "{\"a\":";
  ExpectRefused(Image(nested, 0), "unknown key");
}

class SafetensorsFileTest : public testing::Test {
 protected:
  SafetensorsFile WriteAndOpen(const TensorMap& tensors, const Metadata& metadata) {
    const Status written = WriteSafetensors(path_, tensors, metadata);
    EXPECT_TRUE(written.ok());
    Result<SafetensorsFile> file = SafetensorsFile::Open(path_);
    EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().message());
    return std::move(file).value();
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path() + "/a.safetensors";
};

TEST_F(SafetensorsFileTest, RoundTripsTensorsAndMetadata) {
  const std::vector<float> floats = {1.5f, -2, 3, 4, 5, 6};
  const std::vector<int64_t> integers = {7, -8};
  const SafetensorsFile file = WriteAndOpen(
      {{"w", ViewOf(floats, {2, 3})}, {"ids", ViewOf(integers, {2})}, {"none", ViewOf({floats.data(), 0}, {0, 3})}},
      {{"format", "pt"}});
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const Result<AlignedArray<float>> w = file.ReadFloats("w", {2, 3});
  ASSERT_TRUE(w.ok());
  EXPECT_TRUE(std::equal(floats.begin(), floats.end(), w.value().data()));
  Shape shape;
  const Result<std::vector<int64_t>> ids = file.ReadIntegers("ids", &shape);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(ids.value(), integers);
  EXPECT_EQ(shape, Shape{2});
  EXPECT_TRUE(file.ReadFloats("none", {0, 3}).ok());
}

TEST_F(SafetensorsFileTest, ConvertsStoredTypes) {
  const uint16_t halves[] = {0x3C00, 0xC000, 0x0001, 0x8000, 0x7BFF, 0x7C00, 0x03FF};
  const uint16_t brains[] = {0x3F80, 0xC000};
  const int32_t ints[] = {-5, 6};
  const uint8_t bytes[] = {0, 1, 255};
  const SafetensorsFile file = WriteAndOpen({{"f16", {DType::kF16, {7}, std::as_bytes(std::span(halves))}},
                                             {"bf16", {DType::kBf16, {2}, std::as_bytes(std::span(brains))}},
                                             {"i32", {DType::kI32, {2}, std::as_bytes(std::span(ints))}},
                                             {"u16", {DType::kU16, {7}, std::as_bytes(std::span(halves))}},
                                             {"u8", {DType::kU8, {3}, std::as_bytes(std::span(bytes))}}},
                                            {});
  const AlignedArray<float> f16 = file.ReadFloats("f16", {7}).value();
  const float expected[] = {1.0f, -2.0f, std::ldexp(1.0f, -24), -0.0f, 65504.0f, INFINITY, std::ldexp(1023.0f, -24)};
  EXPECT_TRUE(std::equal(std::begin(expected), std::end(expected), f16.data()));
  EXPECT_TRUE(std::signbit(f16[3]));
  EXPECT_EQ(file.ReadFloats("bf16", {2}).value()[1], -2.0f);
  EXPECT_EQ(file.ReadIntegers("i32", nullptr).value(), (std::vector<int64_t>{-5, 6}));
  EXPECT_EQ(file.ReadIntegers("u8", nullptr).value(), (std::vector<int64_t>{0, 1, 255}));
  EXPECT_EQ(file.Find("u16").value().dtype, DType::kU16);
  EXPECT_FALSE(file.ReadIntegers("u16", nullptr).ok());
  EXPECT_FALSE(file.ReadIntegers("f16", nullptr).ok());
  EXPECT_FALSE(file.ReadFloats("i32", {2}).ok());
}

TEST_F(SafetensorsFileTest, ErrorsNameFileTensorAndExpectation) {
  const std::vector<float> floats(6);
  const SafetensorsFile file = WriteAndOpen({{"w", ViewOf(floats, {2, 3})}}, {});
  EXPECT_EQ(file.ReadFloats("w", {3, 2}).error().message(),
            path_ + ": tensor \"w\" has shape [2, 3] where [3, 2] is expected");
  const Error missing = file.ReadFloats("b", {3}).error();
  EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.message().find("\"b\""), std::string::npos);
}

// Any one flipped bit of a file we wrote is noticed, or changes nothing that a reader sees.
TEST_F(SafetensorsFileTest, NoticesFlippedBits) {
  std::vector<float> floats(77);
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = static_cast<float>(i);
  WriteAndOpen({{"layer.weight", ViewOf(floats, {7, 11})}}, {{"format", "pt"}});
  const std::string good = ReadTextFile(path_).value();
  const TensorMap original = Parse(good).value();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_TRUE(WriteTextFile(path_, bad).ok());
    const Result<SafetensorsFile> file = SafetensorsFile::Open(path_);
    if (!file.ok()) continue;
    ASSERT_EQ(file.value().tensors().size(), 1u) << bit;
    const auto& [name, view] = *file.value().tensors().begin();
    EXPECT_EQ(name, "layer.weight") << bit;
    EXPECT_EQ(view.shape, (Shape{7, 11})) << bit;
    EXPECT_EQ(std::memcmp(view.bytes.data(), original.at(name).bytes.data(), view.bytes.size()), 0) << bit;
  }
}

TEST_F(SafetensorsFileTest, RefusesEveryTruncation) {
  const std::vector<float> floats(5, 1.0f);
  WriteAndOpen({{"w", ViewOf(floats, {5})}}, {});
  const std::string good = ReadTextFile(path_).value();
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_TRUE(WriteTextFile(path_, good.substr(0, size)).ok());
    EXPECT_FALSE(SafetensorsFile::Open(path_).ok()) << size;
  }
}

}  // namespace
}  // namespace grove
