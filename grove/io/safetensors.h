// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// safetensors: 8 bytes little-endian header length, a JSON header, then raw tensors. The reader maps the file and
// checks everything before it hands out a view: header at most 100 MB and inside the file, at most 100,000 entries, no
// duplicate names, known dtypes, shape x dtype = byte range without overflow, ranges without overlap or hole, all
// inside the file.
//
//   GROVE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open("model.safetensors"));
//   GROVE_ASSIGN_OR_RETURN(AlignedArray<float> w, file.ReadFloats("encoder.final_norm.weight", {width}));
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/bf16.h"
#include "grove/base/result.h"
#include "grove/io/files.h"

namespace grove {

enum class DType { kBool, kU8, kI8, kI16, kU16, kF16, kBf16, kI32, kU32, kF32, kI64, kU64, kF64 };

size_t DTypeBytes(DType dtype);
std::string_view DTypeName(DType dtype);  // as in the header: "F32", "BF16", ...

using Shape = std::vector<int64_t>;
std::string ShapeText(const Shape& shape);  // "[2, 768]"

// A tensor inside a mapped file, or one about to be written. Row-major, little-endian, not owned.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;  // size = product(shape) x DTypeBytes(dtype); not necessarily aligned
};

using TensorMap = std::map<std::string, TensorView>;
using Metadata = std::map<std::string, std::string>;

// Parses a header + data image (the fuzzed entry point). `name` stands for the file in error messages.
Result<TensorMap> ParseSafetensors(std::span<const std::byte> image, const std::string& name, Metadata* metadata);

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const TensorMap& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }
  bool Has(const std::string& name) const { return tensors_.contains(name); }

  Result<TensorView> Find(const std::string& name) const;
  // A copy as float (from F32, BF16 or F16); the file's own bytes leave the process's memory until they are read again.
  // An error unless the shape is exactly `shape`.
  Result<AlignedArray<float>> ReadFloats(const std::string& name, const Shape& shape) const;
  // Copies of I8 and of BF16 as they are, with the same errors.
  Result<AlignedArray<int8_t>> ReadInt8(const std::string& name, const Shape& shape) const;
  Result<AlignedArray<Bf16>> ReadBf16(const std::string& name, const Shape& shape) const;
  // A copy as int64 (from I64, I32 or BOOL/U8), any shape; `shape` receives it.
  Result<std::vector<int64_t>> ReadIntegers(const std::string& name, Shape* shape) const;

 private:
  std::string path_;
  MappedFile file_;
  TensorMap tensors_;
  Metadata metadata_;
  SafetensorsFile(std::string path, MappedFile file) : path_(std::move(path)), file_(std::move(file)) {}
  // The tensor of exactly that shape and one of those types.
  Result<TensorView> FindAs(const std::string& name, const Shape& shape, std::span<const DType> dtypes) const;
  template <class T>
  AlignedArray<T> CopyOf(const TensorView& view) const;
};

// Helpers that make a view over memory the caller keeps alive.
TensorView ViewOf(std::span<const float> values, Shape shape);
TensorView ViewOf(std::span<const int64_t> values, Shape shape);
TensorView ViewOf(std::span<const int8_t> values, Shape shape);
TensorView ViewOf(std::span<const Bf16> values, Shape shape);

// Writes atomically (io/files.h). Tensors are laid out in name order, the data aligned to 64 bytes.
Status WriteSafetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata);

}  // namespace grove
