# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove-train` from outside: text to vocabulary to packed ids to a model that `grove` uses; stops and bad input."""

import json
import os
import signal
import struct
import subprocess
import time

import packed_text
import program
import tiny_model


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unmasked(crc):
    rotated = crc - 0xA282EAD8 & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def fields(message):
    """(field number, value) pairs of a protocol buffer."""
    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = varint(at)
            value, at = message[at:at + size], at + size
        yield key >> 3, value


def read_events(path):
    """{tag: [(step, value)]} of the scalars of a TensorBoard event file, checksums verified."""
    data, at, scalars = path.read_bytes(), 0, {}
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert unmasked(crc) == crc32c(data[at:at + 8])
        payload = data[at + 12:at + 12 + length]
        assert unmasked(*struct.unpack_from("<I", data, at + 12 + length)) == crc32c(payload)
        at += 16 + length
        event = dict(fields(payload))
        for _, value in fields(event.get(5, b"")):
            value = dict(fields(value))
            if 2 in value:
                scalars.setdefault(value[1].decode(), []).append((event.get(2, 0), *struct.unpack("<f", value[2])))
    return scalars


class Train(packed_text.PackedTextTest):
    PRETRAIN = ("--layers", "1", "--width", "32", "--heads", "2", "--length", "32", "--depth", "2", "--leaf-width", "8",
                "--paths", "2", "--batch", "8", "--threads", "1", "--device", "cpu")

    def test_every_verb_explains_itself_with_an_example(self):
        overview = self.succeed("--help")
        for verb in ("tokenizer", "data", "batches", "pretrain", "distil", "convert", "report"):
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

    def test_a_dense_model_becomes_a_tree_and_teaches_a_small_one(self):
        self.pack()
        dense, tree, student = self.folder / "dense", self.folder / "tree", self.folder / "student"
        self.succeed("pretrain", "--data", self.packed, "--output", dense, "--steps", "60", "--feed-forward", "dense",
                     "--intermediate", "64", "--layers", "2", "--width", "32", "--heads", "2", "--length", "32", "--batch", "8",
                     "--learning-rate", "0.01", "--threads", "1", "--device", "cpu")
        converted = self.succeed_json("convert", "--model", dense, "--data", self.packed, "--output", tree, "--leaves", "8",
                                      "--paths", "4", "--heal-steps", "10", "--sample-tokens", "1000", "--length", "32",
                                      "--device", "cpu", "--threads", "1")
        self.assertEqual(len(converted["layers"]), 2)
        self.assertEqual(json.loads((tree / "conversion.json").read_text())["healed"], converted["healed"])
        self.assertIn("8 leaves of 8, 4 paths", converted["feed_forward"])
        self.refuse("convert", "--model", dense, "--data", self.packed, "--output", tree, names=["--overwrite"])
        self.refuse("convert", "--model", dense, "--output", tree, code=2, names=["--data", "--text"])
        taught = self.succeed_json("distil", "--teacher", dense, "--data", self.packed, "--output", student, "--steps", "10",
                                   *self.PRETRAIN)
        self.assertGreater(taught["teacher"]["kl"], 0)
        self.refuse("distil", "--teacher", dense, "--student", tree, "--width", "8", "--data", self.packed, "--output",
                    student, "--steps", "1", code=2, names=["--width", "--student"])
        if program.path_of("GROVE") is not None:
            for model in (tree, student):
                done = subprocess.run([program.path_of("GROVE"), "fill-mask", "--model", model, "The [MASK] saw."],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

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

    def test_events_and_report(self):
        self.pack()
        runs = {}
        for kind in ("leaf_tree", "dense", "none"):
            runs[kind] = self.folder / kind
            self.succeed("pretrain", "--data", self.packed, "--output", runs[kind], "--steps", "40", "--log-every", "4",
                         "--routing-every", "2", "--validate-every", "10", *self.PRETRAIN, "--feed-forward", kind)
        events = read_events(runs["leaf_tree"] / "tensorboard" / "events.out.tfevents.grove")
        self.assertEqual([step for step, _ in events["train/loss"]], list(range(4, 41, 4)))
        self.assertEqual([step for step, _ in events["validation/loss"]], [10, 20, 30, 40])
        self.assertEqual([step for step, _ in events["routing/entropy/layer0"]], [8, 16, 24, 32, 40])
        self.assertTrue(all(0 <= entropy < 0.7 for _, entropy in events["routing/entropy/layer0"]))
        self.compare_with_tensorboard(runs["leaf_tree"] / "tensorboard", events)

        # A run that is still going: its last line is half written.
        unfinished = self.folder / "unfinished"
        unfinished.mkdir()
        lines = (runs["dense"] / "log.jsonl").read_bytes().splitlines(keepends=True)
        (unfinished / "log.jsonl").write_bytes(b"".join(lines[:6]) + lines[6][:20])
        page = self.folder / "page.html"
        result = self.succeed_json("report", *runs.values(), unfinished, "--output", page)
        self.assertEqual([run["name"] for run in result["runs"]], ["leaf_tree", "dense", "none", "unfinished"])
        tree, dense, none, half = result["runs"]
        self.assertEqual((tree["active_neurons"], tree["stored_neurons"]), (19, 32))
        self.assertTrue(tree["finished"] and not half["finished"])
        expected = (none["validation_loss"] - tree["validation_loss"]) / (none["validation_loss"] - dense["validation_loss"])
        if none["validation_loss"] > dense["validation_loss"]:
            self.assertAlmostEqual(tree["recovered_share"], expected)
        html = page.read_text()
        for text in ("leaf tree depth 2", "Validation loss against tokens", "Decision entropy by level",
                     "1 line of the log could not be read", "<td class=\"left\">feed_forward</td>"):
            self.assertIn(text, html)
        for text in ("http:", "https:", "src=", "nan", "inf,"):
            self.assertNotIn(text, html)
        self.assertIn("leaf tree depth 2", self.succeed("report", runs["leaf_tree"], "--output", page))

        nowhere = self.folder / "nowhere"
        self.refuse("report", nowhere, "--output", self.folder / "other.html", names=["nowhere"])
        self.refuse("report", self.packed, "--output", self.folder / "other.html", names=["log.jsonl"])
        self.refuse("report", self.text, "--output", self.folder / "other.html", names=["train.txt"])
        self.refuse("report", runs["none"], "--output", nowhere / "page.html", names=["nowhere"])
        self.refuse("report", code=2, names=["runs"])

    def compare_with_tensorboard(self, folder, events):
        """The same scalars through the package `tensorboard`, where the test environment has it."""
        python = program.venv_python()
        script = ("import json, sys\n"
                  "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
                  "run = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0, 'histograms': 0})\n"
                  "run.Reload()\n"
                  "tags = run.Tags()\n"
                  "print(json.dumps([{tag: [[e.step, e.value] for e in run.Scalars(tag)] for tag in tags['scalars']},\n"
                  "                  [len(run.Histograms(tag)) for tag in tags['histograms']]]))\n")
        done = python and subprocess.run([python, "-c", script, folder], capture_output=True, text=True)
        if not done or "No module named 'tensorboard'" in done.stderr:
            print("not compared with the package tensorboard, which is not installed")
            return
        self.assertEqual(done.returncode, 0, done.stderr)
        scalars, histograms = json.loads(done.stdout)
        self.assertEqual(scalars, {tag: [list(point) for point in points] for tag, points in events.items()})
        self.assertEqual(histograms, [5])

    def test_batches_shows_and_writes_what_a_run_sees(self):
        self.pack()
        which = ("--data", self.packed, "--length", "16", "--batch", "3", "--seed", "2")
        shown = self.succeed("batches", *which)
        self.assertIn("batch 0:", shown)
        self.assertIn("{[MASK] -> ", shown)
        self.assertEqual(shown.count("[CLS]"), 3)
        batches = self.succeed_json("batches", *which, "--count", "2")["batches"]
        self.assertEqual([batch["number"] for batch in batches], [0, 1])
        self.assertEqual(self.succeed_json("batches", *which, "--first", "1")["batches"][0], batches[1])
        self.assertNotEqual(batches[0]["input_ids"], batches[1]["input_ids"])
        self.succeed("batches", *which, "--count", "2", "--output", "batches.safetensors")
        tensors = tiny_model.read_safetensors(self.folder / "batches.safetensors")
        self.assertEqual(tensors["input_ids"][:2], ("I64", [2, 3, 16]))
        written = [i for batch in batches for row in batch["input_ids"] for i in row]
        self.assertEqual(list(tensors["input_ids"][2]), written)
        self.assertEqual(sum(tensors["attention_mask"][2]), sum(batch["tokens"] for batch in batches))
        labels = tensors["labels"][2]
        for number, batch in enumerate(batches):
            own = labels[number * 48:(number + 1) * 48]
            self.assertEqual([i for i in range(48) if own[i] != -100], batch["positions"])
            self.assertEqual([own[i] for i in batch["positions"]], batch["labels"])
        self.refuse("batches", "--length", "16", code=2, names=["--data"])
        self.refuse("batches", "--data", self.folder / "nowhere", names=["nowhere"])

    def test_a_run_starts_from_a_model(self):
        self.pack()
        first = self.succeed_json("pretrain", "--data", self.packed, "--output", "first", "--steps", "60", *self.PRETRAIN)
        go_on = ("pretrain", "--data", self.packed, "--batch", "8", "--threads", "1", "--device", "cpu", "--steps", "1",
                 "--learning-rate", "1e-9")
        second = self.succeed_json(*go_on, "--start-from", "first", "--length", "32", "--output", "second")
        self.assertAlmostEqual(second["validation_loss"], first["validation_loss"], places=5)
        self.assertEqual(second["feed_forward"], first["feed_forward"])
        self.assertNotIn("layers", second["options"])
        self.assertEqual(second["options"]["start_from"], "first")
        shapes = [{name: shape for name, (_, shape, _) in tiny_model.read_safetensors(
            self.folder / name / "model.safetensors").items()} for name in ("first", "second")]
        self.assertEqual(*shapes)
        third = (*go_on, "--output", "third", "--length", "24")
        self.refuse(*third, "--start-from", "first", "--layers", "1", code=2, names=["--layers", "--start-from"])
        self.refuse(*go_on, "--output", "third", "--start-from", "first", "--length", "64", names=["--length 32", "first"])
        self.refuse(*third, "--start-from", "nowhere", names=["nowhere"])
        tiny_model.write_model(self.folder / "other")
        self.refuse(*third, "--start-from", "other", names=["other", "tokens", "pack the text"])

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
