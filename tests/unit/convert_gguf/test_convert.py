"""Tests of tools/convert_gguf on small GGUF files made here. Needs tools/requirements.txt.

Run from the repository root: python -m unittest discover -s tests/unit/convert_gguf
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

import gguf
import numpy

TOOLS = pathlib.Path(__file__).resolve().parents[3] / "tools"
sys.path.insert(0, str(TOOLS))

from convert_gguf import config_json, convert, errors, weights  # noqa: E402

HIDDEN, HEADS, KV_HEADS, FFN, VOCAB = 256, 4, 2, 512, 260
HEAD_DIM = HIDDEN // HEADS
LINEAR = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
          "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
          "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN)}


def permute(values, heads):
    """Half-split to interleaved rope order, spelled out row by row."""
    rows = values.reshape(heads, -1, *values.shape[1:])
    half = rows.shape[1] // 2
    order = [row for i in range(half) for row in (i, half + i)]
    return rows[:, order].reshape(values.shape)


def f16(block, at):
    return float(numpy.frombuffer(block[at:at + 2], numpy.float16)[0])


def dequantize_q4_0(block):
    d = f16(block, 0)
    return [d * ((block[2 + j % 16] >> 4 * (j // 16) & 15) - 8) for j in range(32)]


def dequantize_q4_1(block):
    d, m = f16(block, 0), f16(block, 2)
    return [d * (block[4 + j % 16] >> 4 * (j // 16) & 15) + m for j in range(32)]


def dequantize_q5_0(block):
    d, high = f16(block, 0), int.from_bytes(block[2:6], "little")
    return [d * ((block[6 + j % 16] >> 4 * (j // 16) & 15 | (high >> j & 1) << 4) - 16)
            for j in range(32)]


def dequantize_q5_1(block):
    d, m, high = f16(block, 0), f16(block, 2), int.from_bytes(block[4:8], "little")
    return [d * (block[8 + j % 16] >> 4 * (j // 16) & 15 | (high >> j & 1) << 4) + m
            for j in range(32)]


def dequantize_q8_0(block):
    return [f16(block, 0) * int(q) for q in numpy.frombuffer(block[2:], numpy.int8)]


def dequantize_q4_k(block):
    d, dmin, packed, values = f16(block, 0), f16(block, 2), block[4:16], []
    for g in range(8):
        if g < 4:
            scale, low = packed[g] & 63, packed[g + 4] & 63
        else:
            scale = packed[g + 4] & 15 | packed[g - 4] >> 6 << 4
            low = packed[g + 4] >> 4 | packed[g] >> 6 << 4
        for j in range(32):
            q = block[16 + 32 * (g // 2) + j] >> 4 * (g % 2) & 15
            values.append(d * scale * q - dmin * low)
    return values


def dequantize_q6_k(block):
    d = f16(block, 208)
    scales, values = numpy.frombuffer(block[192:208], numpy.int8), []
    for i in range(256):
        half, place = divmod(i, 128)
        quarter, j = divmod(place, 32)
        low = block[64 * half + 32 * (quarter % 2) + j] >> 4 * (quarter // 2) & 15
        high = block[128 + 32 * half + j] >> 2 * quarter & 3
        values.append(d * int(scales[i // 16]) * ((low | high << 4) - 32))
    return values


BLOCKS = {  # type -> (elements, bytes, offsets of its f16 fields, reference)
    "Q4_0": (32, 18, (0,), dequantize_q4_0), "Q4_1": (32, 20, (0, 2), dequantize_q4_1),
    "Q5_0": (32, 22, (0,), dequantize_q5_0), "Q5_1": (32, 24, (0, 2), dequantize_q5_1),
    "Q8_0": (32, 34, (0,), dequantize_q8_0), "Q4_K": (256, 144, (0, 2), dequantize_q4_k),
    "Q6_K": (256, 210, (208,), dequantize_q6_k),
}


def random_blocks(kind, rows, columns, rng):
    """(raw bytes [rows, bytes], reference values [rows, columns]) of one quantised matrix."""
    elements, size, halves, reference = BLOCKS[kind]
    raw = rng.integers(0, 256, (rows, columns // elements, size), dtype=numpy.uint8)
    for at in halves:
        scale = rng.uniform(-0.1, 0.1, raw.shape[:2]).astype(numpy.float16)
        raw[:, :, at:at + 2] = scale[:, :, None].view(numpy.uint8)
    values = [[reference(bytes(block)) for block in row] for row in raw]
    return raw.reshape(rows, -1), numpy.array(values).reshape(rows, columns)


class Model:
    """Writes a one-layer GGUF; `kind` is the type of its linear weights."""

    def __init__(self, arch="llama", kind="F32", tied=True, numbers=None):
        rng = numpy.random.default_rng(7)
        self.arch, self.expected, self.raw = arch, {}, {}
        self.numbers = {"block_count": 1, "context_length": 128, "embedding_length": HIDDEN,
                        "feed_forward_length": FFN, "attention.head_count": HEADS,
                        "attention.head_count_kv": KV_HEADS, **(numbers or {})}
        self.tensors = {"token_embd.weight": (VOCAB, HIDDEN), "output_norm.weight": (HIDDEN,),
                        "blk.0.attn_norm.weight": (HIDDEN,), "blk.0.ffn_norm.weight": (HIDDEN,)}
        if not tied:
            self.tensors["output.weight"] = (VOCAB, HIDDEN)
        if arch == "qwen2":
            for part in ("attn_q", "attn_k", "attn_v"):
                self.tensors[f"blk.0.{part}.bias"] = LINEAR[part][:1]
        for name, shape in self.tensors.items():
            self.expected[name] = rng.standard_normal(shape, dtype=numpy.float32)
            self.raw[name] = (self.expected[name], None)
        for part, shape in LINEAR.items():
            name = f"blk.0.{part}.weight"
            if kind in BLOCKS:
                blocks, self.expected[name] = random_blocks(kind, *shape, rng)
                self.raw[name] = (blocks, gguf.GGMLQuantizationType[kind])
            else:
                values = rng.standard_normal(shape, dtype=numpy.float32)
                if kind == "F16":
                    values = values.astype(numpy.float16)
                self.expected[name] = values.astype(numpy.float32)
                self.raw[name] = (values, None)

    def write(self, path, tokenizer="gpt2"):
        writer = gguf.GGUFWriter(path, self.arch)
        for key, value in self.numbers.items():
            writer.add_uint32(f"{self.arch}.{key}", value)
        writer.add_float32(f"{self.arch}.attention.layer_norm_rms_epsilon", 1e-5)
        writer.add_float32(f"{self.arch}.rope.freq_base", 50000.0)
        writer.add_tokenizer_model(tokenizer)
        writer.add_tokenizer_pre("smollm")
        tokens = [bytes([b]).decode("latin-1") if 33 <= b < 127 else chr(256 + b)
                  for b in range(256)]
        writer.add_token_list(tokens + ["<|a|>", "<|b|>", "<|c|>", "<|d|>"])
        writer.add_token_types([1] * 256 + [3] * 4)
        writer.add_token_merges(["a b", "c d"])
        writer.add_bos_token_id(256)
        writer.add_eos_token_id(257)
        for name, (data, kind) in self.raw.items():
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__")
    return {name: numpy.frombuffer(data[8 + size:][slice(*entry["data_offsets"])], "<f4")
            .reshape(entry["shape"]) for name, entry in header.items()}


class ConvertTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.source, self.out = self.folder / "in.gguf", self.folder / "out"

    def run_tool(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "convert_gguf", *map(str, arguments or (self.source, self.out))],
            env={**os.environ, "PYTHONPATH": str(TOOLS)}, capture_output=True, text=True)

    def convert(self, model):
        model.write(self.source)
        result = self.run_tool()
        self.assertEqual(result.returncode, 0, result.stderr)
        return (json.loads((self.out / "config.json").read_text()),
                json.loads((self.out / "headgate.json").read_text())["weights"],
                read_safetensors(self.out / "model.safetensors"))

    def assert_refused(self, *words):
        result = self.run_tool()
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertEqual([p.name for p in self.folder.iterdir() if p != self.source], [])

    def test_every_type_is_dequantised_exactly(self):
        packings = {"F32": "fp32", "F16": "bf16", "Q4_0": "int4", "Q4_1": "int4", "Q4_K": "int4",
                    "Q5_0": "int8", "Q5_1": "int8", "Q8_0": "int8", "Q6_K": "int8"}
        for kind, packed in packings.items():
            with self.subTest(kind):
                model = Model(arch="qwen2", kind=kind)
                self.out = self.folder / kind
                _, packing, tensors = self.convert(model)
                self.assertEqual(packing, {"linear": packed, "embedding": "fp32"})
                for part in LINEAR:
                    group = "mlp" if part.startswith("ffn") else "self_attn"
                    name = weights._LAYER_NAMES[part].split(".")[-1]
                    numpy.testing.assert_allclose(
                        tensors[f"model.layers.0.{group}.{name}.weight"],
                        model.expected[f"blk.0.{part}.weight"], rtol=2e-7, atol=2e-7)

    def test_llama_rows_return_to_half_split_order(self):
        model = Model()
        expected = {part: model.expected[f"blk.0.{part}.weight"] for part in ("attn_q", "attn_k")}
        model.raw["blk.0.attn_q.weight"] = (permute(expected["attn_q"], HEADS), None)
        model.raw["blk.0.attn_k.weight"] = (permute(expected["attn_k"], KV_HEADS), None)
        _, _, tensors = self.convert(model)
        numpy.testing.assert_array_equal(
            tensors["model.layers.0.self_attn.q_proj.weight"], expected["attn_q"])
        numpy.testing.assert_array_equal(
            tensors["model.layers.0.self_attn.k_proj.weight"], expected["attn_k"])

    def test_qwen2_rows_and_biases_stay(self):
        model = Model(arch="qwen2")
        config, _, tensors = self.convert(model)
        self.assertEqual(config["architectures"], ["Qwen2ForCausalLM"])
        for part, name in (("attn_q", "q_proj"), ("attn_k", "k_proj")):
            for suffix in ("weight", "bias"):
                numpy.testing.assert_array_equal(
                    tensors[f"model.layers.0.self_attn.{name}.{suffix}"],
                    model.expected[f"blk.0.{part}.{suffix}"])

    def test_config(self):
        config, _, tensors = self.convert(Model(tied=False))
        self.assertFalse(config["tie_word_embeddings"])
        self.assertIn("lm_head.weight", tensors)
        for key, value in {
                "model_type": "llama", "hidden_size": HIDDEN, "num_key_value_heads": KV_HEADS,
                "head_dim": HEAD_DIM, "vocab_size": VOCAB, "max_position_embeddings": 128,
                "rms_norm_eps": 1e-5, "rope_theta": 50000.0, "bos_token_id": 256,
                "eos_token_id": 257, "rope_scaling": None}.items():
            self.assertEqual(config[key], value, key)

    def test_llama3_scaling_is_recovered_from_its_divisors(self):
        model = Model()
        divisors = config_json.llama3_divisors(50000.0, HEAD_DIM, 8.0).astype(numpy.float32)
        model.raw["rope_freqs.weight"] = (divisors, None)
        config, _, tensors = self.convert(model)
        self.assertEqual(config["rope_scaling"]["rope_type"], "llama3")
        self.assertEqual(config["rope_scaling"]["factor"], 8.0)
        self.assertNotIn("rope_freqs.weight", tensors)

    def test_unknown_rope_divisors_are_refused(self):
        model = Model()
        model.raw["rope_freqs.weight"] = (
            numpy.linspace(1, 8, HEAD_DIM // 2, dtype=numpy.float32), None)
        model.write(self.source)
        self.assert_refused("rope_freqs.weight")

    def test_output_is_deterministic(self):
        model = Model(kind="Q4_1")
        self.convert(model)
        first = {p.name: p.read_bytes() for p in self.out.iterdir()}
        self.out = self.folder / "again"
        self.convert(model)
        self.assertEqual(first, {p.name: p.read_bytes() for p in self.out.iterdir()})

    def test_not_a_gguf(self):
        self.source.write_bytes(b"PK\x03\x04 something else")
        self.assert_refused("in.gguf", "not a GGUF file")

    def test_missing_file(self):
        self.assert_refused("cannot read", "in.gguf")

    def test_every_truncation_is_one_line(self):
        Model().write(self.source)
        data = self.source.read_bytes()
        for size in (5, 24, 40, 200, 3000, len(data) // 2, len(data) - 1):
            with self.subTest(size):
                self.source.write_bytes(data[:size])
                self.assert_refused("in.gguf")

    def test_unknown_architecture_is_named(self):
        Model(arch="mamba").write(self.source)
        self.assert_refused("architecture mamba is not supported")

    def test_unsupported_type_is_named(self):
        model = Model()
        blocks = numpy.zeros((HIDDEN, HIDDEN // 32 * 18), dtype=numpy.uint8)
        model.raw["blk.0.attn_q.weight"] = (blocks, gguf.GGMLQuantizationType.IQ4_NL)
        model.write(self.source)
        self.assert_refused("blk.0.attn_q.weight", "IQ4_NL")

    def test_unknown_tensor_is_named(self):
        model = Model()
        model.raw["blk.0.ffn_gate_exps.weight"] = (numpy.zeros((2, 2), numpy.float32), None)
        model.write(self.source)
        self.assert_refused("blk.0.ffn_gate_exps.weight")

    def test_unknown_tokenizer_is_named(self):
        Model().write(self.source, tokenizer="rwkv")
        self.assert_refused("in.gguf", "rwkv")

    def test_partial_rotary_is_refused(self):
        Model(numbers={"rope.dimension_count": HEAD_DIM // 2}).write(self.source)
        self.assert_refused("rope.dimension_count")

    def test_output_folder_in_use(self):
        Model().write(self.source)
        self.out.mkdir()
        (self.out / "mine.txt").write_text("keep")
        result = self.run_tool()
        self.assertEqual(result.returncode, 1)
        self.assertIn("not an empty folder", result.stderr)
        self.assertEqual([p.name for p in self.out.iterdir()], ["mine.txt"])

    def test_output_folder_under_a_file(self):
        Model().write(self.source)
        result = self.run_tool(self.source, self.source / "out")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot write to", result.stderr)

    def test_disk_short(self):
        Model().write(self.source)
        full = types.SimpleNamespace(free=1 << 20)
        with unittest.mock.patch.object(convert.shutil, "disk_usage", return_value=full):
            with self.assertRaisesRegex(errors.ConvertError, "1 MiB free, the model needs"):
                convert.convert(self.source, self.out, lambda done, total: None)
        self.assertFalse(self.out.exists())

    def test_failure_half_way_leaves_nothing(self):
        Model().write(self.source)

        def fail(done, total):
            raise OSError(28, "No space left on device")

        with self.assertRaisesRegex(errors.ConvertError, "No space left"):
            convert.convert(self.source, self.out, fail)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["in.gguf"])


if __name__ == "__main__":
    unittest.main()
