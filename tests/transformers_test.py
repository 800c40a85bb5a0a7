# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""python/export_transformers.py and the classes it exports: against the golden files of the published model, against
`grove forward`, and there and back between Transformers and `grove`."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import program

FIXTURES = pathlib.Path(os.environ.get("GROVE_FIXTURES") or program.ROOT / "../shared/fixtures") / "crammed"
SMALL = program.ROOT / "models/small-leaf-tree"

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error",
                  HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
scratch = tempfile.TemporaryDirectory()
os.environ["HF_MODULES_CACHE"] = scratch.name  # where Transformers copies the code of a model; read at its import
try:
    import torch
    import torch.nn.functional as F
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {error.name} is not installed (pip install torch transformers safetensors)")
    sys.exit(program.SKIPPED)

sys.path.insert(0, str(program.ROOT / "tests/parity"))
import parity_test  # noqa: E402
import reference  # noqa: E402

torch.set_num_threads(1)
AUTO = {
    "ScriptableLMForPreTraining": transformers.AutoModelForMaskedLM,
    "ScriptableLMForSequenceClassification": transformers.AutoModelForSequenceClassification,
    "ScriptableLMForTokenClassification": transformers.AutoModelForTokenClassification,
}


def export(model, out, check=True):
    return subprocess.run([sys.executable, program.ROOT / "python/export_transformers.py", model, out], check=check,
                          capture_output=True, text=True)


def load(folder, auto=None, **options):
    architecture = json.loads((pathlib.Path(folder) / "config.json").read_text())["architectures"][0]
    model = (auto or AUTO[architecture]).from_pretrained(folder, trust_remote_code=True, **options)
    return (model[0].eval(), model[1]) if options.get("output_loading_info") else model.eval()


def masked(values, mask):
    """Values at padding are unspecified; a classifier has none."""
    return values[mask.bool()] if values.dim() == 3 else values


class Golden(unittest.TestCase):
    def setUp(self):
        if not FIXTURES.is_dir():
            self.skipTest(f"there is no {FIXTURES}")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def test_every_published_model_gives_its_golden_logits_loss_and_gradients(self):
        models = sorted(FIXTURES.glob("*/io.safetensors"))
        self.assertGreater(len(models), 0, f"{FIXTURES} holds no model")
        for path in models:
            with self.subTest(path.parent.name):
                export(path.parent, self.folder / path.parent.name)
                model, info = load(self.folder / path.parent.name, output_loading_info=True)
                for problem, keys in info.items():
                    self.assertEqual(len(keys), 0, f"{problem}: {keys}")
                golden = load_file(path)
                self.compare(model, golden)
                if "mlm_loss" in golden:
                    self.compare_gradients(model, golden)

    def compare(self, model, golden):
        ids, mask = golden["input_ids"], golden["attention_mask"]
        with torch.no_grad():
            out = model(ids, attention_mask=mask, output_hidden_states=True)
            plain = model(input_ids=ids)
        torch.testing.assert_close(masked(out.logits, mask), masked(golden["logits"], mask), rtol=0, atol=1e-4)
        torch.testing.assert_close(plain.logits, golden["logits_nomask"], rtol=0, atol=1e-4)
        if "hidden" in golden:
            hidden = out.hidden_states[-1]
            torch.testing.assert_close(masked(hidden, mask), masked(golden["hidden"], mask), rtol=0, atol=1e-4)
            self.assertEqual(len(out.hidden_states), model.config.num_hidden_layers + 1)

    def compare_gradients(self, model, golden):
        loss = model(golden["input_ids"], labels=golden["labels"]).loss
        torch.testing.assert_close(loss.detach().view(1), golden["mlm_loss"].view(1), rtol=1e-5, atol=1e-5)
        loss.backward()
        for name, parameter in model.named_parameters():
            expected = golden["grad." + name]
            scale = max(expected.abs().max().item(), 1e-6)
            self.assertLess((parameter.grad - expected).abs().max().item(), 1e-4 * scale, name)


