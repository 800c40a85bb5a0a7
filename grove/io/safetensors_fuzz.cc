// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// libFuzzer: any bytes given to ParseSafetensors end in an error or in tensors that lie inside the bytes.
#include <cstddef>
#include <cstdint>
#include <span>

#include "grove/base/check.h"
#include "grove/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> image = std::as_bytes(std::span(data, size));
  grove::Metadata metadata;
  const grove::Result<grove::TensorMap> result = grove::ParseSafetensors(image, "fuzz", &metadata);
  if (!result.ok()) return 0;
  size_t total = 0;
  for (const auto& [name, view] : result.value()) {
    size_t elements = 1;
    for (const int64_t extent : view.shape) elements *= static_cast<size_t>(extent);
    GROVE_CHECK(elements * grove::DTypeBytes(view.dtype) == view.bytes.size());
    GROVE_CHECK(view.bytes.data() >= image.data());
    GROVE_CHECK(view.bytes.data() + view.bytes.size() <= image.data() + image.size());
    total += view.bytes.size();
  }
  GROVE_CHECK(total <= size);
  return 0;
}
