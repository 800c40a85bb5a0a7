# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove` from outside: help, exit codes, JSON, and the results of its verbs on a tiny model."""

import json
import math
import os
import subprocess

import program
import tiny_model

VERBS = ["info", "fill-mask", "forward", "tokenize", "quantize", "bench layer", "bench encoder", "bench rounds"]


class Usage(program.ProgramTest):
    def test_every_verb_explains_itself_with_an_example(self):
        overview = self.succeed("--help")
        for verb in VERBS:
            self.assertIn(verb.split()[0], overview)
            text = self.succeed(*verb.split(), "--help")
            self.assertIn("Example:", text)
            self.assertIn(f"grove {verb}", text)
            for option in ("--help", "--json", "--threads", "--target"):
                self.assertIn(option, text)

    def test_version(self):
        self.assertRegex(self.succeed("--version"), r"^grove \d+\.\d+\.\d+\n$")

    def test_wrong_command_lines_are_exit_code_2(self):
        self.refuse(code=2, names=["info", "fill-mask"])
        self.refuse("bench", code=2, names=["layer"])
        self.refuse("fillmask", code=2, names=["the closest is fill-mask"])
        self.refuse("bench", "leyer", code=2, names=["the closest is layer"])
        self.refuse("wholly-different", code=2, names=["the verbs are"])
        self.refuse("info", "--no-such-option", code=2, names=["--no-such-option", "grove info --help"])
        self.refuse("info", "surplus", code=2, names=["surplus"])
        self.refuse("fill-mask", "text", code=2, names=["--model"])
        self.refuse("forward", "--model", "m", code=2, names=["--input"])
        self.refuse("tokenize", "text", code=2, names=["--model", "--tokenizer"])
        self.refuse("tokenize", "--tokenizer", "v", "--pair", "one", code=2, names=["--pair"])
        self.refuse("tokenize", "--tokenizer", "v", "--max-length", "-3", "text", code=2, names=["--max-length"])
        self.refuse("fill-mask", "--model", "m", "--top", "0", "text", code=2, names=["--top"])
        self.refuse("bench", "layer", "--kinds", "moe,fish", code=2, names=["--kinds", "fish"])
        self.refuse("info", "--threads", "0", code=2, names=["--threads"])
        self.refuse("info", "--threads", "many", code=2, names=["--threads"])

    def test_instruction_sets(self):
        targets = self.succeed_json("info")["targets"]
        self.assertIn(targets["active"], targets["available"])
        self.assertLessEqual(set(targets["available"]), set(targets["compiled"]))
        for name in targets["available"]:
            self.assertEqual(self.succeed_json("info", "--target", name)["targets"]["active"], name)
            self.assertEqual(self.succeed_json("info", GROVE_TARGET=name)["targets"]["active"], name)
        self.refuse("info", "--target", "MMX", code=2, names=["MMX"])
        self.refuse("info", code=2, names=["MMX", "GROVE_TARGET"], GROVE_TARGET="MMX")

    def test_lost_output_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("this system has no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([self.executable, "info"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([self.executable, "info"], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual(done.returncode, 1)


class Results(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = tiny_model.write_model(self.folder / "model")

    def test_info(self):
        info = self.succeed_json("info")
        self.assertGreaterEqual(info["threads"], 1)
        self.assertEqual(self.succeed_json("info", "--threads", "3")["threads"], 3)
        self.assertIn(info["onednn"], self.succeed("info"))

    def test_info_of_a_model(self):
        info = self.succeed_json("info", "--model", self.model)
        tensors = tiny_model.weights()
        parameters = sum(len(values) for name, (_, _, values) in tensors.items() if name != "decoder.weight")
        self.assertEqual(info["parameters"], parameters)
        self.assertEqual(info["layers"], tiny_model.LAYERS)
        self.assertEqual(info["width"], tiny_model.WIDTH)
        self.assertEqual(info["feed_forward"]["kind"], "neuron_tree")
        self.assertEqual(info["feed_forward"]["stored_neurons"], 14)
        self.assertEqual(info["feed_forward"]["active_neurons"], 6)
        self.assertNotIn("training", info)
        self.assertIn("2x2", self.succeed("info", "--model", self.model))
        (self.model / "training.json").write_text(json.dumps({"tokens": 12345, "loss": 5.5}))
        self.assertEqual(self.succeed_json("info", "--model", self.model)["training"]["tokens"], 12345)
        self.assertIn("12345", self.succeed("info", "--model", self.model))

    def test_fill_mask(self):
        text = "Paris is the [MASK] of France."
        result = self.succeed_json("fill-mask", "--model", self.model, "--top", "4", text)["results"]
        self.assertEqual(result[0]["text"], text)
        self.assertEqual(len(result[0]["masks"]), 1)
        self.assertEqual(result[0]["masks"][0]["offset"], [13, 19])
        guesses = result[0]["masks"][0]["words"]
        self.assertEqual(len(guesses), 4)
        scores = [guess["probability"] for guess in guesses]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertTrue(all(0 < score <= 1 for score in scores))
        self.assertIn(guesses[0]["token"], self.succeed("fill-mask", "--model", self.model, text))

    def test_fill_mask_reads_lines(self):
        lines = "[MASK] is the capital of France.\nLondon is [MASK] [MASK].\r\n\n"
        results = self.succeed_json("fill-mask", "--model", self.model, stdin=lines)["results"]
        self.assertEqual([len(result["masks"]) for result in results], [1, 2])
        self.refuse("fill-mask", "--model", self.model, stdin="", names=["standard input"])

    def test_fill_mask_without_a_mask(self):
        self.refuse("fill-mask", "--model", self.model, "no mask here", names=["[MASK]"])

    def test_layers_of_other_kinds(self):
        routing = {"fff_routing": "token_hash", "routing_seed": 3}
        layers = [None, {"intermed_type": "none", "nonlin": "GELU"}]
        hashed = tiny_model.write_model(self.folder / "hashed",
                                        configuration=tiny_model.config(**routing, layer_feed_forward=layers))
        plain, other = (self.succeed("fill-mask", "--model", m, "paris is the [MASK].") for m in (self.model, hashed))
        self.assertNotEqual(plain, other)
        info = self.succeed("info", "--model", hashed)
        self.assertIn("layer 0: neuron trees 2x2, routed by token hash; layer 1: none", info)
        random = tiny_model.write_model(self.folder / "random", configuration=tiny_model.config(fff_routing="random"))
        self.refuse("fill-mask", "--model", random, "[MASK]", code=1, names=["encoder.layers.0.ffn.decision_planes"])

    def test_bench_of_a_kind(self):
        layers = self.succeed_json("bench", "layer", "--kinds", "moe", "--width", "16", "--tokens", "1", "--seconds",
                                   "0.001")["layers"]
        mixtures = [layer for layer in layers if layer["layer"].startswith("mixture")]
        self.assertEqual([layer["active_neurons"] for layer in mixtures], [128, 128])
        self.assertEqual(len(layers) - len(mixtures), sum(layer["dense"] for layer in layers))

    def test_bench_of_a_models_layer(self):
        text = self.folder / "text.txt"
        text.write_text("Paris is the capital of France. London is the capital of England.\n" * 9)
        bench = ("bench", "layer", "--model", self.model, "--text", text, "--tokens", "1,9", "--seconds", "0.001")
        result = self.succeed_json(*bench, "--layer", "0")
        visits = result["model"]["visits"]
        self.assertEqual((result["width"], visits["paths"], visits["per_token"]), (tiny_model.WIDTH, 4, 1))
        self.assertGreaterEqual(visits["most_visited"], 0.25)
        self.assertLessEqual(visits["entropy_bits"], 2)
        self.assertEqual([layer["layer"] for layer in result["layers"] if not layer["dense"]],
                         ["neuron trees 2x2", "same shape, random weights"])
        self.assertIn("the most visited path", self.succeed(*bench))
        self.refuse(*bench, "--layer", "2", code=1, names=["layers 0 to 1"])
        self.refuse(*bench[:-4], "--tokens", "4096", code=1, names=["give more text"])
        self.refuse("bench", "layer", "--model", self.model, code=2, names=["--text"])
        self.refuse(*bench, "--depth", "3", code=2, names=["--depth"])

    def test_bench_of_one_shape(self):
        layers = self.succeed_json("bench", "layer", "--trees", "2", "--depth", "3", "--width", "16", "--tokens", "1",
                                   "--seconds", "0.001")["layers"]
        self.assertEqual(layers[-1]["layer"], "neuron trees 2x3")
        self.assertEqual({layer["stored_neurons"] for layer in layers if layer["rival"]}, {64})
        self.refuse("bench", "layer", "--trees", "2", code=2, names=["--depth"])

    def test_bench_of_forms_without_dense_layers(self):
        bench = ("bench", "layer", "--width", "16", "--forms", "--no-dense", "--tokens", "1,20", "--seconds", "0.001")
        layers = self.succeed_json(*bench, "--threads", "1")["layers"]
        self.assertEqual([layer["layer"] for layer in layers][:3],
                         ["neuron trees 1x11", "neuron trees 1x11, form: few tokens", "neuron trees 1x11, form: many tokens"])
        self.assertFalse(any(layer["dense"] for layer in layers))
        self.assertIsNone(layers[0]["timings"][0]["speed_up"])
        self.assertNotIn("vs dense", self.succeed(*bench))
        self.refuse("bench", "layer", "--no-dense", "--model", self.model, "--text", "x", code=2, names=["--no-dense"])

    def test_results_do_not_depend_on_threads(self):
        texts = ["Paris is the [MASK] of France.", "[MASK]"]
        one = self.succeed("fill-mask", "--model", self.model, "--json", "--threads", "1", *texts)
        self.assertEqual(one, self.succeed("fill-mask", "--model", self.model, "--json", "--threads", "3", *texts))

    def test_tokenize(self):
        encodings = self.succeed_json("tokenize", "--model", self.model, "Paris is", "Pa")["encodings"]
        self.assertEqual(encodings[0]["tokens"], ["[CLS]", "paris", "is", "[SEP]"])
        self.assertEqual(encodings[0]["ids"], [2, 5, 7, 3])
        self.assertEqual(encodings[0]["offsets"], [[0, 0], [0, 5], [6, 8], [0, 0]])
        self.assertEqual(encodings[1]["tokens"], ["[CLS]", "p", "##a", "[SEP]"])
        pair = self.succeed_json("tokenize", "--tokenizer", self.model / "vocab.txt", "--pair", "Paris", "is")
        self.assertEqual(pair["encodings"][0]["type_ids"], [0, 0, 0, 1, 1])
        bare = self.succeed_json("tokenize", "--model", self.model, "--no-special-tokens", "Paris")
        self.assertEqual(bare["encodings"][0]["ids"], [5])
        self.assertIn("##a", self.succeed("tokenize", "--model", self.model, stdin="Pa\n"))

    def test_forward(self):
        batch = tiny_model.write_batch(self.folder / "batch.safetensors")
        output = self.folder / "out.safetensors"
        self.succeed("forward", "--model", self.model, "--input", batch, "--output", output)
        tensors = tiny_model.read_safetensors(output)
        self.assertEqual(tensors["logits"][1], [2, 6, len(tiny_model.VOCABULARY)])
        self.assertEqual(tensors["hidden"][1], [2, 6, tiny_model.WIDTH])
        self.assertTrue(all(math.isfinite(v) for v in tensors["logits"][2]))
        first = output.read_bytes()
        result = self.succeed_json("forward", "--model", self.model, "--input", batch, "--output", output)
        self.assertEqual(result["tensors"]["logits"], [2, 6, len(tiny_model.VOCABULARY)])
        self.assertEqual(first, output.read_bytes())

    def run_forward(self, model, *options):
        """The output file of a batch, as bytes."""
        batch, output = tiny_model.write_batch(self.folder / "batch.safetensors"), self.folder / "out.safetensors"
        self.succeed("forward", "--model", model, "--input", batch, "--output", output, *options)
        return output.read_bytes()

    def test_quantize(self):
        for precision in ("int8", "bf16"):
            report = self.succeed_json("quantize", self.model, "--precision", precision, "--output", precision)
            self.assertEqual(len(report["hidden_error"]), tiny_model.LAYERS + 2)
            self.assertLess(max(report["hidden_error"]), 0.1)
            self.assertLess(abs(report["loss"]["relative_change"]), 0.1)
            self.assertEqual(report, json.loads((self.folder / precision / "quantization.json").read_text()))
            for verb in (("fill-mask", "--model", precision, "Paris is [MASK]."), ("info", "--model", precision),
                         ("bench", "encoder", "--model", precision, "--length", "8", "--seconds", "0.001")):
                self.succeed(*verb)
        info, before = (self.succeed_json("info", "--model", model) for model in ("int8", self.model))
        self.assertEqual((info["precision"], before["precision"]), ("int8", "fp32"))
        self.assertEqual(info["parameters"], before["parameters"])
        self.assertEqual(self.run_forward("int8"), self.run_forward(self.model, "--precision", "int8"))
        self.assertNotEqual(self.run_forward("int8"), self.run_forward(self.model))
        self.assertIn("int8", self.succeed("quantize", self.model, "--precision", "int8", "--output", "int8",
                                           "--overwrite"))

    def test_quantize_on_text_of_ones_own(self):
        text = self.folder / "text.txt"
        text.write_text("Paris is the capital of France.\n\nLondon is the capital of England.\n")
        report = self.succeed_json("quantize", self.model, "--precision", "int8", "--output", "out", "--text", text)
        self.assertEqual(report["sequences"], 2)
        self.assertIn("text.txt", report["text"])
        self.refuse("quantize", self.model, "--precision", "int8", "--output", "out2", "--text", "absent", code=1,
                    names=["absent"])

    def test_quantize_refuses(self):
        self.succeed("quantize", self.model, "--precision", "int8", "--output", "out")
        quantize = ["quantize", self.model, "--precision", "int8", "--output"]
        self.refuse(*quantize, "out", code=1, names=["out", "--overwrite"])
        self.refuse(*quantize, self.model, "--overwrite", code=1, names=["itself"])
        self.refuse("quantize", "out", "--precision", "bf16", "--output", "more", code=1, names=["int8 already"])
        self.refuse("quantize", "absent", "--precision", "int8", "--output", "more", code=1, names=["absent"])
        self.refuse("quantize", self.model, "--precision", "int4", "--output", "more", code=2, names=["int4"])
        self.refuse("quantize", self.model, "--output", "more", code=2, names=["--precision"])
        self.refuse(*quantize, "more", "--data", "d", "--text", "t", code=2, names=["--text"])
        (self.folder / "other").mkdir()
        (self.folder / "other/file").write_text("kept")
        self.refuse(*quantize, "other", "--overwrite", code=1, names=["no model folder"])

    def test_quantized_by_others(self):
        config = tiny_model.config()
        for change, name in (({"weight_precision": "int4"}, "int4"), ({"weight_precision": 8}, "weight_precision"),
                             ({"quantization_config": {"quant_method": "gptq"}}, "gptq")):
            model = tiny_model.write_model(self.folder / "other", configuration={**config, **change})
            self.refuse("info", "--model", model, code=1, names=["config.json", name])

    def test_every_instruction_set_gives_the_same_words(self):
        """Of the shipped model, in every precision."""
        shipped = program.ROOT / "models/small-leaf-tree"
        texts = ["He was a man of few [MASK].", "She opened the [MASK] and looked out into the [MASK].",
                 "In 1914 the [MASK] declared war on [MASK]."]
        for precision in ("fp32", "int8"):
            words = set()
            for target in self.succeed_json("info")["targets"]["available"]:
                results = self.succeed_json("fill-mask", "--model", shipped, "--precision", precision, "--target", target,
                                            *texts)["results"]
                # Of int8 not the words alone: every digit of every probability is the same.
                words.add(json.dumps(results) if precision == "int8" else
                          tuple(mask["words"][0]["token"] for result in results for mask in result["masks"]))
            self.assertEqual(len(words), 1, words)
        self.refuse("fill-mask", "--model", shipped, "--target", "AVX9", *texts, code=2, names=["AVX9"])

    def test_every_instruction_set_agrees(self):
        batch = tiny_model.write_batch(self.folder / "batch.safetensors")
        results = []
        for target in self.succeed_json("info")["targets"]["available"]:
            output = self.folder / f"{target}.safetensors"
            self.succeed("forward", "--model", self.model, "--input", batch, "--output", output, "--target", target)
            results.append(tiny_model.read_safetensors(output)["hidden"][2])
        for other in results[1:]:
            width = tiny_model.WIDTH
            attended = [i for i in range(len(other)) if (i // width) not in (10, 11)]  # the padding of row 2
            self.assertLess(max(abs(results[0][i] - other[i]) for i in attended), 1e-4)


if __name__ == "__main__":
    program.main()
