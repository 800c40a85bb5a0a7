# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove-train` from outside: text to vocabulary to packed ids to a model that `grove` uses; stops and bad input."""

import json
import os
import random
import signal
import subprocess
import time

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


class Train(program.ProgramTest):
    program = "GROVE_TRAIN"

    PRETRAIN = ("--layers", "1", "--width", "32", "--heads", "2", "--length", "32", "--depth", "2", "--leaf-width", "8",
                "--paths", "2", "--batch", "8", "--threads", "1", "--device", "cpu")

    def setUp(self):
        super().setUp()
        self.text = self.folder / "train.txt"
        self.valid = self.folder / "valid.txt"
        self.text.write_text(sentences(400, seed=1))
        self.valid.write_text(sentences(60, seed=2))
        self.tokenizer = self.folder / "tokenizer.json"
        self.packed = self.folder / "packed"

    def learn_vocabulary(self):
        return self.succeed_json("tokenizer", "--text", self.text, "--vocabulary-size", "100", "--output", self.tokenizer)

    def pack(self):
        self.learn_vocabulary()
        return self.succeed_json("data", "--text", self.text, "--valid-text", self.valid, "--tokenizer", self.tokenizer,
                                 "--output", self.packed)

    def test_every_verb_explains_itself_with_an_example(self):
        overview = self.succeed("--help")
        for verb in ("tokenizer", "data", "pretrain"):
            self.assertIn(verb, overview)
            text = self.succeed(verb, "--help")
            self.assertIn("Example:", text)
            self.assertIn(f"grove-train {verb}", text)
            self.assertIn("--json", text)

    def test_wrong_command_lines_are_exit_code_2(self):
        self.refuse(code=2, names=["tokenizer", "pretrain"])
        self.refuse("pretrian", code=2, names=["the closest is pretrain"])
        self.refuse("tokenizer", "--output", "t", code=2, names=["--text"])
        self.refuse("data", "--text", self.text, code=2)
        self.refuse("pretrain", "--no-such-option", "1", code=2, names=["--no-such-option"])

    def test_from_text_to_a_model_that_grove_uses(self):
        vocabulary = self.learn_vocabulary()["vocabulary_size"]
        self.assertLessEqual(vocabulary, 100)
        tokens = json.loads(self.tokenizer.read_text())["model"]["vocab"]
        self.assertEqual(len(tokens), vocabulary)
        self.assertIn("garden", tokens)
        packed = self.pack()
        self.assertGreater(packed["train"]["tokens"], packed["valid"]["tokens"])
        self.assertGreater(packed["unigram_entropy"], 0)
        model = self.folder / "model"
        result = self.succeed_json("pretrain", "--data", self.packed, "--output", model, "--steps", "30", *self.PRETRAIN)
        self.assertTrue((model / "training.json").exists())
        self.assertGreater(result["validation_loss"], 0)
        if program.path_of("GROVE") is not None:
            done = subprocess.run([program.path_of("GROVE"), "fill-mask", "--model", model, "--json", "The [MASK] saw."],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(json.loads(done.stdout)["results"][0]["masks"]), 1)
        self.refuse("pretrain", "--data", self.packed, "--output", model, "--steps", "30", *self.PRETRAIN,
                    names=["--resume"])

    def test_compressed_text_gives_the_same(self):
        if subprocess.run(["zstd", "-q", self.text], capture_output=True).returncode != 0:
            self.skipTest("zstd is not installed")
        self.learn_vocabulary()
        plain = self.tokenizer.read_bytes()
        self.text = self.folder / "train.txt.zst"
        self.learn_vocabulary()
        self.assertEqual(plain, self.tokenizer.read_bytes())
        self.text.write_bytes(self.text.read_bytes()[:-20])
        self.refuse("tokenizer", "--text", self.text, "--output", self.folder / "other.json", names=["train.txt.zst"])

    def test_interrupt_leaves_no_model_and_resume_completes(self):
        self.pack()
        model = self.folder / "model"
        arguments = ["pretrain", "--data", self.packed, "--output", model, "--steps", "2000", *self.PRETRAIN]
        running = subprocess.Popen([self.executable, *map(os.fspath, arguments)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        log = model / "log.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.stat().st_size > 0):
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 130, told)
        self.assertFalse((model / "config.json").exists())
        self.assertEqual([path for path in model.rglob("*tmp*")], [])
        self.succeed(*arguments, "--resume")
        self.assertTrue((model / "config.json").exists())

    def test_bad_input(self):
        nowhere = self.folder / "nowhere"
        self.refuse("tokenizer", "--text", nowhere, "--output", self.tokenizer, names=["nowhere"])
        bad = self.folder / "bad.txt"
        bad.write_bytes(b"good line\nbad \xff line\n")
        self.refuse("tokenizer", "--text", bad, "--output", self.tokenizer, names=["bad.txt"])
        bad.write_bytes(b"")
        self.refuse("tokenizer", "--text", bad, "--output", self.tokenizer, names=["bad.txt"])
        self.learn_vocabulary()
        data = ("data", "--tokenizer", self.tokenizer, "--output", self.packed)
        self.refuse(*data, "--text", nowhere, "--valid-text", self.valid, names=["nowhere"])
        self.refuse(*data, "--text", self.text, "--valid-text", bad, names=["bad.txt"])
        self.refuse("data", "--tokenizer", nowhere, "--output", self.packed, "--text", self.text, "--valid-text", self.valid,
                    names=["nowhere"])
        self.refuse("pretrain", "--data", nowhere, "--output", self.folder / "model", "--steps", "1", names=["nowhere"])


if __name__ == "__main__":
    program.main()
