#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The study of docs/study.md, from packed text to tables.

    study.py run --grove-train BIN --data PACKED --rows none,dense-1536 --seeds 1,2,3 --rates 1e-3   trains rows
    study.py list                        the rows: what a token costs in each, and what each is for
    study.py command ROW                 the one grove-train command of a row
    study.py tables                      bench/results/study/*.json -> docs/study.md, docs/study-frontier*.svg
    study.py cpu --grove BIN --grove-train BIN --data PACKED   each row's whole encoder on this CPU -> cpu.json
    study.py glue --grove-train BIN --glue DIR --models DIR   kept models fine-tuned for GLUE's tasks
    study.py check --grove-train BIN     every row is one that grove-train accepts
    study.py decisions --data PACKED MODEL   what the search for leaves opens, counted on held-out text
    study.py prefix --data PACKED --tokens 40e6 --output PART   the first documents of a packed text

Needs Python 3.9 or later and no package.
"""

import argparse
import os
import pathlib
import shlex
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from studylib import check, cpu, decisions, glue, packed, rows, runner, tables  # noqa: E402
from studylib.rows import StudyError  # noqa: E402

RESULTS = rows.ROOT / "bench/results/study"


def numbers(kind):
    def parse(text):
        try:
            return [kind(word) for word in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{text}" is no list of numbers like 1,2,3') from None

    return parse


def whole(text):
    """1000000 or 1e6."""
    value = float(text)
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is no whole number")
    return int(value)


def add_run(commands):
    run = commands.add_parser("run", help="train rows, one result file a run; what has a result is skipped")
    run.add_argument("--grove-train", required=True, metavar="BIN")
    run.add_argument("--data", required=True, metavar="DIR", help="packed text")
    run.add_argument("--rows", required=True, metavar="ROWS", help="a,b,c or @FILE with lines: ROW [RATES [SEEDS]]")
    run.add_argument("--seeds", type=numbers(int), default=[1], metavar="N,N")
    run.add_argument("--rates", type=numbers(float), default=[1e-3], metavar="X,X", help="peak learning rates")
    run.add_argument("--steps", type=int, help="another budget than the base's")
    run.add_argument("--base", default="base", metavar="NAME", help="configs/study/NAME.json (default: base)")
    run.add_argument("--output", default=RESULTS, metavar="DIR", help="result files (default: bench/results/study)")
    run.add_argument("--seconds", type=float, default=1e9, help="start no run that would end later; kill what does")
    run.add_argument("--jobs", type=int, default=1, help="runs at a time on each GPU")
    run.add_argument("--gpus", type=int, default=1, help="GPUs to spread the runs over")
    run.add_argument("--threads", type=int, help="CPU threads of each run")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"))
    run.add_argument("--work", default="/tmp/grove-study", metavar="DIR", help="folder for running models")
    run.add_argument("--keep-models", metavar="DIR", help="keep finished models here; teachers are looked for here")
    run.add_argument("--keep-rows", metavar="a,b", help="only those of these rows")
    run.add_argument(
        "--count-decisions",
        action="store_true",
        help="after training, count what searches for several leaves open (needs PyTorch in this Python)",
    )
    run.add_argument("--retry", action="store_true", help="run again what failed")
    run.add_argument("--commit", help="of the build (default: that of the working tree)")
    run.add_argument("--poll", type=float, default=0.2, help=argparse.SUPPRESS)


def add_cpu(commands):
    cpu = commands.add_parser("cpu", help="time the whole encoder of each row on this machine's CPU")
    cpu.add_argument("--grove", required=True, metavar="BIN")
    cpu.add_argument("--grove-train", required=True, metavar="BIN", help="makes a model of each row's shape")
    cpu.add_argument("--data", required=True, metavar="DIR", help="packed text, for the one step such a model takes")
    cpu.add_argument("--rows", metavar="a,b", help="only these (default: rows with results)")
    cpu.add_argument("--base", default="base", metavar="NAME", help="shape of configs/study/NAME.json (default: base)")
    cpu.add_argument("--layers", type=int, metavar="N", help="measure N layers and scale: a step of all takes much memory")
    cpu.add_argument("--batch", type=int, default=8, help="sequences in a batch (default: 8)")
    cpu.add_argument("--threads", type=int, default=1, help="default: 1")
    cpu.add_argument("--seconds", type=float, default=2.0, help="for each of a run's three models (default: 2)")
    cpu.add_argument("--work", default="/tmp/grove-study-cpu", metavar="DIR", help="folder for the models")
    cpu.add_argument("--results", default=RESULTS, metavar="DIR", help="where cpu.json or cpu-width-N.json goes (default: bench/results/study)")


def add_glue(commands):
    fine = commands.add_parser("glue", help="fine-tune kept models for GLUE tasks, one result file a model, task and rate")
    fine.add_argument("--grove-train", required=True, metavar="BIN")
    fine.add_argument("--glue", required=True, metavar="DIR", help="GLUE's root, one folder a task")
    fine.add_argument("--models", required=True, metavar="DIR", help="the --keep-models of study.py run")
    fine.add_argument("--names", metavar="a,b", help="only these of its folders")
    fine.add_argument("--tasks", type=lambda text: text.split(","), default=list(glue.TASKS), metavar="T,T")
    fine.add_argument("--rates", type=numbers(float), default=[1e-4, 3e-4, 1e-3], metavar="X,X")
    fine.add_argument("--pooler", choices=("first", "mean"), default="mean", help="default: mean of the tokens")
    fine.add_argument("--seeds", type=int, default=3, help="fine-tunings of each; their median counts (default: 3)")
    fine.add_argument("--gpus", type=int, default=1, help="GPUs to spread the runs over")
    fine.add_argument("--jobs", type=int, default=1, help="runs at a time on each GPU")
    fine.add_argument("--device", choices=("auto", "cpu", "cuda"))
    fine.add_argument("--seconds", type=float, default=1e9, help="stop then: what runs is killed and not recorded")
    fine.add_argument("--work", default="/tmp/grove-study-glue", metavar="DIR", help="folder for fine-tuned models")
    fine.add_argument("--results", default=RESULTS, metavar="DIR", help="default: bench/results/study")


def do_glue(options):
    for name in ("grove_train", "glue", "models", "work", "results"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return 0 if glue.measure(options) else 1


def do_cpu(options):
    for name in ("grove", "grove_train", "data", "work"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return cpu.measure(options)


def do_run(options):
    for name in ("grove_train", "data", "output", "work", "keep_models"):
        value = getattr(options, name)
        if value is not None:
            setattr(options, name, os.path.abspath(value))
    specs = runner.read_specs(options.rows)
    items = runner.plan(specs, options.base, options.rates, options.seeds, options.steps)
    done = runner.Runner(options, say=lambda line: print(line, flush=True)).run(items)
    return 0 if done else 1


def do_list(_):
    base = rows.load_base()
    print(f"{'row':32} {'active':>7} {'routing':>7} {'stored':>7}  what")
    for name in rows.row_names():
        row = rows.load_row(name)
        cost = rows.cost(rows.model_options(base, row))
        print(f"{name:32} {cost['active']:7.0f} {cost['routing']:7.0f} {cost['stored']:7.0f}  {row.get('about', '')}")
    print(
        "\nA layer's mean. Active: neurons and products of routing of one token; where a leaf tree searches for several paths,\n"
        "decisions are counted as paths x depth (docs/study.md)."
    )
    return 0


def do_command(options):
    item = {"row": options.row, "base": options.base, "rate": options.rate, "seed": options.seed, "steps": None}
    words = runner.command(
        "grove-train", item, rows.load_base(options.base), rows.load_row(options.row), options.data, options.output
    )
    print(shlex.join(words))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add_run(commands)
    add_cpu(commands)
    add_glue(commands)
    commands.add_parser("list", help="rows and what a token costs in them")
    one = commands.add_parser("command", help="print the command of a row")
    one.add_argument("row")
    one.add_argument("--base", default="base")
    one.add_argument("--rate", type=float, default=1e-3)
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--data", default="packed")
    one.add_argument("--output", default="model")
    table = commands.add_parser("tables", help="write the tables and the plots of docs/study.md")
    table.add_argument("--results", default=RESULTS, metavar="DIR")
    table.add_argument("--page", default=rows.ROOT / "docs/study.md", metavar="FILE")
    table.add_argument("--plot", default=rows.ROOT / "docs/study-frontier.svg", metavar="FILE")
    sound = commands.add_parser("check", help="every row is one that grove-train accepts")
    sound.add_argument("--grove-train", required=True, metavar="BIN")
    sound.add_argument("--data", metavar="DIR", help="packed text: also take one small step of each row")
    sound.add_argument("--rows", metavar="a,b", help="only these")
    part = commands.add_parser("prefix", help="the first documents of a packed text, held-out text whole")
    part.add_argument("--data", required=True, metavar="DIR")
    part.add_argument("--tokens", type=whole, required=True, help="at most so many")
    part.add_argument("--output", required=True, metavar="DIR")
    part.add_argument("--shard-tokens", type=whole, default=1 << 25, help="tokens of a file (default: 32 Mi)")
    opened = commands.add_parser(
        "decisions", help="count the decisions that searches for several leaves open (needs PyTorch)"
    )
    opened.add_argument("models", nargs="+", metavar="MODEL", help="model directories")
    opened.add_argument("--data", required=True, metavar="DIR", help="packed text; the held-out side is read")
    opened.add_argument("--sequences", type=int, default=64, help="held-out sequences, at most (default: 64)")
    opened.add_argument("--results", metavar="DIR", help="also write them into the result files of the models' names")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # running children are ended on the way out
    verbs = {
        "run": do_run,
        "list": do_list,
        "command": do_command,
        "cpu": do_cpu,
        "glue": do_glue,
        "tables": tables.write,
        "check": check.check,
        "prefix": packed.prefix,
        "decisions": decisions.run,
    }
    try:
        return verbs[options.command](options)
    except StudyError as error:
        print(f"study.py {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
