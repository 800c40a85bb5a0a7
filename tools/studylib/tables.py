# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Writes the tables of docs/study.md, between its markers, and the plots beside it."""

import pathlib
import re

from studylib import analysis, glue, plot, rows
from studylib.analysis import mean_and_spread
from studylib.results import load_results, rate_text
from studylib.rows import StudyError, read_json

FAMILIES = [
    ("none", "Controls"),
    ("dense", "Controls"),
    ("neuron", "Neuron trees"),
    ("leaf", "Leaf trees"),
    ("mix", "Layers that differ"),
    ("moe", "Mixtures of experts"),
    ("keys", "Product keys"),
    ("distil", "From the dense twin"),
    ("convert", "From the dense twin"),
]
KNOWN_MARK = {"exact": "", "measured": "", "modelled": "≈ ", "assumed": "? "}
GOALS = [("a", 192, 0.95), ("b", 64, 0.80)]
NO_RUNS = "*No runs yet.*"
SCREENED = "†"


def number(value):
    return f"{value:,.0f}"


def share(mean, spread=None):
    if mean is None:
        return "–"
    return f"{100 * mean:.1f} %" + (f" ± {100 * spread:.1f}" if spread is not None else "")


def loss_text(losses):
    mean, spread = mean_and_spread(losses.values())
    return f"{mean:.4f}" + (f" ± {spread:.4f}" if spread is not None else "")


def table(head, lines):
    if not lines:
        return NO_RUNS
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(text + ["| " + " | ".join(map(str, line)) + " |" for line in lines])


def cpu_times(setup, timed):
    """Microseconds of a token by row; a row that was not timed has those of one with the same model."""
    by_model = {
        rows.shape_text(setup.base, rows.load_row(name)): times["microseconds_per_token"]
        for name, times in timed.items()
        if name in rows.row_names()
    }
    own = {name: times["microseconds_per_token"] for name, times in timed.items()}
    others = {name: by_model.get(rows.shape_text(setup.base, rows.load_row(name))) for name in setup.row_names()}
    return {**others, **own}


class Page:
    """All figures of one setup, computed once."""

    def __init__(self, setup, folder):
        self.setup = setup
        self.cpu = cpu_times(setup, optional(folder / rows.cpu_file_of(setup.base)).get("rows", {}))
        self.glue = glue.averages(folder, setup.results)
        self.rows = {name: self.figures(name) for name in setup.row_names()}

    def figures(self, name):
        best = self.setup.at_best_rate(name)
        recovered = self.setup.recovered(name)
        mean, spread = mean_and_spread(recovered.values())
        if name in (analysis.NOTHING, self.setup.reference):
            spread = None  # 0 % and 100 % by definition
        result = next(iter(best.values()))
        return {
            "name": name,
            "family": result.get("family", "leaf"),
            "kind": rows.kind(self.setup.options(name)),
            "rate": self.setup.best_rate(name),
            "tuned": self.setup.tuned(name),
            "losses": self.setup.losses(name),
            "recovered": recovered,
            "mean": mean,
            "spread": spread,
            "seeds": len(best),
            "speed": speed_of(best.values()),
            "cpu": self.cpu.get(name),
            "glue": self.glue_shares(name),
            **analysis.row_cost(self.setup, name),
        }

    def glue_shares(self, name):
        own, twin = self.glue.get(name), self.glue.get(self.setup.reference)
        if not own or not twin:
            return None
        return tuple(own[key] / twin[key] for key in ("without_cola", "with_cola"))

    def ordered(self):
        place = {family: i for i, (family, _) in enumerate(FAMILIES)}
        return sorted(self.rows.values(), key=lambda r: (place.get(r["family"], 99), r["active"], r["name"]))


def optional(path):
    return read_json(path) if path.exists() else {}


def speed_of(found):
    """Median training speed; runs that shared a GPU say how many."""
    speeds = {}
    for result in found:
        if result.get("tokens_per_second"):
            speeds.setdefault(result.get("concurrent", 1), []).append(result["tokens_per_second"])
    if not speeds:
        return "–"
    together = min(speeds)
    mean = mean_and_spread(speeds[together])[0] / 1e6
    return f"{mean:.2f}" + (f" (1 of {together})" if together > 1 else "")


