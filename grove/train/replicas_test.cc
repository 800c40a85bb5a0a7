// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/replicas.h"

#include <gtest/gtest.h>

#include <atomic>

#include "grove/nn/heads.h"

namespace grove::train {
namespace {

ModelConfig Config() {
  ModelConfig config;
  config.vocabulary = 40;
  config.width = 16;
  config.layers = 1;
  config.heads = 2;
  config.max_length = 8;
  config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 32};
  return config;
}

std::shared_ptr<Objective> Make() {
  torch::manual_seed(5);
  return std::make_shared<MaskedLmObjective>(std::make_shared<nn::MaskedLm>(Config(), nn::ModuleOptions{}));
}

// 5 sequences of 8, unevenly masked; the third has nothing to predict.
Batch MakeBatch() {
  torch::manual_seed(6);
  const torch::Tensor positions = torch::tensor({0, 1, 2, 7, 9, 25, 26, 33, 39}, torch::kLong);
  return {torch::randint(5, 40, {5, 8}, torch::kLong), positions, torch::randint(5, 40, {9}, torch::kLong), {}, 40};
}

TEST(SplitBatch, KeepsEveryWordOnce) {
  const Batch batch = MakeBatch();
  for (const size_t parts : {1, 2, 3, 5, 9}) {
    const std::vector<Batch> split = SplitBatch(batch, parts);
    EXPECT_EQ(split.size(), std::min<size_t>(parts, 5));
    std::vector<torch::Tensor> ids, labels, hidden;
    for (const Batch& part : split) {
      ids.push_back(part.ids);
      labels.push_back(part.labels);
      hidden.push_back(part.ids.flatten().index_select(0, part.positions));
    }
    EXPECT_TRUE(torch::equal(torch::cat(ids), batch.ids));
    EXPECT_TRUE(torch::equal(torch::cat(labels), batch.labels));
    EXPECT_TRUE(torch::equal(torch::cat(hidden), batch.ids.flatten().index_select(0, batch.positions)));
  }
}

TEST(Replicas, GradientsAreTheWholeBatchs) {
  const Batch batch = MakeBatch();
  const auto plain = Make();
  const auto expected = plain->ComputeLoss(batch).per_word;
  (expected * 0.5).backward();
  for (const size_t count : {1, 2, 4}) {
    const auto main = Make();
    AdamW optimizer(main->trained(), {});
    Replicas replicas(main, optimizer, count, Make);
    for (int round = 0; round < 2; ++round) {  // the second: replicas begin from zero again
      // As half of a batch twice as large.
      const torch::Tensor loss =
          replicas.ForwardBackward(batch, {.words = 2 * batch.labels.numel(), .sequences = 10}).value;
      EXPECT_NEAR(loss.item<double>(), 0.5 * expected.item<double>(), 1e-5);
      for (const auto& item : plain->trained().named_parameters()) {
        const torch::Tensor gradient = main->trained().named_parameters()[item.key()].grad();
        EXPECT_TRUE(torch::allclose(gradient, item.value().grad(), 1e-4, 1e-6)) << item.key() << ", " << count;
      }
      optimizer.ZeroGradients();
    }
  }
}

// Four micro-batches of one sequence, as many words hidden in each, are the batch of four.
TEST(Replicas, AccumulatedMicroBatchesAreTheWholeBatch) {
  torch::manual_seed(7);
  const torch::Tensor positions = torch::tensor({1, 6, 8, 13, 17, 18, 24, 31}, torch::kLong);
  const Batch batch{
      torch::randint(5, 40, {4, 8}, torch::kLong), positions, torch::randint(5, 40, {8}, torch::kLong), {}, 32};
  const auto whole = Make(), accumulated = Make();
  AdamW of_whole(whole->trained(), {}), of_accumulated(accumulated->trained(), {});
  Replicas(whole, of_whole, 1, Make).ForwardBackward(batch, {});
  Replicas replicas(accumulated, of_accumulated, 1, Make);
  for (const Batch& micro_batch : SplitBatch(batch, 4))
    replicas.ForwardBackward(micro_batch, {.words = 8, .sequences = 4});
  EXPECT_TRUE(torch::allclose(of_accumulated.gradients(), of_whole.gradients(), 1e-4, 1e-7));
  of_whole.Step(1e-3);
  of_accumulated.Step(1e-3);
  for (const auto& item : whole->trained().named_parameters()) {
    const torch::Tensor other = accumulated->trained().named_parameters()[item.key()];
    EXPECT_LT((item.value() - other).abs().max().item<double>(), 1e-4) << item.key();
  }
}

// Parts with very different numbers of words to predict, accumulated: the gradient is the whole batch's.
TEST(Replicas, AccumulatedGradientsAreTheWholeBatchs) {
  const Batch batch = MakeBatch();
  const auto whole = Make(), main = Make();
  AdamW whole_optimizer(whole->trained(), {}), optimizer(main->trained(), {});
  Replicas one(whole, whole_optimizer, 1, Make), parts(main, optimizer, 1, Make);
  const double expected = one.ForwardBackward(batch, {}).value.item<double>();
  double loss = 0;
  for (const Batch& part : SplitBatch(batch, 5)) {
    loss += parts.ForwardBackward(part, {.words = batch.labels.numel(), .sequences = 5}).value.item<double>();
  }
  EXPECT_NEAR(loss, expected, 1e-5);
  EXPECT_TRUE(torch::allclose(optimizer.gradients(), whole_optimizer.gradients(), 1e-4, 1e-7));
}

TEST(Concatenate, IsTheInverseOfASplit) {
  Batch batch = MakeBatch();
  const std::vector<Batch> parts = SplitBatch(batch, 5);
  const Batch again = Concatenate(parts);
  EXPECT_TRUE(torch::equal(again.ids, batch.ids));
  EXPECT_TRUE(torch::equal(again.positions, batch.positions));
  EXPECT_TRUE(torch::equal(again.labels, batch.labels));
  EXPECT_EQ(again.tokens, batch.tokens);
  EXPECT_FALSE(again.attention_mask.defined());
  std::vector<Batch> padded = parts;
  padded[2].attention_mask = torch::zeros({1, 8}, torch::kLong);
  EXPECT_EQ(Concatenate(padded).attention_mask.sum().item<int64_t>(), 4 * 8);
}

TEST(Replicas, EvaluationIsTheMeanOverAllWords) {
  const Batch batch = MakeBatch();
  const auto main = Make();
  AdamW optimizer(main->trained(), {});
  Replicas one(main, optimizer, 1, Make), three(main, optimizer, 3, Make);
  const double whole = one.Evaluate({batch}, false).item<double>();
  const std::vector<Batch> parts = SplitBatch(batch, 5);
  EXPECT_NEAR(three.Evaluate(parts, false).item<double>(), whole, 1e-5);
}

TEST(BatchStream, GivesBatchesInOrderFromWhereItStarts) {
  std::atomic<int64_t> made{0};
  const auto make = [&made](int64_t number) {
    ++made;
    return Batch{torch::full({1, 1}, number, torch::kLong), {}, {}, {}, 1};
  };
  {
    BatchStream stream(make, 7, 3);
    for (int64_t expected = 7; expected < 40; ++expected) EXPECT_EQ(stream.Next().ids.item<int64_t>(), expected);
  }
  EXPECT_LE(made, 40 - 7 + 4);  // at most `depth` ahead, and one in the making
}

}  // namespace
}  // namespace grove::train
