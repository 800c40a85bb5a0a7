# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The crammedBERT encoder in plain PyTorch: what grove/nn/encoder.cc computes, written to be read.

Modules take `arch`, the dictionary of config.json (docs/model-config.md), and have the parameter names of the published
checkpoints (docs/formats.md). The feedforward layers are in feedforward_grove.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .feedforward_grove import FEED_FORWARD_KINDS, Arch, init_std, make_feed_forward


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

    def __init__(self, arch: Arch, layer: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(arch.get("hidden_dropout_prob") or 0.0)
        self.norm1 = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])
        self.attn = Attention(arch)
        self.ffn = make_feed_forward(arch, layer)
        if self.ffn is not None:
            self.norm2 = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])

    def forward(self, h: Tensor, mask: Tensor | None, ids: Tensor) -> Tensor:
        h = h + self.dropout(self.attn(self.norm1(h), mask))
        if self.ffn is None:
            return h
        y = self.ffn(self.norm2(h).flatten(0, 1), ids.flatten()).view_as(h)
        return h + self.dropout(y)


class Encoder(nn.Module):
    """ids [batch, length], attention_mask [batch, length] (1 token, 0 padding) -> hidden states, embedding first; the
    last one, [batch, length, width], is after the final norm."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.embedding = Embedding(arch)
        self.layers = nn.ModuleList(Block(arch, i) for i in range(arch["num_transformer_layers"]))
        norm = nn.LayerNorm(arch["hidden_size"], eps=arch["norm_eps"])
        self.final_norm = norm if arch["final_norm"] else nn.Identity()

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> list[Tensor]:
        states = [self.embedding(ids)]
        mask = None
        if attention_mask is not None:
            # Finite, as in the reference, so that a row of padding alone stays finite too.
            mask = (1.0 - attention_mask.to(states[0].dtype))[:, None, None, :] * -10000.0
        for layer in self.layers:
            states.append(layer(states[-1], mask, ids))
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
