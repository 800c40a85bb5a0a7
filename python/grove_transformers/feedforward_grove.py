# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Every feedforward layer that config.json can describe, in plain PyTorch: what grove/nn computes, written to be read
beside docs/feedforward-kinds.md. `layer(x, ids)`: x [tokens, width], ids [tokens] -> [tokens, width].

Conditional layers compute every neuron and weigh with 0 what a token does not visit: the same result as grove's
kernels, without their speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Arch = dict[str, Any]


def one_of(arch: Arch, key: str, default: str | None, *names: str) -> str:
    value = arch.get(key) or default
    if value not in names:
        raise ValueError(f'config.json: "arch.{key}" is {value!r}, which is not supported here; supported: '
                         f'{", ".join(names)}')
    return value


def activation(arch: Arch) -> Callable[[Tensor], Tensor]:
    return {"GELU": F.gelu, "ReLU": F.relu}[one_of(arch, "nonlin", None, "GELU", "ReLU")]


def init_std(arch: Arch) -> float:
    return (arch.get("init") or {}).get("std", 0.02)


def in_full_precision(x: Tensor) -> Tensor:
    """Routing is never computed in bf16: probabilities of deep leaves are products of many decisions."""
    return x if x.dtype == torch.float64 else x.float()


class Dense(nn.Module):
    """W_out act(W_in x); GELUglu: W_out (a * gelu(b)) with [a; b] = W_in x."""

    def __init__(self, arch: Arch, layer: int) -> None:
        super().__init__()
        width, neurons = arch["hidden_size"], arch["intermed_size"]
        self.glu = arch["nonlin"] == "GELUglu"
        self.act = F.gelu if self.glu else activation(arch)
        self.std = init_std(arch)
        self.dense_in = nn.Linear(width, neurons, bias=False)
        self.dense_out = nn.Linear(neurons // 2 if self.glu else neurons, width, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.dense_in.weight, 0.0, self.std)
        nn.init.normal_(self.dense_out.weight, 0.0, self.std)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        h = self.dense_in(x)
        if self.glu:
            a, b = h.chunk(2, dim=-1)
            return self.dense_out(a * self.act(b))
        return self.dense_out(self.act(h))


class Conditional(nn.Module):
    """What all conditional layers share: the always-on part, a dense layer whose output is added."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.width, self.act, self.std = arch["hidden_size"], activation(arch), init_std(arch)
        self.always_on = arch.get("always_on") or 0
        if self.always_on:
            self.always_on_in = nn.Linear(self.width, self.always_on, bias=False)
            self.always_on_out = nn.Linear(self.always_on, self.width, bias=False)

    def reset_parameters(self) -> None:
        if self.always_on:
            nn.init.normal_(self.always_on_in.weight, 0.0, self.std)
            nn.init.normal_(self.always_on_out.weight, 0.0, self.std)

    def compute(self, x: Tensor, ids: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        y = self.compute(x, ids)
        return y + self.always_on_out(self.act(self.always_on_in(x))) if self.always_on else y


# ---------------------------------------------------------------------------------------------------------------------
# Trees. Logits of decisions are [tokens, trees, 2^depth - 1], breadth-first within a tree.
# ---------------------------------------------------------------------------------------------------------------------


def down_the_tree(root: Tensor, left: Tensor, right: Tensor, depth: int,
                  combine: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """Carries a value from the root [..., 1] to every node. `left` and `right` [..., decisions] hold what a decision
    contributes to its left and right child; the result is a list of levels, level l [..., 2^l]."""
    levels = [root]
    for level in range(depth):
        first, count = 2**level - 1, 2**level
        turn_left = combine(levels[-1], left[..., first:first + count])
        turn_right = combine(levels[-1], right[..., first:first + count])
        levels.append(torch.stack((turn_left, turn_right), dim=-1).flatten(-2))
    return levels


def at_root(value: float, logits: Tensor) -> Tensor:
    return torch.full((*logits.shape[:-1], 1), value, dtype=logits.dtype, device=logits.device)


def log_probabilities(logits: Tensor, depth: int) -> Tensor:
    """Of every leaf, [tokens, trees, leaves]."""
    return down_the_tree(at_root(0.0, logits), F.logsigmoid(-logits), F.logsigmoid(logits), depth, torch.add)[-1]


def path_mask(right: Tensor, depth: int) -> list[Tensor]:
    """From turns (1 right, 0 left) to levels that are 1 where the path passes and 0 elsewhere."""
    return down_the_tree(at_root(1.0, right), 1 - right, right, depth, torch.mul)


def straight_through_turns(logits: Tensor) -> Tensor:
    """1 right, 0 left, with the gradient of sigmoid(logits) (arXiv 1308.3432)."""
    right = torch.sigmoid(logits)
    return (logits.detach() > 0).to(logits.dtype) + (right - right.detach())


MASK64 = 2**64 - 1


def mix_bits(z: int) -> int:
    """The output function of splitmix64, as grove/kernels/token_path.h has it."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK64
    return z ^ z >> 31


def as_signed(z: int) -> int:
    return z - 2**64 if z >= 2**63 else z


def tree_key(*values: int) -> int:
    key = 0
    for value in values:
        key = mix_bits(key + 0x9E3779B97F4A7C15 + value & MASK64)
    return as_signed(key)


def token_paths(keys: Tensor, ids: Tensor) -> Tensor:
    """mix_bits(key ^ id) for every tree, [tokens, trees]; bit j is the turn at level j. int64 products wrap around."""
    def shifted(z: Tensor, bits: int) -> Tensor:  # PyTorch's own shift keeps the sign
        return (z >> bits) & (2 ** (64 - bits) - 1)
    z = ids.unsqueeze(1) ^ keys
    z = (z ^ shifted(z, 30)) * as_signed(0xBF58476D1CE4E5B9)
    z = (z ^ shifted(z, 27)) * as_signed(0x94D049BB133111EB)
    return z ^ shifted(z, 31)


class NeuronTrees(Conditional):
    """UltraFastBERT's layer (arXiv 2311.10770): a node is a neuron, the sign of its logit is the turn, which takes no
    gradient. fff_routing: straight_through gives it one in training; random and token_hash decide without the logit."""

    def __init__(self, arch: Arch, layer: int) -> None:
        super().__init__(arch)
        self.trees, self.depth = arch["intermed_size"], arch["intermed_depth"]
        self.two_sided = bool(arch.get("fff_two_sided"))
        self.routing = one_of(arch, "fff_routing", "hard", "hard", "straight_through", "random", "token_hash")
        self.decisions = 2**self.depth - 1  # of one tree
        nodes = self.trees * (2 * self.decisions + 1)
        self.linear_in = nn.Linear(self.width, nodes)
        self.linear_out = nn.Linear(nodes, self.width, bias=False)
        if self.two_sided:
            self.linear_out_left = nn.Linear(nodes, self.width, bias=False)
        if self.routing == "random":
            self.register_buffer("decision_planes", torch.zeros(self.trees * self.decisions, self.width))
        seed = arch.get("routing_seed") or 0
        self.keys = [tree_key(seed, layer, tree) for tree in range(self.trees)]

    def reset_parameters(self) -> None:
        super().reset_parameters()
        bound = 1 / math.sqrt(self.width)
        nn.init.uniform_(self.linear_in.weight, -bound, bound)
        nn.init.uniform_(self.linear_in.bias, -bound, bound)
        if self.routing == "random" and self.depth:
            nn.init.normal_(self.decision_planes, 0.0, bound)
        bound = 1 / math.sqrt(self.trees * (self.depth + 1))
        nn.init.uniform_(self.linear_out.weight, -bound, bound)
        if self.two_sided:
            nn.init.uniform_(self.linear_out_left.weight, -bound, bound)

    def decision_logits(self, logits: Tensor) -> Tensor:
        return logits.unflatten(-1, (self.trees, -1))[..., :self.decisions]

    def turns(self, x: Tensor, logits: Tensor, ids: Tensor) -> Tensor:
        """1 right, 0 left, [tokens, trees, decisions]."""
        if self.routing == "token_hash":
            paths = token_paths(torch.tensor(self.keys, device=ids.device), ids).unsqueeze(-1)
            levels = [(paths >> level & 1).expand(-1, -1, 2**level) for level in range(self.depth)]
            return torch.cat([paths[..., :0], *levels], dim=-1).to(logits.dtype)
        decisions = self.decision_logits(logits)
        if self.routing == "straight_through" and self.training:
            return straight_through_turns(decisions)
        if self.routing == "random":
            decisions = F.linear(x, self.decision_planes).unflatten(-1, (self.trees, self.decisions))
        return (decisions.detach() > 0).to(logits.dtype)

    def compute(self, x: Tensor, ids: Tensor) -> Tensor:
        logits = self.linear_in(x)
        mask = torch.cat(path_mask(self.turns(x, logits, ids), self.depth), dim=-1).flatten(-2)
        y = self.linear_out(self.act(logits) * mask)
        if self.two_sided:
            y = y + self.linear_out_left(self.act(-logits) * mask)
        return y


# ---------------------------------------------------------------------------------------------------------------------
# Small nets side by side, of which a token visits some: leaves of trees, experts of a mixture
# ---------------------------------------------------------------------------------------------------------------------


class Experts(Conditional):
    """y = sum over experts e of gate_e (act(x W1_e + b1_e) W2_e + b2_e)"""

    def __init__(self, arch: Arch, count: int, hidden: int) -> None:
        super().__init__(arch)
        self.renormalized = one_of(arch, "gates", "renormalized", "renormalized", "probability") == "renormalized"
        self.w1s = nn.Parameter(torch.zeros(count, self.width, hidden))
        self.b1s = nn.Parameter(torch.zeros(count, hidden))
        self.w2s = nn.Parameter(torch.zeros(count, hidden, self.width))
        self.b2s = nn.Parameter(torch.zeros(count, self.width))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.w1s, 0.0, self.std)
        nn.init.normal_(self.w2s, 0.0, self.std)
        nn.init.zeros_(self.b1s)
        nn.init.zeros_(self.b2s)

    def gated(self, x: Tensor, gates: Tensor) -> Tensor:
        """gates [tokens, experts], 0 for experts that are not visited."""
        gates = gates.to(x.dtype)
        w1 = self.w1s.transpose(1, 2).flatten(0, 1)  # [experts * hidden, width]
        h = self.act(F.linear(x, w1, self.b1s.flatten())).unflatten(-1, self.b1s.shape)
        return (h * gates.unsqueeze(-1)).flatten(-2) @ self.w2s.flatten(0, 1) + gates @ self.b2s


