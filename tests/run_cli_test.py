# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""`grove-train pretrain` as a job: several processes, dry runs, JSONL, and configuration files that cannot be."""

import json
import os
import signal
import socket
import subprocess
import time

import packed_text
import program

MODEL = ("--layers", "1", "--width", "32", "--heads", "2", "--length", "32", "--feed-forward", "dense", "--intermediate",
         "64", "--batch", "8", "--threads", "1", "--device", "cpu")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Run(program.ProgramTest):
    program = "GROVE_TRAIN"

    def setUp(self):
        super().setUp()
        self.text = self.folder / "train.txt"
        self.text.write_text(packed_text.sentences(400, seed=1))
        self.tokenizer = self.folder / "tokenizer.json"
        self.packed = self.folder / "packed"
        self.model = self.folder / "model"

    def pack(self):
        self.succeed("tokenizer", "--text", self.text, "--vocabulary-size", "100", "--output", self.tokenizer)
        self.succeed("data", "--text", self.text, "--valid-fraction", "0.2", "--tokenizer", self.tokenizer, "--output",
                     self.packed)

    def start(self, size, *arguments, names=("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")):
        """The processes of a job, as a launcher starts them."""
        port, processes = str(free_port()), []
        for rank in range(size):
            place = dict(zip(names, map(str, (rank, size, rank, size))))
            processes.append(subprocess.Popen([self.executable, *map(os.fspath, arguments)], text=True,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                              env={**os.environ, **place, "MASTER_PORT": port}))
        return processes

    @staticmethod
    def finish(processes):
        """(exit code, stdout, stderr) by rank. Without Gloo a build cannot do this: the test is skipped."""
        results = []
        for process in processes:
            out, err = process.communicate(timeout=120)
            results.append((process.returncode, out, err))
        return results

    def skip_without_gloo(self, results):
        if any("built without Gloo" in err for _, _, err in results):
            self.skipTest("built without Gloo's headers")

    def test_processes_share_the_work_and_one_speaks(self):
        self.pack()
        arguments = ["pretrain", "--data", self.packed, "--steps", "20", "--json", *MODEL]
        alone = json.loads(self.succeed(*arguments, "--output", self.folder / "alone"))
        for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
                      ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                       "OMPI_COMM_WORLD_LOCAL_SIZE")):
            model = self.folder / names[0]
            results = self.finish(self.start(2, *arguments, "--output", model, names=names))
            self.skip_without_gloo(results)
            self.assertEqual([code for code, _, _ in results], [0, 0], results)
            self.assertEqual(results[1][1:], ("", ""))
            card = json.loads(results[0][1])
            self.assertIn("2 processes", card["device"])
            self.assertEqual(card["tokens"], alone["tokens"])
            self.assertAlmostEqual(card["validation_loss"], alone["validation_loss"], places=4)
            self.assertTrue((model / "model.safetensors").exists())

    def test_a_killed_process_ends_the_job_which_resumes_with_another_number(self):
        self.pack()
        arguments = ["pretrain", "--data", self.packed, "--output", self.model, "--steps", "100000",
                     "--checkpoint-every", "5", "--log-every", "1", *MODEL]
        processes = self.start(3, *arguments)
        log = self.model / "log.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not log.exists() or log.read_bytes().count(b"\n") < 12):
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        results = self.finish(processes)
        self.skip_without_gloo(results)
        self.assertLess(time.monotonic() - killed, 15)
        self.assertEqual([code for code, _, _ in results], [1, -signal.SIGKILL, 1], results)
        for rank in (0, 2):
            told = results[rank][2]
            self.assertIn("rank 1 of 3 is gone", told)
            self.assertIn("--resume", told)
            self.assertTrue(told.startswith("grove-train pretrain: "), told)
            self.assertEqual(told.count("\n"), 1, told)
        self.assertFalse((self.model / "config.json").exists())
        step = max(int(path.name[11:20]) for path in (self.model / "checkpoints").iterdir())
        arguments[arguments.index("100000")] = str(step + 10)
        self.finish(self.start(2, *arguments, "--resume"))
        self.assertTrue((self.model / "config.json").exists())

    def test_a_signal_to_one_process_stops_all_with_a_checkpoint(self):
        self.pack()
        arguments = ["pretrain", "--data", self.packed, "--output", self.model, "--steps", "1000000", "--log-every", "1",
                     *MODEL]
        processes = self.start(2, *arguments)
        log = self.model / "log.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not log.exists() or log.read_bytes().count(b"\n") < 3):
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGTERM)
        results = self.finish(processes)
        self.skip_without_gloo(results)
        self.assertEqual([code for code, _, _ in results], [0, 128 + signal.SIGTERM], results)
        self.assertIn("written; go on with the same command and --resume", results[0][2])
        self.assertEqual(len(list((self.model / "checkpoints").iterdir())), 1)

    def test_a_wrong_environment_is_a_sentence(self):
        arguments = ("pretrain", "--data", self.packed, "--output", self.model, "--steps", "1")
        self.refuse(*arguments, RANK="3", WORLD_SIZE="2", names=["RANK", "WORLD_SIZE"])
        self.refuse(*arguments, RANK="0", names=["WORLD_SIZE"])
        self.refuse(*arguments, RANK="0", WORLD_SIZE="2", MASTER_PORT=str(free_port()), GROVE_JOIN_SECONDS="1",
                    names=["1 of 2 processes", "MASTER_ADDR"])

    def test_a_dry_run_tells_and_writes_nothing(self):
        self.pack()
        before = sorted(self.folder.rglob("*"))
        arguments = ("pretrain", "--data", self.packed, "--batch-ramp", "0.5", "--micro-batch", "2", *MODEL)
        report = self.succeed_json(*arguments, "--steps", "100", "--dry-run")
        self.assertEqual(report["steps"], 100)
        self.assertGreater(report["tokens"], 100 * 2 * 10)
        self.assertLess(report["tokens"], 100 * 8 * 32)
        self.assertIsNone(report["flop_utilization"])  # of a GPU alone
        for key in ("seconds", "tokens_per_second", "flop_per_token", "peak_memory_bytes", "checkpoint_bytes"):
            self.assertGreater(report[key], 0, key)
        text = self.succeed(*arguments, "--minutes", "1", "--output", self.model, "--dry-run")
        for word in ("steps", "tokens/s", "GFLOP a token", "peak memory", "a checkpoint", "1 min", "Nothing was written"):
            self.assertIn(word, text)
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        # The size it tells is the size of a checkpoint, but for its header.
        self.succeed("pretrain", "--data", self.packed, "--output", self.model, "--steps", "1", *MODEL)
        checkpoint = next((self.model / "checkpoints").iterdir())
        self.assertAlmostEqual(checkpoint.stat().st_size / report["checkpoint_bytes"], 1, delta=0.1)

    def test_json_lines_train_as_the_text_does(self):
        self.pack()
        plain = (self.packed / "data.json").read_text()
        lines = self.folder / "train.jsonl"
        documents = [document + "\n" for document in self.text.read_text().strip("\n").split("\n\n")]
        lines.write_text("".join(json.dumps({"id": i, "body": text}) + "\n" for i, text in enumerate(documents)))
        self.refuse("data", "--text", lines, "--tokenizer", self.tokenizer, "--output", self.folder / "other",
                    names=["train.jsonl, line 1", "--field"])
        self.succeed("data", "--text", lines, "--field", "body", "--valid-fraction", "0.2", "--tokenizer", self.tokenizer,
                     "--output", self.packed)
        self.assertEqual((self.packed / "data.json").read_text(), plain.replace("train.txt", "train.jsonl"))
        self.succeed("tokenizer", "--text", lines, "--field", "body", "--vocabulary-size", "100", "--output",
                     self.folder / "again.json")
        self.assertEqual(self.tokenizer.read_bytes(), (self.folder / "again.json").read_bytes())

    def test_a_wrong_configuration_is_a_sentence_before_any_work(self):
        config = self.folder / "config.json"
        wrong = {
            '{"layres": 2}': ["layres", "--help"],
            '{"layers": "2"}': ["layers", "number"],
            '{"layers": 0}': ["layers", "1"],
            '{"layers": 2, "layers": 3}': ["layers", "twice"],
            '{"layers": 2': ["line 1"],
            '{"width": 100, "heads": 3}': ["--width", "--heads"],
            '{"paths": 20, "depth": 2}': ["paths"],
            '{"batch": 10, "micro_batch": 3}': ["--batch", "--micro-batch"],
            '{"steps": 5, "minutes": 1}': ["--minutes", "--steps"],
            '{"feed_forward": "neuron_tree", "nonlinearity": "gelu_glu", "steps": 1}': ["GELUglu"],
        }
        for text, names in wrong.items():
            config.write_text(text)
            budget = () if "steps" in text else ("--steps", "1")
            with self.subTest(text):
                self.refuse("pretrain", "--config", config, "--data", self.packed, "--output", self.model, *budget,
                            names=names)
        self.refuse("pretrain", "--config", self.folder / "nowhere.json", "--data", self.packed, "--output", self.model,
                    names=["nowhere.json"])
        # What the command line names is wrong there: exit code 2.
        for flags, names in ((("--width", "100", "--heads", "3"), ["--width"]), (("--depth", "99"), ["--depth"]),
                             (("--paths", "20", "--depth", "2"), ["paths"])):
            self.refuse("pretrain", "--data", self.packed, "--output", self.model, "--steps", "1", *flags, code=2,
                        names=names)


if __name__ == "__main__":
    program.main()
