// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/tree_walk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <optional>

#include "hwy/cache_control.h"

namespace grove {
namespace {

// Measured on Zen 4 (1 MiB of second-level cache), width 768; half or double of each changes little.
constexpr size_t kTopChunk = 64;        // tokens that go through the top levels together
constexpr size_t kSubtreeTokens = 128;  // wanted for each subtree: with the next one's they fit the second-level cache
constexpr size_t kMostTopLevels = 7;    // their rows must fit it too
constexpr size_t kMostAtOnce = TreeArithmetic::kMostAtOnce;
constexpr size_t kSharesOfRow = 4;       // levels that ask for a token's row ahead, a share of the row each
constexpr size_t kFewestOfThree = 8;     // tokens at a node from which on its children are computed with it
constexpr size_t kFewestDepthFirst = 4;  // tokens at each node of the bottom
constexpr size_t kStopsAhead = 3;        // whose rows are asked for, in paths
constexpr size_t kGroupsAhead = 2;       // whose rows are asked for, in sums of several trees

// Paths (tokens x trees) of fewer than this, or of one token, and grouping costs more than it shares: measured with
// `grove bench layer --forms --no-dense` on Zen 3 with 1, 2, 4 and 16 trees, docs/benchmarks.md.
constexpr size_t kFewestPathsGrouped = 16;
constexpr size_t kFewestTokensOfThread = 16;
// Of a single tree: more, and the scratch of a walk leaves the caches. Of several: x and y, which every tree reads
// again, should stay in the third-level cache.
constexpr size_t kMostTokensOneTree = 16384, kMostTokensManyTrees = 1024;
constexpr size_t kCachesHoldBytes = size_t{32} << 20;

thread_local std::optional<WalkForm> forced_form;

}  // namespace

ForcedWalkForm::ForcedWalkForm(WalkForm form) { forced_form = form; }
ForcedWalkForm::~ForcedWalkForm() { forced_form.reset(); }

WalkForm ChooseWalkForm(const NeuronTreeShape& shape, size_t tokens, size_t threads) {
  if (forced_form) return *forced_form;
  if (tokens < threads && shape.trees >= 2 * threads) return WalkForm::kOneByThreads;
  return tokens > 1 && tokens * shape.trees >= kFewestPathsGrouped ? WalkForm::kGrouped : WalkForm::kFewTokens;
}

size_t WalkGrain(const NeuronTreeShape& shape, size_t tokens, size_t threads) {
  const size_t share = (tokens + threads - 1) / threads;
  return std::clamp(share, kFewestTokensOfThread, shape.trees == 1 ? kMostTokensOneTree : kMostTokensManyTrees);
}

bool WalkPastCaches(const NeuronTreeShape& shape, const float* y, size_t tokens) {
  const bool lines = reinterpret_cast<uintptr_t>(y) % kCacheLineBytes == 0;
  return shape.trees == 1 && lines && tokens * RoundUpToLine<float>(shape.width) * sizeof(float) > kCachesHoldBytes;
}

bool WalkTogether(const NeuronTreeShape& shape, size_t tokens, size_t threads) {
  return threads > 1 && shape.trees >= 2 * threads && tokens <= kMostTokensManyTrees;
}

TreeWalk::TreeWalk(const NeuronTreeShape& shape, const TreeArithmetic& arithmetic, const TreeTokens& tokens)
    : shape_(shape),
      arithmetic_(arithmetic),
      tokens_(tokens),
      stride_(RoundUpToLine<float>(shape.levels())),
      term_bytes_(arithmetic.TermBytes(shape.levels())),
      scratch_(ThreadScratch()) {}

TreeWalk::Scratch& TreeWalk::ThreadScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

TreeWalk::Work& TreeWalk::ThreadWork() {
  static thread_local Work work;
  return work;
}

void TreeWalk::Run(const NeuronTreeTrace* trace) {
  AtLeast(scratch_.order, tokens_.count);
  AtLeast(scratch_.terms, kMostAtOnce * term_bytes_);
  Paths(0, shape_.trees, trace);
  if (tokens_.past_caches) hwy::FlushStream();
}

void TreeWalk::RunTogether(const NeuronTreeTrace* trace, ThreadPool& pool) {
  constexpr size_t kBlock = TreeArithmetic::kColumnBlock;
  together_ = true;
  AtLeast(scratch_.order, shape_.trees * tokens_.count);
  AtLeast(scratch_.terms, shape_.trees * tokens_.count * term_bytes_);
  if (scratch_.groups.size() < shape_.trees) scratch_.groups.resize(shape_.trees);
  pool.ParallelFor(shape_.trees, 1, [&](size_t begin, size_t end) { Paths(begin, end, trace); });
  const size_t blocks = (tokens_.y_stride + kBlock - 1) / kBlock, share = blocks / (2 * pool.threads());
  pool.ParallelFor(blocks, std::max<size_t>(1, share), [&](size_t begin, size_t end) {
    SumColumns({begin * kBlock, std::min(end * kBlock, tokens_.y_stride)});
  });
}

void TreeWalk::Paths(size_t first_tree, size_t last_tree, const NeuronTreeTrace* trace) {
  Work& work = ThreadWork();
  const size_t count = tokens_.count, wanted = std::bit_width(count / kSubtreeTokens);
  AtLeast(work.ends, count), AtLeast(work.sorted, count), AtLeast(work.turns, count);
  AtLeast(work.logits, count * stride_);
  const size_t top = std::min({wanted, kMostTopLevels, shape_.depth});
  const size_t first_end = (size_t{1} << top) - 1, ends = first_end + 1;
  for (size_t tree = first_tree; tree < last_tree; ++tree) {
    const Group all = OrderOf(tree);
    std::iota(all.begin(), all.end(), uint32_t{0});
    if (together_) scratch_.groups[tree].clear();
    if (top == 0) std::fill_n(work.ends.data(), count, 0u);
    for (size_t first = 0; top > 0 && first < count; first += kTopChunk) {
      Descend({work, tree, 0, top, kTopChunk}, 0, all.subspan(first, std::min(kTopChunk, count - first)));
    }
    SortByEnd({work, tree, 0, top, 0}, first_end, ends);
    for (size_t e = 0; e < ends; ++e) {
      for (size_t first = work.begins[e], size = 0; first < work.begins[e + 1]; first += size) {
        size = std::min(2 * kSubtreeTokens, work.begins[e + 1] - first);
        Descend({work, tree, top, shape_.levels(), size}, first_end + e, all.subspan(first, size));
      }
    }
    if (trace) WriteTrace({work, tree, 0, 0, 0}, *trace);
  }
}

void TreeWalk::RowsOf(const Part& part, size_t level, Group group, size_t first, size_t count, Rows& rows) {
  for (size_t i = 0; i < count; ++i) rows.x[i] = tokens_.x + group[first + i] * tokens_.x_stride;
  if (level >= part.first + kSharesOfRow) return;
  const Group order = OrderOf(part.tree);
  const std::byte* share = tokens_.x + (level - part.first) * (tokens_.x_stride / kSharesOfRow);
  size_t next = static_cast<size_t>(group.data() - order.data()) + first + part.ahead;
  for (size_t i = 0; i < count; ++i) {
    rows.next[i] = share + order[std::min(next++, order.size() - 1)] * tokens_.x_stride;
  }
  rows.ahead = rows.next.data();
}

// The rows that a group's turn needs.
void TreeWalk::PrefetchIns(const Part& part, const Stop& stop) const {
  const size_t n = part.tree * shape_.nodes_per_tree() + stop.node, left = n + stop.node + 1;
  arithmetic_.PrefetchIn(n);
  if (TakesThree(part, stop)) arithmetic_.PrefetchIn(left), arithmetic_.PrefetchIn(left + 1);
}

void TreeWalk::PrefetchOuts(const Part& part, const Stop& stop) const {
  const size_t n = part.tree * shape_.nodes_per_tree() + stop.node, left = n + stop.node + 1;
  const TreeArithmetic::Columns all{0, tokens_.y_stride};
  arithmetic_.PrefetchOut(n, all);
  if (TakesThree(part, stop)) arithmetic_.PrefetchOut(left, all), arithmetic_.PrefetchOut(left + 1, all);
}

bool TreeWalk::TakesThree(const Part& part, const Stop& stop) const {
  return stop.count >= kFewestOfThree && stop.level + 1 < part.stop && arithmetic_.takes_three();
}

void TreeWalk::Descend(const Part& part, size_t node, Group group) {
  std::vector<Stop>& stops = part.work.stops;
  const auto begin = static_cast<uint32_t>(group.data() - OrderOf(part.tree).data());
  stops.assign(
      1, {static_cast<uint32_t>(node), static_cast<uint32_t>(part.first), begin, static_cast<uint32_t>(group.size())});
  const auto take = [&](const Stop& stop) { TakesThree(part, stop) ? StepTwo(part, stop) : Step(part, stop); };
  const bool top = part.stop <= shape_.depth;  // its rows are near, since every chunk uses them
  if (top || group.size() >> (shape_.depth - part.first) >= kFewestDepthFirst) {
    while (!stops.empty()) {
      const Stop stop = stops.back();
      stops.pop_back();
      if (!top && !together_) PrefetchOuts(part, stop);
      take(stop);
    }
  } else {
    for (size_t s = 0, asked = 0; s < stops.size(); ++s) {
      for (; asked < std::min(stops.size(), s + kStopsAhead + 1); ++asked) {
        if (asked > s) PrefetchIns(part, stops[asked]);
        if (!together_) PrefetchOuts(part, stops[asked]);
      }
      take(Stop(stops[s]));
    }
  }
}

void TreeWalk::Step(const Part& part, const Stop& stop) {
  const size_t n = part.tree * shape_.nodes_per_tree() + stop.node, node = stop.node;
  const Group group = OrderOf(part.tree).subspan(stop.begin, stop.count);
  const bool bottom = stop.level == shape_.depth;
  Rows rows;
  std::array<float, kMostAtOnce> logits;
  uint32_t lefts = 0, rights = 0;
  for (size_t first = 0; first < group.size(); first += kMostAtOnce) {
    const size_t count = std::min(kMostAtOnce, group.size() - first);
    RowsOf(part, stop.level, group, first, count, rows);
    arithmetic_.Logits(n, rows.x.data(), rows.ahead, count, logits.data());
    for (size_t i = 0; i < count; ++i) {
      const uint32_t token = group[first + i];
      part.work.logits[token * stride_ + stop.level] = logits[i];
      const bool right = logits[i] > 0.0f;
      part.work.ends[token] = static_cast<uint32_t>(bottom ? node : 2 * node + (right ? 2 : 1));
      right ? part.work.sorted[rights++] = token : group[lefts++] = token;
    }
  }
  std::copy_n(part.work.sorted.data(), rights, group.begin() + static_cast<ptrdiff_t>(lefts));
  if (bottom) return AtBottom(part, node, group);
  if (stop.level + 1 == part.stop) return;
  const auto left = static_cast<uint32_t>(2 * node + 1);
  if (lefts != 0) part.work.stops.push_back({left, stop.level + 1, stop.begin, lefts});
  if (rights != 0) part.work.stops.push_back({left + 1, stop.level + 1, stop.begin + lefts, rights});
}

void TreeWalk::StepTwo(const Part& part, const Stop& stop) {
  const size_t node = stop.node, n = part.tree * shape_.nodes_per_tree() + node;
  const Group group = OrderOf(part.tree).subspan(stop.begin, stop.count);
  const bool bottom = stop.level + 1 == shape_.depth;
  Rows rows;
  std::array<float, 3 * kMostAtOnce> logits;
  std::array<uint32_t, 4> counts{};  // by the turns of both levels
  for (size_t first = 0; first < group.size(); first += kMostAtOnce) {
    const size_t count = std::min(kMostAtOnce, group.size() - first);
    RowsOf(part, stop.level, group, first, count, rows);
    arithmetic_.LogitsOfThree(n, n + node + 1, rows.x.data(), rows.ahead, count, logits.data());
    for (size_t i = 0; i < count; ++i) {
      const uint32_t token = group[first + i];
      const size_t right = logits[i] > 0.0f ? 1 : 0;
      const float below = logits[(1 + right) * kMostAtOnce + i];
      float* kept = part.work.logits.data() + token * stride_ + stop.level;
      kept[0] = logits[i], kept[1] = below;
      const size_t child = 2 * node + 1 + right, turns = 2 * right + (!bottom && below > 0.0f ? 1 : 0);
      part.work.turns[token] = static_cast<uint8_t>(turns);
      part.work.ends[token] = static_cast<uint32_t>(bottom ? child : 2 * child + 1 + turns % 2);
      ++counts[turns];
    }
  }
  if (!bottom && stop.level + 2 == part.stop) return;
  std::array<uint32_t*, 4> next;
  for (size_t turns = 0, at = 0; turns < 4; at += counts[turns++]) next[turns] = part.work.sorted.data() + at;
  for (const uint32_t token : group) *next[part.work.turns[token]]++ = token;
  std::copy_n(part.work.sorted.data(), group.size(), group.begin());
  uint32_t begin = stop.begin;
  for (size_t turns = 0; turns < 4; begin += counts[turns++]) {
    if (counts[turns] == 0) continue;
    const size_t child = 2 * node + 1 + turns / 2;
    if (bottom) {
      AtBottom(part, child, OrderOf(part.tree).subspan(begin, counts[turns]));
    } else {
      const auto below = static_cast<uint32_t>(2 * child + 1 + turns % 2);
      part.work.stops.push_back({below, stop.level + 2, begin, counts[turns]});
    }
  }
}

void TreeWalk::AtBottom(const Part& part, size_t bottom, Group group) {
  const size_t begin = static_cast<size_t>(group.data() - OrderOf(part.tree).data());
  const PathGroup all{static_cast<uint32_t>(bottom), static_cast<uint32_t>(begin), static_cast<uint32_t>(group.size())};
  if (together_) {
    scratch_.groups[part.tree].push_back(all);
    return Terms(part, all, scratch_.terms.data() + (part.tree * tokens_.count + begin) * term_bytes_);
  }
  constexpr auto kMost = static_cast<uint32_t>(kMostAtOnce);
  for (uint32_t first = 0; first < all.count; first += kMost) {
    const PathGroup some{all.bottom, all.begin + first, std::min(kMost, all.count - first)};
    Terms(part, some, scratch_.terms.data());
    SumGroup(part.tree, some, scratch_.terms.data(), {0, tokens_.y_stride});
  }
}

// The nodes of the path to a bottom node, among the nodes of all trees.
TreeWalk::PathNodes TreeWalk::NodesOf(size_t tree, size_t bottom) const {
  PathNodes nodes;
  for (size_t level = shape_.levels(); level-- > 0; bottom = (bottom - 1) / 2) {
    nodes[level] = static_cast<uint32_t>(tree * shape_.nodes_per_tree() + bottom);
  }
  return nodes;
}

void TreeWalk::Terms(const Part& part, const PathGroup& group, std::byte* terms) {
  const PathNodes nodes = NodesOf(part.tree, group.bottom);
  const Group tokens = OrderOf(part.tree).subspan(group.begin, group.count);
  for (const uint32_t token : tokens) {
    arithmetic_.Terms(nodes.data(), shape_.levels(), part.work.logits.data() + token * stride_, terms);
    terms += term_bytes_;
  }
}

void TreeWalk::SumColumns(TreeArithmetic::Columns columns) {
  for (size_t tree = 0; tree < shape_.trees; ++tree) {
    const std::vector<PathGroup>& groups = scratch_.groups[tree];
    for (size_t g = 0; g < groups.size(); ++g) {
      if (g + kGroupsAhead < groups.size()) {
        const size_t bottom = groups[g + kGroupsAhead].bottom, root = tree * shape_.nodes_per_tree();
        arithmetic_.PrefetchOut(root + bottom, columns);
        if (bottom % 2 == 1) arithmetic_.PrefetchOut(root + (bottom - 1) / 2, columns);
      }
      SumGroup(tree, groups[g], scratch_.terms.data() + (tree * tokens_.count + groups[g].begin) * term_bytes_,
               columns);
    }
  }
}

void TreeWalk::SumGroup(size_t tree, const PathGroup& group, const std::byte* terms, TreeArithmetic::Columns columns) {
  using Into = TreeArithmetic::Into;
  const Into into = tree > 0 ? Into::kSum : tokens_.past_caches ? Into::kMemory : Into::kRow;
  const PathNodes nodes = NodesOf(tree, group.bottom);
  const Group tokens = OrderOf(tree).subspan(group.begin, group.count);
  std::array<const std::byte*, kMostAtOnce> some;
  std::array<float*, kMostAtOnce> y;
  for (size_t first = 0; first < tokens.size(); first += kMostAtOnce) {
    const size_t count = std::min(kMostAtOnce, tokens.size() - first);
    for (size_t i = 0; i < count; ++i) {
      some[i] = terms + (first + i) * term_bytes_;
      y[i] = tokens_.y + tokens[first + i] * tokens_.y_stride;
    }
    arithmetic_.Outputs(nodes.data(), shape_.levels(), some.data(), count, columns, into, y.data());
  }
}

// `order` by `ends`, stably; ends are first_end ... first_end + ends - 1.
void TreeWalk::SortByEnd(const Part& part, size_t first_end, size_t ends) {
  Work& work = part.work;
  const Group order = OrderOf(part.tree);
  work.begins.assign(ends + 1, 0);
  for (size_t t = 0; t < order.size(); ++t) ++work.begins[work.ends[t] - first_end + 1];
  std::partial_sum(work.begins.begin(), work.begins.end(), work.begins.begin());
  work.next = work.begins;
  for (size_t t = 0; t < order.size(); ++t) order[work.next[work.ends[t] - first_end]++] = static_cast<uint32_t>(t);
}

void TreeWalk::WriteTrace(const Part& part, const NeuronTreeTrace& trace) const {
  const size_t levels = shape_.levels();
  for (size_t t = 0; t < tokens_.count; ++t) {
    const size_t at = (t * shape_.trees + part.tree) * levels;
    std::copy_n(part.work.logits.data() + t * stride_, levels, trace.logits + at);
    const PathNodes nodes = NodesOf(part.tree, part.work.ends[t]);
    std::copy_n(nodes.begin(), levels, trace.nodes + at);
  }
}

}  // namespace grove