class LeafTrees(Experts):
    """The original fast feedforward layer (arXiv 2308.14711), of which a token visits the n most probable leaves of
    each tree, gated by their probabilities; n = 1 is the leaf at the end of the decided path."""

    def __init__(self, arch: Arch, layer: int) -> None:
        trees, depth = arch.get("leaf_trees") or 1, arch["intermed_depth"]
        super().__init__(arch, trees * 2**depth, arch["leaf_width"])
        self.trees, self.depth = trees, depth
        self.leaves, self.decisions = 2**depth, 2**depth - 1  # of one tree
        self.paths = arch.get("leaf_paths") or 1
        self.decision_scale = arch.get("decision_scale") or 1.0
        self.node_weights = nn.Parameter(torch.zeros(self.trees * self.decisions, self.width))
        self.node_biases = nn.Parameter(torch.zeros(self.trees * self.decisions, 1))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.depth:
            bound = 1 / math.sqrt(self.width)
            nn.init.uniform_(self.node_weights, -bound, bound)
            nn.init.zeros_(self.node_biases)

    def decision_logits(self, x: Tensor) -> Tensor:
        logits = in_full_precision(F.linear(x, self.node_weights, self.node_biases.flatten()))
        return logits.unflatten(-1, (self.trees, self.decisions)) * self.decision_scale

    def gates(self, logits: Tensor) -> Tensor:
        """[tokens, trees, leaves], 0 for leaves that are not visited."""
        if self.paths == 1:
            decided = path_mask((logits.detach() > 0).to(logits.dtype), self.depth)[-1]
            return decided if self.renormalized else decided * log_probabilities(logits, self.depth).exp()
        top, visited = (log_p := log_probabilities(logits, self.depth)).topk(self.paths, dim=-1)
        gates = torch.softmax(top, dim=-1) if self.renormalized else top.exp()
        return torch.zeros_like(log_p).scatter(-1, visited, gates)

    def compute(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.gated(x, self.gates(self.decision_logits(x)).flatten(1))


class MixtureOfExperts(Experts):
    """The experts_per_token most probable of all experts. router: softmax (arXiv 2101.03961, 2006.16668, no capacity
    limit) or noisy_top_k (arXiv 1701.06538: learnt noise in training)."""

    def __init__(self, arch: Arch, layer: int) -> None:
        super().__init__(arch, arch["experts"], arch["expert_width"])
        self.experts, self.top_k = arch["experts"], arch["experts_per_token"]
        self.noisy = one_of(arch, "router", "softmax", "softmax", "noisy_top_k") == "noisy_top_k"
        self.router = nn.Linear(self.width, self.experts, bias=False)
        if self.noisy:
            self.router_noise = nn.Linear(self.width, self.experts, bias=False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.noisy:
            nn.init.zeros_(self.router.weight)
            nn.init.zeros_(self.router_noise.weight)
        else:
            bound = 1 / math.sqrt(self.width)
            nn.init.uniform_(self.router.weight, -bound, bound)

    def router_logits(self, x: Tensor) -> Tensor:
        return in_full_precision(self.router(x))

    def noise_spread(self, x: Tensor) -> Tensor:
        return F.softplus(in_full_precision(self.router_noise(x)))

    def gates(self, logits: Tensor) -> Tensor:
        """[tokens, experts], 0 for experts that are not visited."""
        top, chosen = (logits if self.noisy else torch.softmax(logits, dim=-1)).topk(self.top_k, dim=-1)
        if self.noisy:
            gates = torch.softmax(top, dim=-1)
        else:
            gates = top / top.sum(dim=-1, keepdim=True) if self.renormalized else top
        return torch.zeros_like(logits).scatter(-1, chosen, gates)

    def compute(self, x: Tensor, ids: Tensor) -> Tensor:
        logits = self.router_logits(x)
        if self.noisy and self.training:
            logits = logits + torch.randn_like(logits) * self.noise_spread(x)
        self.last_logits = logits  # with their noise, for losses of whoever trains the layer
        return self.gated(x, self.gates(logits))


class ProductKeys(Conditional):
    """PEER (arXiv 2407.04153): every head looks for the neurons_per_head neurons whose pair of sub-keys meets its query
    best; neuron i * sub_keys + j has sub-key i of the first half and j of the second. Layer norm of the queries."""

    def __init__(self, arch: Arch, layer: int) -> None:
        super().__init__(arch)
        self.heads, self.count, self.top_k = arch["key_heads"], arch["sub_keys"], arch["neurons_per_head"]
        self.half = arch["key_width"] // 2
        self.query = nn.Linear(self.width, self.heads * 2 * self.half, bias=False)
        self.query_norm = nn.LayerNorm(2 * self.half)
        self.sub_keys = nn.Parameter(torch.zeros(2, self.count, self.half))
        self.neurons_in = nn.Parameter(torch.zeros(self.count**2, self.width))
        self.neurons_out = nn.Parameter(torch.zeros(self.count**2, self.width))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.query.weight, 0.0, self.width**-0.5)
        nn.init.normal_(self.sub_keys, 0.0, self.half**-0.5)
        nn.init.normal_(self.neurons_in, 0.0, self.std)
        nn.init.normal_(self.neurons_out, 0.0, self.std)

    def scores(self, x: Tensor) -> list[Tensor]:
        """Of the sub-keys of each half, [tokens, heads, sub_keys]."""
        halves = self.query_norm(self.query(x).unflatten(-1, (self.heads, -1))).split(self.half, dim=-1)
        return [in_full_precision(half @ self.sub_keys[side].T) for side, half in enumerate(halves)]

    def gates(self, scores: list[Tensor]) -> Tensor:
        """[tokens, sub_keys^2]: two heads may choose the same neuron, whose gates add up. The best pairs are among
        those of the best sub-keys of each half."""
        (top1, index1), (top2, index2) = (s.topk(self.top_k, dim=-1) for s in scores)
        pairs = (top1.unsqueeze(-1) + top2.unsqueeze(-2)).flatten(-2)
        names = (index1.unsqueeze(-1) * self.count + index2.unsqueeze(-2)).flatten(-2)
        best, place = pairs.topk(self.top_k, dim=-1)
        chosen, gates = names.gather(-1, place), torch.softmax(best, dim=-1)
        every = torch.zeros(gates.shape[0], self.count**2, dtype=gates.dtype, device=gates.device)
        return every.scatter_add(-1, chosen.flatten(1), gates.flatten(1))

    def compute(self, x: Tensor, ids: Tensor) -> Tensor:
        h = self.act(x @ self.neurons_in.T)
        return (h * self.gates(self.scores(x)).to(h.dtype)) @ self.neurons_out


# What "intermed_type" names.
FEED_FORWARD_KINDS: dict[str, type[nn.Module] | None] = {
    "ff": Dense,
    "fff": NeuronTrees,
    "leaf_tree": LeafTrees,
    "moe": MixtureOfExperts,
    "none": None,
    "product_key": ProductKeys,
}


def make_feed_forward(arch: Arch, layer: int) -> nn.Module | None:
    """An entry of layer_feed_forward stands in place of the keys of `arch`; null is no entry."""
    own = (arch.get("layer_feed_forward") or {layer: None})[layer]
    if own is not None:
        arch = {"hidden_size": arch["hidden_size"], "init": arch.get("init"), **own}
    make = FEED_FORWARD_KINDS[one_of(arch, "intermed_type", "ff", *FEED_FORWARD_KINDS)]
    return make(arch, layer) if make is not None else None
