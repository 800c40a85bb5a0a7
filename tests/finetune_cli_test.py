# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove-train finetune` and `eval` from outside: labelled rows to a model that `grove` loads, scores, answers, bad input."""

import json
import random
import subprocess

import program
import tiny_model

PLAIN = ["is", "the", "capital", "of", ",", "."]


def rows(count, seed):
    """TSV rows: the city decides the label."""
    generator = random.Random(seed)
    lines = ["place\tcountry"]
    for _ in range(count):
        words = generator.choices(PLAIN, k=generator.randint(3, 7))
        french = generator.random() < 0.5
        words[generator.randrange(len(words))] = "paris" if french else "london"
        lines.append(" ".join(words) + "\t" + ("france" if french else "england"))
    return "\n".join(lines) + "\n"


class Finetune(program.ProgramTest):
    program = "GROVE_TRAIN"

    COLUMNS = ("--text-column", "place", "--label-column", "country")
    FAST = ("--learning-rate", "5e-3", "--pooler-width", "16", "--device", "cpu", "--threads", "2")

    def setUp(self):
        super().setUp()
        self.model = tiny_model.write_model(self.folder / "model")
        self.train, self.dev, self.output = (self.folder / name for name in ("train.tsv", "dev.tsv", "out"))
        self.train.write_text(rows(300, seed=1))
        self.dev.write_text(rows(80, seed=2))
        self.arguments = ("finetune", "--model", self.model, "--train", self.train, "--dev", self.dev, "--output", self.output)

    def test_rows_to_a_model_that_grove_loads(self):
        card = self.succeed_json(*self.arguments, *self.COLUMNS, *self.FAST, "--epochs", "8", "--seeds", "2")
        self.assertEqual(len(card["scores"]), 2)
        self.assertGreater(card["score"], 0.9)
        self.assertEqual({path.name for path in self.output.iterdir()},
                         {"config.json", "model.safetensors", "tokenizer.json", "training.json", "log.jsonl"})
        self.assertEqual(json.loads((self.output / "config.json").read_text())["id2label"], {"0": "england", "1": "france"})
        table = self.folder / "table.json"
        told = self.succeed("eval", "--model", self.output, "--output", table, "--predictions", self.folder / "answers",
                            "--device", "cpu")
        self.assertIn("accuracy", told)
        self.assertIn(f"{100 * card['saved_score']:.1f}", told)
        row = json.loads(table.read_text())["models"][0]
        self.assertAlmostEqual(row["score"], card["saved_score"], places=6)
        answers = (self.folder / "answers" / "out.tsv").read_text().splitlines()
        self.assertEqual(answers[0], "index\tprediction")
        truth = [line.split("\t")[1] for line in self.dev.read_text().splitlines()[1:]]
        right = sum(line.split("\t")[1] == label for line, label in zip(answers[1:], truth))
        self.assertAlmostEqual(right / len(truth), row["metrics"]["accuracy"], places=6)
        grove = program.path_of("GROVE")
        if grove is not None:
            batch = tiny_model.write_batch(self.folder / "batch.safetensors")
            for arguments in (["info", "--model", self.output], ["forward", "--model", self.output, "--input", batch,
                                                                "--output", self.folder / "forward.safetensors"]):
                done = subprocess.run([grove, *map(str, arguments), "--json"], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["tensors"]["logits"], [2, 2])

    def test_words(self):
        for path, seed in ((self.train, 1), (self.dev, 2)):
            generator = random.Random(seed)
            lines = []
            for _ in range(120):
                words = generator.choices(PLAIN + ["paris", "london"], k=5)
                lines.append(json.dumps({"tokens": words, "labels": ["O" if w in PLAIN else "B-CITY" for w in words]}))
            path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
        arguments = [str(a).replace(".tsv", ".jsonl") for a in self.arguments]
        card = self.succeed_json(*arguments, "--kind", "tokens", *self.FAST)
        self.assertGreater(card["metrics"]["entity_f1"], 0.9)

    def test_a_configuration_file_and_flags_on_top(self):
        config = self.folder / "config.json"
        config.write_text(json.dumps({"model": str(self.model), "train": str(self.train), "dev": str(self.dev),
                                      "text_column": "place", "label_column": "country", "epochs": 9, "device": "cpu"}))
        card = self.succeed_json("finetune", "--config", config, "--output", self.output, "--epochs", "1")
        self.assertEqual(card["options"]["epochs"], 1)
        self.assertEqual(card["options"]["label_column"], "country")
        config.write_text('{"epoch": 3}')
        self.refuse("finetune", "--config", config, "--output", self.folder / "other", names=["epoch", "config.json"])

    def test_wrong_command_lines_are_exit_code_2(self):
        self.refuse("finetune", code=2, names=["--model"])
        self.refuse("finetune", "--model", self.model, "--output", self.output, code=2, names=["--task"])
        self.refuse(*self.arguments, "--task", "SST2000", code=2, names=["CoLA"])
        self.refuse(*self.arguments, "--epochs", "0", code=2, names=["--epochs"])
        self.refuse(*self.arguments, "--kind", "ranking", code=2, names=["regression"])
        self.refuse("eval", code=2, names=["--model"])

    def test_bad_input(self):
        self.refuse(*self.arguments, names=["train.tsv", "place, country", "--text-column"])
        self.refuse(*self.arguments, "--text-column", "place", names=["train.tsv", "--label-column"])
        self.dev.write_text(rows(5, seed=2).replace("france", "spain"))
        self.refuse(*self.arguments, *self.COLUMNS, names=["dev.tsv", "spain", "england, france"])
        self.train.write_text("place\tcountry\nparis\n")
        self.refuse(*self.arguments, *self.COLUMNS, names=["train.tsv:2", "tabs"])
        self.train.write_bytes(b"")
        self.refuse(*self.arguments, *self.COLUMNS, names=["train.tsv", "empty"])
        self.refuse("finetune", "--model", self.folder / "nowhere", "--task", "RTE", "--data", self.folder, "--output",
                    self.output, names=["nowhere"])
        self.refuse("finetune", "--model", self.model, "--task", "RTE", "--data", self.folder, "--output", self.output,
                    names=["train.tsv", "empty"])
        self.train.unlink()
        self.refuse("finetune", "--model", self.model, "--task", "RTE", "--data", self.folder, "--output", self.output,
                    names=["2490 rows"])
        self.refuse("eval", "--model", self.model, names=["finetune"])


if __name__ == "__main__":
    program.main()
