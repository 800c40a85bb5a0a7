# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""One small JSON file a run, made from what grove-train leaves behind: bench/results/study/ROW.RATE.SEED.json."""

import json
import math
import os
import pathlib
import statistics

from studylib.rows import StudyError, read_json

CURVE_POINTS = 100
# Options that say where a run was, not what it was.
PLACES = ("about", "data", "output", "start_from", "teacher", "student", "model", "text")


def rate_text(rate):
    """0.001 -> "1e-3"."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def result_name(item):
    """File name without ".json"; `item`: row, base, seed, rate, steps (None: the base's)."""
    words = [item["row"], "r" + rate_text(item["rate"]), f"s{item['seed']}"]
    if item["steps"]:
        words.append(f"{item['steps']}steps")
    if item["base"] != "base":
        words.insert(0, item["base"])
    return ".".join(words)


def read_log(path):
    """The lines of log.jsonl; a half-written last one is left out."""
    lines = []
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError:
        return lines
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def thinned(points, most=CURVE_POINTS):
    """At most `most` of the points, evenly, the last among them."""
    if len(points) <= most:
        return points
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def rounded(value, digits=5):
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return value


def routing_summary(line):
    """The last report on routing: sums of units over layers and levels, entropies by layer and level."""
    layers = [layer for layer in line.get("layers", []) if isinstance(layer, dict)]
    total = {
        key: sum(sum(v for v in layer.get(key, []) if v is not None) for layer in layers)
        for key in ("units", "dead", "unvisited", "fragmented")
    }
    last = lambda key: [rounded(layer[key][-1], 4) for layer in layers if layer.get(key)]  # noqa: E731
    return {
        "step": line.get("step"),
        **total,
        "usage_entropy_last_level": last("usage_entropy"),
        "effective_batch_last_level": last("effective_batch"),
        "decision_entropy": [rounded(layer["entropy"], 3) for layer in layers if layer.get("entropy")],
    }


def steps_summary(log):
    steps = [line for line in log if line.get("event") == "step"]
    speeds = [line["tokens_per_second"] for line in steps[1:] or steps if line.get("tokens_per_second")]
    return {
        "tokens_per_second": rounded(statistics.median(speeds)) if speeds else None,
        "training_curve": [[line["step"], rounded(line.get("loss"))] for line in thinned(steps)],
        "largest_gradient_norm": rounded(max((line.get("gradient_norm") or 0 for line in steps), default=None), 4),
    }


def summary_of_run(folder):
    """What a run of pretrain, distil or convert left in `folder`."""
    log = read_log(pathlib.Path(folder) / "log.jsonl")
    start = next((line for line in log if line.get("event") == "start"), {})
    end = next((line for line in reversed(log) if line.get("event") == "end"), {})
    routing = next((line for line in reversed(log) if line.get("event") == "routing"), None)
    last = next((line for line in reversed(log) if "tokens" in line), {})
    summary = {
        "device": start.get("device"),
        "feed_forward": start.get("feed_forward"),
        "parameters": start.get("parameters"),
        "data": start.get("data"),
        "options": {k: v for k, v in start.get("options", {}).items() if k not in PLACES},
        "steps": last.get("step"),
        "tokens": last.get("tokens"),
        "seconds": rounded(last.get("seconds")),
        "validation_loss": end.get("validation_loss"),
        "validation_curve": [
            [line["step"], rounded(line.get("loss"), 6)] for line in log if line.get("event") == "validation"
        ],
        **steps_summary(log),
    }
    if routing:
        summary["routing"] = routing_summary(routing)
    for name in ("conversion.json", "training.json"):
        add_report(summary, pathlib.Path(folder) / name)
    return summary


def add_report(summary, path):
    """conversion.json of convert; training.json's word on the teacher of distil."""
    if not path.exists():
        return
    report = read_json(path)
    if path.name == "conversion.json":
        healed = report.get("healed") or report.get("converted") or {}
        summary.update(
            validation_loss=healed.get("loss"),
            feed_forward=report.get("feed_forward"),
            device=report.get("device"),
            conversion={k: report.get(k) for k in ("converted", "healed")},
            options={k: v for k, v in report.get("options", {}).items() if k not in PLACES},
        )
    elif "teacher" in report:
        summary["teacher_report"] = report["teacher"]


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def status_of(summary, exit_code):
    """ "ok", "failed" or "diverged"."""
    loss = summary.get("validation_loss")
    if exit_code == 0 and is_number(loss):
        unigram = (summary.get("data") or {}).get("unigram_entropy")
        return "diverged" if is_number(unigram) and loss > unigram else "ok"
    curve = [value for _, value in summary.get("training_curve", [])]
    return "diverged" if exit_code == 0 or (curve and curve[-1] is None) else "failed"


def write_json(path, value):
    """In one piece: a reader never sees half a file."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=None, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def load_results(folder):
    """All results below `folder`, in order of their names."""
    results = []
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        value = read_json(path)
        if "row" not in value:
            continue  # cpu.json
        for key in ("base", "seed", "rate", "status"):
            if key not in value:
                raise StudyError(f'{path} lacks "{key}"; run the row again')
        results.append(value)
    return results
