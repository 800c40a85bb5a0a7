# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""bench/plot.py: pictures and tables of what `grove bench` measured."""

import json
import subprocess
import sys
import xml.etree.ElementTree

import program

PLOT = program.ROOT / "bench" / "plot.py"


class Plot(program.ProgramTest):
    def measure(self, name, *arguments):
        path = self.folder / name
        path.write_text(self.succeed(*arguments, "--seconds", "0.001", "--threads", "1", "--json"))
        return path

    def plot(self, *arguments, code=0):
        done = subprocess.run([sys.executable, str(PLOT), *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr if code else done.stdout

    def words_of(self, svg):
        root = xml.etree.ElementTree.parse(svg).getroot()
        self.assertTrue(root.tag.endswith("svg"))
        return ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]

    def test_layers_are_curves_with_labels(self):
        run = self.measure("sweep.json", "bench", "layer", "--width", "16", "--tokens", "1,4,20", "--forms")
        names = [layer["layer"] for layer in json.loads(run.read_text())["layers"]]
        table = self.plot(run, "--output", "sweep.svg", "--table")
        words = self.words_of(self.folder / "sweep.svg")
        for name in names:
            self.assertIn(name, words)
            self.assertIn(f"| {name} | ", table)
        self.assertIn("20", words)
        self.assertEqual((self.folder / "sweep.svg").read_text().count("<polyline"), len(names))

        self.plot(run, "--output", "some.svg", "--only", "1x11", "leaf tree")
        some = [name for name in names if "1x11" in name or "leaf tree" in name]
        self.assertEqual((self.folder / "some.svg").read_text().count("<polyline"), len(some))
        self.assertIn("no layer has fish", self.plot(run, "--only", "fish", code=1))

    def test_labels_do_not_cover_each_other(self):
        timing = [{"tokens": t, "us_per_token": 5.0} for t in (1, 16)]
        layers = [{"layer": f"layer {i}", "dense": i % 2 == 0, "timings": timing} for i in range(30)]
        run = {"precision": "fp32", "width": 8, "threads": 1, "target": "AVX2", "layers": layers}
        (self.folder / "same.json").write_text(json.dumps(run))
        self.plot("same.json", "--output", "same.svg")
        root = xml.etree.ElementTree.parse(self.folder / "same.svg").getroot()
        places = sorted(float(node.get("y")) for node in root.iter()
                        if node.tag.endswith("text") and node.text.startswith("layer "))
        self.assertEqual(len(places), 30)
        self.assertGreater(min(b - a for a, b in zip(places, places[1:])), 10)
        self.assertLess(places[-1], 600)
        self.assertGreater(places[0], 24)

    def test_encoders_are_groups_of_bars(self):
        bench = ("bench", "encoder", "--layers", "1", "--width", "16", "--heads", "2", "--length", "8")
        fp32 = self.measure("fp32.json", *bench, "--batch", "1,2")
        int8 = self.measure("int8.json", *bench, "--batch", "2", "--precision", "int8", "--ragged")
        table = self.plot(fp32, int8, "--output", "encoders.svg", "--table")
        for title in ("fp32, batch 1, length 8, 1 thread", "int8, batch 2, length 8 to 8, 1 thread"):
            self.assertIn(title, table)
            self.assertTrue(any(title in words for words in self.words_of(self.folder / "encoders.svg")))
        self.assertEqual((self.folder / "encoders.svg").read_text().count("<rect"), 1 + 3 * 4)

    def test_tables_of_rivals_are_groups_of_bars(self):
        rows = ("| side | ms | 10-90 % | tokens/s | over grove dense | over the best rival | largest difference |",
                "|---|--:|--:|--:|--:|--:|--:|",
                "| grove dense | 12.5 | 11.0-14.5 | 100 | 1.00x | 0.80x | 1e-6 |",
                "| grove leaf_tree | 5.0 | 4.0-6.0 | 250 | 2.50x | 2.00x |  |",
                "| One rival | 10.0 | 9.0-11.0 | 125 | 1.25x | 1.00x | 1e-6 |",
                "| Another | 1.0 | 1.0-1.0 | 1250 | 12.50x | 10.00x | OUTPUT DIFFERS by 9: its time means nothing |",
                "| Third | not run: no int8 | | | | | |")
        told = "\n".join(("# Title", "", "## fp32, batch 2, length 8", "", *rows, ""))
        (self.folder / "peers.md").write_text(told)
        self.plot("peers.md", "--output", "peers.svg")
        words = self.words_of(self.folder / "peers.svg")
        for wanted in ("fp32, batch 2, length 8", "grove leaf_tree", "5.00 ms, 2.00x", "One rival"):
            self.assertIn(wanted, words)
        self.assertNotIn("Another", words)  # what computes something else has no time
        self.assertNotIn("Third", words)
        self.assertEqual((self.folder / "peers.svg").read_text().count("<rect"), 1 + 3)
        (self.folder / "page.md").write_text("# Something else\n")
        self.assertIn("has no table of", self.plot("page.md", "--output", "page.svg", code=1))

    def test_what_is_no_measurement_is_refused(self):
        (self.folder / "other.json").write_text("[]")
        (self.folder / "broken.json").write_text("{")
        self.assertIn("is no output of", self.plot("other.json", code=1))
        self.assertIn("cannot read broken.json", self.plot("broken.json", code=1))
        self.assertIn("cannot read missing.json", self.plot("missing.json", code=1))


if __name__ == "__main__":
    program.main()
