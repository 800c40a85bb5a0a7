// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The JSON header, read event by event: nothing is built that the format does not have, however hostile the text.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "grove/io/json.h"
#include "grove/io/safetensors.h"

namespace grove {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxEntries = 100'000;
constexpr size_t kMaxRank = 16;

struct DTypeInfo {
  DType dtype;
  const char* name;
  size_t bytes;
};
constexpr DTypeInfo kDTypes[] = {
    {DType::kBool, "BOOL", 1}, {DType::kU8, "U8", 1},   {DType::kI8, "I8", 1},     {DType::kI16, "I16", 2},
    {DType::kU16, "U16", 2},   {DType::kF16, "F16", 2}, {DType::kBf16, "BF16", 2}, {DType::kI32, "I32", 4},
    {DType::kU32, "U32", 4},   {DType::kF32, "F32", 4}, {DType::kI64, "I64", 8},   {DType::kU64, "U64", 8},
    {DType::kF64, "F64", 8},
};

const DTypeInfo& Info(DType dtype) {
  return *std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeInfo& i) { return i.dtype == dtype; });
}

struct Entry {
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape, offsets;
};

// Accepts exactly {"name": {"dtype": s, "shape": [n...], "data_offsets": [n, n]}, "__metadata__": {"key": "value"}}.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  std::map<std::string, Entry> entries;
  Metadata metadata;
  ErrorCode code = ErrorCode::kCorrupt;
  std::string problem;                 // of the first event refused
  std::optional<size_t> problem_byte;  // known for text that is no JSON

  bool key(string_t& text) override {
    if (level_ == Level::kRoot) {
      in_metadata_ = text == "__metadata__";
      name_ = text;
      if (++count_ > kMaxEntries) return Refuse("has more than 100000 entries");
      const bool fresh = in_metadata_ ? !std::exchange(seen_metadata_, true) : entries.try_emplace(text).second;
      return fresh || Refuse("names the tensor \"" + text + "\" twice");
    }
    key_ = text;
    if (in_metadata_) {
      if (++count_ > kMaxEntries) return Refuse("has more than 100000 entries");
      return !metadata.contains(text) || Refuse("has the metadata key \"" + text + "\" twice");
    }
    const Entry& entry = entries[name_];
    const bool known = text == "dtype" || text == "shape" || text == "data_offsets";
    if (!known) return Refuse("has the unknown key \"" + text + "\" in tensor \"" + name_ + "\"");
    const bool twice =
        text == "dtype" ? entry.dtype.has_value() : (text == "shape" ? entry.shape : entry.offsets).has_value();
    return !twice || Refuse("gives " + text + " of tensor \"" + name_ + "\" twice");
  }

  bool string(string_t& text) override {
    if (level_ != Level::kEntry) return Wrong();
    if (in_metadata_) {
      metadata[key_] = text;
      return true;
    }
    if (key_ != "dtype") return Wrong();
    entries[name_].dtype = text;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != Level::kArray) return Wrong();
    array_->push_back(value);
    return array_->size() <= kMaxRank || Refuse("gives tensor \"" + name_ + "\" more than 16 dimensions");
  }

  bool start_object(size_t) override {
    if (level_ == Level::kStart) {
      level_ = Level::kRoot;
      return true;
    }
    if (level_ != Level::kRoot) return Wrong();
    level_ = Level::kEntry;
    return true;
  }
  bool end_object() override {
    level_ = level_ == Level::kEntry ? Level::kRoot : Level::kStart;
    return true;
  }

  bool start_array(size_t) override {
    if (level_ != Level::kEntry || in_metadata_ || key_ == "dtype") return Wrong();
    Entry& entry = entries[name_];
    array_ = &(key_ == "shape" ? entry.shape : entry.offsets).emplace();
    level_ = Level::kArray;
    return true;
  }
  bool end_array() override {
    level_ = Level::kEntry;
    return true;
  }

  bool null() override { return Wrong(); }
  bool boolean(bool) override { return Wrong(); }
  bool number_integer(number_integer_t) override { return Wrong(); }
  bool number_float(number_float_t, const string_t&) override { return Wrong(); }
  bool binary(binary_t&) override { return Wrong(); }
  bool parse_error(size_t byte, const std::string&, const nlohmann::detail::exception&) override {
    problem = "is not valid JSON";
    problem_byte = byte == 0 ? 0 : byte - 1;
    return false;
  }

 private:
  enum class Level { kStart, kRoot, kEntry, kArray };

  bool Refuse(std::string text) {
    problem = std::move(text);
    return false;
  }
  bool Wrong() { return Refuse("has a value of the wrong type in \"" + name_ + "\""); }

  Level level_ = Level::kStart;
  bool in_metadata_ = false, seen_metadata_ = false;
  size_t count_ = 0;
  std::string name_, key_;
  std::vector<uint64_t>* array_ = nullptr;
};

Error Corrupt(const std::string& name, const std::string& problem) {
  return Error(ErrorCode::kCorrupt, name + ": " + problem + "; the file is damaged or not a safetensors file");
}

