#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove-train pretrain` beside the same recipe in plain PyTorch (reference.py): same initial weights, same batches.

Ten steps of every kind of feedforward layer, losses within a thousandth. With GROVE_LONG_TESTS=1 also 1,000 steps of a
dense model on real text (../shared/data/text where it is), the loss curve within a hundredth.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import program  # noqa: E402

try:
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    print(f"skipped: {error.name} is not installed (pip install torch safetensors)")
    sys.exit(program.SKIPPED)

import reference  # noqa: E402

torch.set_num_threads(1)
WIDTH, LENGTH, VOCABULARY = 64, 32, 512

# Keys of "arch" and options of the run.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dense, GELU": ({"intermed_type": "ff", "intermed_size": 128}, {}),
    "dense, ReLU": ({"intermed_type": "ff", "intermed_size": 128, "nonlin": "ReLU"}, {}),
    "dense, GLU": ({"intermed_type": "ff", "intermed_size": 128, "nonlin": "GELUglu"}, {}),
    "none": ({"intermed_type": "none"}, {}),
    "neuron trees 1x5": ({"intermed_type": "fff", "intermed_size": 1, "intermed_depth": 5}, {}),
    "neuron trees 4x3, ReLU, two-sided": ({"intermed_type": "fff", "intermed_size": 4, "intermed_depth": 3,
                                           "fff_two_sided": True, "nonlin": "ReLU"}, {}),
    "leaf tree, decided path": ({"intermed_type": "leaf_tree", "intermed_depth": 3, "leaf_width": 16},
                                {"balance": 0.1}),
    "leaf tree, 4 paths": ({"intermed_type": "leaf_tree", "intermed_depth": 4, "leaf_width": 8, "leaf_paths": 4,
                            "decision_scale": 4.0}, {"balance": 0.05, "hardening": 0.01}),
    "leaf tree, all paths": ({"intermed_type": "leaf_tree", "intermed_depth": 2, "leaf_width": 16, "leaf_paths": 4},
                             {"balance": 0}),
    "leaf tree, 1 path, its probability": ({"intermed_type": "leaf_tree", "intermed_depth": 3, "leaf_width": 16,
                                            "gates": "probability"}, {"balance": 0}),
    "2 leaf trees, 3 paths, probabilities": ({"intermed_type": "leaf_tree", "leaf_trees": 2, "intermed_depth": 3,
                                              "leaf_width": 8, "leaf_paths": 3, "gates": "probability"},
                                             {"hardening": 0.02, "hardening_schedule": "linear"}),
    "leaf tree, soft training": ({"intermed_type": "leaf_tree", "intermed_depth": 3, "leaf_width": 8},
                                 {"train_paths": 8}),
    "leaf tree, hardened training": ({"intermed_type": "leaf_tree", "intermed_depth": 3, "leaf_width": 8},
                                     {"train_hardened": True}),
    "neuron trees, straight-through": ({"intermed_type": "fff", "intermed_size": 2, "intermed_depth": 3,
                                        "fff_routing": "straight_through"}, {"balance": 0.05}),
    "neuron trees, random routing": ({"intermed_type": "fff", "intermed_size": 2, "intermed_depth": 4,
                                      "fff_routing": "random", "routing_seed": 3}, {}),
    "neuron trees, token hash, two-sided": ({"intermed_type": "fff", "intermed_size": 3, "intermed_depth": 4,
                                             "fff_routing": "token_hash", "routing_seed": 7, "fff_two_sided": True},
                                            {}),
    "moe, 1 of 4": ({"intermed_type": "moe", "experts": 4, "expert_width": 32, "experts_per_token": 1,
                     "gates": "probability"}, {}),
    "moe, 2 of 8, ReLU": ({"intermed_type": "moe", "experts": 8, "expert_width": 16, "experts_per_token": 2,
                           "nonlin": "ReLU"}, {"balance": 0.05}),
    "moe, noisy, 2 of 6": ({"intermed_type": "moe", "experts": 6, "expert_width": 16, "experts_per_token": 2,
                            "router": "noisy_top_k"}, {"balance": 0.1}),
    "product keys": ({"intermed_type": "product_key", "key_heads": 2, "sub_keys": 12, "key_width": 16,
                      "neurons_per_head": 4}, {"balance": 0.05}),
    "always-on part": ({"intermed_type": "fff", "intermed_size": 1, "intermed_depth": 3, "always_on": 24}, {}),
    "layers that differ": ({"intermed_type": "leaf_tree", "intermed_depth": 2, "leaf_width": 8, "leaf_paths": 2,
                            "layer_feed_forward": [{"intermed_type": "ff", "intermed_size": 96, "nonlin": "ReLU"},
                                                   None]}, {}),
    "learned positions, decoder bias": ({"intermed_type": "ff", "intermed_size": 64, "decoder_bias": True,
                                         "embedding": {"pos_embedding": "learned"}}, {}),
    "sinusoids, no embedding norm": ({"intermed_type": "ff", "intermed_size": 64, "embedding": {
        "pos_embedding": "sinusoidal", "normalization": False}}, {}),
}


