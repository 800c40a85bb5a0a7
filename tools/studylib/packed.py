# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The first documents of a packed text (docs/formats.md) as a packed text of its own; the held-out side stays whole."""

import array
import json
import pathlib
import shutil
import struct
import sys

from studylib.results import write_json
from studylib.rows import StudyError, read_json


def read_shard(path):
    """(tokens as bytes, bytes of a token, document starts)."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    body = memoryview(data)[8 + size :]
    tokens, starts = header["tokens"], header["document_starts"]
    width = {"U16": 2, "U32": 4}[tokens["dtype"]]
    begin, end = starts["data_offsets"]
    numbers = array.array("q", bytes(body[begin:end]))
    if sys.byteorder == "big":
        numbers.byteswap()
    begin, end = tokens["data_offsets"]
    return body[begin:end], width, numbers


def write_shard(path, tokens, width, starts):
    numbers = array.array("q", starts)
    if sys.byteorder == "big":
        numbers.byteswap()
    header = {
        "document_starts": {"dtype": "I64", "shape": [len(starts)], "data_offsets": [0, 8 * len(starts)]},
        "tokens": {
            "dtype": {2: "U16", 4: "U32"}[width],
            "shape": [len(tokens) // width],
            "data_offsets": [8 * len(starts), 8 * len(starts) + len(tokens)],
        },
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + numbers.tobytes() + tokens)


class ShardWriter:
    def __init__(self, folder, most):
        self.folder, self.most = folder, most
        self.shards, self.documents, self.tokens = 0, 0, 0
        self.parts, self.starts, self.width = [], [0], 2

    def add(self, document, width):
        count = len(document) // width
        if self.starts[-1] and self.starts[-1] + count > self.most:
            self.flush()
        self.width = width
        self.parts.append(document)
        self.starts.append(self.starts[-1] + count)
        self.documents += 1
        self.tokens += count

    def flush(self):
        if self.parts:
            write_shard(
                self.folder / f"train-{self.shards:05}.safetensors", b"".join(self.parts), self.width, self.starts
            )
            self.shards += 1
            self.parts, self.starts = [], [0]


def prefix(options):
    """The documents before the one with which `options.tokens` would be passed."""
    source, target = pathlib.Path(options.data), pathlib.Path(options.output)
    card = read_json(source / "data.json")
    if (target / "data.json").exists():
        raise StudyError(f"{target} holds a packed text already; name another --output")
    target.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(target, options.shard_tokens)
    for shard in range(card["train"]["shards"]):
        tokens, width, starts = read_shard(source / f"train-{shard:05}.safetensors")
        for begin, end in zip(starts, starts[1:]):
            if writer.tokens + end - begin > options.tokens:
                break
            writer.add(tokens[begin * width : end * width], width)
        else:
            continue
        break
    writer.flush()
    if not writer.documents:
        raise StudyError(f"--tokens {options.tokens} is less than the first document of {source}")
    for path in [source / "tokenizer.json", *sorted(source.glob("valid-*.safetensors"))]:
        shutil.copyfile(path, target / path.name)
    card["train"] = {"documents": writer.documents, "tokens": writer.tokens, "shards": writer.shards}
    write_json(target / "data.json", card)
    print(f"{target}: {writer.documents} documents, {writer.tokens} tokens in {writer.shards} shards")
    return 0
