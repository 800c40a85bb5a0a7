#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""grove's encoders beside PyTorch, ONNX Runtime, OpenVINO and CTranslate2: same weights, token ids, lengths and threads,
outputs compared, sides taken in turns in one run, medians. Writes a Markdown table.

    bench/peers/setup.sh
    bench/peers/.venv/bin/python bench/peers/compare.py --grove build/release/cli/grove --output bench/results/x.md

A side that is not there or cannot do the precision is named with its reason."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy
from safetensors.numpy import save_file

import models
import rivals

HERE = pathlib.Path(__file__).resolve().parent
# Largest difference from fp32 PyTorch at real tokens that counts as the same output; values have deviation 1.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "int8": 0.5}
PAUSE = 0.05  # between sides: threads of the last one may still spin


def batch_of(sequences, length, ragged, vocabulary):
    generator = numpy.random.default_rng(5)
    ids = generator.integers(5, vocabulary, (sequences, length), dtype=numpy.int64)
    lengths = numpy.linspace(8, length, sequences).astype(int) if ragged else numpy.full(sequences, length)
    mask = (numpy.arange(length)[None, :] < lengths[:, None]).astype(numpy.int64)
    return ids * mask, mask


class Side:
    def __init__(self, name, make):
        self.name, self.times, self.error, self.note = name, [], None, ""
        try:
            self.runner = make()
        except Exception as problem:  # a rival's own error is a row of the table
            self.runner, self.note = None, " ".join(str(problem).split())[:160]

    def compare(self, expected, mask):
        if self.runner is None or expected is None:
            return
        difference = numpy.abs(self.runner.hidden() - expected)[mask.astype(bool)]
        self.error = float(difference.max()) if numpy.isfinite(difference).all() else float("inf")


def make_sides(args, folders, ids, mask, precision, inputs):
    sides = []
    for kind in args.kinds:
        output = str(args.work / f"{kind}.out.safetensors")
        sides.append(Side(f"grove {kind}", lambda kind=kind, output=output: rivals.Grove(
            args.grove, str(folders[kind]), str(inputs), output, args.threads, precision)))
    for name in args.rivals:
        sides.append(Side(name, lambda name=name: rivals.RIVALS[name](str(folders["dense"]), ids, mask, args.threads,
                                                                     precision)))
    return sides


def take_turns(sides, seconds, rounds):
    running = [side for side in sides if side.runner is not None]
    slowest = max(side.runner.seconds() for side in running)
    for _ in range(int(min(max(seconds / slowest, rounds), 200))):
        for side in running:
            time.sleep(PAUSE)
            side.times.append(side.runner.seconds())


def measure(args, folders, sequences, ragged, precision):
    ids, mask = batch_of(sequences, args.length, ragged, args.vocabulary)
    inputs = args.work / "batch.safetensors"
    save_file({"input_ids": ids, "attention_mask": mask}, inputs)
    expected = None
    if "PyTorch" in args.rivals:
        reference = rivals.Torch(str(folders["dense"]), ids, mask, args.threads, "fp32")
        expected = reference.hidden()
        del reference
    sides = make_sides(args, folders, ids, mask, precision, inputs)
    for side in sides:
        dense = not side.name.startswith("grove ") or side.name == "grove dense"
        side.compare(expected if dense else None, mask)
    take_turns(sides, args.seconds, args.rounds)
    for side in sides:
        if side.runner is not None:
            side.runner.close()
    return rows_of(args, sides, int(mask.sum()), sequences, ragged, precision)


