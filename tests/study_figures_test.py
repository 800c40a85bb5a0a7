# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""tools/study.py's figures: what a token costs, recovered shares, tables."""

import argparse
import contextlib
import heapq
import importlib.util
import io
import pathlib
import sys
import tempfile
import unittest

import program

sys.path.insert(0, str(program.ROOT / "tools"))
from studylib import analysis, decisions, results, rows, tables  # noqa: E402



def layer(**options):
    return rows.layer_list({"layers": 1, "width": 384, **options})[0]


def active(**options):
    return rows.cost({"layers": 1, "width": 384, **options})["active"]


class Counting(unittest.TestCase):
    def test_active_neurons_include_routing(self):
        self.assertEqual(active(feed_forward="none"), 0)
        self.assertEqual(active(feed_forward="dense", intermediate=64), 64)
        self.assertEqual(active(feed_forward="neuron_tree", trees=8, depth=7), 64)
        self.assertEqual(active(feed_forward="neuron_tree", trees=8, depth=7, routing="random"), 64 + 56)
        self.assertEqual(active(feed_forward="neuron_tree", trees=8, depth=7, routing="token_hash", always_on=5), 69)
        self.assertEqual(active(feed_forward="leaf_tree", depth=7, leaf_width=16, paths=1), 16 + 7)
        self.assertEqual(active(feed_forward="leaf_tree", trees=2, depth=7, leaf_width=16, paths=4), 2 * (64 + 28))
        self.assertEqual(
            active(feed_forward="leaf_tree", depth=2, leaf_width=16, paths=3),
            48 + 3,
            "no more decisions than there are",
        )
        self.assertEqual(active(feed_forward="moe", experts=128, expert_width=16, top_k=4), 64 + 128)
        # 2 heads of a query of 32; 2 x 2 x 64 scores of 16 / 384 of a neuron's length
        self.assertEqual(
            active(feed_forward="product_key", key_heads=2, sub_keys=64, key_width=32, top_k=58), 116 + 64 + 11
        )

    def test_counted_decisions_replace_the_guess_only_where_a_search_is(self):
        tree = {"layers": 2, "width": 8, "feed_forward": "leaf_tree", "depth": 7, "leaf_width": 16}
        self.assertEqual(rows.cost({**tree, "paths": 4}, [20, 30])["routing"], 25)
        self.assertEqual(rows.cost({**tree, "paths": 1}, 20)["routing"], 7)
        self.assertTrue(rows.searches({**tree, "paths": 4}))
        self.assertFalse(rows.searches({**tree, "paths": 128}))

    def test_stored_neurons(self):
        self.assertEqual(rows.stored_neurons(layer(feed_forward="neuron_tree", trees=1, depth=10)), 2047)
        self.assertEqual(
            rows.stored_neurons(layer(feed_forward="leaf_tree", depth=8, leaf_width=64, always_on=3)), 16387
        )
        self.assertEqual(rows.stored_neurons(layer(feed_forward="product_key", sub_keys=45)), 2025)

    def test_layers_that_differ_count_by_their_mean(self):
        cost = rows.cost(
            {
                "layers": 4,
                "width": 8,
                "feed_forward": "dense",
                "intermediate": 100,
                "layer_feed_forward": "0,2-3: feed_forward=none; 1: intermediate=40",
            }
        )
        self.assertEqual((cost["active"], cost["stored"]), (10, 10))
        with self.assertRaises(rows.StudyError):
            rows.cost({"layers": 2, "layer_feed_forward": "2: feed_forward=none"})

    def test_a_search_opens_more_where_decisions_are_open(self):
        hard = analysis.expected_decisions((0.01,) * 7, 4)
        middle = analysis.expected_decisions((0.4,) * 7, 4)
        open_ = analysis.expected_decisions((0.69,) * 7, 4)
        self.assertLess(hard, middle)
        self.assertLess(middle, open_)
        self.assertGreaterEqual(hard, 9, "the ways to four leaves of depth 7 have at least 6 + 3 decisions")
        self.assertLessEqual(open_, 127)


class Decisions(unittest.TestCase):
    @unittest.skipUnless(importlib.util.find_spec("torch"), "there is no PyTorch")
    def test_counted_as_the_search_opens_them(self):
        import torch

        depth, draw = 5, torch.Generator().manual_seed(1)
        turns = torch.rand(40, 2, 2**depth - 1, generator=draw)  # probability of right
        levels, log_p = [], torch.zeros(40, 2, 1)
        for level in range(depth + 1):
            levels.append(log_p)
            if level < depth:
                right = turns[..., 2**level - 1 : 2 ** (level + 1) - 1]
                log_p = torch.stack((log_p + (1 - right).log(), log_p + right.log()), -1).flatten(-2)
        for paths in (2, 3, 8):
            counts = decisions.opened(levels, paths)
            for token in range(40):
                for tree in range(2):
                    self.assertEqual(
                        counts[token, tree].item(),
                        self.search([level[token, tree].tolist() for level in levels], paths),
                    )

    @staticmethod
    def search(levels, paths):
        heap, found, opened = [(0.0, 0, 0)], 0, 0
        while found < paths:
            _, level, index = heapq.heappop(heap)
            if level == len(levels) - 1:
                found += 1
                continue
            opened += 1
            for child in (2 * index, 2 * index + 1):
                heapq.heappush(heap, (-levels[level + 1][child], level + 1, child))
        return opened


