# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""What grove-train trains has the tensor names, shapes and config keys of the published crammedBERT models, so that the
paper's PyTorch classes load it. The golden files of those classes are the measure."""

import json
import os
import pathlib
import struct

import packed_text
import program

FIXTURES = pathlib.Path(os.environ.get("GROVE_FIXTURES") or program.ROOT / "../shared/fixtures") / "crammed"
NOT_OURS = {"transformers_version"}  # which program wrote the file
# Read by another version of the published code, where false is what every published model has.
OURS_TOO = {"arch.attention.high_level_fusion", "arch.attention.low_level_fusion"}


def shapes(path):
    """name -> shape, with the vocabulary as a word: how many tokens a vocabulary has depends on the text."""
    raw = path.read_bytes()
    header = json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])
    header.pop("__metadata__", None)
    words = header["encoder.embedding.word_embedding.weight"]["shape"][0]
    vocabulary = {"encoder.embedding.word_embedding.weight", "decoder.weight"}
    for name in vocabulary & set(header):
        assert header[name]["shape"][0] == words
        header[name]["shape"][0] = "vocabulary"
    return {name: tensor["shape"] for name, tensor in header.items()}


def flat(config, prefix=""):
    """{"arch.attention.type": "self-attention", ...}"""
    keys = {}
    for key, value in config.items():
        keys.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return keys


class PublishedLayout(packed_text.PackedTextTest):
    SHAPE = ("--layers", "2", "--width", "64", "--heads", "4", "--length", "32", "--dropout", "0.1", "--batch", "4",
             "--steps", "2", "--save-decoder", "true", "--threads", "1", "--device", "cpu")

    def compare(self, fixture, *feed_forward):
        if not FIXTURES.is_dir():
            self.skipTest(f"there is no {FIXTURES}")
        self.pack()
        self.succeed("pretrain", "--data", self.packed, "--output", "model", *self.SHAPE, *feed_forward)
        ours, golden = self.folder / "model", FIXTURES / fixture
        self.assertEqual(shapes(ours / "model.safetensors"), shapes(golden / "model.safetensors"))

        ours, golden = (flat(json.loads((folder / "config.json").read_text())) for folder in (ours, golden))
        self.assertEqual(set(golden) - NOT_OURS, set(ours) - OURS_TOO)
        free = {"vocab_size", "arch.embedding.vocab_size", "arch.intermed_depth" if "dense" in fixture else "",
                "arch.classification_head.head_dim", "arch.classification_head.pooler"}  # a masked LM has no such head
        for key in set(golden) - NOT_OURS - free:
            self.assertEqual(ours[key], golden[key], key)

    def test_dense(self):
        self.compare("mlm_dense_gelu", "--feed-forward", "dense", "--intermediate", "128")

    def test_dense_glu(self):
        self.compare("mlm_dense_glu", "--feed-forward", "dense", "--intermediate", "128", "--nonlinearity", "gelu_glu")

    def test_neuron_trees(self):
        self.compare("mlm_fff_2x3", "--feed-forward", "neuron_tree", "--trees", "2", "--depth", "3")


if __name__ == "__main__":
    program.main()
