# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Model directories with random weights: a BERT of Hugging Face's layout, and the same BERT with other feedforward
layers in place of its dense ones, as grove reads them. All other weights are the same."""

import json
import pathlib

import numpy
from safetensors.numpy import save_file

# The keys of "feed_forward" (docs/model-config.md); None: the dense layer.
FEED_FORWARDS = {
    "dense": None,
    "neuron_tree": {"intermed_type": "fff", "intermed_size": 16, "intermed_depth": 7, "nonlin": "GELU"},
    "leaf_tree": {"intermed_type": "leaf_tree", "intermed_depth": 7, "leaf_width": 32, "leaf_paths": 4, "nonlin": "GELU"},
    "none": {"intermed_type": "none", "nonlin": "GELU"},
}


class Shape:
    def __init__(self, layers=12, width=768, heads=12, intermediate=3072, vocabulary=30522, max_length=512):
        self.layers, self.width, self.heads, self.intermediate = layers, width, heads, intermediate
        self.vocabulary, self.max_length = vocabulary, max_length

    def config(self):
        return {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": self.vocabulary,
                "hidden_size": self.width, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "intermediate_size": self.intermediate, "hidden_act": "gelu", "max_position_embeddings": self.max_length,
                "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "pad_token_id": 0, "torch_dtype": "float32"}


def _random(generator, *shape, fan_in=None):
    spread = 1.0 / numpy.sqrt(fan_in or shape[-1])
    return (generator.standard_normal(shape, dtype=numpy.float32) * numpy.float32(spread))


def _linear(tensors, generator, name, width_in, width_out):
    tensors[name + ".weight"] = _random(generator, width_out, width_in)
    tensors[name + ".bias"] = _random(generator, width_out, fan_in=2500)


def _norm(tensors, name, width):
    tensors[name + ".weight"] = numpy.ones(width, numpy.float32)
    tensors[name + ".bias"] = numpy.zeros(width, numpy.float32)


def _feed_forward(tensors, generator, prefix, kind, shape):
    width = shape.width
    if kind == "dense":
        _linear(tensors, generator, prefix + "intermediate.dense", width, shape.intermediate)
        _linear(tensors, generator, prefix + "output.dense", shape.intermediate, width)
    elif kind == "neuron_tree":
        neurons = 16 * 255
        tree = prefix + "feed_forward."
        tensors[tree + "linear_in.weight"] = _random(generator, neurons, width)
        tensors[tree + "linear_in.bias"] = _random(generator, neurons, fan_in=2500)
        tensors[tree + "linear_out.weight"] = _random(generator, width, neurons, fan_in=128)
    elif kind == "leaf_tree":
        tree, leaves, leaf = prefix + "feed_forward.", 128, 32
        tensors[tree + "node_weights"] = _random(generator, leaves - 1, width)
        tensors[tree + "node_biases"] = _random(generator, leaves - 1, 1, fan_in=2500)
        tensors[tree + "w1s"] = _random(generator, leaves, width, leaf, fan_in=width)
        tensors[tree + "b1s"] = _random(generator, leaves, leaf, fan_in=2500)
        tensors[tree + "w2s"] = _random(generator, leaves, leaf, width, fan_in=128)
        tensors[tree + "b2s"] = _random(generator, leaves, width, fan_in=2500)


def write(folder, kind, shape):
    """Writes config.json and model.safetensors; the vocabulary is for converters that ask for one."""
    generator = numpy.random.default_rng(1)
    width, tensors = shape.width, {}
    tensors["embeddings.word_embeddings.weight"] = _random(generator, shape.vocabulary, width)
    tensors["embeddings.position_embeddings.weight"] = _random(generator, shape.max_length, width)
    tensors["embeddings.token_type_embeddings.weight"] = _random(generator, 2, width)
    _norm(tensors, "embeddings.LayerNorm", width)
    for i in range(shape.layers):
        prefix = f"encoder.layer.{i}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            _linear(tensors, generator, prefix + name, width, width)
        _norm(tensors, prefix + "attention.output.LayerNorm", width)
        if kind != "none":
            _norm(tensors, prefix + "output.LayerNorm", width)
    _linear(tensors, generator, "pooler.dense", width, width)
    for i in range(shape.layers):  # last, so that all kinds share what comes before
        _feed_forward(tensors, generator, f"encoder.layer.{i}.", kind, shape)
    config = shape.config()
    if FEED_FORWARDS[kind] is not None:
        config["model_type"] = "grove_bert"
        config["feed_forward"] = FEED_FORWARDS[kind]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"word{i}" for i in range(5, shape.vocabulary)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder
