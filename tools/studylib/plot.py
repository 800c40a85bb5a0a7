# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The frontier as plain SVG: recovered share against what a token costs, controls included."""

import math
from xml.sax.saxutils import escape

from studylib import analysis

WIDTH, HEIGHT = 920, 600
LEFT, RIGHT, TOP, BOTTOM = 66, 196, 46, 58
# family: (what the legend says, colour, shape)
STYLES = {
    "dense": ("dense", "#4d4d4d", "square"),
    "leaf": ("leaf trees", "#1b7837", "circle"),
    "neuron": ("neuron trees", "#762a83", "triangle"),
    "mix": ("layers that differ", "#b8860b", "diamond"),
    "moe": ("mixtures of experts", "#c2410c", "down"),
    "keys": ("product keys", "#1f6fb2", "plus"),
    "distil": ("taught by dense", "#d6408f", "circle"),
    "convert": ("converted from dense", "#0e9c9c", "diamond"),
}


def shape(kind, x, y, colour, size=5):
    s = size
    corners = {
        "square": [(-s, -s), (s, -s), (s, s), (-s, s)],
        "triangle": [(0, -s - 1), (s + 1, s), (-s - 1, s)],
        "down": [(0, s + 1), (s + 1, -s), (-s - 1, -s)],
        "diamond": [(0, -s - 2), (s + 2, 0), (0, s + 2), (-s - 2, 0)],
        "plus": [
            (-2, -s),
            (2, -s),
            (2, -2),
            (s, -2),
            (s, 2),
            (2, 2),
            (2, s),
            (-2, s),
            (-2, 2),
            (-s, 2),
            (-s, -2),
            (-2, -2),
        ],
    }
    look = f'fill="{colour}" fill-opacity="0.85" stroke="#fff" stroke-width="0.8"'
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s}" {look}/>'
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[kind])
    return f'<polygon points="{points}" {look}/>'


