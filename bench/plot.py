#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""What `grove bench layer --json`, `grove bench encoder --json` or `bench/peers/compare.py --output` measured, as a picture (SVG) and
a Markdown table.

    grove bench layer --forms --no-dense --threads 1 --tokens 1,4,16,64,256,1024 --json > sweep.json
    bench/plot.py sweep.json --output sweep.svg --table
    grove bench encoder --threads 2 --json > fp32.json
    grove bench encoder --threads 2 --precision int8 --json > int8.json
    bench/plot.py fp32.json int8.json --output encoders.svg --table
    bench/plot.py bench/results/encoder-peers-zen4.md --output bench/results/encoder-peers-zen4.svg

Layers: time of a token against the tokens of a batch, a line for each, both axes logarithmic. Encoders: milliseconds of a
batch, a bar for each model or system, in groups of precision and batch. Plain Python, no package."""

import argparse
import json
import math
import pathlib
import re
import sys
from xml.sax.saxutils import escape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from studylib.plot import line, text, ticks_of  # noqa: E402

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 980, 66, 325, 46, 58
COLOURS = ("#762a83", "#1f6fb2", "#1b7837", "#b8860b", "#c2410c", "#d6408f", "#0e9c9c", "#5b6b1e")
GREYS = ("#222222", "#555555", "#7a7a7a", "#9a9a9a")
FORM = ", form: "  # rows of --forms: the name of the tree, then this
DASHES = ("7 4", "2 3", "9 3 2 3")
LABEL_STEP = 14


def page(height, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def machine(run):
    threads = run["threads"]
    return f"{threads} thread{'' if threads == 1 else 's'}, {run['target']}"


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


class Looks:
    """A colour for each layer, greys for dense ones; forms of a tree have its colour and are dashed."""

    def __init__(self):
        self.colours, self.forms, self.dense = {}, {}, 0

    def of(self, layer):
        if layer["dense"]:
            self.dense += 1
            return GREYS[(self.dense - 1) % len(GREYS)], ""
        tree, _, form = layer["layer"].partition(FORM)
        colour = self.colours.setdefault(tree, COLOURS[len(self.colours) % len(COLOURS)])
        return colour, DASHES[self.forms.setdefault(form, len(self.forms)) % len(DASHES)] if form else ""


class Lines:
    HEIGHT = 600

    def __init__(self, run, layers):
        self.run, self.layers = run, layers
        times = [t["us_per_token"] for layer in layers for t in layer["timings"]]
        tokens = [t["tokens"] for layer in layers for t in layer["timings"]]
        self.tokens, self.few, self.many = sorted(set(tokens)), min(tokens) / 1.15, max(tokens) * 1.15
        self.low, self.high = min(times) / 1.2, max(times) * 1.2
        self.parts = []

    def x(self, tokens):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(tokens / self.few) / math.log(self.many / self.few)

    def y(self, us):
        return self.HEIGHT - BOTTOM - (self.HEIGHT - TOP - BOTTOM) * math.log(us / self.low) / math.log(
            self.high / self.low
        )

    def axes(self):
        right, foot = WIDTH - RIGHT, self.HEIGHT - BOTTOM
        title = f"Time of a token by tokens in a batch: {self.run['precision']}, width {self.run['width']}, {machine(self.run)}"
        self.parts.append(text(LEFT, 24, title, size=15, more='font-weight="600"'))
        last = -math.inf
        for tick in self.tokens:
            x = self.x(tick)
            self.parts.append(line(x, TOP, x, foot))
            if x - last > 9 * len(f"{tick}"):
                self.parts.append(text(x, foot + 18, f"{tick}", "middle"))
                last = x
        for tick in ticks_of(self.low, self.high):
            y = self.y(tick)
            self.parts += [line(LEFT, y, right, y), text(LEFT - 8, y + 4, f"{tick:g}", "end")]
        middle = (TOP + foot) / 2
        turned = f'transform="rotate(-90 16 {middle:.0f})"'
        self.parts += [
            text((LEFT + right) / 2, self.HEIGHT - 16, "tokens in a batch", "middle", 13),
            text(16, middle, "microseconds a token", "middle", 13, more=turned),
        ]

    def curves(self):
        """Returns what stands at the right end of each: (y of the end, name, colour)."""
        looks, ends = Looks(), []
        for layer in self.layers:
            colour, dash = looks.of(layer)
            points = [(self.x(t["tokens"]), self.y(t["us_per_token"]), t) for t in layer["timings"]]
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
            more = f'stroke-dasharray="{dash}"' if dash else ""
            self.parts.append(
                f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="{1.6 if dash else 2}" {more}/>'
            )
            for x, y, t in points:
                told = f"{layer['layer']}: {number(t['us_per_token'])} us a token at {t['tokens']}"
                mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 if dash else 3}" fill="{colour}"/>'
                self.parts.append(f"<g><title>{escape(told)}</title>{mark}</g>")
            ends.append((points[-1][1], layer["layer"], colour))
        return ends

    def labels(self, ends):
        """Beside the ends of the curves, pushed apart where they would cover each other."""
        right, ends = WIDTH - RIGHT, sorted(ends)
        places, free = [], -math.inf
        for y, _, _ in ends:
            places.append(max(y, free))
            free = places[-1] + LABEL_STEP
        over = max(0.0, places[-1] - (self.HEIGHT - BOTTOM))
        for i in range(len(places) - 1, -1, -1):  # back up what was pushed below the axis
            places[i] -= over
            over = over if i == 0 else max(0.0, places[i - 1] - (places[i] - LABEL_STEP))
        for (y, name, colour), place in zip(ends, places):
            self.parts.append(line(right + 1, y, right + 16, place, colour, 0.8))
            self.parts.append(text(right + 19, place + 4, name, size=11, colour=colour))

    def svg(self):
        self.axes()
        self.labels(self.curves())
        return page(self.HEIGHT, self.parts)


def draw_layers(run):
    return Lines(run, run["layers"]).svg()


def layers_table(run):
    tokens = [t["tokens"] for t in run["layers"][0]["timings"]]
    rows = [f"| us a token, {run['precision']} | " + " | ".join(f"{t:,}" for t in tokens) + " |"]
    rows.append("|---|" + "--:|" * len(tokens))
    for layer in run["layers"]:
        cells = []
        for t in layer["timings"]:
            spread = 50 * (t["high_seconds"] - t["low_seconds"]) / t["median_seconds"]
            cells.append(f"{number(t['us_per_token'])} ±{spread:.0f}%")
        rows.append(f"| {layer['layer']} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def groups_of(runs):
    """(title, [(model, median, low, high, speed-up)]) for every precision and batch; times in milliseconds."""
    groups = []
    for run in runs:
        for b, timing in enumerate(run["models"][0]["timings"]):
            lengths = f"8 to {run['length']}" if run["ragged"] else f"{run['length']}"
            title = f"{run['precision']}, batch {timing['batch']}, length {lengths}, {machine(run)}"
            bars = []
            for model in run["models"]:
                t = model["timings"][b]
                seconds = (t["median_seconds"], t["low_seconds"], t["high_seconds"])
                bars.append((model["model"], *(1e3 * s for s in seconds), t["speed_up"]))
            groups.append((title, bars))
    return groups


def draw_bars(heading, groups, colour_of):
    parts, y = [text(16, 24, heading, size=15, more='font-weight="600"')], TOP
    start, bar, scale = 150, 15, WIDTH - 150 - 150
    for title, bars in groups:
        parts.append(text(16, y + 12, title, size=12, more='font-weight="600"'))
        y += 20
        longest = max(high for _, _, _, high, _ in bars)
        for i, (name, median, low, high, speed) in enumerate(bars):
            width, middle = scale * median / longest, y + bar / 2
            fill = f'fill="{colour_of(i, name)}" fill-opacity="0.85"'
            parts += [
                text(start - 8, middle + 4, name[-22:], "end", 11),
                f'<rect x="{start}" y="{y}" width="{width:.1f}" height="{bar}" {fill}/>',
                line(start + scale * low / longest, middle, start + scale * high / longest, middle, "#000", 1.2),
                text(start + scale * high / longest + 6, middle + 4, f"{number(median)} ms, {speed:.2f}x", size=11),
            ]
            y += bar + 4
        y += 12
    return page(y + 6, parts)


def draw_encoders(runs):
    def colour(i, _name):
        return GREYS[1] if i == 0 else COLOURS[(i - 1) % len(COLOURS)]

    return draw_bars("Whole encoders: milliseconds of a batch", groups_of(runs), colour)


def peers_groups(told):
    """As groups_of(), of the tables of bench/peers/compare.py; speed-ups are over the best rival."""
    groups = []
    for section in re.split(r"^## ", told, flags=re.MULTILINE)[1:]:
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if row.startswith("| ")]
        bars = []
        for row in rows:
            if len(row) == 7 and row[5].endswith("x") and not row[6].startswith("OUTPUT"):
                low, high = row[2].split("-")
                bars.append((row[0], float(row[1]), float(low), float(high), float(row[5][:-1])))
        if bars:
            groups.append((section.splitlines()[0], bars))
    return groups


def draw_peers(path):
    groups = peers_groups(path.read_text(encoding="utf-8"))
    if not groups:
        sys.exit(f"plot.py: {path} has no table of bench/peers/compare.py")
    ours = [name for name, *_ in groups[0][1] if name.startswith("grove ")]

    def colour(_i, name):
        return COLOURS[ours.index(name) % len(COLOURS)] if name in ours else GREYS[2]

    return draw_bars("Whole encoders: milliseconds of a batch, times as fast as the best rival", groups, colour)


def encoders_table(runs):
    groups = groups_of(runs)
    names = [name for name, *_ in groups[0][1]]
    rows = ["| ms (times as fast as the first) | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for title, bars in groups:
        cells = [f"{number(median)} ({speed:.2f}x)" for _, median, _, _, speed in bars]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def read(path):
    """What one run measured, or an error that says what to give instead."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        sys.exit(f"plot.py: cannot read {path}: {problem}")
    if not isinstance(run, dict) or not {"layers", "models"} & run.keys():
        sys.exit(f"plot.py: {path} is no output of `grove bench layer --json` or `grove bench encoder --json`")
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="FILE", help="JSON: one of layers, or any of encoders; or one Markdown file of compare.py")
    parser.add_argument("--output", type=pathlib.Path, metavar="SVG", help="the picture to write")
    parser.add_argument("--table", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="only layers with these words in their names")
    args = parser.parse_args()
    if [path.suffix for path in args.runs] == [".md"]:
        picture = draw_peers(args.runs[0])
        if args.table or not args.output:
            sys.exit("plot.py: such a file is a table already; give --output SVG")
        args.output.write_text(picture, encoding="utf-8")
        return
    runs = [read(path) for path in args.runs]
    if len({"layers" in run for run in runs}) > 1 or ("layers" in runs[0] and len(runs) > 1):
        sys.exit("plot.py: give one run of layers, or runs of encoders alone")
    of_layers = "layers" in runs[0]
    if of_layers and args.only:
        runs[0]["layers"] = [m for m in runs[0]["layers"] if any(words in m["layer"] for words in args.only)]
        if not runs[0]["layers"]:
            sys.exit(f"plot.py: no layer has {' or '.join(args.only)} in its name")
    if args.table:
        print(layers_table(runs[0]) if of_layers else encoders_table(runs))
    if args.output:
        args.output.write_text(draw_layers(runs[0]) if of_layers else draw_encoders(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
