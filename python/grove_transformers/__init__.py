# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Grove's models as Transformers classes; docs/transformers.md says how to use them. `layers_grove` and
`feedforward_grove` need PyTorch alone: nothing else is imported before it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

HOME = {"GroveConfig": "configuration_grove", "ScriptableCrammedBERT": "modeling_grove",
        "ScriptableLMForPreTraining": "modeling_grove", "ScriptableLMForSequenceClassification": "modeling_grove",
        "ScriptableLMForTokenClassification": "modeling_grove"}
__all__ = list(HOME)


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{HOME[name]}", __name__), name)
