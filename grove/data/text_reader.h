// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Documents of text files, one after the other, in bounded memory. In plain text a document is a run of lines; a blank
// line ends it. In JSONL (*.jsonl, *.ndjson) every line is an object, one of whose members is a document. Either may be
// packed with zstd (*.zst, windows up to 128 MiB); a folder stands for its *.txt, *.jsonl and *.ndjson files, packed or
// not, in order of their names.
//
//   GROVE_ASSIGN_OR_RETURN(TextReader reader, TextReader::Open({"corpus/"}));
//   std::string document;
//   for (;;) {
//     GROVE_ASSIGN_OR_RETURN(const bool more, reader.Next(&document));
//     if (!more) break;
//     ...
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grove/base/result.h"

namespace grove {

struct TextReaderOptions {
  std::string field = "text";  // of a JSONL object: the document
};

class TextReader {
 public:
  static Result<TextReader> Open(const std::vector<std::string>& paths, const TextReaderOptions& options = {});
  TextReader(TextReader&&) noexcept;
  TextReader& operator=(TextReader&&) noexcept;
  ~TextReader();

  // False after the last document; none is empty. Plain text has its line ends but no blank lines, a JSONL document is
  // its string as it stands. An error names file, line of JSONL, and reason; a document of more than 1 GiB is one.
  Result<bool> Next(std::string* document);

  const std::vector<std::string>& files() const;
  const std::string& file() const;  // that the last document came from
  // Of the files as they lie on disk, for progress.
  uint64_t bytes_read() const;
  uint64_t bytes_total() const;

 private:
  struct State;
  explicit TextReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace grove
