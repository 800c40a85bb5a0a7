# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Is every row one that grove-train accepts? Keys are compared with its --help; shapes it judges itself."""

import re
import subprocess

from studylib import rows, runner
from studylib.rows import StudyError

# One small step of a row: shapes of the feedforward layers as they are, all else tiny.
TINY = [
    "--width",
    "32",
    "--heads",
    "2",
    "--length",
    "16",
    "--batch",
    "2",
    "--micro-batch",
    "2",
    "--validation-sequences",
    "2",
    "--steps",
    "1",
    "--dry-run",
    "--device",
    "cpu",
    "--threads",
    "1",
]


def known_options(program, verb):
    done = subprocess.run([program, verb, "--help"], capture_output=True, text=True, timeout=120, cwd=rows.ROOT)
    if done.returncode != 0:
        raise StudyError(f"{program} {verb} --help fails: {done.stderr.strip()}")
    return {name.replace("-", "_") for name in re.findall(r"^  --([a-z0-9-]+)", done.stdout, re.M)}


def wrong_keys(row, options):
    return sorted(set(rows.row_options(row)) - options)


def problem_of(program, name, row, base, data):
    """A sentence, or None."""
    item = {"row": name, "base": "base", "rate": 1e-3, "seed": 1, "steps": None}
    nowhere = "/nonexistent/packed"
    words = runner.command(program, item, base, row, data or nowhere, "/nonexistent/model")
    if rows.verb_of(row) == "pretrain" and data:
        words += TINY
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=rows.ROOT)
    told = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    if rows.verb_of(row) != "pretrain":  # a teacher is missing: options and flags were read before it is looked for
        return None if re.search(r"MODEL|TEACHER|/nonexistent", told) else told or "no word on stderr"
    if data:
        return None if done.returncode == 0 else told
    # Options and shape are judged before the data is opened.
    return None if nowhere in told else told or "no word on stderr"


def check(options):
    names = options.rows.split(",") if options.rows else rows.row_names()
    base = rows.load_base()
    verbs = {}
    problems = 0
    for name in names:
        row = rows.load_row(name)
        verb = rows.verb_of(row)
        if verb not in verbs:
            verbs[verb] = known_options(options.grove_train, verb)
        wrong = wrong_keys(row, verbs[verb])
        if wrong:
            told = f'the key "{wrong[0]}" is no option of grove-train {verb}'
        elif "teacher" in row and row["teacher"] not in rows.row_names():
            told = f"its teacher {row['teacher']} is no row"
        else:
            told = problem_of(options.grove_train, name, row, base, options.data)
        if told:
            problems += 1
            print(f"{name}: {told}")
    print(f"{len(names)} rows, {problems} of them wrong")
    return 1 if problems else 0
