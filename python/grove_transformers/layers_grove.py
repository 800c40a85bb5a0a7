# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The crammedBERT encoder with trees in plain PyTorch: what grove/nn computes, written to be read.

Modules take `arch`, the dictionary of config.json (docs/model-config.md), and have the parameter names of the published
checkpoints (docs/formats.md). Conditional feedforward layers compute every neuron and mask what a token does not visit:
the same result as grove's kernels, without their speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Arch = dict[str, Any]


def activation(arch: Arch) -> Callable[[Tensor], Tensor]:
    names = {"GELU": F.gelu, "ReLU": F.relu}
    if arch["nonlin"] not in names:
        raise ValueError(f'config.json: "arch.nonlin" is {arch["nonlin"]!r}; a conditional layer has one of: '
                         f'{", ".join(names)}')
    return names[arch["nonlin"]]


def init_std(arch: Arch) -> float:
    return (arch.get("init") or {}).get("std", 0.02)


# ---------------------------------------------------------------------------------------------------------------------
# Feedforward layers: [tokens, width] -> [tokens, width]
# ---------------------------------------------------------------------------------------------------------------------


class Dense(nn.Module):
    """W_out act(W_in x); GELUglu: W_out (a * gelu(b)) with [a; b] = W_in x."""

    def __init__(self, arch: Arch) -> None:
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

    def forward(self, x: Tensor) -> Tensor:
        h = self.dense_in(x)
        if self.glu:
            a, b = h.chunk(2, dim=-1)
            return self.dense_out(a * self.act(b))
        return self.dense_out(self.act(h))


