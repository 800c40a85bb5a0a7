# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""config.json of a crammedBERT model, as `grove` and the published models write it, for Transformers.

The shape of the encoder stays where the file has it: in the dictionary `arch` (docs/model-config.md lists its keys).
What Transformers asks of every model is answered from there.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

# Everything that the paper's code can do and this one cannot: keys whose other values would change the result.
FIXED_ARCH = {
    "norm": "LayerNorm",
    "norm_scheme": "pre",
    "use_bias": False,
    "skip_head_transform": True,
    "ffn_layer_frequency": 1,
}
FIXED_ATTENTION = {
    "type": "self-attention",
    "causal_attention": False,
    "skip_output_projection": False,
    "qkv_bias": False,
    "rotary_embedding": False,
    "sequence_op": "torch-softmax",
}


def refuse_other_values(where: str, values: dict[str, Any], fixed: dict[str, Any]) -> None:
    for key, only in fixed.items():
        value = values.get(key)
        if value is not None and value != only:
            raise ValueError(f'config.json: "{where}.{key}" is {value!r}, which is not supported; supported: {only!r}')


class GroveConfig(PretrainedConfig):
    """`GroveConfig(arch={...})`; without `arch` it describes no model: the default to compare others with."""

    model_type = "crammedBERT"

    def __init__(self, arch: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.arch: dict[str, Any] = dict(arch or {})
        if self.arch:
            refuse_other_values("arch", self.arch, FIXED_ARCH)
            refuse_other_values("arch.attention", self.arch["attention"], FIXED_ATTENTION)
            kwargs["vocab_size"] = self.arch["embedding"]["vocab_size"]
            kwargs.setdefault("pad_token_id", self.arch["embedding"].get("pad_token_id") or 0)
            if self.arch.get("num_labels") and not kwargs.get("id2label"):
                kwargs.setdefault("num_labels", self.arch["num_labels"])
        kwargs.setdefault("tie_word_embeddings", True)
        vocab_size = kwargs.pop("vocab_size", None)
        super().__init__(**kwargs)
        self.vocab_size = vocab_size

    @property
    def hidden_size(self) -> int:
        return self.arch["hidden_size"]

    @property
    def num_hidden_layers(self) -> int:
        return self.arch["num_transformer_layers"]

    @property
    def num_attention_heads(self) -> int:
        return self.arch["attention"]["num_attention_heads"]

    @property
    def max_position_embeddings(self) -> int:
        return self.arch["embedding"]["max_seq_length"]

    def to_dict(self) -> dict[str, Any]:
        """What Transformers may have changed is written where `grove` reads it."""
        values = super().to_dict()
        arch = values.get("arch")
        if arch:
            arch["embedding"]["vocab_size"] = self.vocab_size
            if any("Classification" in name for name in values.get("architectures") or []):
                arch["num_labels"] = self.num_labels
        return values
