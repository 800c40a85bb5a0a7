# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Tiny model directories and safetensors files in plain Python, so that the tests of the programs need no data."""

import json
import pathlib
import random
import struct

WIDTH, HEADS, LAYERS, TREES, DEPTH, MAX_LENGTH = 16, 2, 2, 2, 2, 24
WORDS = ["paris", "london", "is", "the", "capital", "of", "france", "england", ".", ",", "a", "##s", "p", "##a", "##r"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS

DTYPES = {"F32": "f", "I64": "q", "I32": "i", "F64": "d"}


def pack(values, dtype):
    return struct.pack(f"<{len(values)}{DTYPES[dtype]}", *values)


def image(header, data=b""):
    """A safetensors file from a header (dict or raw bytes) and its data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def safetensors(tensors):
    """tensors: name -> (dtype, shape, values)."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        raw = pack(values, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return image(header, data)


def read_safetensors(path):
    """name -> (dtype, shape, values), for the dtypes above."""
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        count = (end - begin) // struct.calcsize(DTYPES[entry["dtype"]])
        values = struct.unpack(f"<{count}{DTYPES[entry['dtype']]}", raw[begin:end])
        tensors[name] = (entry["dtype"], entry["shape"], values)
    return tensors


def config(**arch):
    """config.json of the published layout; keywords replace keys of "arch"."""
    base = {
        "architectures": ["ScriptableCrammedBERT"], "num_transformer_layers": LAYERS, "intermed_type": "fff",
        "hidden_size": WIDTH, "intermed_size": TREES, "intermed_depth": DEPTH, "hidden_dropout_prob": 0.1,
        "norm": "LayerNorm", "norm_eps": 1e-12, "norm_scheme": "pre", "nonlin": "GELU", "tie_weights": True,
        "decoder_bias": False, "sparse_prediction": 0.25, "loss": "cross-entropy", "objective_layout": "MLM",
        "embedding": {"vocab_size": len(VOCABULARY), "pos_embedding": "scaled-sinusoidal", "dropout_prob": 0.1,
                      "pad_token_id": 0, "max_seq_length": MAX_LENGTH, "embedding_dim": WIDTH, "normalization": True,
                      "stable_low_precision": False},
        "attention": {"type": "self-attention", "causal_attention": False, "num_attention_heads": HEADS,
                      "dropout_prob": 0.1, "skip_output_projection": False, "qkv_bias": False,
                      "rotary_embedding": False, "seq_op_in_fp32": False, "sequence_op": "torch-softmax"},
        "init": {"type": "normal", "std": 0.02}, "ffn_layer_frequency": 1, "skip_head_transform": True,
        "use_bias": False, "final_norm": True, "num_labels": None,
        "classification_head": {"pooler": "avg", "include_ff_layer": True, "head_dim": WIDTH, "nonlin": "Tanh",
                                "classifier_dropout": 0.1},
    }
    base.update(arch)
    return {"architectures": ["ScriptableLMForPreTraining"], "model_type": "crammedBERT", "arch": base,
            "vocab_size": len(VOCABULARY)}


def weights(seed=1):
    """name -> (dtype, shape, values) of the model that config() describes."""
    generator = random.Random(seed)
    tensors = {}

    def add(name, *shape, value=None):
        size = 1
        for extent in shape:
            size *= extent
        values = [value] * size if value is not None else [generator.gauss(0, 0.3) for _ in range(size)]
        tensors[name] = ("F32", list(shape), values)

    def add_norm(name):
        add(name + ".weight", WIDTH, value=1.0)
        add(name + ".bias", WIDTH, value=0.0)

    nodes = TREES * (2 ** (DEPTH + 1) - 1)
    add("encoder.embedding.word_embedding.weight", len(VOCABULARY), WIDTH)
    add("encoder.embedding.pos_embedding.scale_factor", 1, value=0.25)
    add_norm("encoder.embedding.norm")
    add_norm("encoder.final_norm")
    for layer in range(LAYERS):
        prefix = f"encoder.layers.{layer}."
        add_norm(prefix + "norm1")
        add_norm(prefix + "norm2")
        add(prefix + "attn.self_attention.query_key_value.weight", 3 * WIDTH, WIDTH)
        add(prefix + "attn.dense.weight", WIDTH, WIDTH)
        add(prefix + "ffn.linear_in.weight", nodes, WIDTH)
        add(prefix + "ffn.linear_in.bias", nodes)
        add(prefix + "ffn.linear_out.weight", WIDTH, nodes)
    tensors["decoder.weight"] = tensors["encoder.embedding.word_embedding.weight"]
    return tensors


def write_model(folder, tensors=None, configuration=None, vocabulary=None):
    """A complete model directory; what is given replaces the sound part."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration or config()))
    (folder / "model.safetensors").write_bytes(safetensors(tensors or weights()))
    (folder / "vocab.txt").write_text("\n".join(vocabulary or VOCABULARY) + "\n")
    return folder


def write_batch(path, rows=((2, 5, 7, 4, 10, 3), (2, 6, 7, 3, 0, 0)), **replace):
    """An input of `grove forward`; `replace` maps tensor names to (dtype, shape, values), or None to leave it out."""
    shape = [len(rows), len(rows[0])]
    tensors = {
        "input_ids": ("I64", shape, [i for row in rows for i in row]),
        "attention_mask": ("I64", shape, [int(i != 0) for row in rows for i in row]),
    }
    tensors.update(replace)
    pathlib.Path(path).write_bytes(safetensors({k: v for k, v in tensors.items() if v is not None}))
    return path