class Shares(unittest.TestCase):
    def test_recovered_share(self):
        self.assertAlmostEqual(analysis.recovered_share(4.0, 3.25, 3.0), 0.75)
        self.assertAlmostEqual(analysis.recovered_share(4.0, 4.1, 3.0), -0.1)
        self.assertIsNone(analysis.recovered_share(3.0, 3.1, 3.0))

    @staticmethod
    def result(row, seed, loss, rate=1e-3, status="ok", **more):
        value = {
            "row": row,
            "base": "base",
            "rate": rate,
            "seed": seed,
            "steps": 2000,
            "status": status,
            "validation_loss": loss,
            "family": row.split("-")[0],
            "row_options": rows.row_options(rows.load_row(row)),
            "data": {"train": {"tokens": 7}},
        }
        value["name"] = results.result_name({**value, "steps": None})
        return {**value, **more}

    def some(self):
        return [
            self.result("none", 1, 4.0),
            self.result("none", 2, 4.1),
            self.result("dense-1536", 1, 3.0),
            self.result("dense-1536", 2, 3.1),
            self.result("dense-64", 1, 3.5),
            self.result("dense-64", 2, 3.7),
            self.result("dense-64", 1, 3.4, rate=2e-3, status="diverged"),
            self.result("leaf-8x24-2p", 1, 3.3),
            self.result("leaf-8x24-2p", 1, 3.2, rate=2e-3),
            self.result("leaf-8x24-2p", 3, 3.0, rate=2e-3),
            self.result("leaf-7x16-4p", 1, 3.5),
            self.result("leaf-7x16-4p-lazy", 1, 3.45),
            self.result("moe-32x32-top1", 1, 3.4),
        ]

    def test_a_mixture_in_some_layers_is_a_mixture(self):
        row = "mix-moe-64x128-last-two"
        some = [*self.some(), self.result(row, 1, 3.1, row_options=rows.load_row(row))]
        ((_, setup),) = analysis.group_by_setup(some)
        line = tables.goal_line(tables.Page(setup, pathlib.Path("none")), "-", "b", 64, 0.8)
        self.assertIn("`leaf-8x24-2p`", line[2])
        self.assertIn(f"`{row}`", line[4])

    def test_taught_rows_have_goals_and_controls_of_their_own(self):
        tree, dense = "distil-mix-leaf-9x48-last-two-logits", "distil-dense-64"
        taught = [
            self.result(row, 1, loss, row_options=rows.row_options(rows.load_row(row)), **more)
            for row, loss, more in ((tree, 3.1, {"decisions": [None] * 4 + [20, 20]}), (dense, 3.4, {}))
        ]
        ((_, setup),) = analysis.group_by_setup([*self.some(), *taught])
        page = tables.Page(setup, pathlib.Path("none"))
        self.assertIn("`leaf-8x24-2p`", tables.goal_line(page, "-", "b", 64, 0.8)[2])
        line = tables.goal_line(page, "-", "b", 64, 0.8, taught=True)
        self.assertEqual(line[0], "(b) ≤ 64, taught: ≥ 80 %")
        self.assertIn(f"90.0 % `{tree}`", line[2])
        self.assertIn(f"60.0 % `{dense}`", line[3])
        self.assertIsNone(tables.goal_line(page, "-", "a", 192, 0.95, taught=True), "64 active say nothing of 192")

    def test_a_wider_base_has_a_wider_reference(self):
        wide = [
            self.result(row, 1, loss, base="large", steps=3000) for row, loss in (("none", 4.0), ("dense-3072", 3.0), ("dense-384", 3.5))
        ]
        ((_, setup),) = analysis.group_by_setup(wide)
        self.assertAlmostEqual(setup.recovered("dense-384")[1], 0.5)
        with tempfile.TemporaryDirectory() as folder:  # times are those of base.json's width
            results.write_json(pathlib.Path(folder) / "cpu.json", {"rows": {"dense-384": {"microseconds_per_token": 12.34}}})
            self.assertIsNone(tables.Page(setup, pathlib.Path(folder)).rows["dense-384"]["cpu"])

    def test_a_row_has_the_time_of_another_of_the_same_model(self):
        names = ["leaf-8x64-2p", "distil-leaf-8x64-2p", "leaf-7x16-4p"]
        setup = argparse.Namespace(base=rows.load_base(), row_names=lambda: names)
        timed = {"leaf-8x64-2p": {"microseconds_per_token": 2.0}, "a-row-of-old": {"microseconds_per_token": 3.0}}
        times = tables.cpu_times(setup, timed)
        self.assertEqual([times[name] for name in names], [2.0, 2.0, None])

    def test_seeds_are_compared_with_ends_of_the_same_seed(self):
        ((_, setup),) = analysis.group_by_setup(self.some())
        shares = setup.recovered("dense-64")
        self.assertAlmostEqual(shares[1], 0.5)
        self.assertAlmostEqual(shares[2], 0.4)
        self.assertEqual(setup.best_rate("leaf-8x24-2p"), 2e-3)
        self.assertEqual(list(setup.recovered("leaf-8x24-2p")), [1], "seed 3 has no ends to compare with")

    def test_rates_of_convert_are_of_healing(self):
        options = {**rows.load_row("convert-32x48-4p"), "verb": "convert"}
        converted = self.result("convert-32x48-4p", 1, 3.25, rate=5e-4, steps=500, row_options=options)
        ((_, setup),) = analysis.group_by_setup([*self.some(), converted])
        self.assertAlmostEqual(setup.recovered("convert-32x48-4p")[1], 0.75)

    def test_other_budgets_and_data_are_other_setups(self):
        other = self.result("none", 1, 3.9, steps=4000), self.result("none", 1, 3.8, data={"train": {"tokens": 9}})
        self.assertEqual(len(analysis.group_by_setup([*self.some(), *other])), 3)

    def test_setups_of_the_whole_text_lead_and_the_longest_first(self):
        text = {"data": {"train": {"tokens": 7}}}
        longer = [{**r, "base": "ship", "steps": 12000} for r in self.some()]
        part = [{**r, "data": {"train": {"tokens": 5}}} for r in self.some()]
        few = [self.result("none", 1, 3.9, steps=9000, **text), self.result("dense-1536", 1, 3.0, steps=9000, **text)]
        setups = analysis.group_by_setup([*self.some(), *longer, *part, *few])
        self.assertEqual(len(setups), 4)
        self.assertEqual([key[:2] for key, _ in tables.leading(setups)], [("ship", 12000), ("base", 2000)])
        parts, shown = tables.sections([*self.some(), *longer, *part, *few], pathlib.Path("none"))
        self.assertEqual(shown.setup.results[0]["base"], "ship")
        self.assertIn("| (b) ≤ 64: ≥ 80 % | 786 M tokens |", parts["goals"])
        self.assertEqual((parts["main"].count("`configs/study/"), parts["others"].count("`configs/study/")), (2, 2))

    def test_tables_stand_between_their_markers(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for result in [
                *self.some(),
                self.result("moe-16x48-top1", 1, None, status="failed", error="out of | memory"),
            ]:
                results.write_json(folder / "r" / f"{result['name']}.json", result)
            results.write_json(folder / "r/cpu.json", {"rows": {"dense-64": {"microseconds_per_token": 12.34}}})
            page = folder / "page.md"
            page.write_text((program.ROOT / "docs/study.md").read_text())
            options = argparse.Namespace(results=folder / "r", page=page, plot=folder / "plot.svg")
            for _ in range(2):  # a second time changes nothing
                with contextlib.redirect_stdout(io.StringIO()):
                    tables.write(options)
                text = page.read_text()
                self.assertIn("| `dense-64` | 64 | 64 | 1e-3 | 2 | 3.6000 ± 0.1414 | 45.0 % ± 7.1 | – | 12.3 |", text)
                self.assertIn("| `leaf-7x16-4p` | `-lazy` | 50.0 % | 55.0 % | +5.0 |", text)
                self.assertIn(
                    "| (b) ≤ 64: ≥ 80 % | 131 M tokens | 80.0 % `leaf-8x24-2p` | 45.0 % ± 7.1 `dense-64` | 60.0 % `moe-32x32-top1` | – | reached | +30.0 | +20.0 |",
                    text,
                )
                self.assertIn("| `moe-16x48-top1.r1e-3.s1` | failed | out of / memory |", text)
                self.assertEqual(text.count("study: main begin"), 1)
            svg = (folder / "plot.svg").read_text()
            self.assertIn("<title>dense-64: 45.0 % at 64</title>", svg)
            self.assertTrue((folder / "plot-cpu.svg").exists())

    def test_the_frontier_keeps_what_nothing_cheaper_reaches(self):
        points = [(10, 0.5, "a"), (20, 0.4, "b"), (20, 0.7, "c"), (30, 0.7, "d"), (40, 0.8, "e")]
        self.assertEqual([name for _, _, name in analysis.frontier(points)], ["a", "c", "e"])



if __name__ == "__main__":
    program.main()