// The JSON text between the length and the data.
Result<std::string_view> HeaderText(std::span<const std::byte> image, const std::string& name) {
  uint64_t length = 0;
  if (image.size() < sizeof(length)) return Corrupt(name, "the file is shorter than the 8 bytes of its header length");
  for (size_t i = 0; i < sizeof(length); ++i) length |= static_cast<uint64_t>(image[i]) << (8 * i);
  if (length > kMaxHeaderBytes) {
    return Corrupt(name, "the header length " + std::to_string(length) + " is above the limit of 100000000 bytes");
  }
  if (length > image.size() - sizeof(length)) {
    return Corrupt(name, "the header length " + std::to_string(length) + " reaches beyond the end of the file");
  }
  const std::string_view text(reinterpret_cast<const char*>(image.data()) + sizeof(length), length);
  if (text.empty() || text.front() != '{') return Corrupt(name, "the header does not start with '{'");
  // The JSON parser takes a NUL for the end of the text and would not look at the rest.
  if (text.find('\0') != std::string_view::npos) return Corrupt(name, "the header contains a NUL byte");
  return text;
}

// One tensor, its byte range checked against its shape and the data section.
Result<TensorView> MakeView(const std::string& file, const std::string& tensor, const Entry& entry,
                            std::span<const std::byte> data) {
  const auto problem = [&](const std::string& text) { return Corrupt(file, "tensor \"" + tensor + "\" " + text); };
  if (!entry.dtype || !entry.shape || !entry.offsets) return problem("lacks its dtype, shape or data_offsets");
  const auto* info = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                  [&](const DTypeInfo& candidate) { return *entry.dtype == candidate.name; });
  if (info == std::end(kDTypes)) {
    return Error(ErrorCode::kUnsupported, file + ": tensor \"" + tensor + "\" has the unknown dtype \"" + *entry.dtype +
                                              "\"; convert it to F32, F16 or BF16");
  }
  uint64_t bytes = info->bytes;
  TensorView view{.dtype = info->dtype, .shape = {}, .bytes = {}};
  for (const uint64_t extent : *entry.shape) {
    if (extent > INT64_MAX || __builtin_mul_overflow(bytes, extent, &bytes))
      return problem("has a size that overflows");
    view.shape.push_back(static_cast<int64_t>(extent));
  }
  if (entry.offsets->size() != 2) return problem("has data_offsets that are not two numbers");
  const uint64_t begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
  if (begin > end || end > data.size()) {
    return problem("has data_offsets " + std::to_string(begin) + " to " + std::to_string(end) + " outside the " +
                   std::to_string(data.size()) + " bytes of data");
  }
  if (end - begin != bytes) {
    return problem("of shape " + ShapeText(view.shape) + " and dtype " + info->name + " needs " +
                   std::to_string(bytes) + " bytes and has " + std::to_string(end - begin));
  }
  view.bytes = data.subspan(begin, bytes);
  return view;
}

// Every byte of the data section belongs to exactly one tensor.
Status CheckCoverage(const TensorMap& tensors, std::span<const std::byte> data, const std::string& file) {
  std::vector<std::pair<std::span<const std::byte>, const std::string*>> ranges;
  ranges.reserve(tensors.size());
  for (const auto& [name, view] : tensors) ranges.emplace_back(view.bytes, &name);
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.data(), a.first.size()) < std::pair(b.first.data(), b.first.size());
  });
  const std::byte* reached = data.data();
  for (const auto& [bytes, name] : ranges) {
    if (bytes.data() < reached) return Corrupt(file, "tensor \"" + *name + "\" overlaps another tensor");
    if (bytes.data() > reached) return Corrupt(file, "bytes before tensor \"" + *name + "\" belong to no tensor");
    reached = bytes.data() + bytes.size();
  }
  if (reached != data.data() + data.size()) return Corrupt(file, "bytes at the end belong to no tensor");
  return Ok{};
}

}  // namespace

size_t DTypeBytes(DType dtype) { return Info(dtype).bytes; }
std::string_view DTypeName(DType dtype) { return Info(dtype).name; }

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Result<TensorMap> ParseSafetensors(std::span<const std::byte> image, const std::string& name, Metadata* metadata) {
  GROVE_ASSIGN_OR_RETURN(const std::string_view text, HeaderText(image, name));
  HeaderHandler handler;
  if (!Json::sax_parse(text.begin(), text.end(), &handler)) {
    const std::string where = handler.problem_byte ? " at " + TextPosition(text, *handler.problem_byte) : "";
    return Corrupt(name, "the header " + handler.problem + where);
  }
  const std::span<const std::byte> data = image.subspan(sizeof(uint64_t) + text.size());
  TensorMap tensors;
  for (const auto& [tensor, entry] : handler.entries) {
    GROVE_ASSIGN_OR_RETURN(TensorView view, MakeView(name, tensor, entry, data));
    tensors.emplace_hint(tensors.end(), tensor, std::move(view));
  }
  GROVE_RETURN_IF_ERROR(CheckCoverage(tensors, data, name));
  if (metadata != nullptr) *metadata = std::move(handler.metadata);
  return tensors;
}

}  // namespace grove
