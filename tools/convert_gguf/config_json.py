"""Hugging Face config.json and generation_config.json from GGUF metadata."""

import numpy

from .errors import ConvertError

# GGUF architecture -> (architectures[0], model_type). Anything else is refused by name.
FAMILIES = {
    "llama": ("LlamaForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
}

# GGUF keeps llama3 rope scaling as a tensor of frequency divisors, without the parameters that made
# them. All published Llama 3.1 to 3.3 models use these three; the factor is the largest divisor.
LLAMA3_LOW_FREQ_FACTOR = 1.0
LLAMA3_HIGH_FREQ_FACTOR = 4.0
LLAMA3_ORIGINAL_POSITIONS = 8192


def model_config(source):
    """config.json as a dict. `source` is a GgufFile."""
    arch = source.architecture
    if arch not in FAMILIES:
        raise ConvertError(f"{source.path}: architecture {arch} is not supported "
                           f"(supported: {', '.join(FAMILIES)})")
    architecture, model_type = FAMILIES[arch]
    window = _whole(source, f"{arch}.attention.sliding_window", 0)
    if arch == "llama" and window > 0:
        architecture, model_type = "MistralForCausalLM", "mistral"

    hidden = _whole(source, f"{arch}.embedding_length")
    heads = _whole(source, f"{arch}.attention.head_count")
    head_dim = _head_dim(source, arch, hidden, heads)
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": _whole(source, f"{arch}.feed_forward_length"),
        "num_hidden_layers": _whole(source, f"{arch}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _whole(source, f"{arch}.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "vocab_size": _vocab_size(source),
        "max_position_embeddings": _whole(source, f"{arch}.context_length"),
        "rms_norm_eps": source.decimal(f"{arch}.attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": source.decimal(f"{arch}.rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(source, arch, head_dim),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "torch_dtype": "float32",
    }
    if arch == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in source.tensors
        config["mlp_bias"] = "blk.0.ffn_up.bias" in source.tensors
    if arch == "qwen3":
        config["attention_bias"] = "blk.0.attn_q.bias" in source.tensors
    if window > 0:
        config["sliding_window"] = window
        if arch != "llama":
            config["use_sliding_window"] = True
    config.update(_special_ids(source))
    return config


def generation_config(source):
    """generation_config.json as a dict: the ids that begin and end a text."""
    ids = _special_ids(source)
    pad = source.number("tokenizer.ggml.padding_token_id", None)
    if pad is not None:
        ids["pad_token_id"] = int(pad)
    return ids


def _special_ids(source):
    bos = source.number("tokenizer.ggml.bos_token_id", None)
    ends = []
    for key in ("eos_token_id", "eot_token_id", "eom_token_id"):
        value = source.number(f"tokenizer.ggml.{key}", None)
        if value is not None and int(value) not in ends:
            ends.append(int(value))
    return {
        "bos_token_id": None if bos is None else int(bos),
        "eos_token_id": None if not ends else ends[0] if len(ends) == 1 else ends,
    }


def _whole(source, key, default=None):
    value = source.required(key) if default is None else source.number(key, default)
    if value != int(value) or not 0 <= value < 1 << 31:
        raise ConvertError(f"{source.path}: key {key} is {value}, not a sensible count")
    return int(value)


def _head_dim(source, arch, hidden, heads):
    if heads == 0 or hidden == 0:
        raise ConvertError(f"{source.path}: {arch}.attention.head_count and "
                           f"{arch}.embedding_length must not be 0")
    head_dim = _whole(source, f"{arch}.attention.key_length", hidden // heads)
    if _whole(source, f"{arch}.attention.value_length", head_dim) != head_dim:
        raise ConvertError(f"{source.path}: keys and values of different widths are not supported")
    if _whole(source, f"{arch}.rope.dimension_count", head_dim) != head_dim:
        raise ConvertError(f"{source.path}: {arch}.rope.dimension_count differs from the head size "
                           f"{head_dim}; partial rotary embeddings are not supported")
    return head_dim


def _vocab_size(source):
    embedding = source.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise ConvertError(f"{source.path}: tensor token_embd.weight is missing or not a matrix; "
                           "is this a vocabulary-only GGUF?")
    return int(embedding.shape[1])


def _rope_scaling(source, arch, head_dim):
    kind = source.text(f"{arch}.rope.scaling.type", "none")
    divisors = source.tensors.get("rope_freqs.weight")
    if divisors is not None:
        return _llama3_scaling(source, arch, head_dim, divisors.data)
    if kind == "linear":
        return {"rope_type": "linear", "factor": source.decimal(f"{arch}.rope.scaling.factor", 1.0)}
    if kind != "none":
        raise ConvertError(f"{source.path}: rope scaling {kind} is not supported "
                           "(supported: none, linear, llama3)")
    return None


def _llama3_scaling(source, arch, head_dim, divisors):
    """Finds the llama3 parameters that give `divisors`, or refuses the file."""
    theta = source.decimal(f"{arch}.rope.freq_base", 10000.0)
    divisors = numpy.asarray(divisors, dtype=numpy.float64).reshape(-1)
    factor = float(str(numpy.float32(divisors.max())))
    if divisors.size != head_dim // 2 or not numpy.allclose(
            llama3_divisors(theta, head_dim, factor), divisors, rtol=1e-4, atol=0.0):
        raise ConvertError(f"{source.path}: tensor rope_freqs.weight does not follow the llama3 "
                           "rule; such rope scaling is not supported")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LLAMA3_LOW_FREQ_FACTOR,
        "high_freq_factor": LLAMA3_HIGH_FREQ_FACTOR,
        "original_max_position_embeddings": LLAMA3_ORIGINAL_POSITIONS,
    }


def llama3_divisors(theta, head_dim, factor):
    """What llama3 scaling divides each rotary frequency by. [head_dim / 2] float64."""
    wavelengths = 2.0 * numpy.pi * theta ** (numpy.arange(0, head_dim, 2) / head_dim)
    blend = (LLAMA3_ORIGINAL_POSITIONS / wavelengths - LLAMA3_LOW_FREQ_FACTOR) / (
        LLAMA3_HIGH_FREQ_FACTOR - LLAMA3_LOW_FREQ_FACTOR)
    blend = numpy.clip(blend, 0.0, 1.0)
    return 1.0 / ((1.0 - blend) / factor + blend)