def down_the_tree(root: Tensor, left: Tensor, right: Tensor, depth: int,
                  combine: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """Carries a value from the root to every node. `left` and `right` [..., decisions] hold what a decision contributes
    to its left and right child, breadth-first; the result is a list of levels, level l [..., 2^l]."""
    levels = [root]
    for level in range(depth):
        first, count = 2**level - 1, 2**level
        turn_left = combine(levels[-1], left[..., first:first + count])
        turn_right = combine(levels[-1], right[..., first:first + count])
        levels.append(torch.stack((turn_left, turn_right), dim=-1).flatten(-2))
    return levels


class NeuronTrees(nn.Module):
    """UltraFastBERT's layer (arXiv 2311.10770): a node is a neuron, its sign is the turn. Routing takes no gradient."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = arch["hidden_size"]
        self.trees, self.depth = arch["intermed_size"], arch["intermed_depth"]
        self.two_sided = bool(arch.get("fff_two_sided"))
        self.act = activation(arch)
        nodes = self.trees * (2 ** (self.depth + 1) - 1)
        self.linear_in = nn.Linear(width, nodes)
        self.linear_out = nn.Linear(nodes, width, bias=False)
        if self.two_sided:
            self.linear_out_left = nn.Linear(nodes, width, bias=False)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.linear_in.in_features)
        nn.init.uniform_(self.linear_in.weight, -bound, bound)
        nn.init.uniform_(self.linear_in.bias, -bound, bound)
        bound = 1 / math.sqrt(self.trees * (self.depth + 1))
        nn.init.uniform_(self.linear_out.weight, -bound, bound)
        if self.two_sided:
            nn.init.uniform_(self.linear_out_left.weight, -bound, bound)

    def path_mask(self, logits: Tensor) -> Tensor:
        """1 where the token's path passes, else 0."""
        right = (logits.detach() > 0).unflatten(-1, (self.trees, -1))
        levels = down_the_tree(torch.ones_like(right[..., :1]), ~right, right, self.depth, torch.logical_and)
        return torch.cat(levels, dim=-1).flatten(-2).to(logits.dtype)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear_in(x)
        mask = self.path_mask(logits)
        y = self.linear_out(self.act(logits) * mask)
        if self.two_sided:
            y = y + self.linear_out_left(self.act(-logits) * mask)
        return y


class LeafTrees(nn.Module):
    """The original fast feedforward layer (arXiv 2308.14711), of which a token visits the n most probable leaves, gated
    by their renormalized probabilities; n = 1 is the leaf at the end of the decided path, ungated."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width, self.hidden = arch["hidden_size"], arch["leaf_width"]
        self.depth = arch["intermed_depth"]
        self.leaves = 2**self.depth
        self.paths = arch.get("leaf_paths") or 1
        self.decision_scale = arch.get("decision_scale") or 1.0
        self.act = activation(arch)
        self.std = init_std(arch)
        self.node_weights = nn.Parameter(torch.zeros(self.leaves - 1, width))
        self.node_biases = nn.Parameter(torch.zeros(self.leaves - 1, 1))
        self.w1s = nn.Parameter(torch.zeros(self.leaves, width, self.hidden))
        self.b1s = nn.Parameter(torch.zeros(self.leaves, self.hidden))
        self.w2s = nn.Parameter(torch.zeros(self.leaves, self.hidden, width))
        self.b2s = nn.Parameter(torch.zeros(self.leaves, width))

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.w1s.shape[1])
        if self.leaves > 1:
            nn.init.uniform_(self.node_weights, -bound, bound)
            nn.init.zeros_(self.node_biases)
        nn.init.normal_(self.w1s, 0.0, self.std)
        nn.init.normal_(self.w2s, 0.0, self.std)
        nn.init.zeros_(self.b1s)
        nn.init.zeros_(self.b2s)

    def decision_logits(self, x: Tensor) -> Tensor:
        """[tokens, decisions], scaled; in fp32 at least: a leaf's probability is a product of many decisions."""
        logits = F.linear(x, self.node_weights, self.node_biases.flatten())
        return (logits if logits.dtype == torch.float64 else logits.float()) * self.decision_scale

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """[tokens, leaves]"""
        root = torch.zeros_like(logits[..., :1]) if self.depth else logits.new_zeros(*logits.shape[:-1], 1)
        return down_the_tree(root, F.logsigmoid(-logits), F.logsigmoid(logits), self.depth, torch.add)[-1]

    def gates(self, logits: Tensor) -> Tensor:
        """[tokens, leaves], 0 for leaves that are not visited."""
        if self.paths == 1:
            right = logits.detach() > 0
            root = torch.ones(*logits.shape[:-1], 1, dtype=torch.bool, device=logits.device)
            return down_the_tree(root, ~right, right, self.depth, torch.logical_and)[-1].to(logits.dtype)
        log_p = self.log_probabilities(logits)
        top, visited = log_p.topk(self.paths, dim=-1)
        return torch.zeros_like(log_p).scatter(-1, visited, torch.softmax(top, dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        gates = self.gates(self.decision_logits(x)).to(x.dtype)
        w1 = self.w1s.transpose(1, 2).flatten(0, 1)  # [leaves * hidden, width]
        h = self.act(F.linear(x, w1, self.b1s.flatten())).unflatten(-1, (self.leaves, self.hidden))
        gated = (h * gates.unsqueeze(-1)).flatten(-2)
        return gated @ self.w2s.flatten(0, 1) + gates @ self.b2s


# What "intermed_type" names.
FEED_FORWARD_KINDS: dict[str, type[nn.Module] | None] = {
    "ff": Dense,
    "fff": NeuronTrees,
    "leaf_tree": LeafTrees,
    "none": None,
}


def make_feed_forward(arch: Arch) -> nn.Module | None:
    kind = arch.get("intermed_type") or "ff"
    if kind not in FEED_FORWARD_KINDS:
        raise ValueError(f'config.json: "arch.intermed_type" is {kind!r}, which is not supported; supported: '
                         f'{", ".join(FEED_FORWARD_KINDS)}')
    make = FEED_FORWARD_KINDS[kind]
    return make(arch) if make is not None else None


# ---------------------------------------------------------------------------------------------------------------------
# The encoder
# ---------------------------------------------------------------------------------------------------------------------


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """pe[p, 2i] = sin(p / 10000^(2i / width)), pe[p, 2i + 1] = cos of the same; [length, width]."""
    position = torch.arange(length, dtype=torch.float32, device=device).unsqueeze(1)
    even = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angle = position * torch.exp(even * (-math.log(10000.0) / width))
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(1)[:, :width]


class LearnedPositions(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.std = init_std(arch)
        self.embedding = nn.Embedding(arch["embedding"]["max_seq_length"], arch["hidden_size"])

    def reset_parameters(self) -> None:
        if not is_loaded(self.embedding.weight):
            with torch.no_grad():
                self.embedding.weight.copy_(sinusoids(*self.embedding.weight.shape) * (2 * math.sqrt(2) * self.std))

    def forward(self, length: int) -> Tensor:
        return self.embedding.weight[:length]


class SinusoidalPositions(nn.Module):
    """Computed, not stored; only the scaled form has a parameter."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.width = arch["hidden_size"]
        scaled = arch["embedding"]["pos_embedding"] == "scaled-sinusoidal"
        self.scale_factor = nn.Parameter(torch.full((1,), self.width**-0.5)) if scaled else None

    def reset_parameters(self) -> None:
        if self.scale_factor is not None:
            nn.init.constant_(self.scale_factor, self.width**-0.5)

    def forward(self, length: int) -> Tensor:
        if self.scale_factor is None:
            return sinusoids(length, self.width)
        return self.scale_factor * sinusoids(length, self.width, self.scale_factor.device).to(self.scale_factor.dtype)


POSITIONS: dict[str, type[nn.Module]] = {
    "learned": LearnedPositions,
    "scaled-sinusoidal": SinusoidalPositions,
    "sinusoidal": SinusoidalPositions,
}


class Embedding(nn.Module):
    """ids [batch, length] -> [batch, length, width]"""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        keys = arch["embedding"]
        if keys["pos_embedding"] not in POSITIONS:
            raise ValueError(f'config.json: "arch.embedding.pos_embedding" is {keys["pos_embedding"]!r}, which is not '
                             f'supported; supported: {", ".join(POSITIONS)}')
        self.max_length = keys["max_seq_length"]
        self.word_embedding = nn.Embedding(keys["vocab_size"], arch["hidden_size"],
                                           padding_idx=keys.get("pad_token_id") or 0)
        self.pos_embedding = POSITIONS[keys["pos_embedding"]](arch)
        self.norm = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"]) if keys["normalization"] else nn.Identity()
        self.dropout = nn.Dropout(keys.get("dropout_prob") or 0.0)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        if length > self.max_length:
            raise ValueError(f"the texts have {length} tokens, the model takes {self.max_length}; truncate them")
        words = self.word_embedding(ids)
        return self.dropout(self.norm(words + self.pos_embedding(length).to(words)))


class SelfAttention(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = arch["hidden_size"]
        self.heads = arch["attention"]["num_attention_heads"]
        self.head_width = width // self.heads
        self.dropout = nn.Dropout(arch["attention"].get("dropout_prob") or 0.0)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        # A constant that the published checkpoints store.
        self.register_buffer("norm_factor", torch.tensor(self.head_width**-0.5))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.norm_factor, self.head_width**-0.5)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        # The product's rows are grouped by head: head 0's q, k, v, then head 1's, ...
        qkv = self.query_key_value(h).unflatten(-1, (self.heads, 3, self.head_width))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(dim=3))  # [batch, heads, length, head width]
        scores = q @ k.transpose(-1, -2) * self.head_width**-0.5
        if mask is not None:
            scores = scores + mask
        return (self.dropout(torch.softmax(scores, dim=-1)) @ v).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.self_attention = SelfAttention(arch)
        self.dense = nn.Linear(arch["hidden_size"], arch["hidden_size"], bias=False)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        return self.dense(self.self_attention(h, mask))


class Block(nn.Module):
    """h + attention(norm1(h)), then h + feedforward(norm2(h)); without a feedforward layer, attention alone."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.dropout = nn.Dropout(arch.get("hidden_dropout_prob") or 0.0)
        self.norm1 = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])
        self.attn = Attention(arch)
        self.ffn = make_feed_forward(arch)
        if self.ffn is not None:
            self.norm2 = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        h = h + self.dropout(self.attn(self.norm1(h), mask))
        if self.ffn is None:
            return h
        y = self.ffn(self.norm2(h).flatten(0, 1)).view_as(h)
        return h + self.dropout(y)


class Encoder(nn.Module):
    """ids [batch, length], attention_mask [batch, length] (1 token, 0 padding) -> hidden states, embedding first; the
    last one, [batch, length, width], is after the final norm."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.embedding = Embedding(arch)
        self.layers = nn.ModuleList(Block(arch) for _ in range(arch["num_transformer_layers"]))
        norm = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])
        self.final_norm = norm if arch["final_norm"] else nn.Identity()

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> list[Tensor]:
        states = [self.embedding(ids)]
        mask = None
        if attention_mask is not None:
            # Finite, as in the reference, so that a row of padding alone stays finite too.
            mask = (1.0 - attention_mask.to(states[0].dtype))[:, None, None, :] * -10000.0
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        states[-1] = self.final_norm(states[-1])
        return states


def is_loaded(parameter: nn.Parameter) -> bool:
    """Transformers marks what comes from a checkpoint; it guards nn.init itself, for whole parameters."""
    return getattr(parameter, "_is_hf_initialized", False)


def init_module(module: nn.Module, std: float) -> None:
    """Fresh weights for one module (nn.Module.apply: children first, so that a layer's own scheme comes last)."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, 0.0, std)
        if module.padding_idx is not None and not is_loaded(module.weight):
            nn.init.zeros_(module.weight[module.padding_idx])
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif type(module) in INITIALIZED:
        module.reset_parameters()


INITIALIZED = {kind for kind in FEED_FORWARD_KINDS.values() if kind} | set(POSITIONS.values()) | {SelfAttention}
