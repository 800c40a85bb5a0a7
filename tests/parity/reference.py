#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The recipe of `grove-train pretrain` in plain PyTorch: what parity_test.py compares it with, and short enough to be
read beside DESIGN.md, section 5. The layers are those of python/grove_transformers; the optimizer, the clipping and the
losses are PyTorch's own.

    grove-train batches --data packed --length 32 --batch 8 --count 10 --output batches.safetensors
    reference.py --start-from model --batches batches.safetensors --recipe '{"steps": 10, "learning_rate": 1e-3}'

prints a line of JSON per step. `--start-from` is a model directory, as it is for `grove-train pretrain`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
from grove_transformers.feedforward_grove import (  # noqa: E402
    Arch,
    LeafTrees,
    MixtureOfExperts,
    NeuronTrees,
    ProductKeys,
    init_std,
    log_probabilities,
    path_mask,
    straight_through_turns,
)
from grove_transformers.layers_grove import Encoder, init_module  # noqa: E402


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
    balance: float = -1  # 0.01, but 0 for neuron trees
    hardening: float = 0.0
    hardening_schedule: str = "constant"
    train_paths: int = 0
    train_hardened: bool = False
    seed: int = 1

    def rate(self, step: int) -> float:
        x = step / self.steps
        return self.learning_rate * max(0.0, min(0.25 + x, (1 - x) / 0.25, 1.0))

    def weight_of_balance(self, layer: nn.Module) -> float:
        return self.balance if self.balance >= 0 else 0.0 if isinstance(layer, NeuronTrees) else 0.01


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


# What a layer adds to the loss in training (docs/feedforward-kinds.md), from its input [tokens, width] and the share of
# the budget that is used.


def balance_loss(p: Tensor, visits: Tensor) -> Tensor:
    """units x sum_i f_i P_i of routers of [.., units] choices: f_i unit i's share of the visits, without gradient, P_i
    its mean probability (arXiv 2101.03961, equation 4)."""
    visits = visits.detach().float()
    return p.shape[-1] * (visits.sum(0) / visits.sum() * p.mean(0)).sum()


def leaf_tree_penalty(layer: LeafTrees, x: Tensor, recipe: Recipe, fraction: float) -> Tensor:
    """Balance of the leaves, and hardening: the sum of the decisions' mean entropies."""
    logits = layer.decision_logits(x)
    p = log_probabilities(logits, layer.depth).exp()
    entropy = F.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none").mean(0).sum()
    hardening = recipe.hardening * (fraction if recipe.hardening_schedule == "linear" else 1.0)
    return recipe.weight_of_balance(layer) * balance_loss(p, layer.gates(logits) > 0) + hardening * entropy


def neuron_tree_penalty(layer: NeuronTrees, x: Tensor, recipe: Recipe, fraction: float) -> Tensor:
    """Balance of the paths' ends, where the logits decide."""
    if layer.routing not in ("hard", "straight_through"):
        return torch.zeros(())
    logits = layer.decision_logits(layer.linear_in(x))
    visits = path_mask((logits > 0).float(), layer.depth)[-1]
    return recipe.weight_of_balance(layer) * balance_loss(log_probabilities(logits, layer.depth).exp(), visits)


def moe_penalty(layer: MixtureOfExperts, x: Tensor, recipe: Recipe, fraction: float) -> Tensor:
    """Balance of the experts; of a noisy router, the importance and load losses of arXiv 1701.06538, appendix A."""
    if not layer.noisy:
        logits = layer.router_logits(x)
        return recipe.weight_of_balance(layer) * balance_loss(torch.softmax(logits, -1), layer.gates(logits) > 0)
    clean, spread, noisy = layer.router_logits(x), layer.noise_spread(x), layer.last_logits
    loss = squared_variation(layer.gates(noisy).sum(0))
    if layer.top_k < layer.experts:
        chosen = layer.gates(noisy) > 0
        best = noisy.topk(layer.top_k + 1, dim=-1).values
        others = torch.where(chosen, best[:, -1:], best[:, -2:-1])  # the k-th largest of the other experts
        loss = loss + squared_variation(torch.distributions.Normal(0.0, 1.0).cdf((clean - others) / spread).sum(0))
    return recipe.weight_of_balance(layer) * loss


def squared_variation(values: Tensor) -> Tensor:
    return values.var(unbiased=False) / (values.mean() ** 2 + 1e-10)


def product_key_penalty(layer: ProductKeys, x: Tensor, recipe: Recipe, fraction: float) -> Tensor:
    """Balance of the choices among the sub-keys of each half, half of the weight each."""
    loss = torch.zeros(())
    for scores in layer.scores(x):
        rows = scores.flatten(0, 1)
        visits = torch.zeros_like(rows).scatter(-1, rows.topk(layer.top_k, dim=-1).indices, 1.0)
        loss = loss + 0.5 * balance_loss(torch.softmax(rows, dim=-1), visits)
    return recipe.weight_of_balance(layer) * loss


PENALTIES = {LeafTrees: leaf_tree_penalty, MixtureOfExperts: moe_penalty, NeuronTrees: neuron_tree_penalty,
             ProductKeys: product_key_penalty}


class Penalties:
    """Gathers the penalties of the layers while a forward pass runs."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.values: list[Tensor] = []
        self.recipe, self.fraction = recipe, 0.0
        for module in model.modules():
            if type(module) in PENALTIES:
                module.register_forward_hook(self.after_forward)

    def after_forward(self, layer: nn.Module, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        self.values.append(PENALTIES[type(layer)](layer, inputs[0], self.recipe, self.fraction))

    def take(self) -> Tensor | float:
        values, self.values = self.values, []
        return sum(values) if values else 0.0


def hardened_gates(layer: LeafTrees) -> Callable[[Tensor], Tensor]:
    """train_hardened: the decided leaf, whose gate is a product of turns with the gradient of their sigmoids."""
    def gates(logits: Tensor) -> Tensor:
        return path_mask(straight_through_turns(logits), layer.depth)[-1]
    return gates


def set_training_options(model: nn.Module, recipe: Recipe) -> None:
    for layer in model.modules():
        if isinstance(layer, LeafTrees) and recipe.train_paths:
            layer.paths = min(recipe.train_paths, layer.leaves)
        if isinstance(layer, LeafTrees) and recipe.train_hardened:
            layer.gates = hardened_gates(layer)


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
    set_training_options(model, recipe)
    penalties = Penalties(model, recipe)
    optimizer = make_optimizer(model, recipe)
    for step in range(recipe.steps):
        loss_sum = 0.0
        penalties.fraction = step / recipe.steps
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # for noisy routers: the numbers that grove-train draws
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
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
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
