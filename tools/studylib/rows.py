# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Rows of the study: configs/study/rows/NAME.json on top of configs/study/base.json, and what a token costs in them.

A row's keys are options of `grove-train pretrain`, and two of its own: "verb" (pretrain, distil or convert) and "teacher"
(the row whose model of the same seed teaches or is converted).
"""

import json
import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "configs/study"
OWN_KEYS = ("about", "verb", "teacher")
# Options of `grove-train distil` that say how a row is taught, not what it is.
TEACHING_KEYS = (
    "hidden_loss",
    "hidden_weight",
    "inherit",
    "layer_weight",
    "logits_weight",
    "masked_lm_weight",
    "temperature",
)

# Defaults of grove-train that counting needs.
DEFAULTS = {
    "feed_forward": "leaf_tree",
    "nonlinearity": "gelu",
    "intermediate": 1024,
    "trees": 1,
    "depth": 4,
    "two_sided": False,
    "routing": "hard",
    "leaf_width": 32,
    "paths": 2,
    "decision_scale": 1,
    "gates": "renormalized",
    "experts": 32,
    "expert_width": 32,
    "router": "softmax",
    "top_k": 2,
    "key_heads": 4,
    "sub_keys": 32,
    "key_width": 64,
    "always_on": 0,
    "layers": 4,
    "width": 256,
    "length": 128,
    "batch": 64,
    "steps": 0,
    "layer_feed_forward": "",
}


class StudyError(Exception):
    """A sentence for the user."""


def read_json(path):
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise StudyError(f"{path} is not a JSON object")
    return value


def row_names():
    return sorted(path.stem for path in (CONFIGS / "rows").glob("*.json"))


def load_base(name="base"):
    return read_json(CONFIGS / f"{name}.json")


def load_row(name):
    path = CONFIGS / "rows" / f"{name}.json"
    if not path.exists():
        raise StudyError(f"there is no row {name}: {path} does not exist")
    return read_json(path)


def verb_of(row):
    return row.get("verb", "pretrain")


def row_options(row):
    """The options that the row adds to the base."""
    return {key: value for key, value in row.items() if key not in OWN_KEYS}


def composed(base, row):
    """All options of a run of pretrain or distil, without seed and rate."""
    own = {key: value for key, value in base.items() if key != "about"}
    return {**own, **row_options(row)}


def flag_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def flags(options):
    """["--leaf-width", "16", ...]"""
    words = []
    for key, value in options.items():
        words += ["--" + key.replace("_", "-"), flag_text(value)]
    return words


# ---- what a token costs


def parse_layers(text, count):
    """ "0-1: feed_forward=dense intermediate=512; 11: ..." -> {layer: options}."""
    layers = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        numbers, _, words = entry.partition(":")
        options = {}
        for word in words.split():
            key, _, value = word.partition("=")
            options[key] = (
                int(value) if value.lstrip("-").isdigit() else {"true": True, "false": False}.get(value, value)
            )
        for part in numbers.split(","):
            first, _, last = part.strip().partition("-")
            for layer in range(int(first), int(last or first) + 1):
                if layer >= count:
                    raise StudyError(f"layer_feed_forward names layer {layer} of {count}")
                layers[layer] = options
    return layers


def layer_list(options):
    """Options of each layer's feedforward, defaults filled in."""
    full = {**DEFAULTS, **options}
    special = parse_layers(full["layer_feed_forward"], full["layers"])
    return [{**full, **special.get(layer, {})} for layer in range(full["layers"])]


def stored_neurons(layer):
    kind = layer["feed_forward"]
    if kind == "none":
        return 0
    if kind == "dense":
        return layer["intermediate"]
    own = {
        "leaf_tree": lambda: layer["trees"] * (layer["leaf_width"] << layer["depth"]),
        "neuron_tree": lambda: layer["trees"] * ((2 << layer["depth"]) - 1),
        "moe": lambda: layer["experts"] * layer["expert_width"],
        "product_key": lambda: layer["sub_keys"] ** 2,
    }[kind]()
    return own + layer["always_on"]


