// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A TensorBoard event file: records of the TFRecord format (length, masked CRC-32C, payload, masked CRC-32C), each an
// Event message of tensorflow/core/util/event.proto with scalars and histograms. Written by hand because the official
// writer is TensorFlow itself; the whole format is a page.
//
//   GROVE_ASSIGN_OR_RETURN(EventFile file, EventFile::Create("run/tensorboard/events.out.tfevents.grove"));
//   GROVE_RETURN_IF_ERROR(file.Write({.wall_time = 1.7e9, .step = 20, .scalars = {{"train/loss", 6.9}}}));
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"

namespace grove::train {

struct Histogram {
  std::vector<double> limits{};  // ascending: bucket i holds the values above limit i - 1 and up to limit i
  std::vector<double> counts{};  // as many
  double min = 0, max = 0, sum = 0, sum_squares = 0;
};

struct Event {
  double wall_time = 0;  // seconds since 1970
  int64_t step = 0;
  struct Scalar {
    std::string tag;
    double value;
  };
  struct TaggedHistogram {
    std::string tag;
    Histogram histogram;
  };
  std::vector<Scalar> scalars{};
  std::vector<TaggedHistogram> histograms{};
};

class EventFile {
 public:
  // Starts the file anew, with its version record. TensorBoard reads files whose name contains "tfevents".
  static Result<EventFile> Create(const std::string& path);
  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&&) = delete;
  ~EventFile();

  Status Write(const Event& event);  // one write per event: a reader, and a kill, see whole records

 private:
  EventFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Status WriteRecord(const std::string& payload);
  int fd_;
  std::string path_;
};

// CRC-32C (Castagnoli), reflected, of RFC 3720.
uint32_t Crc32c(std::string_view bytes);

}  // namespace grove::train
