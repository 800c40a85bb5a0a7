// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/parameters.h"

#include "grove/io/bert_names.h"

namespace grove {

std::string FileParameters::StoredName(const std::string& name) const {
  return crammed_ ? name : StoredBertName(file_, name);
}

}  // namespace grove
