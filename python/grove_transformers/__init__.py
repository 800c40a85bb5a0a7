# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Grove's models as Transformers classes; docs/transformers.md says how to use them."""

from .configuration_grove import GroveConfig
from .modeling_grove import (
    ScriptableCrammedBERT,
    ScriptableLMForPreTraining,
    ScriptableLMForSequenceClassification,
    ScriptableLMForTokenClassification,
)

__all__ = [
    "GroveConfig",
    "ScriptableCrammedBERT",
    "ScriptableLMForPreTraining",
    "ScriptableLMForSequenceClassification",
    "ScriptableLMForTokenClassification",
]
