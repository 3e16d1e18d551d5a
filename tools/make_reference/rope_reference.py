"""Makes tests/golden/rope.json: inverse frequencies by transformers' own rope functions.

python tools/make_reference/rope_reference.py OUT.json
"""

import pathlib
import sys

import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import golden_file
import hugging_face

_LLAMA31 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}

# (head_dim, theta, rope_scaling)
CASES = [
    (8, 10000.0, None),
    (64, 100000.0, None),
    (128, 1000000.0, None),
    (64, 10000.0, {"rope_type": "linear", "factor": 4.0}),
    (128, 500000.0, _LLAMA31),
    (64, 500000.0, {**_LLAMA31, "factor": 32.0}),
    (16, 10000.0, {**_LLAMA31, "original_max_position_embeddings": 64}),
    (32, 10000.0, {**_LLAMA31, "factor": 2.5, "low_freq_factor": 0.5, "high_freq_factor": 9.0,
                   "original_max_position_embeddings": 1000}),
]


def main():
    found = []
    for head_dim, theta, scaling in CASES:
        config = transformers.LlamaConfig(
            hidden_size=head_dim, num_attention_heads=1, rope_theta=theta, rope_scaling=scaling,
            max_position_embeddings=1 << 17)
        kind = scaling["rope_type"] if scaling else "default"
        frequencies, attention_factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
        assert attention_factor == 1.0
        found.append({"head_dim": head_dim, "rope_theta": theta, "rope_scaling": scaling,
                      "inv_freq": [float(f"{value:.9g}") for value in frequencies.tolist()]})
    golden_file.write(pathlib.Path(sys.argv[1]), {
        "script": "tools/make_reference/rope_reference.py",
        "reference": hugging_face.versions(),
        "cases": found,
    })


main()
