// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "grove/base/bf16.h"
#include "grove/base/check.h"

namespace grove {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is used as it lies in the file");

constexpr char kChecksumKey[] = "grove.checksum";

// A 64-bit checksum in which every step is a bijection of the running state for fixed input, and of the input for a
// fixed state: one changed word anywhere always changes the result. Not cryptographic. Four lanes, so that the
// multiplications overlap.
class Checksum {
 public:
  void Add(std::span<const std::byte> bytes) {
    constexpr size_t kBlock = 4 * sizeof(uint64_t);
    size_t i = 0;
    for (; i + kBlock <= bytes.size(); i += kBlock) AddBlock(bytes.data() + i, kBlock);
    AddBlock(bytes.data() + i, bytes.size() - i);  // the rest, padded with zeros; its length follows
    lanes_[0] = Step(lanes_[0], bytes.size());
  }
  void Add(std::string_view text) { Add(std::as_bytes(std::span(text))); }

  std::string Text() const {
    uint64_t hash = 0;
    for (const uint64_t lane : lanes_) hash = Step(hash, lane);
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash ^ (hash >> 32)));
    return text;
  }

 private:
  static uint64_t Step(uint64_t state, uint64_t word) { return std::rotl((state ^ word) * 0x9E3779B97F4A7C15u, 29); }

  void AddBlock(const std::byte* bytes, size_t size) {
    uint64_t words[4] = {};
    if (size != 0) std::memcpy(words, bytes, size);
    for (size_t i = 0; i < 4; ++i) lanes_[i] = Step(lanes_[i], words[i]);
  }

  uint64_t lanes_[4] = {1, 2, 3, 4};
};

// Over everything a reader uses: names, types, shapes, data and the other metadata.
std::string ContentChecksum(const TensorMap& tensors, const Metadata& metadata) {
  Checksum checksum;
  for (const auto& [key, value] : metadata) {
    if (key == kChecksumKey) continue;
    checksum.Add(key);
    checksum.Add(value);
  }
  for (const auto& [name, view] : tensors) {
    checksum.Add(name);
    checksum.Add(DTypeName(view.dtype));
    checksum.Add(ShapeText(view.shape));
    checksum.Add(view.bytes);
  }
  return checksum.Text();
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu, mantissa = half & 0x3FFu;
  if (exponent == 0) {  // zero and subnormal numbers: mantissa x 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t bits = exponent == 0x1F ? 0x7F800000u | (mantissa << 13) : ((exponent + 112) << 23) | (mantissa << 13);
  return std::bit_cast<float>(sign | bits);
}

// Reads element i wherever it lies: tensors in a file need not be aligned.
template <class T>
T Load(const TensorView& view, size_t i) {
  T value;
  std::memcpy(&value, view.bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

size_t Elements(const TensorView& view) { return view.bytes.size() / DTypeBytes(view.dtype); }

std::string HeaderOf(const TensorMap& tensors, const Metadata& metadata) {
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, view] : tensors) {
    uint64_t elements = 1;
    for (const int64_t extent : view.shape) elements *= static_cast<uint64_t>(extent);
    GROVE_CHECK(elements * DTypeBytes(view.dtype) == view.bytes.size());
    header[name] = {{"dtype", DTypeName(view.dtype)},
                    {"shape", view.shape},
                    {"data_offsets", {offset, offset + view.bytes.size()}}};
    offset += view.bytes.size();
  }
  using Handler = nlohmann::ordered_json::error_handler_t;
  std::string text = header.dump(-1, ' ', false, Handler::replace);
  const size_t used = sizeof(uint64_t) + text.size();
  text.append((kCacheLineBytes - used % kCacheLineBytes) % kCacheLineBytes, ' ');
  return text;
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  SafetensorsFile file(path, std::move(mapped));
  GROVE_ASSIGN_OR_RETURN(file.tensors_, ParseSafetensors(file.file_.bytes(), path, &file.metadata_));
  const auto checksum = file.metadata_.find(kChecksumKey);
  if (checksum != file.metadata_.end() && checksum->second != ContentChecksum(file.tensors_, file.metadata_)) {
    return Error(ErrorCode::kCorrupt, path +
                                          " does not match its own checksum: bytes were changed since it was "
                                          "written; copy or write it again");
  }
  file.file_.Release(file.file_.bytes());  // of the checksum
  return file;
}

Result<TensorView> SafetensorsFile::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return Error(ErrorCode::kNotFound, path_ + " has no tensor \"" + name + "\"");
  return found->second;
}

