# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""tools/study.py at work: the runner (with programs that only write a log), GLUE, times, the rows themselves."""

import argparse
import contextlib
import importlib.util
import io
import json
import math
import os
import pathlib
import sys
import tempfile
import unittest

import packed_text
import program

sys.path.insert(0, str(program.ROOT / "tools"))
from studylib import check, cpu, decisions, glue, packed, results, rows, runner  # noqa: E402

FAKE = """#!{python}
import json, pathlib, sys, time
words = sys.argv
if "--version" in words: print("fake 1"); sys.exit()
flag = lambda name, other: words[words.index(name) + 1] if name in words else other
kind, out = flag("--feed-forward", "none"), pathlib.Path(flag("--output", ""))
if kind == "moe": sys.stderr.write("fake: out of memory\\n"); sys.exit(1)
if kind == "product_key": time.sleep(30)
if words[1] == "distil": assert pathlib.Path(flag("--teacher", ""), "model.safetensors").exists()
out.mkdir(parents=True)
loss = dict(none=4.0, dense=3.0).get(kind, 3.25)
lines = [dict(event="start", device="none", options=dict(depth=1, data="x"), data=dict(train=dict(tokens=7), unigram_entropy=7.0))]
lines += [dict(event="step", step=i, loss=None if kind == "neuron_tree" else 5.0, tokens=i * 10, seconds=i, tokens_per_second=10.0)
          for i in range(1, 501)]
lines += [dict(event="end", step=500, validation_loss=None if kind == "neuron_tree" else loss, tokens=5000, seconds=500)]
(out / "log.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines) + "{{half a li")
(out / "model.safetensors").write_text("weights")
"""


FAKE_FINETUNE = """#!{python}
import json, pathlib, sys
words = sys.argv
flag = lambda name: words[words.index(name) + 1]
if flag("--task") == "RTE" and flag("--model").endswith("none.r1e-3.s1"): sys.stderr.write("fake: no such task\\n"); sys.exit(1)
out = pathlib.Path(flag("--output"))
out.mkdir(parents=True)
score = float(flag("--learning-rate")) * 1000 * (0.5 if "none" in flag("--model") else 1.0)
(out / "training.json").write_text(json.dumps(dict(score=score, scores=[score], seeds=[1], options=dict(x=1))))
"""


class Glue(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        program_file = self.folder / "fake"
        program_file.write_text(FAKE_FINETUNE.format(python=sys.executable))
        program_file.chmod(0o755)
        for name in ("none.r1e-3.s1", "dense-1536.r1e-3.s1"):
            (self.folder / "models" / name).mkdir(parents=True)
            (self.folder / "models" / name / "config.json").write_text("{}")

    def measure(self, **more):
        options = {
            "grove_train": str(self.folder / "fake"),
            "glue": "glue",
            "models": self.folder / "models",
            "names": None,
            "tasks": list(glue.TASKS),
            "rates": [1e-4, 3e-4],
            "pooler": "mean",
            "seeds": 1,
            "gpus": 1,
            "jobs": 4,
            "device": None,
            "seconds": 1e5,
            "work": self.folder / "work",
            "results": self.folder / "results",
            **more,
        }
        with contextlib.redirect_stdout(io.StringIO()):
            return glue.measure(argparse.Namespace(**options))

    def test_tasks_count_at_their_best_rate_and_rows_with_all_tasks(self):
        self.assertFalse(self.measure(), "a task of one model fails")
        found = [{"name": f"{row}.r1e-3.s1", "row": row} for row in ("none", "dense-1536")]
        averages = glue.averages(self.folder / "results", found)
        self.assertEqual(list(averages), ["dense-1536"])
        self.assertAlmostEqual(averages["dense-1536"]["with_cola"], 0.3)
        self.assertAlmostEqual(averages["dense-1536"]["without_cola"], 0.3)
        best = glue.scores(self.folder / "results")
        self.assertEqual(best["none.r1e-3.s1", "mean"]["CoLA"], (0.15, 3e-4))
        self.assertIn(["`none.r1e-3.s1`", "mean", *["15.0 (3e-4)"] * 4, "–"], glue.table_lines(self.folder / "results"))
        self.assertEqual(list((self.folder / "work").iterdir()), [])
        kept = self.folder / "results/glue/dense-1536.r1e-3.s1.SST-2.mean.r3e-4.json"
        self.assertIn("--task SST-2 --data DATA --output OUTPUT", json.loads(kept.read_text())["command"])

    def test_a_model_counts_by_its_better_pooler(self):
        self.measure(rates=[3e-4], pooler="first")
        self.measure(rates=[4e-4])
        found = [{"name": "dense-1536.r1e-3.s1", "row": "dense-1536"}]
        self.assertAlmostEqual(glue.averages(self.folder / "results", found)["dense-1536"]["with_cola"], 0.4)
        self.assertTrue((self.folder / "results/glue/dense-1536.r1e-3.s1.SST-2.r3e-4.json").exists())

    def test_what_is_there_is_not_run_again_and_wrong_names_are_said(self):
        self.measure(tasks=["CoLA"])
        before = {path: path.stat().st_mtime_ns for path in (self.folder / "results/glue").iterdir()}
        self.assertTrue(self.measure(tasks=["CoLA"]))
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in (self.folder / "results/glue").iterdir()})
        with self.assertRaisesRegex(rows.StudyError, "no model dense-9"):
            self.measure(names="dense-9")
        with self.assertRaisesRegex(rows.StudyError, "XNLI is none of SST-2"):
            self.measure(tasks=["XNLI"])


