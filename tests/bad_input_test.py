# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove` on files that must be refused: one sentence on stderr, exit code 1, nothing written."""

import json
import random
import struct

import program
import tiny_model


def entry(begin, end, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": shape if shape is not None else [(end - begin) // 4], "data_offsets": [begin, end]}


class BadInput(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = tiny_model.write_model(self.folder / "model")
        self.batch = tiny_model.write_batch(self.folder / "batch.safetensors")
        self.weights = self.model / "model.safetensors"

    def refuse_model(self, *names):
        self.refuse("fill-mask", "--model", self.model, "[MASK]", names=names)
        self.refuse("forward", "--model", self.model, "--input", self.batch, "--output", self.folder / "out.safetensors",
                    names=names)

    def refuse_batch(self, *names):
        self.refuse("forward", "--model", self.model, "--input", self.batch, "--output", self.folder / "out.safetensors",
                    names=names)

    def refuse_weights_image(self, image, *names):
        self.weights.write_bytes(image)
        self.refuse("info", "--model", self.model, names=["model.safetensors", *names])

    def test_safetensors_images(self):
        sound = self.weights.read_bytes()
        header_size = struct.unpack("<Q", sound[:8])[0]
        cases = {
            "empty": b"",
            "shorter than the length": sound[:5],
            "header cut": sound[:8 + header_size // 2],
            "data cut": sound[:-1],
            "data too long": sound + b"\0",
            "header length beyond the file": struct.pack("<Q", len(sound)) + sound[8:],
            "header length 2^63": struct.pack("<Q", 2**63) + sound[8:],
            "header length 2^64-1": struct.pack("<Q", 2**64 - 1) + sound[8:],
            "header length 0": struct.pack("<Q", 0) + sound[8:],
            "malformed JSON": tiny_model.image(b'{"a": {"dtype"'),
            "not an object": tiny_model.image(b"[1, 2]"),
            "invalid UTF-8 in a name": tiny_model.image(b'{"\xff\xfe": 1}'),
            "deep nesting": tiny_model.image(b"[" * 100000),
            "entry is no object": tiny_model.image({"a": 3}),
            "no dtype": tiny_model.image({"a": {"shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
            "unknown dtype": tiny_model.image({"a": entry(0, 4, dtype="F33")}, b"\0" * 4),
            "overlap": tiny_model.image({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12),
            "hole": tiny_model.image({"a": entry(0, 4), "b": entry(8, 12)}, b"\0" * 12),
            "range beyond the file": tiny_model.image({"a": entry(0, 4096)}, b"\0" * 8),
            "range backwards": tiny_model.image({"a": entry(8, 4, shape=[1])}, b"\0" * 8),
            "range negative": tiny_model.image({"a": entry(-4, 0, shape=[1])}, b"\0" * 8),
            "range fractional": tiny_model.image({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.5]}}, b"\0" * 8),
            "shape and range disagree": tiny_model.image({"a": entry(0, 8, shape=[3])}, b"\0" * 8),
            "shape overflows": tiny_model.image({"a": entry(0, 8, shape=[2**62, 2**62])}, b"\0" * 8),
            "shape wraps to the range": tiny_model.image({"a": entry(0, 0, shape=[2**32, 2**32])}),
            "shape negative": tiny_model.image({"a": entry(0, 8, shape=[-1, -2])}, b"\0" * 8),
            "duplicate name": tiny_model.image(
                b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
                b' "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', b"\0" * 8),
        }
        for name, image in cases.items():
            with self.subTest(name):
                self.refuse_weights_image(image)

    def test_flipped_bits_in_the_header_never_crash(self):
        sound = self.weights.read_bytes()
        header_size = struct.unpack("<Q", sound[:8])[0]
        generator = random.Random(7)
        for _ in range(60):
            position = generator.randrange(0, 8 + header_size)
            image = bytearray(sound)
            image[position] ^= 1 << generator.randrange(8)
            self.weights.write_bytes(image)
            done = self.run_program("fill-mask", "--model", self.model, "[MASK]")
            self.assertIn(done.returncode, (0, 1), f"bit flipped in byte {position}: {done.stderr}")
            if done.returncode == 1:
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_model_tensors(self):
        name = "encoder.layers.1.ffn.linear_in.weight"
        tensors = tiny_model.weights()
        dtype, shape, values = tensors.pop(name)
        tiny_model.write_model(self.model, tensors)
        self.refuse_model(name, "model.safetensors")
        tensors[name] = (dtype, shape[::-1], values)
        tiny_model.write_model(self.model, tensors)
        self.refuse_model(name)
        tensors[name] = ("I64", shape, [0] * len(values))
        tiny_model.write_model(self.model, tensors)
        self.refuse_model(name)

    def test_configuration(self):
        path = self.model / "config.json"
        texts = {
            "empty": b"", "malformed": b'{"model_type": ', "array": b"[]", "no arch": b'{"model_type": "crammedBERT"}',
            "other model": b'{"model_type": "gpt2"}', "duplicate key": b'{"model_type": "a", "model_type": "crammedBERT"}',
            "invalid UTF-8": b'{"model_type": "\xff"}',
        }
        for name, text in texts.items():
            with self.subTest(name):
                path.write_bytes(text)
                self.refuse("info", "--model", self.model, names=["config.json"])
        changes = {
            "hidden_size": [0, -16, "16", 2**40, 1.5, 15], "num_transformer_layers": [-1, 2**40, None],
            "intermed_depth": [-1, 63, 10**9], "intermed_size": [0, 2**40], "intermed_type": ["tree", 7],
            "nonlin": ["Swish"], "norm_eps": [-1, "small"],
        }
        for key, values in changes.items():
            for value in values:
                with self.subTest(key, value=value):
                    path.write_text(json.dumps(tiny_model.config(**{key: value})))
                    self.refuse("info", "--model", self.model, names=["config.json"])

    def test_sizes_that_disagree_with_the_weights(self):
        (self.model / "config.json").write_text(json.dumps(tiny_model.config(num_transformer_layers=3)))
        self.refuse_model("encoder.layers.2.")
        (self.model / "config.json").write_text(json.dumps(tiny_model.config(intermed_depth=3)))
        self.refuse_model("encoder.layers.0.ffn.linear_in")

    def test_vocabularies(self):
        vocabulary = self.model / "vocab.txt"
        words = tiny_model.VOCABULARY
        vocabulary.write_text("\n".join(word for word in words if word != "[MASK]") + "\n")
        self.refuse("fill-mask", "--model", self.model, "Paris is [MASK].", names=["[MASK]"])
        vocabulary.write_bytes(b"")
        self.refuse("fill-mask", "--model", self.model, "[MASK]", names=["vocab.txt"])
        vocabulary.write_bytes("\n".join(words).encode() + b"\n\xff\xfe\n")
        self.refuse("fill-mask", "--model", self.model, "[MASK]", names=["vocab.txt"])
        vocabulary.write_text("\n".join(words + ["surplus", "words"]) + "\n")
        self.refuse("fill-mask", "--model", self.model, "[MASK]", names=["vocab.txt"])
        vocabulary.unlink()
        self.refuse("fill-mask", "--model", self.model, "[MASK]", names=["tokenizer.json", "vocab.txt"])

    def test_tokenizer_json(self):
        path = self.folder / "tokenizer.json"
        for text in (b"", b"{", b"{}", b"[]", b'{"model": {"type": "BPE", "vocab": {}}}',
                     b'{"model": {"type": "WordPiece", "vocab": {"a": -1}}}',
                     b'{"model": {"type": "WordPiece", "vocab": {"a": 9999999999}}}',
                     b'{"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 0}}}'):
            with self.subTest(text):
                path.write_bytes(text)
                self.refuse("tokenize", "--tokenizer", path, "text", names=["tokenizer.json"])

    def test_texts(self):
        self.refuse("fill-mask", "--model", self.model, stdin=b"Paris \xff [MASK]\n", names=["UTF-8"])
        self.refuse("tokenize", "--model", self.model, stdin=b"\xed\xa0\x80\n", names=["UTF-8"])
        self.refuse("fill-mask", "--model", self.model, "is " * 100 + "[MASK]", names=[str(tiny_model.MAX_LENGTH)])

    def test_batches(self):
        cases = {
            "input_ids missing": {"input_ids": None},
            "input_ids as float": {"input_ids": ("F32", [2, 6], [1.0] * 12)},
            "input_ids of one dimension": {"input_ids": ("I64", [12], [2] * 12)},
            "mask of another shape": {"attention_mask": ("I64", [2, 5], [1] * 10)},
            "id beyond the vocabulary": {"input_ids": ("I64", [2, 6], [2] * 11 + [len(tiny_model.VOCABULARY)])},
            "id negative": {"input_ids": ("I64", [2, 6], [2] * 11 + [-1])},
            "id huge": {"input_ids": ("I64", [2, 6], [2] * 11 + [2**62])},
        }
        for name, replace in cases.items():
            with self.subTest(name):
                tiny_model.write_batch(self.batch, **replace)
                self.refuse_batch("batch.safetensors", next(iter(replace)))
        tiny_model.write_batch(self.batch, rows=[[2] * (tiny_model.MAX_LENGTH + 1)])
        self.refuse_batch(str(tiny_model.MAX_LENGTH))
        self.batch.write_bytes(b"no safetensors file")
        self.refuse_batch("batch.safetensors")

    def test_places(self):
        nowhere = self.folder / "nowhere"
        for verb in (["info"], ["fill-mask", "[MASK]"], ["tokenize", "text"]):
            self.refuse(*verb, "--model", nowhere, names=["nowhere"])
            self.refuse(*verb, "--model", self.folder, names=[str(self.folder)])
            self.refuse(*verb, "--model", self.weights, names=["model.safetensors"])
        self.refuse("tokenize", "--tokenizer", nowhere, "text", names=["nowhere"])
        self.refuse("tokenize", "--tokenizer", self.folder, "text", names=[str(self.folder)])
        self.refuse("forward", "--model", self.model, "--input", nowhere, "--output", self.folder / "o", names=["nowhere"])
        self.refuse("forward", "--model", self.model, "--input", self.batch, "--output", nowhere / "o", names=["nowhere/o"])
        self.refuse("forward", "--model", self.model, "--input", self.batch, "--output", self.model, names=["model"])


if __name__ == "__main__":
    program.main()
