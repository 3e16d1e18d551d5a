"""Random weights of a small model as safetensors files. Deterministic for a seed."""

import json
import math

import numpy

import numpy_model


def shapes(config):
    """Tensor name -> shape, in the order of the layers."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    heads, head_dim = config["num_attention_heads"], numpy_model.head_dim_of(config)
    kv_width = config.get("num_key_value_heads", heads) * head_dim
    q_width, family = heads * head_dim, config["model_type"]
    qkv_bias = family == "qwen2" or config.get("attention_bias", False)
    linears = {  # name -> (outputs, inputs, bias)
        "self_attn.q_proj": (q_width, hidden, qkv_bias),
        "self_attn.k_proj": (kv_width, hidden, qkv_bias),
        "self_attn.v_proj": (kv_width, hidden, qkv_bias),
        "self_attn.o_proj": (hidden, q_width, config.get("attention_bias", False)),
        "mlp.gate_proj": (ffn, hidden, config.get("mlp_bias", False)),
        "mlp.up_proj": (ffn, hidden, config.get("mlp_bias", False)),
        "mlp.down_proj": (hidden, ffn, config.get("mlp_bias", False)),
    }
    found = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        found[prefix + "input_layernorm.weight"] = (hidden,)
        found[prefix + "post_attention_layernorm.weight"] = (hidden,)
        if family == "qwen3":
            found[prefix + "self_attn.q_norm.weight"] = (head_dim,)
            found[prefix + "self_attn.k_norm.weight"] = (head_dim,)
        for name, (outputs, inputs, bias) in linears.items():
            found[f"{prefix}{name}.weight"] = (outputs, inputs)
            if bias:
                found[f"{prefix}{name}.bias"] = (outputs,)
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return found


def write(folder, config, dtype, shards, seed):
    """Writes model.safetensors, or shards and their index; returns the stored values in float32."""
    rng = numpy.random.default_rng(seed)
    stored = {}
    for name, shape in shapes(config).items():
        stored[name] = _store(_draw(rng, name, shape), dtype)
    for old in folder.glob("model*"):
        old.unlink()
    names = list(stored)
    if shards == 1:
        _write_file(folder / "model.safetensors", {n: stored[n] for n in names}, dtype)
    else:
        # Neighbours land in different files, as they do in no real checkpoint but may.
        place = {n: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors"
                 for i, n in enumerate(names)}
        for file in sorted(set(place.values())):
            _write_file(folder / file, {n: stored[n] for n in names if place[n] == file}, dtype)
        total = sum(raw.nbytes for raw, _ in stored.values())
        (folder / "model.safetensors.index.json").write_text(json.dumps(
            {"metadata": {"total_size": total}, "weight_map": place}, indent=1) + "\n")
    return {name: values for name, (_, values) in stored.items()}


def _draw(rng, name, shape):
    values = rng.standard_normal(shape, dtype=numpy.float32)
    if "norm" in name:
        return 1 + numpy.float32(0.2) * values
    if name.endswith(".bias"):
        return numpy.float32(0.3) * values
    scale = 3.0 if name == "lm_head.weight" else 2.4 if "embed" in name else 1.4
    return values * numpy.float32(scale / math.sqrt(shape[1]))


def _store(values, dtype):
    """(raw little-endian array, the same values in float32)."""
    if dtype == "F32":
        return values.astype("<f4"), values
    if dtype == "F16":
        raw = values.astype("<f2")
        return raw, raw.astype(numpy.float32)
    bits = values.view(numpy.uint32)
    raw = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")  # round half to even
    return raw, (raw.astype(numpy.uint32) << 16).view(numpy.float32)


def _write_file(path, stored, dtype):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (raw, _) in stored.items():
        begin, end = end, end + raw.nbytes
        header[name] = {"dtype": dtype, "shape": raw.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text
                     + b"".join(raw.tobytes() for raw, _ in stored.values()))