class SmallModel(program.ProgramTest):
    """The leaf-tree model that ships with the source, beside `grove`."""

    def setUp(self):
        super().setUp()
        self.exported = self.folder / "exported"
        export(SMALL, self.exported)

    def forward(self, folder, batch):
        save_file(batch, self.folder / "in.safetensors")
        self.succeed("forward", "--model", folder, "--precision", "fp32", "--input", "in.safetensors", "--output",
                     "out.safetensors")
        return load_file(self.folder / "out.safetensors")["logits"]

    @staticmethod
    def batch(seed=1):
        ids = torch.randint(5, 6000, (3, 24), generator=torch.Generator().manual_seed(seed))
        mask = torch.ones_like(ids)
        mask[1, 17:] = 0
        return {"input_ids": ids * mask, "attention_mask": mask}

    def test_transformers_and_grove_give_the_same_logits(self):
        model, batch = load(self.exported), self.batch()
        with torch.no_grad():
            theirs = model(**batch).logits
        ours = self.forward(SMALL, batch)
        torch.testing.assert_close(masked(theirs, batch["attention_mask"]), masked(ours, batch["attention_mask"]),
                                   rtol=0, atol=1e-4)

    def test_pipeline_and_tokenizer(self):
        fill = transformers.pipeline("fill-mask", str(self.exported), trust_remote_code=True)
        theirs = fill("The [MASK] rose over the hills.")[0]
        ours = self.succeed_json("fill-mask", "--model", SMALL, "--precision", "fp32", "The [MASK] rose over the hills.")
        best = ours["results"][0]["masks"][0]["words"][0]
        self.assertEqual(theirs["token"], best["id"])
        self.assertAlmostEqual(theirs["score"], best["probability"], places=4)

    def test_a_quantized_model_directory_itself_can_be_exported(self):
        shutil.copytree(SMALL, self.folder / "int8")
        export(self.folder / "int8", self.folder / "int8")
        batch = self.batch()
        with torch.no_grad():
            torch.testing.assert_close(load(self.folder / "int8")(**batch).logits, load(self.exported)(**batch).logits)
        self.assertEqual(self.succeed_json("info", "--model", self.folder / "int8")["precision"], "fp32")

    def test_the_model_directory_itself_can_be_exported(self):
        export(self.exported, self.exported)
        batch = self.batch()
        self.assertEqual(self.forward(self.exported, batch).shape, load(self.exported)(**batch).logits.shape)

    def test_what_transformers_fine_tunes_grove_reads(self):
        batch = self.batch()
        model = load(self.exported, transformers.AutoModelForSequenceClassification, num_labels=3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        before = model(**batch, labels=torch.tensor([0, 1, 2])).loss
        before.backward()
        optimizer.step()
        self.assertLess(model(**batch, labels=torch.tensor([0, 1, 2])).loss, before)
        model.save_pretrained(self.folder / "tuned")
        with torch.no_grad():
            torch.testing.assert_close(self.forward(self.folder / "tuned", batch), model(**batch).logits, rtol=0,
                                       atol=1e-4)
        self.assertIn("AutoModelForSequenceClassification",
                      export(self.folder / "tuned", self.folder / "tuned").stdout)
        with torch.no_grad():
            torch.testing.assert_close(load(self.folder / "tuned")(**batch).logits, model(**batch).logits, rtol=0,
                                       atol=1e-6)

    def test_every_pooler_with_and_without_a_dense_layer(self):
        batch = self.batch()
        config = json.loads((self.exported / "config.json").read_text())
        for pooler in ("avg", "lse", "max", "mean", "zero_index"):
            for dense in (True, False):
                with self.subTest(f"{pooler}, dense layer: {dense}"):
                    config["arch"]["classification_head"] |= {"pooler": pooler, "include_ff_layer": dense}
                    (self.exported / "config.json").write_text(json.dumps(config))
                    model = load(self.exported, transformers.AutoModelForSequenceClassification, num_labels=2)
                    model.save_pretrained(self.folder / "classifier")
                    with torch.no_grad():
                        torch.testing.assert_close(self.forward(self.folder / "classifier", batch),
                                                   model(**batch).logits, rtol=0, atol=1e-4)

    def test_regression_token_classification_and_the_bare_encoder(self):
        batch = self.batch()
        regression = load(self.exported, transformers.AutoModelForSequenceClassification, num_labels=1)
        out = regression(**batch, labels=torch.tensor([0.5, 1.0, -1.0]))
        self.assertEqual(out.logits.shape, (3, 1))
        self.assertGreater(out.loss, 0)
        tokens = load(self.exported, transformers.AutoModelForTokenClassification, num_labels=5)
        out = tokens(**batch, labels=torch.where(batch["attention_mask"] == 1, 2, -100))
        self.assertEqual(out.logits.shape, (3, 24, 5))
        self.assertLess(out.loss, 4)
        hidden = load(self.exported, transformers.AutoModel)(**batch).last_hidden_state
        torch.testing.assert_close(hidden, tokens.encoder(**batch).last_hidden_state)

    def test_a_new_word_is_learnt_in_both_directions(self):
        model = load(self.exported)
        words = model.config.vocab_size
        model.resize_token_embeddings(words + 3)
        model.save_pretrained(self.folder / "larger")
        self.assertEqual(self.forward(self.folder / "larger", self.batch()).shape[-1], words + 3)


class Kinds(program.ProgramTest):
    """Every kind of feedforward layer, by the list of the parity test, which says that training them is right."""

    def test_an_exported_model_computes_what_its_plain_module_does_and_grove(self):
        batch = SmallModel.batch()
        batch["input_ids"] = batch["input_ids"] % 100
        save_file(batch, self.folder / "in.safetensors")
        for number, (kind, (keys, _)) in enumerate(parity_test.KINDS.items()):
            with self.subTest(kind):
                folder = self.folder / str(number)
                arch = parity_test.architecture(100, keys)
                plain = reference.make_model(arch, seed=number).eval()
                for name, parameter in plain.named_parameters():
                    if name.endswith("router.weight"):  # noisy routers start at 0: every choice would be a tie
                        torch.nn.init.normal_(parameter, 0.0, 0.2)
                reference.save_model(plain, arch, folder)
                export(folder, folder)
                model, info = load(folder, output_loading_info=True)
                for problem, names in info.items():
                    self.assertEqual(len(names), 0, f"{problem}: {names}")
                bias = plain.decoder.bias if plain.decoder is not None else None
                with torch.no_grad():
                    hidden = plain.encoder(batch["input_ids"], batch["attention_mask"])[-1]
                    expected = F.linear(hidden, plain.encoder.embedding.word_embedding.weight, bias)
                    torch.testing.assert_close(model(**batch).logits, expected, rtol=0, atol=1e-5)
                self.succeed("forward", "--model", folder, "--precision", "fp32", "--input", "in.safetensors", "--output",
                     "out.safetensors")
                ours, mask = load_file(self.folder / "out.safetensors")["logits"], batch["attention_mask"]
                torch.testing.assert_close(masked(ours, mask), masked(expected, mask), rtol=0, atol=1e-4)


class Errors(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def test_a_folder_without_a_model_is_one_sentence(self):
        done = export(self.folder, self.folder / "out", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has no config.json", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertFalse((self.folder / "out").exists())

    def test_what_the_code_cannot_compute_is_refused(self):
        export(SMALL, self.folder)
        sound = json.loads((self.folder / "config.json").read_text())
        for keys, value in ((("norm_scheme",), "post"), (("attention", "rotary_embedding"), True),
                            (("intermed_type",), "forest"), (("nonlin",), "Swish"), (("gates",), "even"),
                            (("embedding", "pos_embedding"), "rope")):
            config = json.loads(json.dumps(sound))
            place = config["arch"]
            for key in keys[:-1]:
                place = place[key]
            place[keys[-1]] = value
            (self.folder / "config.json").write_text(json.dumps(config))
            with self.subTest(keys[-1]), self.assertRaisesRegex(ValueError, keys[-1]):
                load(self.folder)


if __name__ == "__main__":
    program.main()
