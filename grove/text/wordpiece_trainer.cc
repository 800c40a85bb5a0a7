// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/wordpiece_trainer.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "grove/text/unicode.h"
#include "grove/text/word_pieces.h"

namespace grove {
namespace {

constexpr size_t kMergesBetweenProgress = 256;

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const uint64_t bits =
        static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 | static_cast<uint32_t>(pair.second);
    return static_cast<size_t>((bits ^ bits >> 29) * 0x9E3779B97F4A7C15u);
  }
};

// The words of the text as sequences of pieces, and the merging of the commonest pair of neighbours.
class Merger {
 public:
  // `tokens` is the vocabulary so far; merges append to it.
  explicit Merger(std::vector<std::string>* tokens) : tokens_(*tokens), queue_(Rarer{tokens}) {
    for (size_t id = 0; id < tokens_.size(); ++id) ids_.emplace(tokens_[id], static_cast<int32_t>(id));
  }

  void AddWord(std::u32string_view word, uint64_t count) {
    std::vector<int32_t> pieces;
    for (size_t i = 0; i < word.size(); ++i) {
      std::string token(i == 0 ? "" : kContinuationPrefix);
      AppendUtf8(word[i], &token);
      pieces.push_back(ids_.at(token));
    }
    words_.push_back({std::move(pieces), count});
    Count(words_.size() - 1, +1, [](const Pair&) { return true; });
  }

  void CountingDone() {
    for (const auto& [pair, found] : pairs_) queue_.push({found.count, pair});
  }

  // Merges the commonest pair. False if none occurs `min_frequency` times.
  bool MergeOnce(uint64_t min_frequency) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(top.pair);
      const uint64_t count = found == pairs_.end() ? 0 : found->second.count;
      if (count < min_frequency) continue;
      if (count != top.count) {  // it has become rarer since it was queued
        queue_.push({count, top.pair});
        continue;
      }
      Merge(top.pair, std::move(found->second.words));
      return true;
    }
    return false;
  }

 private:
  struct WordPiecesOf {
    std::vector<int32_t> pieces;
    uint64_t count;
  };
  struct Occurrences {
    uint64_t count = 0;
    std::vector<uint32_t> words;  // where it was once seen, ascending runs, repeats possible
  };
  struct Candidate {
    uint64_t count;
    Pair pair;
  };
  // The queue's top is the commonest pair, of equally common ones the one whose spelling comes first.
  struct Rarer {
    const std::vector<std::string>* tokens;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      const auto spelling = [this](int32_t id) -> const std::string& { return (*tokens)[static_cast<size_t>(id)]; };
      if (a.pair.first != b.pair.first) return spelling(a.pair.first) > spelling(b.pair.first);
      return a.pair.second != b.pair.second && spelling(a.pair.second) > spelling(b.pair.second);
    }
  };

  // Adds (+1) or takes away (-1) the pairs of a word. Where `note(pair)`, the pair will remember the word.
  template <class Note>
  void Count(size_t word, int sign, const Note& note) {
    const auto& [pieces, count] = words_[word];
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const Pair pair{pieces[i], pieces[i + 1]};
      Occurrences& found = pairs_[pair];
      found.count += sign > 0 ? count : -count;
      if (!note(pair)) continue;
      if (found.words.empty() || found.words.back() != word) found.words.push_back(static_cast<uint32_t>(word));
    }
  }

  int32_t IdOfMerged(const Pair& pair) {
    const std::string& right = tokens_[static_cast<size_t>(pair.second)];
    const std::string merged = tokens_[static_cast<size_t>(pair.first)] + right.substr(kContinuationPrefix.size());
    // Two pairs may spell the same piece: "ab" + "##c" and "a" + "##bc".
    const auto [found, is_new] = ids_.emplace(merged, static_cast<int32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(merged);
    return found->second;
  }

  void Merge(const Pair& pair, std::vector<uint32_t> words) {
    const int32_t merged = IdOfMerged(pair);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    std::set<Pair> grown;
    for (const uint32_t word : words) {
      Count(word, -1, [](const Pair&) { return false; });
      Replace(pair, merged, &words_[word].pieces);
      Count(word, +1, [&](const Pair& now) {
        const bool touches = now.first == merged || now.second == merged;
        if (touches) grown.insert(now);
        return touches;
      });
    }
    pairs_.erase(pair);
    for (const Pair& now : grown) queue_.push({pairs_[now].count, now});
  }

  static void Replace(const Pair& pair, int32_t merged, std::vector<int32_t>* pieces) {
    size_t kept = 0;
    for (size_t i = 0; i < pieces->size(); ++i) {
      const bool match = (*pieces)[i] == pair.first && i + 1 < pieces->size() && (*pieces)[i + 1] == pair.second;
      (*pieces)[kept++] = match ? merged : (*pieces)[i];
      if (match) ++i;
    }
    pieces->resize(kept);
  }

  std::vector<std::string>& tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<WordPiecesOf> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::priority_queue<Candidate, std::vector<Candidate>, Rarer> queue_;
};

