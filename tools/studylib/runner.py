# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Runs rows in order, several at a time, within a number of seconds, and leaves one result file a run."""

import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import time

from studylib import decisions, results, rows
from studylib.rows import StudyError

# Tokens a second of one H100 for the base, where no result tells: a guess to plan with, never a figure of the study.
GUESSED_SPEED = {
    "none": 5.0e6,
    "dense": 3.4e6,
    "neuron": 2.0e6,
    "leaf": 2.2e6,
    "moe": 2.4e6,
    "keys": 0.5e6,
    "mix": 2.2e6,
    "distil": 1.5e6,
    "convert": 1.0e6,
}
GUESSED_OVERHEAD = 15.0  # seconds of a process besides its training
COMMITTED = rows.ROOT / "bench/results/study"
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "training.json", "conversion.json")


def plan(specs, base, default_rates, default_seeds, steps):
    """Items to run, in order; `specs`: (row, rates or None, seeds or None)."""
    items, seen = [], set()
    for row, own_rates, own_seeds in specs:
        for rate in own_rates or default_rates:
            for seed in own_seeds or default_seeds:
                item = {"row": row, "base": base, "rate": rate, "seed": seed, "steps": steps}
                name = results.result_name(item)
                if name not in seen:
                    seen.add(name)
                    items.append({**item, "name": name})
    return items


def read_specs(text):
    """ "a,b,c", or "@FILE" with a line "ROW [RATES [SEEDS]]" each; "#" begins a comment."""
    if not text.startswith("@"):
        return [(name.strip(), None, None) for name in text.split(",") if name.strip()]
    try:
        lines = pathlib.Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StudyError(f"{text[1:]} cannot be read: {error}") from None
    specs = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            rates = [float(w) for w in words[1].split(",")] if len(words) > 1 else None
            seeds = [int(w) for w in words[2].split(",")] if len(words) > 2 else None
        except ValueError:
            raise StudyError(
                f"{text[1:]}:{number}: expected ROW [RATES [SEEDS]], as in: dense-64 1e-3,2e-3 1,2,3"
            ) from None
        specs.append((words[0], rates, seeds))
    return specs


def command(program, item, base, row, data, output, teacher=None, threads=None, device=None):
    """The one command that runs this item; the committed base file and flags say everything."""
    verb = rows.verb_of(row)
    words = [program, verb]
    options = rows.row_options(row)
    options.update(learning_rate=item["rate"], seed=item["seed"])
    if verb == "convert":
        words += ["--model", teacher or "MODEL"]
        options.setdefault("validation_sequences", base.get("validation_sequences", 256))
        options.setdefault("save_dtype", base.get("save_dtype", "fp32"))
    else:
        words += ["--config", os.path.relpath(rows.CONFIGS / f"{item['base']}.json", rows.ROOT)]
        if verb == "distil":
            words += ["--teacher", teacher or "TEACHER"]
        if item["steps"]:
            options["steps"] = item["steps"]
    words += rows.flags(options)
    if device:
        words += ["--device", device]
    if threads:
        words += ["--threads", str(threads)]
    return words + ["--data", str(data), "--output", str(output)]


def shape_of(base):
    return tuple(base.get(key) for key in ("layers", "width", "length"))


class Estimates:
    """Seconds that an item takes: from earlier results of the same row, else of its family, else a guess."""

    def __init__(self, known, concurrent):
        self.known, self.concurrent = list(known), concurrent

    def add(self, result):
        self.known.append(result)

    @staticmethod
    def tokens(base, row, item):
        if rows.verb_of(row) == "convert":
            return row.get("heal_steps", 300) * row.get("batch", 32) * base.get("length", 128)
        options = rows.composed(base, row)
        return (item["steps"] or options["steps"]) * options["batch"] * options["length"]

    def _median(self, key, same):
        for test in same:
            values = [r[key] for r in self.known if results.is_number(r.get(key)) and test(r)]
            if values:
                return statistics.median(values[-5:])
        return None

    def seconds(self, item, base, row):
        kind = rows.family(item["row"], rows.model_options(base, row))
        shape = shape_of(base)
        alike = lambda r: shape_of(rows.load_base(r["base"])) == shape and r.get("concurrent") == self.concurrent  # noqa: E731
        speed = self._median(
            "tokens_per_second",
            [lambda r: alike(r) and r["row"] == item["row"], lambda r: alike(r) and r.get("family") == kind],
        )
        if speed is None:
            smaller = (384 * 384 * 6) / (base["width"] ** 2 * base["layers"])
            speed = GUESSED_SPEED[kind] * smaller / (1 if self.concurrent == 1 else 0.6 * self.concurrent)
        overhead = self._median("overhead_seconds", [alike])
        return self.tokens(base, row, item) / speed + (GUESSED_OVERHEAD if overhead is None else 1.2 * overhead + 2)


