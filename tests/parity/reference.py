#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The recipe of `grove-train pretrain` in plain PyTorch: what parity_test.py compares it with, and short enough to be
read beside DESIGN.md, section 5. The layers are those of python/grove_transformers; the optimizer, the clipping and the
losses are PyTorch's own.

    grove-train batches --data packed --length 32 --batch 8 --count 10 --output batches.safetensors
    reference.py --start-from model --batches batches.safetensors --recipe '{"steps": 10, "learning_rate": 1e-3}'

prints a line of JSON per step. `--start-from` is a model directory; `grove-train pretrain --start-from` starts from the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python/grove_transformers"))
from layers_grove import Arch, Encoder, LeafTrees, init_module, init_std  # noqa: E402


@dataclasses.dataclass
class Recipe:
    """The options of `grove-train pretrain` that matter here, with their defaults."""

    steps: int
    micro_batches: int = 1  # of one step
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-12
    weight_decay: float = 0.01
    clip: float = 0.5
    balance: float = 0.01
    hardening: float = 0.0

    def rate(self, step: int) -> float:
        x = step / self.steps
        return self.learning_rate * max(0.0, min(0.25 + x, (1 - x) / 0.25, 1.0))


class Decoder(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))


class MaskedLm(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.encoder = Encoder(arch)
        self.decoder = Decoder(arch["embedding"]["vocab_size"]) if arch.get("decoder_bias") else None

    def loss(self, ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """Mean over the words to predict; only their logits are computed."""
        hidden = self.encoder(ids, attention_mask)[-1]
        chosen = labels != -100
        bias = self.decoder.bias if self.decoder is not None else None
        logits = F.linear(hidden[chosen], self.encoder.embedding.word_embedding.weight, bias)
        return F.cross_entropy(logits, labels[chosen])


def leaf_tree_penalty(layer: LeafTrees, x: Tensor, recipe: Recipe) -> Tensor:
    """balance x leaves x sum_i f_i P_i (f_i: leaf i's share of the visits, without gradient; P_i: its mean probability)
    plus hardening x the sum of the decisions' mean entropies."""
    logits = layer.decision_logits(x)
    p = layer.log_probabilities(logits).exp()
    visits = (layer.gates(logits).detach() > 0).float().mean(0) / layer.paths
    entropy = F.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none")
    return recipe.balance * layer.leaves * (visits * p.mean(0)).sum() + recipe.hardening * entropy.mean(0).sum()


PENALTIES = {LeafTrees: leaf_tree_penalty}


class Penalties:
    """Gathers the penalties of the layers while a forward pass runs."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.values: list[Tensor] = []
        for module in model.modules():
            penalty = PENALTIES.get(type(module))
            if penalty is not None:
                module.register_forward_hook(
                    lambda layer, inputs, _, penalty=penalty: self.values.append(penalty(layer, inputs[0], recipe)))

    def take(self) -> Tensor | float:
        values, self.values = self.values, []
        return sum(values) if values else 0.0


def takes_weight_decay(name: str) -> bool:
    """Not biases and norms."""
    return "bias" not in name and "norm" not in name and not name.endswith((".b1s", ".b2s"))


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if takes_weight_decay(name)], "weight_decay": recipe.weight_decay},
              {"params": [p for name, p in named if not takes_weight_decay(name)], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), eps=recipe.epsilon)


def train(model: MaskedLm, batches: dict[str, Tensor], recipe: Recipe) -> Iterator[dict[str, float]]:
    """One entry per step, as the log of `grove-train pretrain` has it."""
    model.train()
    penalties = Penalties(model, recipe)
    optimizer = make_optimizer(model, recipe)
    for step in range(recipe.steps):
        loss_sum = 0.0
        optimizer.zero_grad()
        numbers = range(step * recipe.micro_batches, (step + 1) * recipe.micro_batches)
        words = {i: (batches["labels"][i] >= 0).sum().item() for i in numbers}
        for i in numbers:
            loss = model.loss(batches["input_ids"][i], batches["attention_mask"][i], batches["labels"][i])
            loss = loss * words[i] / sum(words.values())  # the mean over the words of the whole step
            (loss + penalties.take() / recipe.micro_batches).backward()
            loss_sum += loss.item()
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        optimizer.step()
        yield {"step": step + 1, "loss": loss_sum, "rate": recipe.rate(step), "gradient_norm": norm.item()}


def make_model(arch: Arch, seed: int) -> MaskedLm:
    torch.manual_seed(seed)
    model = MaskedLm(arch)
    model.apply(lambda module: init_module(module, init_std(arch)))
    return model


def save_model(model: MaskedLm, arch: Arch, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architectures": ["ScriptableLMForPreTraining"], "model_type": "crammedBERT", "arch": arch}
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def load_model(folder: pathlib.Path) -> MaskedLm:
    model = MaskedLm(json.loads((folder / "config.json").read_text())["arch"])
    weights = load_file(folder / "model.safetensors")
    weights.pop("decoder.weight", None)  # the word embedding a second time
    model.load_state_dict(weights)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start-from", required=True, type=pathlib.Path, help="model directory to start from")
    parser.add_argument("--batches", required=True, help="file that `grove-train batches --output` wrote")
    parser.add_argument("--recipe", required=True, type=json.loads, help='JSON, for example {"steps": 10}')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in train(load_model(arguments.start_from), load_file(arguments.batches), Recipe(**arguments.recipe)):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