struct CountedWord {
  std::u32string characters;
  uint64_t count;
};

// The `limit` most frequent characters, of equally frequent ones the smaller.
std::set<char32_t> Alphabet(const std::vector<CountedWord>& words, size_t limit) {
  std::map<char32_t, uint64_t> counts;
  for (const CountedWord& word : words) {
    for (const char32_t c : word.characters) counts[c] += word.count;
  }
  std::vector<std::pair<char32_t, uint64_t>> ranked(counts.begin(), counts.end());
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  if (ranked.size() > limit) ranked.resize(limit);
  std::set<char32_t> kept;
  for (const auto& [c, count] : ranked) kept.insert(c);
  return kept;
}

// Every character that begins a word, then every one inside a word, in the order of code points.
void AppendAlphabet(const std::vector<CountedWord>& words, std::vector<std::string>* tokens) {
  std::set<char32_t> first, later;
  for (const CountedWord& word : words) {
    first.insert(word.characters[0]);
    later.insert(word.characters.begin() + 1, word.characters.end());
  }
  for (const char32_t c : first) tokens->push_back(EncodeUtf8(std::u32string(1, c)));
  for (const char32_t c : later) tokens->push_back(std::string(kContinuationPrefix) + EncodeUtf8(std::u32string(1, c)));
}

}  // namespace

Status WordPieceTrainer::Add(std::string_view text) {
  std::u32string characters;
  if (!DecodeUtf8(text, &characters)) {
    return Error(ErrorCode::kInvalidArgument, "the text is not valid UTF-8; convert it to UTF-8");
  }
  std::vector<NormalizedCharacter> normalized;
  Normalize(characters, 0, options_.tokenizer, &normalized);
  std::string bytes;
  for (Word word = NextWord(normalized, 0); word.begin < word.end; word = NextWord(normalized, word.end)) {
    ++words_;
    if (word.end - word.begin > options_.tokenizer.max_word_characters) continue;  // always [UNK]
    bytes.clear();
    for (size_t i = word.begin; i < word.end; ++i) AppendUtf8(normalized[i].character, &bytes);
    ++counts_[bytes];
  }
  return Ok{};
}

Result<Tokenizer> WordPieceTrainer::Train(const std::function<void(size_t)>& progress) const {
  std::vector<CountedWord> words;
  for (const auto& [bytes, count] : counts_) {
    words.push_back({U"", count});
    DecodeUtf8(bytes, &words.back().characters);
  }
  if (words.empty()) return Error(ErrorCode::kInvalidArgument, "the text has no words; give one that has");
  // A hash table's order is not the same everywhere.
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.characters < b.characters; });
  const std::set<char32_t> alphabet = Alphabet(words, options_.max_alphabet);
  std::erase_if(words, [&](const CountedWord& word) {  // words that will always be [UNK]
    return !std::all_of(word.characters.begin(), word.characters.end(),
                        [&](char32_t c) { return alphabet.contains(c); });
  });

  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  AppendAlphabet(words, &tokens);
  if (tokens.size() > options_.vocabulary_size) {
    return Error(ErrorCode::kInvalidArgument, "a vocabulary of " + std::to_string(options_.vocabulary_size) +
                                                  " has no room for the special tokens and single characters of this "
                                                  "text; ask for at least " +
                                                  std::to_string(tokens.size()));
  }
  Merger merger(&tokens);
  for (const CountedWord& word : words) merger.AddWord(word.characters, word.count);
  merger.CountingDone();
  size_t merges = 0;
  while (tokens.size() < options_.vocabulary_size && merger.MergeOnce(std::max<uint64_t>(options_.min_frequency, 1))) {
    if (progress && ++merges % kMergesBetweenProgress == 0) progress(tokens.size());
  }
  if (progress) progress(tokens.size());
  return Tokenizer::FromVocabulary(std::move(tokens), options_.tokenizer, "the trained vocabulary");
}

}  // namespace grove
