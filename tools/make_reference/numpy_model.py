"""An independent forward pass in NumPy float64, written from the papers' equations.

It checks transformers on the families that the installed version knows, and is the reference for
Qwen3, which it does not know.
"""

import numpy


def rope_frequencies(config):
    """[head_dim / 2] float64."""
    rope = config.get("rope_parameters") or {
        "rope_theta": config["rope_theta"],
        **(config.get("rope_scaling") or {})}
    head_dim = head_dim_of(config)
    frequencies = rope["rope_theta"] ** (-numpy.arange(0, head_dim, 2) / head_dim)
    kind = rope.get("rope_type") or rope.get("type", "default")
    if kind == "linear":
        return frequencies / rope["factor"]
    if kind == "llama3":
        turns = rope["original_max_position_embeddings"] * frequencies / (2 * numpy.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = numpy.clip((turns - low) / (high - low), 0, 1)
        return frequencies * (share + (1 - share) / rope["factor"])
    assert kind == "default", kind
    return frequencies


def head_dim_of(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def logits(config, tensors, ids):
    """[len(ids), vocab]. `tensors`: Hugging Face names -> arrays."""
    weights = {name: numpy.asarray(value, dtype=numpy.float64) for name, value in tensors.items()}
    eps = config["rms_norm_eps"]
    angles = numpy.arange(len(ids))[:, None] * rope_frequencies(config)
    turn = numpy.cos(angles), numpy.sin(angles)

    hidden = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        part = _Layer(weights, f"model.layers.{layer}.")
        hidden = hidden + _attention(config, part, _norm(
            hidden, part["input_layernorm.weight"], eps), turn)
        x = _norm(hidden, part["post_attention_layernorm.weight"], eps)
        gate = part.linear("mlp.gate_proj", x)
        hidden = hidden + part.linear(
            "mlp.down_proj", gate / (1 + numpy.exp(-gate)) * part.linear("mlp.up_proj", x))
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return _norm(hidden, weights["model.norm.weight"], eps) @ head.T


class _Layer:
    def __init__(self, weights, prefix):
        self._weights, self._prefix = weights, prefix

    def __getitem__(self, name):
        return self._weights[self._prefix + name]

    def __contains__(self, name):
        return self._prefix + name in self._weights

    def linear(self, name, x):
        y = x @ self[name + ".weight"].T
        return y + self[name + ".bias"] if name + ".bias" in self else y


def _norm(x, weight, eps):
    return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def _attention(config, part, x, turn):
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    rows, head_dim = len(x), head_dim_of(config)
    q = part.linear("self_attn.q_proj", x).reshape(rows, heads, head_dim)
    k = part.linear("self_attn.k_proj", x).reshape(rows, kv_heads, head_dim)
    v = part.linear("self_attn.v_proj", x).reshape(rows, kv_heads, head_dim)
    if "self_attn.q_norm.weight" in part:
        q = _norm(q, part["self_attn.q_norm.weight"], config["rms_norm_eps"])
        k = _norm(k, part["self_attn.k_norm.weight"], config["rms_norm_eps"])
    q, k = _rotate(q, turn), _rotate(k, turn)
    out = numpy.empty_like(q)
    hidden = numpy.triu(numpy.full((rows, rows), -numpy.inf), 1)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        scores = q[:, head] @ k[:, shared].T / numpy.sqrt(head_dim) + hidden
        shares = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = shares / shares.sum(axis=-1, keepdims=True) @ v[:, shared]
    return part.linear("self_attn.o_proj", out.reshape(rows, heads * head_dim))


def _rotate(x, turn):
    """x: [rows, heads, head_dim] in half-split order."""
    cos, sin = (t[:, None, :] for t in turn)
    a, b = numpy.split(x, 2, axis=-1)
    return numpy.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
