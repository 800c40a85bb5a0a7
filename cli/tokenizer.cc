// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove-train tokenizer: learn a WordPiece vocabulary and write tokenizer.json.
