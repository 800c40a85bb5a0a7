# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Runs the programs under test. Their paths come from the environment: GROVE, GROVE_TRAIN (empty: not built)."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

SKIPPED = 77  # what ctest takes for a skip
ROOT = pathlib.Path(__file__).resolve().parent.parent


def path_of(variable):
    path = os.environ.get(variable, "")
    return path if path and os.path.exists(path) else None


def venv_python():
    """A Python with packages to compare us with: GROVE_PYTHON, or that of `make venv`; None without."""
    path = os.environ.get("GROVE_PYTHON") or pathlib.Path(__file__).parent.parent / ".venv/bin/python"
    return path if os.path.exists(path) else None


class ProgramTest(unittest.TestCase):
    """A test with an own folder, from which the program is run."""

    program = "GROVE"

    def setUp(self):
        self.executable = path_of(self.program)
        if self.executable is None:
            self.skipTest(f"{self.program} is not built")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def run_program(self, *arguments, stdin="", **environment):
        raw = stdin if isinstance(stdin, bytes) else stdin.encode()
        clean = {k: v for k, v in os.environ.items() if k not in ("GROVE_TARGET", "GROVE_PROGRESS")}
        done = subprocess.run([self.executable, *map(os.fspath, arguments)], input=raw, capture_output=True,
                              cwd=self.folder, env={**clean, **environment}, timeout=300)
        done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return done

    def succeed(self, *arguments, **options):
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def succeed_json(self, *arguments, **options):
        return json.loads(self.succeed(*arguments, "--json", **options))

    def refuse(self, *arguments, code=1, names=(), **options):
        """Expects the exit code, nothing on stdout, one sentence on stderr with `names` in it, and no new file."""
        before = sorted(self.folder.rglob("*"))
        done = self.run_program(*arguments, **options)
        told = f"{' '.join(map(str, arguments))}: exit code {done.returncode}, stderr {done.stderr!r}"
        self.assertEqual(done.returncode, code, told)
        self.assertEqual(done.stdout, "", told)
        self.assertEqual(done.stderr.count("\n"), 1, told)
        self.assertTrue(done.stderr.endswith("\n"), told)
        self.assertTrue(done.stderr.startswith("grove"), told)
        self.assertLess(len(done.stderr), 600, told)
        for name in names:
            self.assertIn(name, done.stderr, told)
        self.assertEqual(sorted(self.folder.rglob("*")), before, told)
        return done.stderr


def main():
    result = unittest.main(module="__main__", exit=False, verbosity=1).result
    if not result.wasSuccessful():
        raise SystemExit(1)
    if result.testsRun > 0 and len(result.skipped) == result.testsRun:
        print("skipped:", result.skipped[0][1])
        raise SystemExit(SKIPPED)
