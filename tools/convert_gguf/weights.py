"""GGUF tensors -> float32 arrays with Hugging Face names, shapes and rope order."""

import re
import typing

import gguf
import numpy

from .errors import ConvertError

_GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LINEAR = re.compile(r"blk\.\d+\.(attn_(q|k|v|output)|ffn_(gate|up|down))\.weight|output\.weight")
_DROPPED = frozenset(("rope_freqs.weight",))  # config.json says it: config_json.py

# Least to most precise; a file of mixed types gets the packing of its most precise tensor. int4 and
# int8 have one scale (int4: and one minimum) per 32 weights, so types with groups of 16 need int8.
_PACKINGS = ("int4", "int8", "bf16", "fp32")
_PACKING_OF_TYPE = {
    "Q4_0": "int4", "Q4_1": "int4", "Q4_K": "int4",
    "Q2_K": "int8", "Q3_K": "int8", "Q5_0": "int8", "Q5_1": "int8", "Q5_K": "int8",
    "Q6_K": "int8", "Q8_0": "int8",
    "F16": "bf16", "BF16": "bf16", "F32": "fp32",
}


class Weight(typing.NamedTuple):
    name: str                   # Hugging Face name
    shape: tuple                # slowest dimension first
    tensor: gguf.ReaderTensor
    rope_heads: int             # rows belong to this many heads in interleaved rope order; 0 = no

    def values(self):
        """The weights in float32, [shape]; this is where the work happens."""
        values = gguf.dequantize(self.tensor.data, self.tensor.tensor_type)
        values = numpy.ascontiguousarray(values, dtype="<f4").reshape(self.shape)
        return unpermute(values, self.rope_heads) if self.rope_heads else values


def list_weights(source, config):
    """Every weight to write, in the order of the layers."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    interleaved = source.architecture == "llama"
    found = []
    for tensor in source.reader.tensors:
        if tensor.name in _DROPPED:
            continue
        name, layer, part = _translate(source, tensor.name)
        rope_heads = heads.get(part, 0) if interleaved else 0
        shape = tuple(int(n) for n in reversed(tensor.shape))
        if rope_heads and shape[0] != rope_heads * config["head_dim"]:
            raise ConvertError(f"{source.path}: tensor {tensor.name} has {shape[0]} rows, expected "
                               f"{rope_heads} heads x {config['head_dim']}")
        found.append((layer, name, Weight(name, shape, tensor, rope_heads)))
    return [weight for _, _, weight in sorted(found, key=lambda item: item[:2])]


def packing(source):
    """The packing that keeps the file's own precision: {"linear": ..., "embedding": ...}."""
    linear, embedding = set(), set()
    for tensor in source.reader.tensors:
        if tensor.name == "token_embd.weight":
            embedding.add(_PACKING_OF_TYPE[tensor.tensor_type.name])
        elif _LINEAR.fullmatch(tensor.name):
            linear.add(_PACKING_OF_TYPE[tensor.tensor_type.name])
    return {"linear": max(linear, key=_PACKINGS.index, default="fp32"),
            "embedding": max(embedding, key=_PACKINGS.index, default="fp32")}


def unpermute(values, heads):
    """Rows of each head from interleaved rope order (pairs 2i, 2i+1) to half-split (i, i + d/2).

    values: [heads * head_dim, ...]. The inverse of what llama.cpp's converter does for "llama".
    """
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return numpy.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _translate(source, name):
    """(Hugging Face name, sort key, part of the layer)."""
    if name in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[name], -1 if name == "token_embd.weight" else 1 << 31, ""
    match = re.fullmatch(r"blk\.(\d{1,4})\.([a-z_]+)\.(weight|bias)", name)
    if match is None or match[2] not in _LAYER_NAMES:
        raise ConvertError(f"{source.path}: tensor {name} is not part of a "
                           f"{source.architecture} model that Headgate knows")
    layer = int(match[1])
    return f"model.layers.{layer}.{_LAYER_NAMES[match[2]]}.{match[3]}", layer, match[2]
