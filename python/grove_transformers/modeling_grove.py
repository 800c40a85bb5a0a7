# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""crammedBERT with trees for Transformers: masked LM, sequence classification, token classification.

The classes have the names that config.json's `architectures` has, so that `grove` reads what Transformers saves, and
the parameters those of the published checkpoints. The layers are in layers_grove.py and
feedforward_grove.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from .configuration_grove import GroveConfig
from .feedforward_grove import init_std  # Transformers 4 copies those files alone that this one names
from .layers_grove import Encoder, init_module


class GrovePreTrainedModel(PreTrainedModel):
    config_class = GroveConfig
    base_model_prefix = "encoder"
    # A constant that the published checkpoints store, and the tied decoder, which they store a second time.
    _keys_to_ignore_on_load_missing = [r"norm_factor"]
    _keys_to_ignore_on_load_unexpected = [r"^decoder\.weight$"]

    def _init_weights(self, module: nn.Module) -> None:
        init_module(module, init_std(self.config.arch))


class ScriptableCrammedBERT(GrovePreTrainedModel):
    """The encoder without a head (AutoModel): `last_hidden_state` [batch, length, width]."""

    def __init__(self, config: GroveConfig) -> None:
        super().__init__(config)
        parts = Encoder(config.arch)
        self.embedding, self.layers, self.final_norm = parts.embedding, parts.layers, parts.final_norm
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding.word_embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embedding.word_embedding = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput | tuple:
        """`token_type_ids` is there because tokenizers make it; the model has none, so only zeros mean something."""
        states = Encoder.forward(self, input_ids, attention_mask)
        keep = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states) if keep else None)
        return output if return_dict is not False else output.to_tuple()


class HeadModel(GrovePreTrainedModel):
    """What the heads share: an encoder and the arguments that go to it."""

    def __init__(self, config: GroveConfig) -> None:
        super().__init__(config)
        self.encoder = ScriptableCrammedBERT(config)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.encoder.set_input_embeddings(value)


class DecoderBias(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))


class ScriptableLMForPreTraining(HeadModel):
    """Masked language model; the decoder's weight is the word embedding."""

    def __init__(self, config: GroveConfig) -> None:
        super().__init__(config)
        self.decoder = DecoderBias(config.vocab_size) if config.arch.get("decoder_bias") else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple:
        """labels [batch, length]: the words to predict, -100 elsewhere."""
        out = self.encoder(input_ids, attention_mask, output_hidden_states=output_hidden_states)
        bias = self.decoder.bias if self.decoder is not None else None
        logits = F.linear(out.last_hidden_state, self.get_input_embeddings().weight, bias)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.to(logits.device).flatten())
        output = MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
        return output if return_dict is not False else output.to_tuple()


class Pooler(nn.Module):
    """[batch, length, width] -> [batch, pooled]. As in the reference, pooling runs over padding too ("mean", which is
    ours, leaves it out), and tanh follows whether there is a dense layer or not."""

    def __init__(self, config: GroveConfig) -> None:
        super().__init__()
        head = config.arch["classification_head"]
        self.kind = head["pooler"]
        if self.kind not in ("avg", "max", "mean", "lse", "zero_index"):
            raise ValueError(f'config.json: "arch.classification_head.pooler" is {self.kind!r}, which is not '
                             "supported; supported: avg, max, mean, lse, zero_index")
        self.dense = nn.Linear(config.hidden_size, head["head_dim"]) if head["include_ff_layer"] else None

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        if self.kind == "avg" or (self.kind == "mean" and attention_mask is None):
            pooled = hidden.mean(dim=1)
        elif self.kind == "mean":
            tokens = attention_mask.ne(0)
            tokens = (tokens | ~tokens.any(dim=1, keepdim=True)).unsqueeze(2).to(hidden.dtype)
            pooled = (hidden * tokens).sum(dim=1) / tokens.sum(dim=1)
        elif self.kind == "max":
            pooled = hidden.amax(dim=1)
        elif self.kind == "lse":
            pooled = hidden.logsumexp(dim=1)
        else:
            pooled = hidden[:, 0]
        return torch.tanh(self.dense(pooled) if self.dense is not None else pooled)


class ScriptableLMForSequenceClassification(HeadModel):
    def __init__(self, config: GroveConfig) -> None:
        super().__init__(config)
        head = config.arch["classification_head"]
        self.pooler = Pooler(config)
        self.dropout = nn.Dropout(head.get("classifier_dropout") or 0.0)
        self.head = nn.Linear(head["head_dim"] if head["include_ff_layer"] else config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple:
        """labels: classes [batch], or values of a regression (one label, or problem_type "regression")."""
        out = self.encoder(input_ids, attention_mask, output_hidden_states=output_hidden_states)
        logits = self.head(self.dropout(self.pooler(out.last_hidden_state, attention_mask)))
        loss = self.loss(logits, labels.to(logits.device)) if labels is not None else None
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
        return output if return_dict is not False else output.to_tuple()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        kind = self.config.problem_type
        if kind == "regression" or (kind is None and self.config.num_labels == 1):
            return F.mse_loss(logits.squeeze(-1).float(), labels.float().view_as(logits.squeeze(-1)))
        if kind == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits.float(), labels.float())
        return F.cross_entropy(logits.float(), labels.flatten())


class ScriptableLMForTokenClassification(HeadModel):
    def __init__(self, config: GroveConfig) -> None:
        super().__init__(config)
        head = config.arch.get("classification_head") or {}
        self.dropout = nn.Dropout(head.get("classifier_dropout") or 0.0)
        self.head = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple:
        """labels [batch, length]: a class for every token, -100 where none counts."""
        out = self.encoder(input_ids, attention_mask, output_hidden_states=output_hidden_states)
        logits = self.head(self.dropout(out.last_hidden_state))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.to(logits.device).flatten())
        output = TokenClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
        return output if return_dict is not False else output.to_tuple()
