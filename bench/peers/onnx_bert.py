# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""A BERT as an ONNX graph of ONNX Runtime's own fused operators, the ones its transformer optimizer ends at."""

import json
import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class _Graph:
    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(value), name))
        return name

    def add(self, kind, inputs, name, domain="", **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, name=name, **attributes))
        return name


def _fused(graph, kind, inputs, name, **attributes):
    return graph.add(kind, inputs, name, domain="com.microsoft", **attributes)


def _layer(graph, weights, index, x, config):
    prefix = f"encoder.layer.{index}."
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]

    def put(name, value):
        return graph.constant(prefix + name, value)

    def norm(inputs, name, bias, out):
        gamma, beta = (put(f"{name}.{part}", weights[f"{prefix}{name}.{part}"]) for part in ("weight", "bias"))
        return _fused(graph, "SkipLayerNormalization", inputs + [gamma, beta, bias], prefix + out, epsilon=eps)

    parts = ["attention.self.query", "attention.self.key", "attention.self.value"]
    qkv = put("qkv", numpy.concatenate([weights[f"{prefix}{p}.weight"].T for p in parts], axis=1))
    qkv_bias = put("qkv.bias", numpy.concatenate([weights[f"{prefix}{p}.bias"] for p in parts]))
    mixed = _fused(graph, "Attention", [x, qkv, qkv_bias, "attention_mask"], prefix + "mixed", num_heads=heads)

    def product(name, value):
        weight = put(name + ".weight", weights[f"{prefix}{name}.weight"].T)
        return graph.add("MatMul", [value, weight], prefix + name), put(name + ".bias", weights[f"{prefix}{name}.bias"])

    out, bias = product("attention.output.dense", mixed)
    x = norm([out, x], "attention.output.LayerNorm", bias, "attended")
    hidden, bias = product("intermediate.dense", x)
    hidden = _fused(graph, "BiasGelu", [hidden, bias], prefix + "gelu")
    out, bias = product("output.dense", hidden)
    return norm([out, x], "output.LayerNorm", bias, "out")


def write(folder, path):
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    weights = load_file(pathlib.Path(folder) / "model.safetensors")
    graph = _Graph()
    words = graph.constant("words", weights["embeddings.word_embeddings.weight"])
    # Token type 0 everywhere, as when a rival is given none.
    positions = graph.constant("positions", weights["embeddings.position_embeddings.weight"]
                               + weights["embeddings.token_type_embeddings.weight"][0])
    zero, one = graph.constant("zero", numpy.array([0])), graph.constant("one", numpy.array([1]))
    two = graph.constant("two", numpy.array([2]))
    shape = graph.add("Shape", ["input_ids"], "shape")
    length = graph.add("Slice", [shape, one, two], "length")
    seen = graph.add("Slice", [positions, zero, length, zero], "seen_positions")
    x = graph.add("Add", [graph.add("Gather", [words, "input_ids"], "looked_up"), seen], "embedded")
    gamma, beta = (graph.constant(f"norm.{p}", weights[f"embeddings.LayerNorm.{p}"]) for p in ("weight", "bias"))
    x = graph.add("LayerNormalization", [x, gamma, beta], "normed", epsilon=config["layer_norm_eps"], axis=-1)
    for i in range(config["num_hidden_layers"]):
        x = _layer(graph, weights, i, x, config)
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"]),
              helper.make_tensor_value_info("attention_mask", TensorProto.INT32, ["batch", "length"])]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", config["hidden_size"]])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "bert", inputs, [output], graph.initializers),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 9
    onnx.save(model, str(path))
