# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""From result files to figures: best rates, recovered shares, active neurons. docs/study.md states the rules."""

import functools
import heapq
import math
import random
import statistics

from studylib import rows

NOTHING = "none"


def mean_and_spread(values):
    """(mean, sample standard deviation or None)."""
    values = list(values)
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def recovered_share(none, own, dense):
    """Share of what dense brings over none; None where dense brings nothing."""
    return (none - own) / (none - dense) if none > dense else None


def setup_of(result):
    """What two results must share to be compared."""
    train = (result.get("data") or {}).get("train") or {}
    return (result["base"], budget_of(result), train.get("tokens"))


def budget_of(result):
    """Optimizer steps of its setup: of convert, whose healing is short, those of the base."""
    if rows.verb_of(result.get("row_options", {})) == "convert" or not result.get("steps"):
        return rows.load_base(result["base"]).get("steps")
    return result["steps"]


class Setup:
    """Results of one setup: self.losses[row][rate][seed] and the result files beside them."""

    def __init__(self, results):
        self.results = results
        self.base = rows.load_base(results[0]["base"])
        self.reference = rows.reference_of(self.base)
        self.sound = {}
        for result in results:
            if result["status"] == "ok":
                self.sound.setdefault(result["row"], {}).setdefault(result["rate"], {})[result["seed"]] = result

    def row_names(self):
        return list(self.sound)

    def tuning_seed(self, row):
        return min(seed for by_seed in self.sound[row].values() for seed in by_seed)

    def best_rate(self, row):
        """The rate with the lowest loss at the row's lowest seed: rates are chosen on one seed."""
        seed = self.tuning_seed(row)
        rates = {rate: by_seed[seed]["validation_loss"] for rate, by_seed in self.sound[row].items() if seed in by_seed}
        return min(rates, key=lambda rate: (rates[rate], rate))

    def at_best_rate(self, row):
        """{seed: result}"""
        return self.sound[row][self.best_rate(row)] if row in self.sound else {}

    def losses(self, row):
        return {seed: result["validation_loss"] for seed, result in sorted(self.at_best_rate(row).items())}

    def ends(self, row):
        """{seed: loss} of none or dense: at its best rate, and where a seed lacks that at the best it has."""
        lowest = {}
        for by_seed in self.sound.get(row, {}).values():
            for seed, result in by_seed.items():
                lowest[seed] = min(result["validation_loss"], lowest.get(seed, math.inf))
        return {**lowest, **(self.losses(row) if lowest else {})}

    def tuned(self, row):
        """Was the row tried at the rates that are best for none and dense? Only then is its share final. Rates of convert heal a
        finished model, and say nothing about theirs."""
        found = [result for by_seed in self.sound[row].values() for result in by_seed.values()]
        if all(rows.verb_of(result["row_options"]) == "convert" for result in found):
            return True
        ends = {self.best_rate(end) for end in (NOTHING, self.reference) if end in self.sound}
        return ends <= set(self.sound[row])

    def references(self, row):
        """({seed: loss} of none, the same of dense) to hold a row against: at their best, or at the row's own rate as long
        as it was not tried at theirs."""
        if self.tuned(row):
            return self.ends(NOTHING), self.ends(self.reference)
        rate = self.best_rate(row)
        return tuple(
            {seed: result["validation_loss"] for seed, result in self.sound.get(end, {}).get(rate, {}).items()}
            for end in (NOTHING, self.reference)
        )

    def recovered(self, row):
        """{seed: share}, for the seeds of which none and dense are there too."""
        own, (none, dense) = self.losses(row), self.references(row)
        shares = {
            seed: recovered_share(none[seed], own[seed], dense[seed]) for seed in own if seed in none and seed in dense
        }
        return {seed: share for seed, share in shares.items() if share is not None}

    def options(self, row):
        result = next(iter(self.at_best_rate(row).values()))
        return rows.model_options(self.base, result["row_options"])


