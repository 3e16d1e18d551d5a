#!/usr/bin/env python3
"""Writes a model folder of Llama 3 8B's size (16 GB) with random bf16 weights, named and cut into
shards as Hugging Face does: something to load when the time of loading is measured.

    make_checkpoint.py DIR [--layers N] [--shard-gb N]

Where DIR is in memory (/dev/shm), reading it is reading the page cache. No tokenizer.
"""
import argparse
import array
import json
import math
import pathlib
import random

HIDDEN, INNER, VOCAB, KV_COLUMNS = 4096, 14336, 128256, 1024
DRAWN = 1 << 20  # values; larger tensors repeat them


def tensors(layers):
    """Names and shapes in the order of the published files."""
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (HIDDEN,)
        yield layer + "mlp.down_proj.weight", (HIDDEN, INNER)
        yield layer + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield layer + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield layer + "post_attention_layernorm.weight", (HIDDEN,)
        yield layer + "self_attn.k_proj.weight", (KV_COLUMNS, HIDDEN)
        yield layer + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield layer + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield layer + "self_attn.v_proj.weight", (KV_COLUMNS, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def size(shape):
    return 2 * math.prod(shape)


def shards(layers, bytes_max):
    groups, used = [[]], 0
    for name, shape in tensors(layers):
        if groups[-1] and used + size(shape) > bytes_max:
            groups.append([])
            used = 0
        groups[-1].append((name, shape))
        used += size(shape)
    return groups


def write_shard(path, group, block):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in group:
        header[name] = {"dtype": "BF16", "shape": list(shape),
                        "data_offsets": [at, at + size(shape)]}
        at += size(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    ones = b"\x80\x3f" * HIDDEN  # bf16 1.0
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, shape in group:
            left = size(shape)
            values = memoryview(ones if len(shape) == 1 else block)
            while left > 0:
                file.write(values[:min(left, len(values))])
                left -= min(left, len(values))


def draw():
    """Many bf16 numbers of a trained weight's size: the upper halves of fp32 ones."""
    source = random.Random(1)
    raw = array.array("f", (source.gauss(0.0, 0.02) for _ in range(DRAWN))).tobytes()
    drawn = bytearray(len(raw) // 2)
    drawn[0::2], drawn[1::2] = raw[2::4], raw[3::4]
    return bytes(drawn) * 32


def config(layers):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "torch_dtype": "bfloat16", "hidden_size": HIDDEN, "intermediate_size": INNER,
            "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 128, "vocab_size": VOCAB, "max_position_embeddings": 131072,
            "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "bos_token_id": 128000, "eos_token_id": 128001, "tie_word_embeddings": False,
            "attention_bias": False, "mlp_bias": False}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--shard-gb", type=float, default=5.0)
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    block = draw()
    groups = shards(args.layers, args.shard_gb * 1e9)
    weight_map, total = {}, 0
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors"
        write_shard(args.dir / name, group, block)
        for tensor, shape in group:
            weight_map[tensor] = name
            total += size(shape)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (args.dir / "model.safetensors.index.json").write_text(json.dumps(index))
    (args.dir / "config.json").write_text(json.dumps(config(args.layers)))
    print(f"{args.dir}: {total / 1e9:.2f} GB in {len(groups)} files")


if __name__ == "__main__":
    main()
