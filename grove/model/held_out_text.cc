// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/held_out_text.h"

#include <algorithm>
#include <optional>

#include "grove/data/packed_text.h"
#include "grove/data/sequences.h"
#include "grove/data/text_reader.h"

namespace grove {
namespace {

std::string Described(const std::string& source, size_t sequences) {
  return source + ", " + std::to_string(sequences) + (sequences == 1 ? " sequence" : " sequences");
}

Result<HeldOutText> ReadPacked(const HeldOutOptions& options, const Tokenizer& tokenizer) {
  GROVE_ASSIGN_OR_RETURN(const PackedText packed, PackedText::Open(options.data));
  if (packed.vocabulary != tokenizer.vocabulary_size()) {
    return Error(ErrorCode::kInvalidArgument, options.data + " was packed with " + std::to_string(packed.vocabulary) +
                                                  " words and the model's tokenizer has " +
                                                  std::to_string(tokenizer.vocabulary_size()) +
                                                  "; pack text with the model's tokenizer");
  }
  const SequenceIndex index(
      packed.valid,
      {.length = options.length, .cls_id = tokenizer.cls_id(), .sep_id = tokenizer.sep_id(), .pad_id = -1});
  HeldOutText text;
  const size_t count = std::min(options.sequences, index.size());
  std::vector<int64_t> ids(options.length);
  for (size_t i = 0; i < count; ++i) {
    index.ReadPiece(i * index.size() / count, ids.data());
    auto& sequence = text.sequences.emplace_back();
    for (const int64_t id : ids) {
      if (id >= 0) sequence.push_back(static_cast<int32_t>(id));
    }
  }
  text.description = Described("held-out text of " + options.data, count);
  return text;
}

// Cuts one document; false once there are enough sequences.
bool AddDocument(const HeldOutOptions& options, const Tokenizer& tokenizer, const Encoding& document,
                 HeldOutText& text) {
  const size_t piece = options.length - 2;
  for (size_t begin = 0; begin < document.ids.size(); begin += piece) {
    if (text.sequences.size() == options.sequences) return false;
    const size_t end = std::min(begin + piece, document.ids.size());
    std::vector<int32_t> sequence = {tokenizer.cls_id()};
    sequence.insert(sequence.end(), document.ids.begin() + static_cast<ptrdiff_t>(begin),
                    document.ids.begin() + static_cast<ptrdiff_t>(end));
    sequence.push_back(tokenizer.sep_id());
    text.sequences.push_back(std::move(sequence));
  }
  return text.sequences.size() < options.sequences;
}

Result<Encoding> Encoded(const Tokenizer& tokenizer, const std::string& document, const std::string& file) {
  Result<Encoding> encoding = tokenizer.Encode(document, {.add_special_tokens = false});
  if (encoding.ok()) return encoding;
  return Error(encoding.error().code(), file + " holds a document that cannot be read: " + encoding.error().message());
}

Result<HeldOutText> ReadFiles(const HeldOutOptions& options, const Tokenizer& tokenizer) {
  GROVE_ASSIGN_OR_RETURN(TextReader reader, TextReader::Open(options.texts));
  HeldOutText text;
  std::string document;
  for (bool wanted = true; wanted;) {
    GROVE_ASSIGN_OR_RETURN(const bool more, reader.Next(&document));
    if (!more) break;
    GROVE_ASSIGN_OR_RETURN(const Encoding encoding, Encoded(tokenizer, document, reader.file()));
    wanted = AddDocument(options, tokenizer, encoding, text);
  }
  text.description =
      Described(options.texts[0] + (options.texts.size() > 1 ? " and others" : ""), text.sequences.size());
  return text;
}

Result<HeldOutText> ReadSample(const HeldOutOptions& options, const Tokenizer& tokenizer) {
  HeldOutText text;
  GROVE_ASSIGN_OR_RETURN(const Encoding encoding, Encoded(tokenizer, std::string(SampleText()), "the sample text"));
  AddDocument(options, tokenizer, encoding, text);
  text.description = Described("grove's sample text", text.sequences.size());
  return text;
}

}  // namespace

Result<HeldOutText> ReadHeldOut(const HeldOutOptions& options, const Tokenizer& tokenizer) {
  Result<HeldOutText> text = !options.data.empty()    ? ReadPacked(options, tokenizer)
                             : !options.texts.empty() ? ReadFiles(options, tokenizer)
                                                      : ReadSample(options, tokenizer);
  if (!text.ok() || !text.value().sequences.empty()) return text;
  return Error(ErrorCode::kInvalidArgument, (options.data.empty() ? options.texts[0] : options.data) +
                                                " holds no held-out text; name text with at least one document");
}

std::string_view SampleText() {
  return "The mill stood where the river left the hills. It had been built of grey stone two hundred years before, and "
         "its wheel had turned for all of them but three: once when the water froze, once when the miller died without "
         "children, and once when the railway came and nobody brought grain by the road any more. In that third year "
         "the roof began to leak, and the children of the village said that an owl had moved into the loft.\n"
         "Anna bought it in spring for the price of a good horse. She was an engineer, and she had no wish to grind "
         "corn. What she wanted was the fall of the water, which she had measured on two cold mornings with a stick, a "
         "string and a watch: eleven feet, and in April more water than she could use. A small turbine would give "
         "light "
         "to every house along the street, she told the council, and it would cost less than the lamps they had. The "
         "council listened, asked whether the light would go out in August, and promised nothing.\n"
         "She worked alone until the summer. The old wheel had to be taken apart beam by beam, because the oak was "
         "still "
         "sound and could be sold. Under it lay the stones of a wheel that was older still, and under those a layer of "
         "black mud full of hazelnuts, which a teacher from the town looked at for a long time. People had cracked "
         "nuts "
         "at this place, he said, before there was bread in the country. He asked for a box of the mud and came back "
         "in "
         "October with a number: nine thousand years, give or take a hundred.\n"
         "By then the turbine was running. It made a sound like a cat that is pleased with itself, day and night, and "
         "those who lived next to the mill soon could not sleep without it. The first evening the whole street was "
         "lit, "
         "people walked up and down as if they had never seen their own doors. An old man asked how far the light "
         "could "
         "be carried. Anna answered that it depended on the copper, and that copper depended on money, as most things "
         "did. In August it did go out, twice, for an hour each time. Nobody complained; they had kept their candles, "
         "and "
         "the owl, which had never left, was heard for the first time that year.\n";
}

}  // namespace grove
