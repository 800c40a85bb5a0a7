// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/batch_file.h"

#include <vector>

#include "grove/io/safetensors.h"
#include "grove/nn/parameters.h"

namespace grove::train {
namespace {

constexpr int64_t kNoLabel = -100;  // what PyTorch's cross entropy ignores

}  // namespace

Status WriteBatchFile(const TrainingData& data, int64_t first, int64_t count, const std::string& path) {
  std::vector<torch::Tensor> ids, masks, labels;
  for (int64_t number = first; number < first + count; ++number) {
    const Batch batch = data.TrainBatch(number);
    ids.push_back(batch.ids);
    masks.push_back(batch.attention_mask.defined() ? batch.attention_mask : torch::ones_like(batch.ids));
    labels.push_back(
        torch::full_like(batch.ids.flatten(), kNoLabel).scatter_(0, batch.positions, batch.labels).view_as(batch.ids));
  }
  const torch::Tensor all_ids = torch::stack(ids), all_masks = torch::stack(masks), all_labels = torch::stack(labels);
  return WriteSafetensors(path,
                          {{"input_ids", nn::ViewOfTensor(all_ids)},
                           {"attention_mask", nn::ViewOfTensor(all_masks)},
                           {"labels", nn::ViewOfTensor(all_labels)}},
                          {{"format", "pt"}});
}

}  // namespace grove::train
