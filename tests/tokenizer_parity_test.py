#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Trains a WordPiece vocabulary with Grove, loads its tokenizer.json with the Hugging Face `tokenizers` package and
compares what both make of many texts: ids, offsets, pairs, truncation, decoding; then the same for other normalizer
settings and added tokens.

Usage: tokenizer_parity_test.py PATH_OF_tokenizer_parity   (exit code 77: `tokenizers` is not installed)
"""

import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
except ImportError:
    print("skipped: the Python package `tokenizers` is not installed (pip install tokenizers)")
    sys.exit(77)

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have had from or were one
all their there been if would who so no said what up its about into them can only other new some could time these two
may then do first any my now such like our over man me even most made after also did many before must through years
where much your way well down should because each just those people how too little state good very make world still own
see men work long get here between both life being under never day same another know while last might us great old year
off come since against go came right used take three unaffable playing players played runner running tokenization
Don't naïve café déjà-vu Straße İstanbul ﬁnance Ångström über señor façade Ελλάδα ΟΔΥΣΣΕΥΣ Москва Ёлка 日本語 テキスト 中文字符
한국어 문장 हिन्दी עברית عربي ไทย Việt Nguyễn""".split()
RANGES = [(0x20, 0x7F), (0x00, 0x20), (0x7F, 0x100), (0x100, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700),
          (0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2070), (0x20D0, 0x2C00), (0x2E00, 0x3100), (0x4E00, 0x4F00),
          (0xAC00, 0xAD00), (0xF900, 0xFB00), (0xFE00, 0x10000), (0x1D100, 0x1D250), (0x1F300, 0x1F700), (0x20000, 0x20100),
          (0x11000, 0x11D00), (0xE0000, 0xE0200)]
SPECIALS = ["[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[mask]", "[MASK", "MASK]"]


def training_text(rng):
    return "\n".join(" ".join(rng.choices(WORDS, weights=range(len(WORDS), 0, -1), k=20)) + "." for _ in range(2000))


def random_text(rng):
    parts = []
    for _ in range(rng.randrange(12)):
        kind = rng.random()
        if kind < 0.4:
            parts.append(rng.choice(WORDS))
        elif kind < 0.5:
            parts.append(rng.choice(SPECIALS))
        elif kind < 0.55:
            parts.append(rng.choice(["<x>", "<X>", "foo", "FÓO", "snake", "Tree"]))
        else:
            low, high = rng.choice(RANGES)
            parts.append("".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 8))))
        parts.append(rng.choice(["", " ", "", " ", "  ", "\t", "\u3000", ", "]))
    return "".join(parts)


def all_characters():
    """Every code point, alone between two letters."""
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(code_points), 256):
        yield " ".join("a" + chr(c) + "b" for c in code_points[start : start + 256])


def grove_encodings(program, path, requests):
    lines = "".join(json.dumps({"text": a, "pair": b, "max_length": n}) + "\n" for a, b, n in requests)
    answer = subprocess.run([program, "encode", path], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def reference_encoding(tokenizer, text, pair, max_length):
    if max_length:
        tokenizer.enable_truncation(max_length, strategy="longest_first")
    else:
        tokenizer.no_truncation()
    if pair is None:
        return tokenizer.encode(text)
    # Each text encoded, then joined: how the golden files of pairs were made.
    return tokenizer.post_process(
        tokenizer.encode(text, add_special_tokens=False), tokenizer.encode(pair, add_special_tokens=False))


def compare(program, path, requests):
    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_padding()
    for (text, pair, max_length), ours in zip(requests, grove_encodings(program, path, requests), strict=True):
        theirs = reference_encoding(tokenizer, text, pair, max_length)
        expected = {
            "ids": theirs.ids,
            "type_ids": theirs.type_ids,
            "offsets": [list(offset) for offset in theirs.offsets],
        }
        # The package spells an added token that is looked for in normalized text now in one way, now in another.
        if not any(token.normalized for token in tokenizer.get_added_tokens_decoder().values()):
            expected["decoded"] = tokenizer.decode(theirs.ids)
        for key, value in expected.items():
            if ours[key] != value:
                sys.exit(f"{path}: {key} of {text!a}, {pair!a}, {max_length} differ:\n grove      {ours[key]}\n"
                         f" tokenizers {value}")


def random_requests(rng, count):
    for _ in range(count):
        pair = random_text(rng) if rng.random() < 0.3 else None
        yield random_text(rng), pair, rng.choice([0, 0, 0, 3, 4, 5, 8, 9, 16])


def added_token(identifier, content, **flags):
    return {"id": identifier, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False} | flags


def variants(definition):
    """Other settings of the same tokenizer.json."""
    for lowercase in (True, False):
        for strip_accents in (True, False, None):
            for clean_text, handle_chinese_chars in ((True, True), (False, True), (True, False)):
                variant = json.loads(json.dumps(definition))
                variant["normalizer"] |= {"lowercase": lowercase, "strip_accents": strip_accents,
                                          "clean_text": clean_text, "handle_chinese_chars": handle_chinese_chars}
                yield variant
    size = len(definition["model"]["vocab"])
    for flags in ({}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True},
                  {"normalized": True}, {"special": True, "normalized": True, "single_word": True}):
        variant = json.loads(json.dumps(definition))
        variant["model"]["max_input_chars_per_word"] = 5
        variant["added_tokens"] += [added_token(size + i, content, **flags)
                                    for i, content in enumerate(["<x>", "foo", "foo bar", "Tree", "ee", "[MASK][MASK]"])]
        variant["added_tokens"][4] |= {k: v for k, v in flags.items() if k != "normalized"}  # [MASK]
        variant["post_processor"] = {
            "type": "BertProcessing", "sep": ["[SEP]", definition["model"]["vocab"]["[SEP]"]],
            "cls": ["[CLS]", definition["model"]["vocab"]["[CLS]"]]}
        yield variant


def main():
    program = sys.argv[1]
    seed = int(os.environ.get("GROVE_TEST_SEED", "1"))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        trained = subprocess.run([program, "train", "600"], input=training_text(rng).encode(), stdout=subprocess.PIPE,
                                 check=True).stdout
        with open(path, "wb") as file:
            file.write(trained)
        definition = json.loads(trained)
        size = len(definition["model"]["vocab"])
        compare(program, path, [(text, None, 0) for text in all_characters()])
        compare(program, path, list(random_requests(rng, 20000)))
        count = 0
        for count, variant in enumerate(variants(definition), 1):
            with open(path, "w", encoding="utf-8") as file:
                json.dump(variant, file)
            compare(program, path, list(random_requests(rng, 1500)))
    print(f"tokenizers {tokenizers.__version__}: a trained vocabulary of {size} and {count} variants encode identically")


if __name__ == "__main__":
    main()
