# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""What a loaded encoder keeps in memory, read from /proc: its weights once, in the precision they are used in."""

import array
import json
import os
import pathlib
import random
import re
import subprocess

import program
import tiny_model

WIDTH, LAYERS, INNER, WORDS, POSITIONS, LENGTH = 512, 4, 2048, 8192, 512, 64
PROGRAM = 12e6  # bytes of the program itself, its libraries, stacks and buffers
CONFIG = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
          "num_attention_heads": 8, "intermediate_size": INNER, "hidden_act": "gelu", "vocab_size": WORDS,
          "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12}


def shapes():
    found = {"embeddings.word_embeddings.weight": [WORDS, WIDTH], "pooler.dense.weight": [WIDTH, WIDTH],
             "embeddings.position_embeddings.weight": [POSITIONS, WIDTH], "pooler.dense.bias": [WIDTH],
             "embeddings.token_type_embeddings.weight": [2, WIDTH]}
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        products = [(f"attention.self.{part}", WIDTH, WIDTH) for part in ("query", "key", "value")]
        products += [("attention.output.dense", WIDTH, WIDTH), ("intermediate.dense", INNER, WIDTH),
                     ("output.dense", WIDTH, INNER)]
        for name, rows, columns in products:
            found.update({f"{prefix}{name}.weight": [rows, columns], f"{prefix}{name}.bias": [rows]})
        norms += [prefix + "attention.output.LayerNorm", prefix + "output.LayerNorm"]
    return found | {f"{norm}.{part}": [WIDTH] for norm in norms for part in ("weight", "bias")}


def write_tensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes). Returns the bytes of all."""
    header, begin = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(data)]}
        begin += len(data)
    path.write_bytes(tiny_model.image(header, b"".join(data for _, _, data in tensors.values())))
    return begin


class Memory(program.ProgramTest):
    def setUp(self):
        super().setUp()
        if not pathlib.Path("/proc/self/status").exists() or {"ASAN_OPTIONS", "TSAN_OPTIONS"} & os.environ.keys():
            self.skipTest("needs /proc and a program without sanitizers")
        generator = random.Random(1)
        block = array.array("f", (generator.uniform(-0.05, 0.05) for _ in range(WIDTH * WIDTH))).tobytes()
        tensors = {}
        for name, shape in shapes().items():
            size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            tensors[name] = ("F32", shape, (block * (size // len(block) + 1))[:size])
        self.weights = write_tensors(self.folder / "model.safetensors", tensors)
        (self.folder / "config.json").write_text(json.dumps(CONFIG))
        ids = array.array("q", (generator.randrange(WORDS) for _ in range(LENGTH))).tobytes()
        write_tensors(self.folder / "batch.safetensors", {"input_ids": ("I64", [1, LENGTH], ids)})

    def kept(self, precision):
        """Bytes of the process after three passes: (most, now)."""
        command = [self.executable, "bench", "rounds", "--model", ".", "--input", "batch.safetensors", "--threads", "1",
                   "--precision", precision]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              cwd=self.folder) as process:
            for _ in range(3):
                process.stdin.write("\n")
                process.stdin.flush()
                self.assertTrue(process.stdout.readline())
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            process.stdin.close()
        self.assertEqual(process.returncode, 0)
        return [1024 * int(re.search(rf"{key}:\s+(\d+)", status).group(1)) for key in ("VmHWM", "VmRSS")]

    def test_weights_are_kept_once(self):
        most, now = self.kept("fp32")
        self.assertLess(now, 1.1 * self.weights + PROGRAM)
        # While it is loaded one tensor more, and of the file what is being read.
        self.assertLess(most, 1.1 * self.weights + 4 * WORDS * WIDTH + PROGRAM)

    def test_int8_keeps_no_other_weights(self):
        self.assertLess(self.kept("int8")[1], 1.1 * self.weights / 4 + PROGRAM)


if __name__ == "__main__":
    program.main()
