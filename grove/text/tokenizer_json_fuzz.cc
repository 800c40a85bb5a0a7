// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// tokenizer.json from anywhere: an error or a tokenizer that encodes, decodes and writes itself. A second part of the
// input, after a zero byte, is a text to encode.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grove/base/check.h"
#include "grove/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const grove::Result<grove::Tokenizer> tokenizer = grove::Tokenizer::FromJson(input.substr(0, zero), "fuzz");
  if (!tokenizer.ok()) return 0;
  const std::string_view text = zero == std::string_view::npos ? "A b[MASK], déjà 日本" : input.substr(zero + 1);
  for (const size_t max_length : {size_t{0}, size_t{5}}) {
    const auto single = tokenizer.value().Encode(text, {.max_length = max_length});
    const auto pair = tokenizer.value().EncodePair(text, "x y", {.max_length = max_length});
    GROVE_CHECK(single.ok() == pair.ok());
    if (!single.ok()) return 0;
    GROVE_CHECK(single.value().ids.size() == single.value().offsets.size());
    GROVE_CHECK(pair.value().ids.size() == pair.value().type_ids.size());
    tokenizer.value().Decode(single.value().ids, false);
  }
  GROVE_CHECK(grove::Tokenizer::FromJson(tokenizer.value().ToJson(), "written").ok());
  return 0;
}