def group_by_setup(results):
    """Setups, the one with most results first."""
    groups = {}
    for result in results:
        groups.setdefault(setup_of(result), []).append(result)
    ordered = sorted(groups.items(), key=lambda entry: (entry[0][0] != "base", -len(entry[1]), str(entry[0])))
    return [(key, Setup(group)) for key, group in ordered]


# ---- decisions of a search for several leaves


@functools.lru_cache(maxsize=None)
def deviation_of_entropy(entropy):
    """Standard deviation of normal logits whose decisions have this mean entropy (nats)."""
    points = [(i + 0.5) / 64 for i in range(64)]
    normal = statistics.NormalDist()
    logits = [normal.inv_cdf(p) for p in points]

    def mean(deviation):
        total = 0.0
        for logit in logits:
            p = 1 / (1 + math.exp(-min(700.0, abs(deviation * logit))))
            total -= p * math.log(p) + ((1 - p) * math.log(1 - p) if p < 1 else 0)
        return total / len(logits)

    low, high = 0.0, 1000.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) > entropy else (low, middle)
    return (low + high) / 2


@functools.lru_cache(maxsize=None)
def expected_decisions(entropies, paths, trials=400):
    """Mean number of decisions that the best-first search for `paths` leaves opens in a tree whose decisions are
    independent and have these mean entropies by level. A model of the search, not a measurement."""
    depth = len(entropies)
    deviations = [deviation_of_entropy(round(max(0.0, min(math.log(2), e)), 3)) for e in entropies]
    draw = random.Random(1)
    opened = 0
    for _ in range(trials):
        heap, found = [(0.0, 0, 0)], 0  # (-log p, level, tie)
        tie = 0
        while found < paths:
            cost, level, _ = heapq.heappop(heap)
            if level == depth:
                found += 1
                continue
            opened += 1
            logit = abs(draw.gauss(0, deviations[level]))
            likely = math.log1p(math.exp(-min(700.0, logit)))
            tie += 2
            heapq.heappush(heap, (cost + likely, level + 1, tie))
            heapq.heappush(heap, (cost + likely + logit, level + 1, tie + 1))
    return opened / trials


def decisions_of(result, options):
    """(decisions opened in one leaf tree, how it is known: "exact", "measured", "modelled" or "assumed")."""
    if not rows.searches(options):
        return None, "exact"
    if result.get("decisions"):
        return result["decisions"], "measured"
    entropy = (result.get("routing") or {}).get("decision_entropy")
    layers = [layer for layer in rows.layer_list(options) if layer["feed_forward"] == "leaf_tree"]
    shapes = {(layer["depth"], layer["paths"], layer["trees"]) for layer in layers}
    if entropy and len(shapes) == 1:
        depth, paths, _ = shapes.pop()
        by_level = [statistics.fmean(values) for values in zip(*entropy)]
        if len(by_level) == depth and all(isinstance(value, float) or isinstance(value, int) for value in by_level):
            return expected_decisions(tuple(round(value, 3) for value in by_level), paths), "modelled"
    return None, "assumed"


def row_cost(setup, row):
    """rows.cost at the best rate, mean over seeds, and how sure its decisions are."""
    options = setup.options(row)
    costs, known = [], []
    for result in setup.at_best_rate(row).values():
        decisions, how = decisions_of(result, options)
        costs.append(rows.cost(options, decisions))
        known.append(how)
    worst = max(known, key=["exact", "measured", "modelled", "assumed"].index)
    return {**{key: statistics.fmean(cost[key] for cost in costs) for key in costs[0]}, "known": worst}


def frontier(points):
    """Of (cost, value, name): those that no cheaper or equal one reaches, in order of cost."""
    best, kept = -math.inf, []
    for cost, value, name in sorted(points, key=lambda p: (p[0], -p[1])):
        if value > best:
            best = value
            kept.append((cost, value, name))
    return kept