def computed_neurons(layer):
    """Neurons of a token, products of routing left out."""
    kind = layer["feed_forward"]
    if kind == "none":
        return 0
    if kind == "dense":
        return layer["intermediate"]
    own = {
        "leaf_tree": lambda: layer["trees"] * layer["paths"] * layer["leaf_width"],
        "neuron_tree": lambda: layer["trees"] * (layer["depth"] + 1),
        "moe": lambda: layer["top_k"] * layer["expert_width"],
        "product_key": lambda: layer["key_heads"] * layer["top_k"],
    }[kind]()
    return own + layer["always_on"]


def nominal_decisions(layer):
    """Of one leaf tree for one token. One path meets `depth`. The search for n leaves opens the ways to them and the
    dead ends whose probability lay above the n-th leaf's: n x depth is our guess where nothing was measured, all is the
    most."""
    return min(layer["paths"] * layer["depth"], (1 << layer["depth"]) - 1)


def routing_products(layer, decisions=None):
    """Products as long as the width that only route; each counts as one neuron. `decisions`: opened in one leaf tree."""
    kind = layer["feed_forward"]
    if kind == "leaf_tree":
        return layer["trees"] * (nominal_decisions(layer) if decisions is None or layer["paths"] == 1 else decisions)
    if kind == "neuron_tree":
        return layer["trees"] * layer["depth"] if layer["routing"] == "random" else 0
    if kind == "moe":
        return layer["experts"]
    if kind == "product_key":
        scores = 2 * layer["key_heads"] * layer["sub_keys"] * (layer["key_width"] // 2)
        return layer["key_heads"] * layer["key_width"] + math.ceil(scores / layer["width"])
    return 0


def converted_options(base, row):
    """The layer that `grove-train convert` makes of the teacher's dense one."""
    teacher = composed(base, load_row(row["teacher"]))
    leaves = row.get("leaves", 32)
    return {
        **composed(base, {}),
        "feed_forward": "leaf_tree",
        "depth": leaves.bit_length() - 1,
        "leaf_width": row.get("leaf_width", 0) or -(-teacher["intermediate"] // leaves),
        "paths": row.get("paths", 0) or max(1, leaves // 4),
    }


def reference_of(base):
    """The row that shares are of: dense, four times as wide as the model."""
    return f"dense-{4 * base['width']}"


def cpu_file_of(base):
    """Where the CPU times of models of this width are kept."""
    return "cpu.json" if base["width"] == load_base()["width"] else f"cpu-width-{base['width']}.json"


def model_options(base, row):
    """Options that describe the row's model, however it is made."""
    if verb_of(row) == "convert":
        return converted_options(base, row)
    return {key: value for key, value in composed(base, row).items() if key not in TEACHING_KEYS}


def shape_text(base, row):
    """Equal for rows of the same model, however it is trained."""
    return json.dumps(model_options(base, row), sort_keys=True)


def cost(options, decisions=None):
    """Mean over the layers: {"stored", "computed", "routing", "active"}. `decisions`: opened in one leaf tree, a number or
    one a layer (None where none is counted)."""
    layers = layer_list(options)
    opened = decisions if isinstance(decisions, list) else [decisions] * len(layers)
    computed = sum(map(computed_neurons, layers)) / len(layers)
    routing = sum(routing_products(layer, n) for layer, n in zip(layers, opened)) / len(layers)
    return {
        "stored": sum(map(stored_neurons, layers)) / len(layers),
        "computed": computed,
        "routing": routing,
        "active": computed + routing,
    }


def searches(options):
    """True where the number of decisions depends on the token: a leaf tree of several paths."""
    return any(
        layer["feed_forward"] == "leaf_tree" and 1 < layer["paths"] < 1 << layer["depth"]
        for layer in layer_list(options)
    )


def family(name, options):
    """How tables and plots group rows."""
    made = name.split("-")[0]
    return made if made in ("distil", "convert", "mix") else kind(options)


def kind(options):
    """The kind of the layers that are not without feedforward: of conditional ones where some are dense."""
    kinds = {layer["feed_forward"] for layer in layer_list(options)} - {"none"}
    found = sorted(kinds - {"dense"} or kinds) or ["none"]
    return {"neuron_tree": "neuron", "leaf_tree": "leaf", "product_key": "keys"}.get(found[0], found[0])
