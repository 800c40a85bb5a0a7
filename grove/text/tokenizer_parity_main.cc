// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The library's side of tests/tokenizer_parity_test.py:
//   tokenizer_parity train SIZE < TEXT > tokenizer.json
//   tokenizer_parity encode tokenizer.json < requests.jsonl > encodings.jsonl
// A request is {"text": ..., "pair": ... or null, "max_length": ...}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "grove/text/tokenizer.h"
#include "grove/text/wordpiece_trainer.h"

namespace grove {
namespace {

using Json = nlohmann::json;

int Fail(const Error& error) {
  std::cerr << error.message() << "\n";
  return 1;
}

int Train(size_t vocabulary_size) {
  WordPieceTrainerOptions options;
  options.vocabulary_size = vocabulary_size;
  WordPieceTrainer trainer(options);
  for (std::string line; std::getline(std::cin, line);) {
    const Status added = trainer.Add(line);
    if (!added.ok()) return Fail(added.error());
  }
  const Result<Tokenizer> tokenizer = trainer.Train({});
  if (!tokenizer.ok()) return Fail(tokenizer.error());
  std::cout << tokenizer.value().ToJson();
  return 0;
}

int Encode(const std::string& path) {
  const Result<Tokenizer> tokenizer = Tokenizer::Load(path);
  if (!tokenizer.ok()) return Fail(tokenizer.error());
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    EncodeOptions options;
    options.max_length = request["max_length"].get<size_t>();
    const std::string text = request["text"].get<std::string>();
    const Result<Encoding> encoding =
        request["pair"].is_null() ? tokenizer.value().Encode(text, options)
                                  : tokenizer.value().EncodePair(text, request["pair"].get<std::string>(), options);
    if (!encoding.ok()) return Fail(encoding.error());
    Json offsets = Json::array();
    for (const TokenOffset& offset : encoding.value().offsets) offsets.push_back({offset.begin, offset.end});
    std::cout << Json{{"ids", encoding.value().ids},
                      {"type_ids", encoding.value().type_ids},
                      {"offsets", offsets},
                      {"decoded", tokenizer.value().Decode(encoding.value().ids)}}
                     .dump()
              << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace grove

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "train") return grove::Train(std::stoul(argv[2]));
  if (argc == 3 && std::string(argv[1]) == "encode") return grove::Encode(argv[2]);
  std::cerr << "usage: tokenizer_parity train SIZE | encode TOKENIZER\n";
  return 2;
}
