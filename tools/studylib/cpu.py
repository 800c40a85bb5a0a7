# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""What a token costs on a CPU: the whole encoder of each row, in the same process as none and the dense reference.

A row's model takes one training step and no more: its time hangs on its shape and on routers that spread, which fresh ones
do. Rows of the same model, such as taught ones, are measured once. Machines drift, so a row counts by its ratio to
the reference of its own run; microseconds are that ratio times the median of all runs' references.
"""

import datetime
import json
import pathlib
import platform
import shutil
import statistics
import subprocess

from studylib import results, rows, runner
from studylib.rows import StudyError

NOTHING = "none"
ONE_STEP = {"steps": 1, "batch": 2, "micro_batch": 2, "validate_every": 0, "validation_sequences": 2, "routing_every": 0, "log_every": 1}


def processor():
    try:
        names = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].split(":", 1)[1].strip() if names else platform.machine()


def ran(words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=rows.ROOT)
    if done.returncode != 0:
        raise StudyError(f"{' '.join(map(str, words[:3]))} fails: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    return done.stdout


def make_model(options, base, name, folder):
    """A model of the row's shape in `folder`, unless one stands there."""
    target = folder / name
    if (target / "model.safetensors").exists():
        return target
    shape = {**rows.model_options(base, rows.load_row(name)), **ONE_STEP}
    words = [options.grove_train, "pretrain", *rows.flags(shape), "--seed", 1, "--device", "cpu", "--overwrite"]
    ran([*words, "--data", options.data, "--output", target])
    return target


def timed(options, models):
    """Microseconds of a token in each of `models`."""
    words = [options.grove, "bench", "encoder", "--json", "--batch", options.batch, "--threads", options.threads]
    for model in models:
        words += ["--model", model]
    report = json.loads(ran([*words, "--seconds", options.seconds]))
    timings = [model["timings"][0] for model in report["models"]]
    return [1e6 * timing["median_seconds"] / timing["tokens"] for timing in timings], report


def chosen_rows(options, base):
    if options.rows:
        return options.rows.split(",")
    shape = runner.shape_of(base)
    found = [r for r in results.load_results(options.results) if r["status"] == "ok"]
    return sorted({r["row"] for r in found if runner.shape_of(rows.load_base(r["base"])) == shape})


def ratios_of_rows(options, base, names, reference):
    """Ratios to the reference by row, its own times, one bench report and the rows that could not be measured."""
    work = pathlib.Path(options.work)
    ends = [make_model(options, base, name, work) for name in (NOTHING, reference)]
    ratios, nothing, dense, measured, failed, report = {}, [], [], {}, [], {}
    for name in names:
        shape = rows.shape_text(base, rows.load_row(name))
        if name in (NOTHING, reference):
            continue
        if shape in measured:
            ratios[name] = ratios[measured[shape]]
            print(f"{name}: the model of {measured[shape]}", flush=True)
            continue
        try:
            model = make_model(options, base, name, work)
            (none, whole, own), report = timed(options, [*ends, model])
        except StudyError as error:
            failed.append(name)
            print(f"{name}: {error}", flush=True)
            continue
        shutil.rmtree(model)  # up to gigabytes each
        measured[shape], ratios[name] = name, own / whole
        dense.append(whole)
        nothing.append(none / whole)
        print(f"{name}: {own:.1f} us a token, {whole / own:.2f}x {reference} of the same run", flush=True)
    if not dense:
        raise StudyError(f"no row was measured besides {NOTHING} and {reference}")
    return {**ratios, NOTHING: statistics.median(nothing), reference: 1.0}, dense, report, failed


def measure(options):
    options.results, base = pathlib.Path(options.results), rows.load_base(options.base)
    layers = options.layers or base["layers"]
    ratios, dense, report, failed = ratios_of_rows(
        options, {**base, "layers": layers}, chosen_rows(options, base), rows.reference_of(base)
    )
    microseconds = statistics.median(dense) * base["layers"] / layers
    of_base = "" if options.base == "base" else f" --base {options.base}"
    of_base += f" --layers {layers}" if options.layers else ""
    part = f", {layers} of {base['layers']} layers measured" if options.layers else ""
    summary = {
        "about": f"whole encoder, {options.batch} x {base['length']} tokens, {options.threads} threads, fp32{part}; median of interleaved rounds",
        "command": f"tools/study.py cpu{of_base} --threads {options.threads} --batch {options.batch} --seconds {options.seconds:g}",
        "commit": runner.commit_of_tree(),
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "target": report.get("target"),
        "rows": {
            name: {"microseconds_per_token": round(ratio * microseconds, 2), "of_dense": round(ratio, 4)}
            for name, ratio in sorted(ratios.items())
        },
    }
    path = options.results / rows.cpu_file_of(base)
    results.write_json(path, summary)
    print(f"wrote {path}" + (f"; not measured: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0
