# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Counts the decisions that the search for several leaves opens, on held-out text. Needs PyTorch.

The best-first search of grove/kernels/leaf_router-inl.h opens a decision when it reaches it with at least the probability of the
n-th leaf; so many there are, whatever the order. Models run in their PyTorch form (python/grove_transformers).
"""

import json
import os
import pathlib
import struct
import sys

from studylib import packed, results
from studylib.rows import ROOT, StudyError, read_json


def opened(levels, paths):
    """Decisions opened in each tree for each token. levels: log probabilities of reaching each node, root level first, leaves
    last: [tokens, trees, 2^level]."""
    import torch

    last = levels[-1].topk(paths, dim=-1).values[..., -1:]
    return sum((level >= last).sum(-1) for level in levels[:-1]) if len(levels) > 1 else torch.zeros_like(last[..., 0])


def load_tensors(path):
    import torch

    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    kinds = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data = bytearray(raw[8 + size + begin : 8 + size + end])
        tensors[name] = torch.frombuffer(data, dtype=kinds[entry["dtype"]]).float().reshape(entry["shape"])
    return tensors


def load_encoder(folder):
    import torch

    sys.path.insert(0, str(ROOT / "python"))
    from grove_transformers import layers_grove

    arch = read_json(pathlib.Path(folder) / "config.json")["arch"]
    encoder = layers_grove.Encoder(arch)
    own = {
        name[len("encoder.") :]: tensor
        for name, tensor in load_tensors(pathlib.Path(folder) / "model.safetensors").items()
        if name.startswith("encoder.")
    }
    missing, _ = encoder.load_state_dict(own, strict=False)
    lacking = [name for name in missing if not name.endswith("norm_factor")]
    if lacking:
        raise StudyError(f"{folder}/model.safetensors lacks the tensor {lacking[0]}")
    return encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu"), arch["embedding"]["max_seq_length"]


def sequences(data, length, most):
    """Full sequences of held-out text: [CLS], length - 2 tokens of one document, [SEP]."""
    card, words = read_json(pathlib.Path(data) / "data.json"), read_json(pathlib.Path(data) / "tokenizer.json")
    vocabulary = words["model"]["vocab"]
    begin, end = vocabulary["[CLS]"], vocabulary["[SEP]"]
    found = []
    for shard in range(card["valid"]["shards"]):
        tokens, width, starts = packed.read_shard(pathlib.Path(data) / f"valid-{shard:05}.safetensors")
        ids = tokens.cast("H" if width == 2 else "I")
        for first, last in zip(starts, starts[1:]):
            for at in range(first, last - (length - 2) + 1, length - 2):
                found.append([begin, *ids[at : at + length - 2], end])
    step = max(1, len(found) // most)  # from all over the text
    return found[::step][:most]


def count(folder, data, most=64, batch=8):
    """A number for each layer: mean over tokens and trees; None for layers that do not search."""
    import torch

    encoder, length = load_encoder(folder)
    layers = [block.ffn for block in encoder.layers]
    searching = [ffn is not None and type(ffn).__name__ == "LeafTrees" and 1 < ffn.paths < ffn.leaves for ffn in layers]
    if not any(searching):
        return [None] * len(layers)
    from grove_transformers import feedforward_grove as forms

    sums, seen = [0.0] * len(layers), [0] * len(layers)

    def watch(index, ffn):
        def hook(_, inputs):
            logits = ffn.decision_logits(inputs[0])
            levels = forms.down_the_tree(
                forms.at_root(0.0, logits),
                torch.nn.functional.logsigmoid(-logits),
                torch.nn.functional.logsigmoid(logits),
                ffn.depth,
                torch.add,
            )
            per_tree = opened(levels, ffn.paths)
            sums[index] += per_tree.sum().item()
            seen[index] += per_tree.numel()

        ffn.register_forward_pre_hook(hook)

    for index, ffn in enumerate(layers):
        if searching[index]:
            watch(index, ffn)
    ids = torch.tensor(sequences(data, length, most), device=next(encoder.parameters()).device)
    with torch.no_grad():
        for part in ids.split(batch):
            encoder(part)
    return [round(total / n, 3) if n else None for total, n in zip(sums, seen)]


def run(options):
    """`study.py decisions`."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise StudyError("counting decisions needs PyTorch; run this with a Python that has it") from None
    counted = {}
    for folder in options.models:
        name = os.path.basename(os.path.normpath(folder))
        counted[name] = count(folder, options.data, options.sequences)
        path = pathlib.Path(options.results or "") / f"{name}.json"
        if options.results and path.exists():
            results.write_json(path, {**read_json(path), "decisions": counted[name]})
    print(json.dumps(counted))
    return 0


def command(folder, data):
    """For the runner, which itself needs no package."""
    return [sys.executable, str(ROOT / "tools/study.py"), "decisions", "--data", str(data), str(folder)]


def read_output(text):
    """The list of layers that `command` printed, or None."""
    try:
        return next(iter(json.loads(text.strip().splitlines()[-1]).values()))
    except (ValueError, IndexError, AttributeError, StopIteration):
        return None