Result<TensorView> SafetensorsFile::FindAs(const std::string& name, const Shape& shape,
                                           std::span<const DType> dtypes) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return Error(ErrorCode::kNotFound,
                 path_ + " has no tensor \"" + name + "\"; one of shape " + ShapeText(shape) + " is expected there");
  }
  const TensorView& view = found->second;
  if (view.shape != shape) {
    return Error(ErrorCode::kInvalidArgument, path_ + ": tensor \"" + name + "\" has shape " + ShapeText(view.shape) +
                                                  " where " + ShapeText(shape) + " is expected");
  }
  if (std::ranges::find(dtypes, view.dtype) != dtypes.end()) return view;
  std::string expected;
  for (size_t i = 0; i < dtypes.size(); ++i) {
    expected += (i == 0 ? "" : i + 1 == dtypes.size() ? " or " : ", ") + std::string(DTypeName(dtypes[i]));
  }
  const bool quantized = view.dtype == DType::kI8 && tensors_.contains(name + "_scale");
  return Error(ErrorCode::kInvalidArgument,
               path_ + ": tensor \"" + name + "\" has dtype " + std::string(DTypeName(view.dtype)) + " where " +
                   expected + " is expected" + (quantized ? "; the model is quantized: take the original" : ""));
}

Result<AlignedArray<float>> SafetensorsFile::ReadFloats(const std::string& name, const Shape& shape) const {
  constexpr DType kFloats[] = {DType::kF32, DType::kBf16, DType::kF16};
  GROVE_ASSIGN_OR_RETURN(const TensorView view, FindAs(name, shape, kFloats));
  AlignedArray<float> values(Elements(view));
  if (view.dtype == DType::kF32) {
    if (!view.bytes.empty()) std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  } else if (view.dtype == DType::kBf16) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = ToFloat(Bf16{Load<uint16_t>(view, i)});
  } else {
    for (size_t i = 0; i < values.size(); ++i) values[i] = HalfToFloat(Load<uint16_t>(view, i));
  }
  file_.Release(view.bytes);
  return values;
}

template <class T>
AlignedArray<T> SafetensorsFile::CopyOf(const TensorView& view) const {
  AlignedArray<T> values(Elements(view));
  if (!view.bytes.empty()) std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  file_.Release(view.bytes);
  return values;
}

Result<AlignedArray<int8_t>> SafetensorsFile::ReadInt8(const std::string& name, const Shape& shape) const {
  constexpr DType kInt8[] = {DType::kI8};
  GROVE_ASSIGN_OR_RETURN(const TensorView view, FindAs(name, shape, kInt8));
  return CopyOf<int8_t>(view);
}

Result<AlignedArray<Bf16>> SafetensorsFile::ReadBf16(const std::string& name, const Shape& shape) const {
  constexpr DType kBf16[] = {DType::kBf16};
  GROVE_ASSIGN_OR_RETURN(const TensorView view, FindAs(name, shape, kBf16));
  return CopyOf<Bf16>(view);
}

Result<std::vector<int64_t>> SafetensorsFile::ReadIntegers(const std::string& name, Shape* shape) const {
  GROVE_ASSIGN_OR_RETURN(const TensorView view, Find(name));
  const bool readable =
      view.dtype == DType::kI64 || view.dtype == DType::kI32 || view.dtype == DType::kU8 || view.dtype == DType::kBool;
  if (!readable) {
    return Error(ErrorCode::kInvalidArgument, path_ + ": tensor \"" + name + "\" has dtype " +
                                                  std::string(DTypeName(view.dtype)) +
                                                  " where I64, I32, U8 or BOOL is expected");
  }
  std::vector<int64_t> values(Elements(view));
  for (size_t i = 0; i < values.size(); ++i) {
    if (view.dtype == DType::kI64) {
      values[i] = Load<int64_t>(view, i);
    } else {
      values[i] = view.dtype == DType::kI32 ? Load<int32_t>(view, i) : Load<uint8_t>(view, i);
    }
  }
  if (shape != nullptr) *shape = view.shape;
  return values;
}

TensorView ViewOf(std::span<const float> values, Shape shape) {
  return {.dtype = DType::kF32, .shape = std::move(shape), .bytes = std::as_bytes(values)};
}

TensorView ViewOf(std::span<const int64_t> values, Shape shape) {
  return {.dtype = DType::kI64, .shape = std::move(shape), .bytes = std::as_bytes(values)};
}

TensorView ViewOf(std::span<const int8_t> values, Shape shape) {
  return {.dtype = DType::kI8, .shape = std::move(shape), .bytes = std::as_bytes(values)};
}

TensorView ViewOf(std::span<const Bf16> values, Shape shape) {
  return {.dtype = DType::kBf16, .shape = std::move(shape), .bytes = std::as_bytes(values)};
}

Status WriteSafetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata) {
  Metadata all = metadata;
  all[kChecksumKey] = ContentChecksum(tensors, metadata);
  const std::string header = HeaderOf(tensors, all);
  const uint64_t length = header.size();
  GROVE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  GROVE_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(&length, 1))));
  GROVE_RETURN_IF_ERROR(file.Write(header));
  for (const auto& [name, view] : tensors) GROVE_RETURN_IF_ERROR(file.Write(view.bytes));
  return file.Commit();
}

}  // namespace grove
