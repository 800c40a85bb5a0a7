# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""A small text of plain sentences, its vocabulary and its packed ids, for tests of `grove-train`."""

import random

import program

WORDS = {
    "animal": ["cat", "dog", "horse", "bird", "cow"],
    "place": ["garden", "house", "field", "river", "road"],
    "verb": ["saw", "liked", "followed", "heard", "found"],
}


def sentences(count, seed):
    """Paragraphs of plain sentences, an empty line after each document of five."""
    generator = random.Random(seed)
    lines = []
    for i in range(count):
        animal, other = generator.sample(WORDS["animal"], 2)
        verb, place = generator.choice(WORDS["verb"]), generator.choice(WORDS["place"])
        lines.append(f"The {animal} {verb} the {other} near the {place}.")
        if i % 5 == 4:
            lines.append("")
    return "\n".join(lines) + "\n"


class PackedTextTest(program.ProgramTest):
    """The text is there; pack() makes the rest."""

    program = "GROVE_TRAIN"

    def setUp(self):
        super().setUp()
        self.text = self.folder / "train.txt"
        self.valid = self.folder / "valid.txt"
        self.text.write_text(sentences(400, seed=1))
        self.valid.write_text(sentences(60, seed=2))
        self.tokenizer = self.folder / "tokenizer.json"
        self.packed = self.folder / "packed"

    def learn_vocabulary(self):
        return self.succeed_json("tokenizer", "--text", self.text, "--vocabulary-size", "100",
                                 "--output", self.tokenizer)

    def pack(self):
        self.learn_vocabulary()
        return self.succeed_json("data", "--text", self.text, "--valid-text", self.valid, "--tokenizer", self.tokenizer,
                                 "--output", self.packed)