def text(x, y, words, anchor="start", size=12, colour="#222", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" {more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour="#ddd", width=1.0, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}" {more}/>'


def ticks_of(low, high):
    """1, 2, 5, 10, ... within the range."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [m * 10.0**power for m in (1, 2, 5) if low <= m * 10.0**power <= high]
    return found


class Chart:
    def __init__(self, points):
        """points: figures with "x" (positive), "mean", "spread", "family", "name"."""
        self.points = points
        self.low, self.high = min(p["x"] for p in points) / 1.25, max(p["x"] for p in points) * 1.25
        values = [p["mean"] for p in points]
        self.bottom, self.top = min(-0.05, min(values) - 0.05), max(1.05, max(values) + 0.05)
        self.parts, self.taken = [], []

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / self.low) / math.log(self.high / self.low)

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.bottom) / (self.top - self.bottom)

    def axes(self, title, x_title):
        right, foot = WIDTH - RIGHT, HEIGHT - BOTTOM
        self.parts.append(text(LEFT, 24, title, size=15, more='font-weight="600"'))
        for tick in ticks_of(self.low, self.high):
            self.parts += [
                line(self.x(tick), TOP, self.x(tick), foot),
                text(self.x(tick), foot + 18, f"{tick:g}", "middle"),
            ]
        for percent in range(math.ceil(self.bottom * 5) * 20, math.floor(self.top * 100) + 1, 20):
            y = self.y(percent / 100)
            strong = percent in (0, 100)
            self.parts += [
                line(
                    LEFT,
                    y,
                    right,
                    y,
                    "#999" if strong else "#ddd",
                    1.2 if strong else 1,
                    'stroke-dasharray="5 4"' if strong else "",
                ),
                text(LEFT - 8, y + 4, f"{percent} %", "end"),
            ]
        self.parts += [
            text(right + 8, self.y(1) + 4, "dense 4x", size=11, colour="#666"),
            text(right + 8, self.y(0) + 4, "no feedforward", size=11, colour="#666"),
            text((LEFT + right) / 2, HEIGHT - 16, x_title, "middle", 13),
            text(
                16,
                (TOP + foot) / 2,
                "recovered share of what dense brings over none",
                "middle",
                13,
                more=f'transform="rotate(-90 16 {(TOP + foot) / 2:.0f})"',
            ),
        ]

    def goal(self, limit, wanted, name):
        if not self.low < limit < self.high:
            return
        x, y = self.x(limit), self.y(wanted)
        self.parts += [
            line(x, y, max(LEFT, x - 70), y, "#2a9d4a", 1.6),
            line(x, y, x, TOP, "#2a9d4a", 1.6),
            text(x - 6, y - 5, f"goal {name}", "end", 11, "#2a9d4a"),
        ]

    def connect(self, points, colour, more=""):
        if len(points) > 1:
            corners = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y, _ in points)
            self.parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.4" {more}/>')

    def marks(self):
        for p in sorted(self.points, key=lambda p: list(STYLES).index(p["family"])):
            x, y, (_, colour, kind) = self.x(p["x"]), self.y(p["mean"]), STYLES[p["family"]]
            if p["spread"]:
                self.parts.append(
                    line(x, self.y(p["mean"] - p["spread"]), x, self.y(p["mean"] + p["spread"]), colour, 1.2)
                )
            self.parts.append(
                f"<g><title>{escape(p['name'])}: {100 * p['mean']:.1f} % at {p['x']:.4g}</title>{shape(kind, x, y, colour)}</g>"
            )
            self.taken.append((x - 6, y - 6, x + 6, y + 6))

    def label(self, p):
        """Beside the mark, where it covers nothing; left out where it would."""
        x, y, wide = self.x(p["x"]), self.y(p["mean"]), 5.6 * len(p["name"])
        for dx, dy, anchor in [
            (9, -6, "start"),
            (-9, -6, "end"),
            (9, 14, "start"),
            (-9, 14, "end"),
            (9, 4, "start"),
            (-9, 4, "end"),
        ]:
            left = x + dx if anchor == "start" else x + dx - wide
            box = (left, y + dy - 9, left + wide, y + dy + 2)
            if (
                box[0] < LEFT
                or box[2] > WIDTH - RIGHT
                or any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self.taken)
            ):
                continue
            self.taken.append(box)
            self.parts.append(text(x + dx, y + dy, p["name"], anchor, 10, STYLES[p["family"]][1]))
            return

    def legend(self):
        x, y = WIDTH - RIGHT + 24, self.y(1) + 34
        for family, (words, colour, kind) in STYLES.items():
            if any(p["family"] == family for p in self.points):
                self.parts += [shape(kind, x, y, colour), text(x + 14, y + 4, words)]
                y += 22

    def svg(self):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
        )
        return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *self.parts, "</svg>"]) + "\n"


def draw(points, title, x_title, goals=()):
    chart = Chart(points)
    chart.axes(title, x_title)
    for goal, limit, wanted in goals:
        chart.goal(limit, wanted, goal)
    plain_dense = [(p["x"], p["mean"], p["name"]) for p in points if p["name"].replace("dense-", "").isdigit()]
    chart.connect(sorted(plain_dense), STYLES["dense"][1], 'stroke-dasharray="2 3"')
    best = analysis.frontier([(p["x"], p["mean"], p["name"]) for p in points])
    chart.connect(best, "#888")
    chart.marks()
    named = {name for _, _, name in best}
    for family in STYLES:
        own = [p for p in points if p["family"] == family]
        named |= {max(own, key=lambda p: p["mean"])["name"]} if own else set()
    for p in sorted(points, key=lambda p: -p["mean"]):
        if p["name"] in named:
            chart.label(p)
    chart.legend()
    return chart.svg()


def write(page, path):
    """The frontier by active neurons; by CPU time too where it was measured. Returns the files written."""
    found = [r for r in page.rows.values() if r["mean"] is not None and r["family"] in STYLES]
    written = []
    by_neurons = [{**r, "x": r["active"]} for r in found if r["active"] > 0]
    if by_neurons:
        path.write_text(
            draw(
                by_neurons,
                "Quality against what a token computes",
                "active neurons a layer and token, products of routing among them",
                [("a", 192, 0.95), ("b", 64, 0.80)],
            ),
            encoding="utf-8",
        )
        written.append(path)
    by_time = [{**r, "x": r["cpu"]} for r in found if r["cpu"]]
    if by_time:
        target = path.with_name(path.stem + "-cpu" + path.suffix)
        target.write_text(
            draw(by_time, "Quality against CPU time", "microseconds a token, whole encoder"), encoding="utf-8"
        )
        written.append(target)
    return written
