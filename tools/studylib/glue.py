# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""GLUE of kept models: every task at the same rates for all, several seeds, one result file a model, task and rate.

A task's score is the median of its seeds at the rate where that median is highest, for every model alike; a model counts by the pooler with
the higher average; a row's averages are over tasks and then over its models of different seeds. They are shown as shares of the dense twin's.
"""

import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import time

from studylib import results, rows
from studylib.rows import StudyError

# Epochs and batch of each complete task of docs/finetune.md.
TASKS = {"SST-2": (3, 32), "CoLA": (5, 32), "STS-B": (5, 32), "MRPC": (5, 16), "RTE": (5, 16)}
FOLDER = "glue"  # below the results of the study


def plan(options):
    """Items in order: a task of all models at all rates before the next task."""
    models = sorted(path.parent for path in pathlib.Path(options.models).glob("*/config.json"))
    wanted = options.names.split(",") if options.names else [model.name for model in models]
    missing = sorted(set(wanted) - {model.name for model in models}) if models else ["directory"]
    if missing:
        names = ", ".join(missing)
        raise StudyError(f"{options.models} holds no model {names}; make some with study.py run --keep-models")
    for task in options.tasks:
        if task not in TASKS:
            raise StudyError(f"{task} is none of {', '.join(TASKS)}")
    return [
        {"model": name, "task": task, "pooler": options.pooler, "rate": rate, "name": item_name(name, task, options.pooler, rate)}
        for task in options.tasks
        for rate in options.rates
        for name in wanted
    ]


def item_name(model, task, pooler, rate):
    """Results of the first token came first, and name no pooler."""
    return ".".join([model, task] + [pooler] * (pooler != "first") + [f"r{results.rate_text(rate)}"])


def command(options, item, model, output):
    epochs, batch = TASKS[item["task"]]
    words = [options.grove_train, "finetune", "--model", model, "--task", item["task"]]
    words += ["--data", pathlib.Path(options.glue) / item["task"], "--output", output, "--overwrite"]
    words += ["--seeds", options.seeds, "--epochs", epochs, "--batch", batch, "--learning-rate", f"{item['rate']:g}"]
    words += ["--pooler", item["pooler"]]
    return [str(word) for word in words + (["--device", options.device] if options.device else [])]


def measure(options):
    """`study.py glue`. True if nothing failed."""
    folder, work = pathlib.Path(options.results) / FOLDER, pathlib.Path(options.work)
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [item for item in plan(options) if not (folder / f"{item['name']}.json").exists()]
    print(f"{len(waiting)} runs to do, {options.gpus} x {options.jobs} at a time", flush=True)
    slots = [(gpu, job) for job in range(options.jobs) for gpu in range(options.gpus)]
    running, failed, deadline = {}, 0, time.monotonic() + options.seconds
    try:
        while (waiting and time.monotonic() < deadline) or running:
            for slot in slots:
                if slot not in running and waiting and time.monotonic() < deadline:
                    running[slot] = start(options, waiting.pop(0), slot, work)
            for slot, job in list(running.items()):
                if job["process"].poll() is None and time.monotonic() < deadline:
                    continue
                failed += not finish(job, folder)
                del running[slot]
            time.sleep(0.2)
    finally:
        for job in running.values():
            job["process"].kill()
    if waiting:
        print(f"{len(waiting)} not started", flush=True)
    return failed == 0


def start(options, item, slot, work):
    output = work / item["name"]
    output.parent.mkdir(parents=True, exist_ok=True)
    words = command(options, item, pathlib.Path(options.models) / item["model"], output)
    environment = dict(os.environ, GROVE_PROGRESS="off")
    if options.gpus > 1:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot[0])
    errors = open(work / f"{item['name']}.stderr", "w+")  # noqa: SIM115  closed by finish()
    process = subprocess.Popen(words, cwd=rows.ROOT, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
    shown = command(options, item, "MODEL", "OUTPUT")
    shown[0], shown[shown.index("--data") + 1] = "grove-train", "DATA"
    job = {"item": item, "process": process, "output": output, "errors": errors, "shown": shown}
    return {**job, "begun": time.monotonic()}


def finish(job, folder):
    if job["process"].poll() is None:
        job["process"].kill()
    code, item = job["process"].wait(), job["item"]
    job["errors"].seek(0)
    told = job["errors"].read().strip().splitlines()
    job["errors"].close()
    os.unlink(job["errors"].name)
    card = job["output"] / "training.json"
    if code == 0 and card.exists():
        told_by = rows.read_json(card)
        kept = {key: told_by[key] for key in ("score", "metrics", "scores", "seeds", "device") if key in told_by}
        kept = {**item, "command": shlex.join(job["shown"]), **kept}
        results.write_json(folder / f"{item['name']}.json", kept)
        print(f"{item['name']}: {100 * kept['score']:.1f}, {time.monotonic() - job['begun']:.0f} s", flush=True)
    else:
        print(f"{item['name']}: failed ({told[-1] if told else 'no word on stderr'})", flush=True)
    shutil.rmtree(job["output"], ignore_errors=True)
    return code == 0


def scores(folder):
    """{(model, pooler): {task: (score, rate)}}, each at the rate of its highest median."""
    best = {}
    for path in sorted((pathlib.Path(folder) / FOLDER).glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        tasks = best.setdefault((result["model"], result.get("pooler", "first")), {})
        if result["task"] not in tasks or result["score"] > tasks[result["task"]][0]:
            tasks[result["task"]] = (result["score"], result["rate"])
    return best


def averages(folder, found):
    """{row: {"with_cola", "without_cola"}} for results `found` of one setup; rows with a model that has every task."""
    whole, by_row = {}, {}
    for (model, _), tasks in scores(folder).items():
        if set(TASKS) <= set(tasks):
            whole.setdefault(model, []).append({task: tasks[task][0] for task in TASKS})
    for result in found:
        if result["name"] in whole:
            by_row.setdefault(result["row"], []).append(max(whole[result["name"]], key=lambda tasks: sum(tasks.values())))
    mean = lambda models, names: statistics.fmean(statistics.fmean(m[n] for n in names) for m in models)  # noqa: E731
    return {
        row: {"with_cola": mean(models, TASKS), "without_cola": mean(models, [t for t in TASKS if t != "CoLA"])}
        for row, models in by_row.items()
    }


def table_lines(folder):
    """A line a model and pooler: its scores x 100 and the rate of each."""
    lines = []
    for (model, pooler), tasks in scores(folder).items():
        cells = [f"{100 * tasks[t][0]:.1f} ({results.rate_text(tasks[t][1])})" if t in tasks else "–" for t in TASKS]
        lines.append([f"`{model}`", pooler, *cells])
    return lines