def architecture(vocabulary: int, keys: dict[str, Any]) -> dict[str, Any]:
    arch: dict[str, Any] = {
        "num_transformer_layers": 2, "hidden_size": WIDTH, "final_norm": True, "norm_eps": 1e-12, "nonlin": "GELU",
        "init": {"std": 0.05}, "attention": {"num_attention_heads": 4},
        "embedding": {"vocab_size": vocabulary, "max_seq_length": LENGTH, "pos_embedding": "scaled-sinusoidal",
                      "normalization": True, "pad_token_id": 0},
    }
    embedding = arch["embedding"] | keys.get("embedding", {})
    return arch | keys | {"embedding": embedding}


def made_up_text(words: int, seed: int) -> str:
    """Made-up words, each of which is followed by one of a few others; documents of different lengths."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    names = sorted({"".join(rng.choices(syllables, k=rng.randrange(1, 4))) for _ in range(700)})
    followers = {name: rng.sample(names, 6) for name in names}
    lines, word = [], names[0]
    for _ in range(words // 12):
        sentence = []
        while len(sentence) < 12:
            word = rng.choice(followers[word]) if rng.random() < 0.9 else rng.choice(names)
            sentence.append(word)
        lines.append(" ".join(sentence) + ".")
        if rng.random() < 0.3:
            lines.append("")
    return "\n".join(lines) + "\n"


class Parity(program.ProgramTest):
    program = "GROVE_TRAIN"

    def pack(self, text: pathlib.Path, vocabulary: int) -> None:
        tokenizer = self.folder / "tokenizer.json"
        self.succeed("tokenizer", "--text", text, "--vocabulary-size", str(vocabulary), "--output", tokenizer)
        self.succeed("data", "--text", text, "--valid-fraction", "0.05", "--tokenizer", tokenizer, "--output", "packed")
        self.vocabulary = len(json.loads(tokenizer.read_text())["model"]["vocab"])

    def write_batches(self, count: int, sequences: int, length: int) -> dict[str, Any]:
        self.succeed("batches", "--data", "packed", "--length", str(length), "--batch", str(sequences),
                     "--count", str(count), "--output", "batches.safetensors")
        return load_file(self.folder / "batches.safetensors")

    def grove_log(self, name: str, **options: Any) -> list[dict[str, Any]]:
        """The steps in the log of a run that starts from the model in the folder `init`."""
        flags = [text for key, value in options.items()
                 for text in ("--" + key.replace("_", "-"), json.dumps(value).strip('"'))]
        self.succeed("pretrain", "--data", "packed", "--start-from", "init", "--output", name, "--log-every", "1",
                     "--threads", "1", "--device", "cpu", "--validation-sequences", "8", *flags)
        lines = map(json.loads, (self.folder / name / "log.jsonl").read_text().splitlines())
        return [line for line in lines if line["event"] == "step"]

    def both(self, name: str, arch: dict[str, Any], batches: dict[str, Any], recipe: dict[str, Any],
             **options: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        model = reference.make_model(arch, seed=5)
        reference.save_model(model, arch, self.folder / "init")
        ours = self.grove_log(name, **recipe, **options)
        micro_batches = options["batch"] // options.get("micro_batch", options["batch"])
        theirs = list(reference.train(model, batches, reference.Recipe(**recipe, micro_batches=micro_batches)))
        return list(zip(ours, theirs, strict=True))

    def test_ten_steps_of_every_kind(self):
        text = self.folder / "text.txt"
        text.write_text(made_up_text(30_000, seed=1))
        self.pack(text, VOCABULARY)
        batches = self.write_batches(count=20, sequences=8, length=LENGTH)
        self.assertLess(batches["attention_mask"].float().mean().item(), 1.0, "no padding to get wrong")
        for number, (kind, (keys, options)) in enumerate(KINDS.items()):
            with self.subTest(kind):
                arch = architecture(self.vocabulary, keys)
                steps = self.both(f"model-{number}", arch, batches, {"steps": 10, "learning_rate": 3e-3, **options},
                                  batch=8, length=LENGTH)
                self.compare(kind, steps)
        with self.subTest("accumulation"):
            arch = architecture(self.vocabulary, {"intermed_type": "fff", "intermed_size": 2, "intermed_depth": 3})
            steps = self.both("accumulated", arch, batches, {"steps": 10, "learning_rate": 3e-3}, batch=16,
                              micro_batch=8, length=LENGTH)
            self.compare("accumulation", steps)

    def compare(self, kind: str, steps: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        worst = {key: max(abs(ours[key] / theirs[key] - 1) for ours, theirs in steps)
                 for key in ("loss", "gradient_norm")}
        print(f"{kind:36}  loss {steps[0][0]['loss']:.4f} -> {steps[-1][0]['loss']:.4f}, largest relative difference: "
              f"loss {worst['loss']:.1e}, gradient norm {worst['gradient_norm']:.1e}", flush=True)
        for ours, theirs in steps:
            self.assertAlmostEqual(ours["rate"], theirs["rate"], delta=1e-9)
        self.assertLess(worst["loss"], 1e-3, steps)
        self.assertLess(worst["gradient_norm"], 1e-2, steps)
        self.assertLess(steps[-1][0]["loss"], steps[0][0]["loss"])

    def long_text(self) -> pathlib.Path:
        novels = program.ROOT / "../shared/data/text/novels-100-en.train.txt.zst"
        text = self.folder / "text.txt"
        if not novels.exists():
            text.write_text(made_up_text(300_000, seed=1))
            return text
        with subprocess.Popen(["zstd", "-dcq", novels], stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            text.write_bytes(source.stdout.read(4_000_000).rsplit(b"\n", 1)[0] + b"\n")
            source.kill()
        return text

    def test_a_thousand_steps_of_a_dense_model(self):
        if os.environ.get("GROVE_LONG_TESTS") != "1":
            self.skipTest("takes minutes; set GROVE_LONG_TESTS=1")
        self.pack(self.long_text(), 2048)
        batches = self.write_batches(count=1000, sequences=16, length=64)
        keys = {"intermed_type": "ff", "intermed_size": 256, "embedding": {"max_seq_length": 64}}
        steps = self.both("dense", architecture(self.vocabulary, keys), batches, {"steps": 1000, "learning_rate": 2e-3},
                          batch=16, length=64)
        print("step   grove  PyTorch   (means over 50 steps)")
        worst = 0.0
        for first in range(0, 1000, 50):
            ours, theirs = (sum(pair[side]["loss"] for pair in steps[first:first + 50]) / 50 for side in (0, 1))
            worst = max(worst, abs(ours / theirs - 1))
            print(f"{first + 50:4}  {ours:.4f}  {theirs:.4f}  {ours / theirs - 1:+.2e}", flush=True)
        single = max(abs(ours["loss"] / theirs["loss"] - 1) for ours, theirs in steps)
        print(f"largest relative difference: {worst:.1e} of a mean, {single:.1e} of a single step")
        self.assertLess(worst, 0.01)
        self.assertLess(single, 0.01)
        self.assertLess(steps[-1][0]["loss"], 0.85 * steps[0][0]["loss"])


if __name__ == "__main__":
    program.main()
