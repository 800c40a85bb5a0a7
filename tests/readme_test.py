# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The commands that README.md, DEVELOPING.md and docs/ show exist: make targets, ./dev commands, verbs and options."""

import pathlib
import re
import shlex
import subprocess
import unittest

import program

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "DEVELOPING.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {"bench"}


def shown_commands():
    """(page, command line) of the indented and fenced blocks."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.M | re.S) + re.findall(r"^(?: {4}.*\n)+", text, re.M)
        for line in "\n".join(blocks).splitlines():
            line = re.sub(r"\s+#.*", "", line).strip().removeprefix("$ ")
            if line:
                yield page.name, line


class Commands(unittest.TestCase):
    def test_pages_have_commands(self):
        lines = [line for _, line in shown_commands()]
        self.assertIn("make demo", lines)
        self.assertIn("make test", lines)

    def test_make_targets_and_dev_commands(self):
        makefile, dev = (ROOT / "Makefile").read_text(), (ROOT / "dev").read_text()
        for page, line in shown_commands():
            words = line.split()
            if words[0] == "make":
                for target in (word for word in words[1:] if "=" not in word):
                    self.assertRegex(makefile, rf"(?m)^{target}:", f"{page}: {line}")
            if words[0] == "./dev" and len(words) > 1:
                self.assertIn(f"\ncmd_{words[1]}()", dev, f"{page}: {line}")

    def test_verbs_and_options(self):
        programs = {"grove": program.path_of("GROVE"), "grove-train": program.path_of("GROVE_TRAIN")}
        for page, line in shown_commands():
            words = shlex.split(line, posix=True)
            name = words[0].rsplit("/", 1)[-1]
            if programs.get(name) is None or len(words) < 2 or words[1].startswith("-"):
                continue
            verb = words[1:3] if words[1] in GROUPS else words[1:2]
            done = subprocess.run([programs[name], *verb, "--help"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{page}: {line}: {done.stderr}")
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line):
                self.assertIn(option, done.stdout, f"{page}: {line}")

    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")


if __name__ == "__main__":
    program.main()
