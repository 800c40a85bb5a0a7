# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove` needs no LibTorch: neither its own dynamic section names it nor that of any library it loads."""

import re
import shutil
import subprocess
import unittest

import program

FORBIDDEN = re.compile(r"lib(torch|c10|caffe2)", re.IGNORECASE)


class Link(unittest.TestCase):
    def setUp(self):
        self.grove = program.path_of("GROVE")
        if self.grove is None:
            self.skipTest("grove is not built")

    def output_of(self, tool, *arguments):
        if shutil.which(tool) is None:
            self.skipTest(f"{tool} is not installed")
        return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout

    def test_own_dynamic_section(self):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", self.output_of("readelf", "--dynamic", "--wide", self.grove))
        self.assertTrue(any(name.startswith("libc.so") for name in needed), needed)
        self.assertEqual([name for name in needed if FORBIDDEN.search(name)], [])

    def test_everything_it_loads(self):
        loaded = self.output_of("ldd", self.grove).split("\n")
        self.assertTrue(any("libc.so" in line for line in loaded), loaded)
        self.assertEqual([line for line in loaded if FORBIDDEN.search(line) or "not found" in line], [])


if __name__ == "__main__":
    program.main()
