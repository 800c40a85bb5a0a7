#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Makes a model directory of Grove loadable by Transformers with trust_remote_code: the weights, config.json with an
`auto_map`, the Python files that it names, and the tokenizer's settings. Needs nothing but Python; for a model with
int8 weights, which it writes as fp32, PyTorch and safetensors too.

    python3 python/export_transformers.py models/small-leaf-tree exported
    python3 -c "from transformers import pipeline; print(
        pipeline('fill-mask', 'exported', trust_remote_code=True)('The [MASK] rose over the hills.'))"

OUT may be the model directory itself: `grove` and `grove-train` ignore what is added.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import sys
from typing import Any

SOURCE = pathlib.Path(__file__).resolve().parent / "grove_transformers"
CODE = ("configuration_grove.py", "feedforward_grove.py", "layers_grove.py", "modeling_grove.py")
SCALE = "_scale"
NODE_SCALES = ("linear_out.weight", "linear_out_left.weight")
AUTO_CLASS = {
    "ScriptableLMForPreTraining": "AutoModelForMaskedLM",
    "ScriptableLMForSequenceClassification": "AutoModelForSequenceClassification",
    "ScriptableLMForTokenClassification": "AutoModelForTokenClassification",
}


def auto_map() -> dict[str, str]:
    """All heads: an encoder that is to be fine-tuned gets another one than it was trained with."""
    encoder = {"AutoConfig": "configuration_grove.GroveConfig", "AutoModel": "modeling_grove.ScriptableCrammedBERT"}
    return encoder | {auto: f"modeling_grove.{name}" for name, auto in AUTO_CLASS.items()}


def stored_labels(weights: pathlib.Path) -> int | None:
    """Rows of head.weight, which is how `grove` counts classes, whatever config.json says; None without a head."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header["head.weight"]["shape"][0] if "head.weight" in header else None


def export_config(model: pathlib.Path) -> dict[str, Any]:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "crammedBERT":
        raise ValueError(f"{model}/config.json has model_type {config.get('model_type')!r}, not crammedBERT; "
                         "Transformers may know such a model already")
    if config.get("architectures", [None])[0] not in AUTO_CLASS:
        raise ValueError(f"{model}/config.json has architectures {config.get('architectures')}; supported: "
                         f"{', '.join(AUTO_CLASS)}")
    labels = stored_labels(model / "model.safetensors")
    if labels is not None:
        config["arch"]["num_labels"] = labels
    # Pipelines look for a tokenizer only where the configuration names its class.
    return {**config, "auto_map": auto_map(), "tokenizer_class": tokenizer_class(model)}


def tokenizer_class(model: pathlib.Path) -> str:
    return "PreTrainedTokenizerFast" if (model / "tokenizer.json").exists() else "BertTokenizer"  # vocab.txt


def tokenizer_config(model: pathlib.Path, max_length: int) -> dict[str, Any]:
    """For AutoTokenizer; tokenizer.json has the rest."""
    settings: dict[str, Any] = {"tokenizer_class": tokenizer_class(model), "model_max_length": max_length,
                                "model_input_names": ["input_ids", "attention_mask"],
                                "clean_up_tokenization_spaces": True}
    tokens = {f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "MASK", "PAD", "SEP", "UNK")}
    if not (model / "tokenizer.json").exists():
        return {**settings, **tokens}
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return {**settings, **{name: token for name, token in tokens.items() if token in vocabulary}}


def write_json(path: pathlib.Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def widen(weights: pathlib.Path, out: pathlib.Path) -> None:
    """int8 weights times their scales (docs/formats.md). A scale stands for all places along one axis, the second; of
    a neuron tree's output weights along the first."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415  only here

    stored = load_file(weights)
    wide = {}
    for name, tensor in stored.items():
        scale = stored.get(name + SCALE)
        if scale is not None:
            tensor = tensor.float() * scale.unsqueeze(0 if name.endswith(NODE_SCALES) else 1)
        if not (name.endswith(SCALE) and name.removesuffix(SCALE) in stored):
            wide[name] = tensor.contiguous()
    temporary = out.with_name(out.name + ".tmp")  # `weights` may be `out`
    save_file(wide, temporary, {"format": "pt"})
    temporary.replace(out)


def check_can_widen(model: pathlib.Path) -> None:
    """Before anything is written."""
    try:
        import safetensors.torch  # noqa: F401, PLC0415  only here
    except ImportError as error:
        raise ValueError(f"{model} has int8 weights, which are widened with PyTorch and safetensors ({error}); "
                         "pip install torch safetensors") from error


def export(model: pathlib.Path, out: pathlib.Path) -> str:
    """Returns the Auto class that the model has the weights for."""
    for name in ("config.json", "model.safetensors"):
        if not (model / name).is_file():
            raise FileNotFoundError(f"{model} has no {name}; name a model directory that grove-train finished")
    config = export_config(model)
    int8 = config.pop("weight_precision", None) == "int8"
    config.pop("quantization_config", None)
    if int8:
        check_can_widen(model)
    out.mkdir(parents=True, exist_ok=True)
    if not out.samefile(model):
        for name in ("tokenizer.json", "vocab.txt", "training.json") + (() if int8 else ("model.safetensors",)):
            if (model / name).exists():
                shutil.copyfile(model / name, out / name)
    if int8:
        widen(model / "model.safetensors", out / "model.safetensors")
        config["torch_dtype"] = "float32"
    for name in CODE:
        shutil.copyfile(SOURCE / name, out / name)
    if (model / "tokenizer.json").exists() or (model / "vocab.txt").exists():
        max_length = config["arch"]["embedding"]["max_seq_length"]
        write_json(out / "tokenizer_config.json", tokenizer_config(model, max_length))
    write_json(out / "config.json", config)  # last: a directory that has it is complete
    return AUTO_CLASS[config["architectures"][0]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", metavar="DIR", type=pathlib.Path, help="model directory that grove-train wrote")
    parser.add_argument("out", metavar="OUT", type=pathlib.Path, help="folder to write; may be DIR itself")
    arguments = parser.parse_args()
    try:
        auto = export(arguments.model, arguments.out)
    except (KeyError, OSError, ValueError) as error:
        print(f"export_transformers: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: load it with transformers.{auto}.from_pretrained({str(arguments.out)!r}, "
          "trust_remote_code=True), or the Auto class of another head to fine-tune it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
