"""Makes tests/data/models/<name>/ and tests/golden/<name>.json: one random model of each family.

python tools/make_reference/small_models.py TESTS_DIR [--only NAME ...]
"""

import argparse
import json
import pathlib

import numpy

import figures
import golden_file
import numpy_model
import small_model_files
import weights_digest

PROMPT_TOKENS = 48
GREEDY_STEPS = 24
TOLERANCE = 1e-4  # of log-probabilities, transformers float32 against NumPy float64

_LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# name -> (config.json, stored dtype, number of shards). Head counts are uneven on purpose, head
# sizes differ from hidden / heads where the family allows, old and new key spellings both occur.
MODELS = {
    "llama3": ({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 16, "rope_theta": 10000.0,
        "rope_scaling": _LLAMA3_ROPE, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
        "eos_token_id": [2, 5], "torch_dtype": "bfloat16"}, "BF16", 1),
    "llama2_bias": ({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
        "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0},
        "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
        "attention_bias": True, "mlp_bias": True, "eos_token_id": 2,
        "torch_dtype": "float16"}, "F16", 1),
    "mistral": ({
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 64,
        "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 2, "rope_theta": 1000000.0, "sliding_window": None,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "eos_token_id": 2, "torch_dtype": "bfloat16"}, "BF16", 3),
    "qwen2": ({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64,
        "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 2, "rope_theta": 1000000.0, "use_sliding_window": False,
        "sliding_window": 128, "max_window_layers": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "eos_token_id": 2,
        "torch_dtype": "float32"}, "F32", 1),
    "qwen3": ({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 32, "attention_bias": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "sliding_window": None, "use_sliding_window": False, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "eos_token_id": [2, 5],
        "dtype": "bfloat16"}, "BF16", 1),
}
# Heads as large as those of real models, which GPUs have kernels of their own for.
for _name, _head_dim, _heads, _kv_heads in (("qwen3_64", 64, 6, 2), ("qwen3_128", 128, 8, 2)):
    _config, _dtype, _shards = MODELS["qwen3"]
    MODELS[_name] = ({**_config, "head_dim": _head_dim, "num_attention_heads": _heads,
                      "num_key_value_heads": _kv_heads}, _dtype, _shards)
COMMON = {"vocab_size": 300, "hidden_act": "silu", "bos_token_id": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests_dir", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    tests_dir = arguments.tests_dir
    for seed, (name, (config, dtype, shards)) in enumerate(MODELS.items(), start=1):
        if name not in arguments.only:
            continue
        config = {**config, **COMMON}
        folder = tests_dir / "data" / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        tensors = small_model_files.write(folder, config, dtype, shards, seed)
        prompt = numpy.random.default_rng(100 + seed).integers(
            3, config["vocab_size"], PROMPT_TOKENS).tolist()
        reference, prompt_logits, output, output_logits = run(folder, config, tensors, prompt)
        score = figures.next_token(prompt_logits[:-1], prompt[1:])
        greedy = figures.next_token(output_logits, output)
        golden_file.write(tests_dir / "golden" / f"{name}.json", {
            "about": "score: logprob[i], top1[i], margin[i] of the token after prompt[0..i]; "
                     "greedy: the argmax continuation of the whole prompt, stop tokens ignored",
            "script": "tools/make_reference/small_models.py",
            "reference": reference,
            "weights_sha256": weights_digest.sha256(folder),
            "prompt": prompt,
            "score": score,
            "greedy": {"output_ids": output, "logprob": greedy["logprob"],
                       "margin": greedy["margin"]},
        })
        print(f"{name}: mean log-probability {numpy.mean(score['logprob']):.2f}, smallest margin "
              f"{min(score['margin'])} in the prompt, {min(greedy['margin'])} in the continuation")


def run(folder, config, tensors, prompt):
    """(reference, logits of the prompt, greedy ids, logits of each)."""
    checked = numpy_model.logits(config, tensors, prompt)
    if config["model_type"] == "qwen3":
        output, rows = [], []
        for _ in range(GREEDY_STEPS):
            rows.append(numpy_model.logits(config, tensors, prompt + output)[-1])
            output.append(int(rows[-1].argmax()))
        return ({"numpy": numpy.__version__, "dtype": "float64"}, checked, output,
                numpy.stack(rows))
    import hugging_face  # PyTorch: only for families that it knows

    model = hugging_face.load_model(folder)
    found = hugging_face.logits(model, prompt)
    difference = abs(figures.log_softmax(found) - figures.log_softmax(checked)).max()
    if not difference <= TOLERANCE:
        raise SystemExit(f"{folder.name}: transformers and NumPy differ by {difference}")
    return (hugging_face.versions(), found,
            *hugging_face.greedy(model, prompt, GREEDY_STEPS, set()))


main()