def main_table(page):
    cpu, with_glue = (any(r[key] for r in page.rows.values()) for key in ("cpu", "glue"))
    head = ["row", "active (routing)", "stored", "rate", "seeds", "loss", "recovered", "M tokens/s"]
    head += ["CPU µs/token"] * cpu + ["GLUE without / with CoLA"] * with_glue
    parts, titles = [], {}
    for figures in page.ordered():
        title = dict(FAMILIES).get(figures["family"], "Others")
        line = [
            f"`{figures['name']}`",
            active_text(figures),
            number(figures["stored"]),
            rate_text(figures["rate"]),
            figures["seeds"],
            loss_text(figures["losses"]),
            share(figures["mean"], figures["spread"]) + ("" if figures["tuned"] else f" {SCREENED}"),
            figures["speed"],
        ]
        line += [f"{figures['cpu']:.1f}" if figures["cpu"] else "–"] * cpu
        line += [" / ".join(f"{100 * s:.1f} %" for s in figures["glue"]) if figures["glue"] else "–"] * with_glue
        titles.setdefault(title, []).append(line)
    for title, lines in titles.items():
        parts.append(f"**{title}**\n\n" + table(head, lines))
    if any(not figures["tuned"] for figures in page.rows.values()):
        parts.append(
            f"{SCREENED} Not tried yet at the rates that are best for none and dense: held against them at the row's own rate. "
            "A direction, not a result."
        )
    return "\n\n".join(parts) or NO_RUNS


def active_text(figures):
    text = KNOWN_MARK[figures["known"]] + number(figures["active"])
    return text + (f" ({number(figures['routing'])})" if figures["routing"] else "")


def best_of(page, limit, *kinds, taught=False):
    """Of rows trained from scratch, in all layers or in some, or of those taught by the twin, which have controls of their own."""
    families = ("distil",) if taught else (*kinds, "mix")
    found = [
        r
        for r in page.rows.values()
        if r["kind"] in kinds
        and r["family"] in families
        and r["mean"] is not None
        and r["active"] <= limit + 0.5
    ]
    return max(found, key=lambda r: r["mean"], default=None)


def goals_table(pages):
    """Per goal and budget, untaught and taught: the best conditional layer within the limit, its controls and the best mixture."""
    head = ["goal", "trained on", "best tree", "dense control", "best MoE", "best product keys", "share", "over dense", "over MoE"]
    found = [goal_line(page, budget, *goal, taught) for goal in GOALS for taught in (False, True) for budget, page in pages]
    return table(head, [line for line in found if line])


def goal_line(page, budget, goal, limit, wanted, taught=False):
    """None: nothing was run near the limit."""
    own, moe, keys, dense = (
        best_of(page, limit, *kinds, taught=taught) for kinds in (("leaf", "neuron"), ("moe",), ("keys",), ("dense",))
    )
    if own is None or own["active"] < limit / 2:
        return None
    if not taught:
        dense = page.rows.get(f"dense-{limit}")
    cells = [
        share(r["mean"], r["spread"]) + ("" if r["tuned"] else f" {SCREENED}") + f" `{r['name']}`" if r and r["mean"] is not None else "–"
        for r in (own, dense, moe, keys)
    ]
    reached = "reached" if own["mean"] > wanted - 1e-9 else "not reached"
    title = f"({goal}) ≤ {limit}{', taught' if taught else ''}: ≥ {100 * wanted:.0f} %"
    return [title, budget, *cells, reached, difference(own, dense), difference(own, moe)]


def difference(own, other):
    """In points, over the seeds that both have."""
    if not own or not other or own["tuned"] != other["tuned"] or (not own["tuned"] and own["rate"] != other["rate"]):
        return "–"
    seeds = [seed for seed in own["recovered"] if seed in other["recovered"]]
    mean, spread = mean_and_spread(own["recovered"][s] - other["recovered"][s] for s in seeds)
    if mean is None:
        return "–"
    return f"{100 * mean:+.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")


def rates_table(page):
    setup = page.setup
    tried = [(figures["name"], setup.sound[figures["name"]]) for figures in page.ordered()]
    tried = [(name, by_rate) for name, by_rate in tried if len(by_rate) > 1]
    rates = sorted({rate for _, by_rate in tried for rate in by_rate})
    lines = []
    for name, by_rate in tried:
        seed = setup.tuning_seed(name)
        cells = [
            f"{by_rate[rate][seed]['validation_loss']:.4f}" if seed in by_rate.get(rate, {}) else "–" for rate in rates
        ]
        lines.append([f"`{name}`", seed, *cells])
    return table(["row", "seed", *map(rate_text, rates)], lines)


