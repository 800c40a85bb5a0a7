# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Each system behind one interface: made for a model directory, a number of threads and a precision, then run() on a
padded batch (ids and mask, int64 [batch, length]). A system that cannot do what is asked raises Unavailable."""

import pathlib
import subprocess
import time

import numpy


class Unavailable(Exception):
    pass


class Grove:
    """Runs in a process of its own that is asked for one round at a time (grove bench rounds)."""

    def __init__(self, program, folder, inputs, output, threads, precision):
        self.output = output
        self.process = subprocess.Popen(
            [program, "bench", "rounds", "--model", folder, "--input", inputs, "--output", output, "--threads",
             str(threads), "--precision", precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds()  # loaded

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Unavailable("grove ended")
        return float(line)

    def hidden(self):
        from safetensors.numpy import load_file
        return load_file(self.output)["hidden"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class _InProcess:
    def seconds(self):
        start = time.perf_counter()
        self.run()
        return time.perf_counter() - start

    def close(self):
        pass


class Torch(_InProcess):
    """Transformers' BertModel, scaled_dot_product_attention."""

    def __init__(self, folder, ids, mask, threads, precision):
        import torch
        import transformers
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(threads)
        self.torch = torch
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.model = transformers.BertModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
        if precision == "int8":
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)
        self.ids, self.mask = torch.from_numpy(ids), torch.from_numpy(mask)

    def run(self):
        with self.torch.inference_mode():
            return self.model(input_ids=self.ids, attention_mask=self.mask).last_hidden_state

    def hidden(self):
        return self.run().float().numpy()


class OpenVino(_InProcess):
    """The graph of Transformers' BertModel, converted and compiled by OpenVINO."""

    def __init__(self, folder, ids, mask, threads, precision):
        import openvino
        import torch
        import transformers
        transformers.logging.set_verbosity_error()
        model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()

        class Encoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask):
                return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        folder = pathlib.Path(folder)
        saved = folder / "openvino.int8.xml"
        if precision == "int8" and saved.exists():
            converted = openvino.Core().read_model(saved)
        else:
            converted = openvino.convert_model(
                Encoder(), example_input={"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)})
            if precision == "int8":
                converted = self._quantized(converted, ids, mask)
                openvino.save_model(converted, saved)
        hint = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision]  # what is not int8
        self.compiled = openvino.Core().compile_model(converted, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})
        self.request = self.compiled.create_infer_request()
        self.inputs = [ids, mask]

    @staticmethod
    def _quantized(model, ids, mask):
        """NNCF's post-training quantization for transformers: int8 weights by column, activations by tensor with scales that a
        few batches of other random words set, as an engineer would with text."""
        import nncf
        generator = numpy.random.default_rng(1)
        few = slice(None, None, max(1, len(ids) // 4))  # sequences: it reads each batch three times
        batches = [[generator.permuted(ids[few], axis=1), mask[few]] for _ in range(8)]
        nncf.set_log_level("ERROR")
        return nncf.quantize(model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches))

    def run(self):
        return self.request.infer(self.inputs)[0]

    def hidden(self):
        return numpy.array(self.run())


class OnnxRuntime(_InProcess):
    """The graph that its optimizer makes of a BERT: fused attention, bias + GELU, residual + norm (onnx_bert.py)."""

    def __init__(self, folder, ids, mask, threads, precision):
        if precision == "bf16":
            raise Unavailable("ONNX Runtime has no bf16 products on this processor")
        import onnxruntime

        import onnx_bert
        path = pathlib.Path(folder) / "bert.onnx"
        if not path.exists():
            onnx_bert.write(folder, path)
        if precision == "int8":
            path = self._quantized(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {"input_ids": ids, "attention_mask": mask.astype(numpy.int32)}

    @staticmethod
    def _quantized(path):
        """Its own dynamic quantization: int8 weights by column, activations by tensor."""
        from onnxruntime.quantization import QuantType, quantize_dynamic
        to = path.with_name("bert.int8.onnx")
        if not to.exists():
            quantize_dynamic(str(path), str(to), weight_type=QuantType.QInt8, per_channel=True,
                             extra_options={"DefaultTensorType": 1})  # float, where its own operators have no shape rule
        return to

    def run(self):
        return self.session.run(None, self.inputs)[0]

    def hidden(self):
        return self.run()


class CTranslate2(_InProcess):
    """Takes sequences of any length and packs them itself."""

    def __init__(self, folder, ids, mask, threads, precision):
        import ctranslate2
        folder = pathlib.Path(folder)
        converted = folder / "ctranslate2"
        if not converted.exists():
            ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted))
        kind = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8_float32"}[precision]
        if kind not in ctranslate2.get_supported_compute_types("cpu"):
            raise Unavailable(f"CTranslate2 has no {kind} on this processor")
        self.encoder = ctranslate2.Encoder(str(converted), device="cpu", compute_type=kind, inter_threads=1,
                                           intra_threads=threads)
        self.sequences = [row[: int(count)].tolist() for row, count in zip(ids, mask.sum(1))]

    def run(self):
        return self.encoder.forward_batch(self.sequences).last_hidden_state

    def hidden(self):
        return numpy.array(self.run()).astype(numpy.float32)


RIVALS = {"PyTorch": Torch, "ONNX Runtime": OnnxRuntime, "OpenVINO": OpenVino, "CTranslate2": CTranslate2}