class Running(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.program = self.folder / "fake"
        self.program.write_text(FAKE.format(python=sys.executable))
        self.program.chmod(0o755)
        self.lines = []

    def run_rows(self, names, **more):
        options = {
            "grove_train": str(self.program),
            "data": "nothing",
            "base": "base",
            "output": self.folder / "results",
            "work": self.folder / "work",
            "keep_models": str(self.folder / "models"),
            "keep_rows": None,
            "seconds": 1e5,
            "jobs": 2,
            "gpus": 2,
            "threads": None,
            "device": None,
            "commit": "c0ffee",
            "retry": False,
            "count_decisions": False,
            "poll": 0.02,
            **more,
        }
        items = runner.plan([(name, None, None) for name in names], "base", [1e-3], [1], None)
        return runner.Runner(argparse.Namespace(**options), say=self.lines.append).run(items)

    def result(self, name):
        return json.loads((self.folder / "results" / f"{name}.r1e-3.s1.json").read_text())

    def test_runs_leave_results_and_nothing_else(self):
        self.assertFalse(
            self.run_rows(["distil-none", "none", "dense-1536", "moe-32x32-top1", "neuron-8x7", "leaf-7x16-4p"])
        )
        leaf = self.result("leaf-7x16-4p")
        self.assertEqual(
            (leaf["status"], leaf["validation_loss"], leaf["tokens_per_second"], leaf["commit"]),
            ("ok", 3.25, 10.0, "c0ffee"),
        )
        self.assertEqual((len(leaf["training_curve"]), leaf["training_curve"][-1][0]), (100, 500))
        self.assertNotIn("data", leaf["options"])
        self.assertIn("--paths 4", leaf["command"])
        self.assertEqual(self.result("moe-32x32-top1")["error"], "fake: out of memory")
        self.assertEqual(self.result("neuron-8x7")["status"], "diverged")
        self.assertEqual(self.result("distil-none")["status"], "ok", "waits for its teacher, whose model is kept")
        self.assertEqual(list((self.folder / "work").iterdir()), [])
        for path in (self.folder / "results").iterdir():
            self.assertLess(path.stat().st_size, 20000, path.name)

    def test_what_is_there_is_skipped_and_what_failed_is_retried_on_request(self):
        self.run_rows(["none", "moe-32x32-top1"])
        self.lines.clear()
        self.assertTrue(self.run_rows(["none", "moe-32x32-top1"]))
        self.assertIn("2 done before", self.lines[0])
        self.assertFalse(self.run_rows(["none", "moe-32x32-top1"], retry=True))

    def test_nothing_starts_that_cannot_end_and_nothing_runs_on(self):
        self.assertTrue(self.run_rows(["none"], seconds=5, jobs=1, gpus=1))
        self.assertIn("not started: none.r1e-3.s1", self.lines[-1])
        quick = runner.GUESSED_SPEED["keys"], runner.GUESSED_OVERHEAD
        self.addCleanup(
            lambda: (runner.GUESSED_SPEED.update(keys=quick[0]), setattr(runner, "GUESSED_OVERHEAD", quick[1]))
        )
        runner.GUESSED_SPEED["keys"], runner.GUESSED_OVERHEAD = 1e12, 0.0
        self.run_rows(["keys-4h-45x45-top16"], seconds=1.0)
        self.assertTrue(any("stopped" in line for line in self.lines), self.lines)
        self.assertFalse((self.folder / "results/keys-4h-45x45-top16.r1e-3.s1.json").exists())

    def test_files_of_rows(self):
        path = self.folder / "rows.txt"
        path.write_text("# first\nnone\ndense-64 1e-3,2e-3 1,2  # both\n")
        items = runner.plan(runner.read_specs(f"@{path}"), "base", [5e-4], [3], None)
        self.assertEqual(
            [item["name"] for item in items],
            ["none.r5e-4.s3", "dense-64.r1e-3.s1", "dense-64.r1e-3.s2", "dense-64.r2e-3.s1", "dense-64.r2e-3.s2"],
        )
        path.write_text("none fast\n")
        with self.assertRaisesRegex(rows.StudyError, "rows.txt:1"):
            runner.read_specs(f"@{path}")


FAKE_BENCH = """#!{python}
import json, pathlib, sys
models = [w for flag, w in zip(sys.argv, sys.argv[1:]) if flag == "--model"]
assert all(pathlib.Path(m, "model.safetensors").exists() for m in models)
seconds = {{"none": 1e-3, "dense-1536": 4e-3}}
print(json.dumps(dict(target="ANY", models=[
    dict(timings=[dict(median_seconds=seconds.get(pathlib.Path(m).name, 2e-3), tokens=1000)]) for m in models])))
"""


class Timing(unittest.TestCase):
    def test_a_row_counts_by_its_ratio_to_dense(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name, text in (("train", FAKE), ("bench", FAKE_BENCH)):
                (folder / name).write_text(text.format(python=sys.executable))
                (folder / name).chmod(0o755)
            options = argparse.Namespace(
                grove=folder / "bench", grove_train=folder / "train", data=folder, base="base", layers=None, batch=8,
                rows="leaf-8x64-2p,distil-leaf-8x64-2p,none",
                threads=1, seconds=1.0, work=folder / "work", results=folder / "results",
            )  # fmt: skip
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(cpu.measure(options), 0)
            times = json.loads((folder / "results/cpu.json").read_text())["rows"]
            self.assertEqual({name: t["microseconds_per_token"] for name, t in times.items()},
                             {"none": 1.0, "dense-1536": 4.0, "leaf-8x64-2p": 2.0, "distil-leaf-8x64-2p": 2.0})
            self.assertFalse((folder / "work/leaf-8x64-2p").exists(), "models of rows are large")
            options.layers = 3  # of six
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(cpu.measure(options), 0)
            part = json.loads((folder / "results/cpu.json").read_text())
            self.assertEqual(part["rows"]["leaf-8x64-2p"], {"microseconds_per_token": 4.0, "of_dense": 0.5})
            self.assertIn("3 of 6 layers measured", part["about"])


class Rows(unittest.TestCase):
    """What stands in configs/study."""

    def test_every_row_has_a_sound_cost_and_the_goals_have_candidates(self):
        base, within = rows.load_base(), {192: 0, 64: 0}
        for name in rows.row_names():
            row = rows.load_row(name)
            self.assertTrue(row.get("about"), name)
            cost = rows.cost(rows.model_options(base, row))
            self.assertTrue(all(math.isfinite(value) for value in cost.values()), name)
            self.assertIn(rows.family(name, rows.model_options(base, row)), runner.GUESSED_SPEED, name)
            for limit in within:
                within[limit] += name.startswith("leaf") and cost["active"] <= limit
        self.assertGreater(within[64], 5)
        self.assertGreater(within[192], 20)

    def test_a_taught_row_has_the_options_of_the_model_that_is_not_taught(self):
        base = rows.load_base()
        for name, row in ((name, rows.load_row(name)) for name in rows.row_names()):
            untaught = name.removeprefix("distil-").removesuffix("-t1").removesuffix("-inherit").removesuffix("-logits")
            if rows.verb_of(row) == "distil" and untaught in rows.row_names():
                own, twin = rows.model_options(base, row), rows.model_options(base, rows.load_row(untaught))
                self.assertEqual(own.keys(), twin.keys(), name)
                self.assertEqual(rows.cost(own), rows.cost(twin), name)

    def test_every_row_is_in_a_batch_and_batches_name_rows(self):
        named = {spec[0] for path in (rows.CONFIGS / "batches").glob("*.txt") for spec in runner.read_specs(f"@{path}")}
        self.assertEqual(named, set(rows.row_names()))


class Program(program.ProgramTest):
    program = "GROVE_TRAIN"

    def test_rows_have_only_options_of_grove_train(self):
        known = {}
        for name in rows.row_names():
            row = rows.load_row(name)
            verb = rows.verb_of(row)
            if verb not in known:
                known[verb] = check.known_options(self.executable, verb)
            self.assertEqual(check.wrong_keys(row, known[verb]), [], name)

    def test_check_finds_a_wrong_shape(self):
        base = rows.load_base()
        good = rows.load_row("leaf-7x16-4p")
        self.assertIsNone(check.problem_of(self.executable, "leaf-7x16-4p", good, base, None))
        told = check.problem_of(self.executable, "leaf-7x16-4p", {**good, "paths": 1000}, base, None)
        self.assertIn("1000", told or "")

    def test_a_row_runs_and_part_of_a_text_is_a_text(self):
        (self.folder / "text.txt").write_text(packed_text.sentences(400, seed=1))
        self.succeed("tokenizer", "--text", "text.txt", "--vocabulary-size", "100", "--output", "tokenizer.json")
        self.succeed(
            "data",
            "--text",
            "text.txt",
            "--valid-fraction",
            "0.2",
            "--tokenizer",
            "tokenizer.json",
            "--output",
            "packed",
        )
        card = json.loads((self.folder / "packed/data.json").read_text())
        half = argparse.Namespace(
            data=self.folder / "packed",
            output=self.folder / "part",
            tokens=card["train"]["tokens"] // 2,
            shard_tokens=500,
        )
        with contextlib.redirect_stdout(io.StringIO()):
            packed.prefix(half)
        part = json.loads((self.folder / "part/data.json").read_text())
        self.assertGreater(part["train"]["shards"], 1)
        self.assertLessEqual(part["train"]["tokens"], card["train"]["tokens"] // 2)
        item = {"row": "leaf-7x16-4p", "base": "base", "rate": 1e-3, "seed": 1, "steps": None}
        words = runner.command(
            self.executable,
            item,
            rows.load_base(),
            rows.load_row(item["row"]),
            self.folder / "part",
            self.folder / "model",
        )
        words[words.index("--config") + 1] = os.fspath(rows.CONFIGS / "base.json")
        self.succeed(
            *words[1:],
            "--layers",
            "2",
            "--width",
            "32",
            "--heads",
            "2",
            "--length",
            "16",
            "--batch",
            "4",
            "--steps",
            "4",
            "--log-every",
            "1",
            "--routing-every",
            "1",
            "--validation-sequences",
            "4",
            "--device",
            "cpu",
            "--threads",
            "1",
        )
        summary = results.summary_of_run(self.folder / "model")
        self.assertEqual(results.status_of(summary, 0), "diverged", "four steps do not beat word frequencies")
        self.assertGreater(summary["validation_loss"], summary["data"]["unigram_entropy"])
        self.assertEqual((summary["steps"], summary["routing"]["units"]), (4, 256))
        self.assertEqual(len(summary["routing"]["decision_entropy"][0]), 7)
        if importlib.util.find_spec("torch"):
            counted = decisions.count(self.folder / "model", self.folder / "part", most=4)
            self.assertEqual(len(counted), 2)
            self.assertTrue(all(9 <= layer <= 127 for layer in counted), counted)


if __name__ == "__main__":
    program.main()
