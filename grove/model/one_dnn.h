// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

// From the OpenMP runtime that oneDNN is linked with. Declared here because <omp.h> comes with one compiler only.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
}

namespace grove {

// While it lives, oneDNN calls of this thread run on this thread alone: the library is built on OpenMP and would
// otherwise start a team of its own inside each of our workers.
class OneDnnOnThisThread {
 public:
  OneDnnOnThisThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneDnnOnThisThread() { omp_set_num_threads(before_); }
  OneDnnOnThisThread(const OneDnnOnThisThread&) = delete;
  OneDnnOnThisThread& operator=(const OneDnnOnThisThread&) = delete;

 private:
  int before_;
};

}  // namespace grove