class Runner:
    """options: the arguments of `study.py run`; say: prints a line."""

    def __init__(self, options, say=print):
        self.options, self.say = options, say
        self.output = pathlib.Path(options.output)
        self.work = pathlib.Path(options.work)
        self.keep = pathlib.Path(options.keep_models) if options.keep_models else None
        self.base = rows.load_base(options.base)
        self.deadline = time.monotonic() + options.seconds
        self.version = program_version(options.grove_train)
        self.commit = options.commit or commit_of_tree()
        folders = [f for f in dict.fromkeys([COMMITTED, self.output.resolve()]) if f.exists()]
        known = [result for folder in folders for result in results.load_results(folder)]
        self.estimates = Estimates([r for r in known if r["status"] == "ok"], options.jobs)
        self.running, self.counts = {}, {"ok": 0, "failed": 0, "diverged": 0, "stopped": 0}

    def left(self):
        return self.deadline - time.monotonic()

    def run(self, items):
        """True if nothing failed."""
        rows_of = {item["row"]: rows.load_row(item["row"]) for item in items}  # a wrong name ends it here
        waiting = [item for item in items if not self.is_done(item)]
        self.say(
            f"{len(items)} runs, {len(items) - len(waiting)} done before; {self.options.gpus} x {self.options.jobs} at a time, "
            f"{self.options.seconds:.0f} s"
        )
        slots = [(gpu, job) for job in range(self.options.jobs) for gpu in range(self.options.gpus)]
        try:
            while waiting or self.running:
                for slot in slots:
                    if slot not in self.running:
                        self.start_next(slot, waiting, rows_of)
                if not self.running:
                    break
                self.collect()
                time.sleep(self.options.poll)
        finally:
            for job in self.running.values():
                job["process"].kill()
        self.tell_rest(waiting)
        return self.counts["failed"] == 0

    def is_done(self, item):
        path = self.output / f"{item['name']}.json"
        return path.exists() and not (self.options.retry and rows.read_json(path).get("status") == "failed")

    def start_next(self, slot, waiting, rows_of):
        for item in waiting:
            row = rows_of[item["row"]]
            if self.estimates.seconds(item, self.base, row) > self.left():
                continue
            teacher = self.teacher_of(item, row) if "teacher" in row else None
            if "teacher" in row and teacher is None:
                continue
            waiting.remove(item)
            self.start(slot, item, row, teacher)
            return

    def teacher_of(self, item, row):
        """The kept model of the teacher's row and seed with the lowest loss, or None."""
        if self.keep is None:
            return None
        best = None
        for result in results.load_results(self.output) if self.output.exists() else []:
            folder = self.keep / result.get("name", "")
            same = (result["row"], result["seed"], result["base"]) == (row["teacher"], item["seed"], item["base"])
            if same and result["status"] == "ok" and (folder / "model.safetensors").exists():
                if best is None or result["validation_loss"] < best[0]:
                    best = (result["validation_loss"], folder)
        return best and best[1]

    def start(self, slot, item, row, teacher):
        folder = self.work / item["name"]
        shutil.rmtree(folder, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)
        words = command(
            self.options.grove_train,
            item,
            self.base,
            row,
            self.options.data,
            folder,
            teacher,
            self.options.threads,
            self.options.device,
        )
        environment = dict(os.environ, GROVE_PROGRESS="off")
        if self.options.gpus > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot[0])
        errors = self.work / f"{item['name']}.stderr"
        with open(errors, "wb") as stream:
            process = subprocess.Popen(
                words,
                cwd=rows.ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env=environment,
            )
        searches = rows.searches(rows.model_options(self.base, row))
        self.running[slot] = {
            "count": self.options.count_decisions and searches,
            "item": item,
            "row": row,
            "process": process,
            "folder": folder,
            "errors": errors,
            "environment": environment,
            "begun": time.monotonic(),
        }

    def collect(self):
        for slot, job in list(self.running.items()):
            code = job["process"].poll()
            stopped = False
            if code is None:
                if self.left() > 0:
                    continue
                job["process"].kill()
                job["process"].wait()
                stopped = True
            if code == 0 and job.pop("count", False):
                self.start_counting(job)
                continue
            del self.running[slot]
            try:
                if stopped and "trained" in job:
                    self.finish(job, 0)  # trained, not counted
                elif stopped:
                    self.counts["stopped"] += 1
                    self.say(f"{job['item']['name']}: stopped, the seconds were over; nothing is recorded")
                else:
                    self.finish(job, code)
            finally:
                shutil.rmtree(job["folder"], ignore_errors=True)
                job["errors"].unlink(missing_ok=True)

    def start_counting(self, job):
        """The job's second process. What it cannot count is modelled by the tables."""
        job["trained"] = time.monotonic()
        with open(job["errors"].with_suffix(".decisions"), "wb") as stream:
            job["process"] = subprocess.Popen(
                decisions.command(job["folder"], self.options.data),
                cwd=rows.ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.DEVNULL,
                env=job["environment"],
            )

    def finish(self, job, code):
        item, row = job["item"], job["row"]
        wall = job.get("trained", time.monotonic()) - job["begun"]
        counted = job["errors"].with_suffix(".decisions")
        opened = decisions.read_output(counted.read_text()) if counted.exists() else None
        if "trained" in job:
            counted.unlink(missing_ok=True)
            code = 0
        summary = results.summary_of_run(job["folder"])
        status = results.status_of(summary, code)
        words = [str(w) for w in command("grove-train", item, self.base, row, "DATA", "OUTPUT")]
        training = (
            summary["tokens"] / summary["tokens_per_second"]
            if summary["tokens"] and summary["tokens_per_second"]
            else wall
        )
        result = {
            "name": item["name"],
            **{k: item[k] for k in ("row", "base", "rate", "seed")},
            "status": status,
            "family": rows.family(item["row"], rows.model_options(self.base, row)),
            "about": row.get("about", ""),
            "command": shlex.join(words),
            "version": self.version,
            "commit": self.commit,
            "row_options": {k: v for k, v in row.items() if k != "about"},
            "concurrent": self.options.jobs,
            "wall_seconds": round(wall, 2),
            "overhead_seconds": round(max(0.0, wall - training), 2),
            **summary,
        }
        if opened:
            result["decisions"] = opened
        if status != "ok":
            result["exit_code"] = code
            result["error"] = last_words(job["errors"]) or f"validation loss {summary['validation_loss']}"
        results.write_json(self.output / f"{item['name']}.json", result)
        self.counts[status] += 1
        if status == "ok":
            self.estimates.add(result)
            self.keep_model(item, job["folder"])
        self.say(line_of(result) + f", {max(0, self.left()):.0f} s left")

    def keep_model(self, item, folder):
        names = self.options.keep_rows.split(",") if self.options.keep_rows else [item["row"]]
        if self.keep is None or item["row"] not in names:
            return
        target = self.keep / item["name"]
        target.mkdir(parents=True, exist_ok=True)
        for name in MODEL_FILES:
            if (folder / name).exists():
                shutil.copyfile(folder / name, target / name)

    def tell_rest(self, waiting):
        told = ", ".join(f"{count} {word}" for word, count in self.counts.items() if count)
        self.say(f"{told or 'nothing run'}; {len(waiting)} not started")
        if waiting:
            self.say("not started: " + " ".join(item["name"] for item in waiting))
        lacking = {rows.load_row(item["row"]).get("teacher") for item in waiting} - {None}
        if lacking:
            self.say(
                f"rows that are taught need --keep-models with the model of {', '.join(sorted(lacking))} of their seed"
            )


def line_of(result):
    words = f"{result['name']}: "
    if result["status"] != "ok":
        return words + f"{result['status']} ({result['error'] or 'no word on stderr'})"
    speed = result["tokens_per_second"]
    words += f"loss {result['validation_loss']:.4f}, {result['wall_seconds']:.0f} s"
    return words + (f", {speed / 1e6:.3f} M tokens/s" if speed else "")


def last_words(path):
    try:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1][-400:] if lines else ""


def program_version(program):
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=120, cwd=rows.ROOT)
    except (OSError, subprocess.SubprocessError) as error:
        raise StudyError(f"{program} cannot be run: {error}") from None
    return done.stdout.strip()


def commit_of_tree():
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=rows.ROOT)
    except OSError:
        return None
    return done.stdout.strip() or None