def variations_table(page):
    """Rows whose name is another's with a word behind it, and what the word brought."""
    lines = []
    for figures in page.ordered():
        twin = twin_of(figures["name"], page.rows) if figures["family"] != "dense" else None
        if twin:
            lines.append(
                [
                    f"`{twin}`",
                    f"`{figures['name'][len(twin):]}`",
                    share(page.rows[twin]["mean"]),
                    share(figures["mean"]),
                    difference(figures, page.rows[twin]),
                ]
            )
    return table(["row", "with", "recovered without", "recovered with", "points"], sorted(lines))


def twin_of(name, names):
    """ "leaf-7x16-4p-lazy" -> "leaf-7x16-4p", where that is a row."""
    parts = name.split("-")
    return next((twin for n in range(len(parts) - 1, 1, -1) if (twin := "-".join(parts[:n])) in names), None)


def failures_table(results):
    lines = [
        [f"`{r['name']}`", r["status"], (r.get("error") or "").replace("|", "/")]
        for r in results
        if r["status"] != "ok"
    ]
    return table(["run", "what", "last word"], lines) if lines else "None."


def glue_table(folder):
    return table(["model", "pooler", *glue.TASKS], glue.table_lines(folder))


def setup_title(key, setup):
    base, steps, tokens = key
    sequences = setup.base.get("batch", 0) * setup.base.get("length", 0)
    text = f"`configs/study/{base}.json`, {number(steps)} steps of {number(sequences)} tokens"
    return text + (f", from {number(tokens)} tokens of text" if tokens else "")


LEADING_ROWS = 6  # a setup with fewer rows is a side question


def leading(setups):
    """Setups that conclusions are about: on the most text, with some rows; the longest training first."""
    sound = [(key, setup) for key, setup in setups if setup.sound]
    text = max((key[2] or 0 for key, _ in sound), default=0)
    found = [(key, setup) for key, setup in sound if (key[2] or 0) == text and len(setup.sound) >= LEADING_ROWS]
    return sorted(found or sound[:1], key=lambda entry: -trained_on(*entry))


def trained_on(key, setup):
    return (key[1] or 0) * setup.base.get("batch", 0) * setup.base.get("length", 0)


def sections(results, folder):
    """(marker name -> text, the page that the plots are of)."""
    setups = analysis.group_by_setup(results)
    empty = {name: NO_RUNS for name in ("goals", "main", "variations", "rates", "failures", "others", "glue")}
    if not setups:
        return empty, None
    first = leading(setups)
    keys = [key for key, _ in first]
    text = {
        **empty,
        "failures": failures_table(results),
        "others": "\n\n".join(setup_text(k, s, Page(s, folder)) for k, s in setups if s.sound and k not in keys) or NO_RUNS,
        "glue": glue_table(folder),
    }
    if not first:
        return text, None
    pages = {key: Page(setup, folder) for key, setup in first}
    broadest = max(pages.values(), key=lambda page: len(page.rows))
    return {
        **text,
        "goals": goals_table([(f"{trained_on(key, page.setup) / 1e6:.0f} M tokens", page) for key, page in pages.items()]),
        "main": "\n\n".join(setup_text(key, setup, pages[key], origin_of(setup)) for key, setup in first),
        "variations": variations_table(broadest),
        "rates": rates_table(broadest),
    }, pages[keys[0]]


def origin_of(setup):
    devices = sorted({r["device"] for r in setup.results if r.get("device")})
    commits = sorted({r["commit"] for r in setup.results if r.get("commit")})
    return f" Devices: {', '.join(devices) or 'unknown'}. Commits: {', '.join(commits) or 'unknown'}."


def setup_text(key, setup, page, origin=""):
    return f"{setup_title(key, setup)}.{origin}\n\n{main_table(page)}"


def replace_sections(text, parts, path):
    for name, body in parts.items():
        pattern = re.compile(rf"(<!-- study: {name} begin[^>]*-->\n).*?(<!-- study: {name} end -->)", re.S)
        text, count = pattern.subn(lambda m: m.group(1) + "\n" + body + "\n\n" + m.group(2), text)  # noqa: B023
        if count != 1:
            raise StudyError(f"{path} lacks the markers <!-- study: {name} begin --> and <!-- study: {name} end -->")
    return text


def write(options):
    folder, path = pathlib.Path(options.results), pathlib.Path(options.page)
    results = load_results(folder) if folder.exists() else []
    parts, page = sections(results, folder)
    plots = plot.write(page, pathlib.Path(options.plot)) if page else []
    parts["plots"] = "\n\n".join(f"![Recovered share against cost]({name.name})" for name in plots) or NO_RUNS
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error}") from None
    path.write_text(replace_sections(text, parts, path), encoding="utf-8")
    print(f"{len(results)} results; wrote {', '.join(map(str, [path, *plots]))}")
    return 0