def rows_of(args, sides, tokens, sequences, ragged, precision):
    median = {side.name: statistics.median(side.times) for side in sides if side.times}
    best = min((median[name] for name in args.rivals if name in median), default=None)
    rows = []
    for side in sides:
        row = {"side": side.name, "precision": precision, "batch": sequences, "ragged": ragged, "tokens": tokens,
               "error": side.error, "note": side.note}
        if side.times:
            times = sorted(side.times)
            row.update(ms=median[side.name] * 1e3, low_ms=times[len(times) // 10] * 1e3,
                       high_ms=times[-1 - len(times) // 10] * 1e3, rounds=len(times),
                       tokens_per_second=tokens / median[side.name],
                       over_grove_dense=median.get("grove dense", float("nan")) / median[side.name],
                       over_best_rival=best / median[side.name] if best else None)
            if side.error is not None and not side.error <= TOLERANCE[precision]:
                row["note"] = f"OUTPUT DIFFERS by {side.error:.2g}: its time means nothing"
        rows.append(row)
    return rows


def table(rows):
    lines = ["| side | ms | 10-90 % | tokens/s | over grove dense | over the best rival | largest difference |",
             "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        if "ms" not in row:
            lines.append(f"| {row['side']} | not run: {row['note']} | | | | | |")
            continue
        rival = f"{row['over_best_rival']:.2f}x" if row["over_best_rival"] else ""
        error = row["note"] or ("" if row["error"] is None else f"{row['error']:.1e}")
        lines.append(f"| {row['side']} | {row['ms']:.1f} | {row['low_ms']:.1f}-{row['high_ms']:.1f} | "
                     f"{row['tokens_per_second']:.0f} | {row['over_grove_dense']:.2f}x | {rival} | {error} |")
    return "\n".join(lines)


def machine(args):
    text = pathlib.Path("/proc/cpuinfo").read_text()
    cpu = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    info = json.loads(subprocess.run([args.grove, "info", "--json"], capture_output=True, text=True, check=True).stdout)
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return f"{cpu}, {args.threads} threads, target {info['targets']['active']}, commit {commit.stdout.strip() or 'unknown'}"


def versions():
    import importlib.metadata
    found = []
    for package in ("torch", "transformers", "onnxruntime", "openvino", "nncf", "ctranslate2"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def report(args, all_rows):
    shape = f"{args.layers} layers, width {args.width}, vocabulary {args.vocabulary}, length {args.length}"
    text = ["# Whole encoders: grove beside other systems", "",
            f"Command: `bench/peers/compare.py {' '.join(sys.argv[1:])}`, {time.strftime('%Y-%m-%d')}.",
            f"Machine: {machine(args)}. Rivals: {versions()}.", "",
            f"BERT, {shape}, random weights, the same for all. Sides take turns in one run, medians; tokens without "
            "padding. Rivals run the dense model; grove's trees have 128 active neurons of 4,080 (16x7) and 4,096 (leaf "
            "tree: 128 leaves of 32, 4 paths). Outputs of dense sides are compared with fp32 PyTorch at real tokens."]
    for precision, sequences, ragged, rows in all_rows:
        lengths = f"lengths 8 to {args.length}" if ragged else f"length {args.length}"
        text += ["", f"## {precision}, batch {sequences}, {lengths}", "", table(rows)]
    return "\n".join(text) + "\n"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grove", required=True, help="path of the program")
    parser.add_argument("--output", help="Markdown file to write")
    parser.add_argument("--json", help="JSON file to write")
    parser.add_argument("--work", type=pathlib.Path, default=HERE / "work", help="folder for models and batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--ragged-batch", type=int, nargs="*", default=[32], help="batches of lengths from 8 on")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16", "int8"], default=["fp32", "bf16", "int8"])
    parser.add_argument("--kinds", nargs="+", default=list(models.FEED_FORWARDS), choices=list(models.FEED_FORWARDS))
    parser.add_argument("--rivals", nargs="*", default=list(rivals.RIVALS), choices=list(rivals.RIVALS))
    parser.add_argument("--seconds", type=float, default=10, help="for the slowest side of a table")
    parser.add_argument("--rounds", type=int, default=5, help="at least so many, however long they take")
    for name, value in (("layers", 12), ("width", 768), ("heads", 12), ("intermediate", 3072), ("vocabulary", 30522),
                        ("length", 128)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    if "dense" not in args.kinds:
        parser.error("--kinds must name dense: the others are measured by it")
    return args


def main():
    args = parse()
    shape = models.Shape(args.layers, args.width, args.heads, args.intermediate, args.vocabulary, max(args.length, 512))
    folders = {}
    for kind in args.kinds:
        folder = args.work / f"{kind}-{args.layers}x{args.width}x{args.heads}-{args.intermediate}-{args.vocabulary}"
        folders[kind] = folder if (folder / "vocab.txt").exists() else models.write(folder, kind, shape)
    all_rows = []
    for precision in args.precision:
        for ragged, batches in ((False, args.batch), (True, args.ragged_batch)):
            for sequences in batches:
                rows = measure(args, folders, sequences, ragged, precision)
                all_rows.append((precision, sequences, ragged, rows))
                print(f"\n{precision}, batch {sequences}{', ragged' if ragged else ''}\n{table(rows)}", flush=True)
    if args.output:
        pathlib.Path(args.output).write_text(report(args, all_rows))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps([row for *_, rows in all_rows for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
