// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/data/text_reader.h"

#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "grove/data/json_lines.h"

namespace grove {
namespace {

namespace fs = std::filesystem;

constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kMaxDocument = size_t{1} << 30;
constexpr int kWindowLog = 27;  // corpora are often packed with --long=27

std::string WithoutZst(const std::string& name) {
  return name.ends_with(".zst") ? name.substr(0, name.size() - 4) : name;
}

bool IsJsonLines(const std::string& name) {
  const std::string plain = WithoutZst(name);
  return plain.ends_with(".jsonl") || plain.ends_with(".ndjson");
}

bool IsTextName(const std::string& name) { return WithoutZst(name).ends_with(".txt") || IsJsonLines(name); }

Result<std::vector<std::string>> ListFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      if (!fs::exists(path, error))
        return Error(ErrorCode::kNotFound, path + " does not exist; give a text file or folder");
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (IsTextName(entry.path().filename().string())) inside.push_back(entry.path().string());
    }
    if (inside.empty()) {
      return Error(ErrorCode::kNotFound,
                   path + " has no *.txt or *.jsonl file, packed or not; give a folder of text or name the files");
    }
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  if (files.empty()) return Error(ErrorCode::kInvalidArgument, "no text given; name at least one file or folder");
  return files;
}

// Bytes of one file, unpacked where its name ends in .zst.
class ByteSource {
 public:
  ByteSource(std::string path, std::FILE* file) : path_(std::move(path)), file_(file), input_(kChunk) {
    if (!path_.ends_with(".zst")) return;
    context_.reset(ZSTD_createDCtx());
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowLog);
  }

  // Appends up to about kChunk bytes; false at the end of the file.
  Result<bool> Append(std::string* out, uint64_t* bytes_read) {
    if (pending_.pos == pending_.size && !full_) {
      pending_ = {input_.data(), std::fread(input_.data(), 1, input_.size(), file_.get()), 0};
      *bytes_read += pending_.size;
      if (std::ferror(file_.get()))
        return Error(ErrorCode::kIo, path_ + " cannot be read; is it a file, and readable?");
    }
    if (!context_) {
      out->append(input_.data(), pending_.size);
      const bool more = pending_.size != 0;
      pending_ = {};
      return more;
    }
    if (pending_.size == 0 && !full_) {
      if (frame_open_)
        return Error(ErrorCode::kCorrupt, path_ + " is cut off: its zstd frame does not end; fetch it again");
      return false;
    }
    const size_t before = out->size();
    out->resize(before + kChunk);
    ZSTD_outBuffer target{out->data() + before, kChunk, 0};
    const size_t state = ZSTD_decompressStream(context_.get(), &target, &pending_);
    out->resize(before + target.pos);
    if (ZSTD_isError(state)) {
      return Error(ErrorCode::kCorrupt,
                   path_ + " is no valid zstd file (" + ZSTD_getErrorName(state) + "); fetch it again");
    }
    frame_open_ = state != 0;
    full_ = target.pos == kChunk;  // there may be more output without more input
    return true;
  }

 private:
  struct CloseFile {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  struct FreeContext {
    void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, CloseFile> file_;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  std::vector<char> input_;
  ZSTD_inBuffer pending_{nullptr, 0, 0};
  bool frame_open_ = false, full_ = false;
};

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

struct TextReader::State {
  std::vector<std::string> files;
  TextReaderOptions options;
  bool json_lines = false;  // the file being read
  uint64_t line_number = 0;
  size_t next_file = 0;
  std::unique_ptr<ByteSource> source;  // of the file being read
  std::string buffer;                  // unpacked, from `position` on not yet handed out
  size_t position = 0;
  uint64_t bytes_read = 0, bytes_total = 0;

  // The next line without its end; false at the end of the file.
  Result<bool> NextLine(std::string_view* line) {
    for (size_t searched = position;;) {
      const size_t end = buffer.find('\n', searched);
      if (end != std::string::npos) {
        *line = std::string_view(buffer).substr(position, end - position);
        position = end + 1;
        ++line_number;
        return true;
      }
      buffer.erase(0, position);
      position = 0;
      searched = buffer.size();
      if (searched > kMaxDocument) {
        return Error(ErrorCode::kUnsupported,
                     files[next_file - 1] + " has a line of more than 1 GiB; break it into lines");
      }
      GROVE_ASSIGN_OR_RETURN(const bool more, source->Append(&buffer, &bytes_read));
      if (more) continue;
      *line = buffer;
      position = buffer.size();
      ++line_number;
      return !buffer.empty();
    }
  }

  // The lines up to the next blank one; false at the end of the file.
  Result<bool> AppendParagraph(std::string* document) {
    for (;;) {
      std::string_view line;
      GROVE_ASSIGN_OR_RETURN(const bool more, NextLine(&line));
      if (!more || IsBlank(line)) return more;
      document->append(line).push_back('\n');
      if (document->size() <= kMaxDocument) continue;
      return Error(ErrorCode::kUnsupported,
                   files[next_file - 1] + " has a document of more than 1 GiB; separate documents by blank lines");
    }
  }

  // The text of the next object; empty for a blank line or a blank text.
  Result<bool> AppendJsonLine(std::string* document) {
    std::string_view line;
    GROVE_ASSIGN_OR_RETURN(const bool more, NextLine(&line));
    if (!more || IsBlank(line)) return more;
    const std::string where = files[next_file - 1] + ", line " + std::to_string(line_number);
    GROVE_RETURN_IF_ERROR(ReadJsonLine(line, options.field, where, document));
    if (document->find_first_not_of(" \t\r\n") == std::string::npos) document->clear();
    return true;
  }

  Status OpenNextFile() {
    const std::string& path = files[next_file++];
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return Error(ErrorCode::kIo, path + " cannot be opened; check that it is readable");
    source = std::make_unique<ByteSource>(path, file);
    json_lines = IsJsonLines(path);
    line_number = 0;
    buffer.clear();
    position = 0;
    return Ok{};
  }
};

TextReader::TextReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TextReader::TextReader(TextReader&&) noexcept = default;
TextReader& TextReader::operator=(TextReader&&) noexcept = default;
TextReader::~TextReader() = default;

Result<TextReader> TextReader::Open(const std::vector<std::string>& paths, const TextReaderOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  GROVE_ASSIGN_OR_RETURN(state->files, ListFiles(paths));
  for (const std::string& file : state->files) {
    std::error_code error;
    const uint64_t size = fs::file_size(file, error);
    if (!error) state->bytes_total += size;
  }
  return TextReader(std::move(state));
}

Result<bool> TextReader::Next(std::string* document) {
  document->clear();
  for (;;) {
    if (!state_->source) {
      if (state_->next_file == state_->files.size()) return false;
      GROVE_RETURN_IF_ERROR(state_->OpenNextFile());
    }
    GROVE_ASSIGN_OR_RETURN(const bool more,
                           state_->json_lines ? state_->AppendJsonLine(document) : state_->AppendParagraph(document));
    if (!more) state_->source.reset();  // the end of a file ends a document, too
    if (!document->empty()) return true;
  }
}

const std::vector<std::string>& TextReader::files() const { return state_->files; }
const std::string& TextReader::file() const { return state_->files[std::max<size_t>(state_->next_file, 1) - 1]; }
uint64_t TextReader::bytes_read() const { return state_->bytes_read; }
uint64_t TextReader::bytes_total() const { return state_->bytes_total; }

}  // namespace grove
