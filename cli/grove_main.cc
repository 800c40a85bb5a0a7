// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove`: everything one does with a finished model. It must never need LibTorch (tests/link_test.py).
#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "cli/verbs.h"

namespace {

// While a model is loaded, large arrays come and go. glibc would take later ones from its heap, in which what is freed
// between weights that stay never goes back: 12 of 129 MB of BERT-base's int8 form.
void GiveLargeArraysBack() {
#ifdef __GLIBC__
  constexpr int kLarge = 1 << 18;
  static_cast<void>(mallopt(M_MMAP_THRESHOLD, kLarge));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  using namespace grove::cli;
  GiveLargeArraysBack();
  Verbs verbs;
  verbs.push_back(MakeInfoVerb());
  verbs.push_back(MakeFillMaskVerb());
  verbs.push_back(MakeForwardVerb());
  verbs.push_back(MakeTokenizeVerb());
  verbs.push_back(MakeQuantizeVerb());
  verbs.push_back(MakeBenchLayerVerb());
  verbs.push_back(MakeBenchEncoderVerb());
  verbs.push_back(MakeBenchRoundsVerb());
  return Main(argc, argv, "grove", "Use and measure encoders whose feedforward layers are trees.", verbs);
}
