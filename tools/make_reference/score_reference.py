"""Makes tests/golden/smollm2_score.json: what transformers says about 2,560 tokens of text.

python tools/make_reference/score_reference.py MODEL_DIR OUT.json TEXT...
"""

import argparse
import pathlib
import re

import transformers

import figures
import golden_file
import hugging_face
import weights_digest

WINDOW_TOKENS = 512
SKIP_CHARACTERS = 20_000  # into each text: past the licence, the contents and the first page
READ_CHARACTERS = 8_000   # enough for a window


def passage(path):
    """Running text from the middle of a file, its hard line breaks kept."""
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    start = text.index("\n\n", SKIP_CHARACTERS) if "\n\n" in text else text.index(
        "\n", SKIP_CHARACTERS)
    return re.sub(r"\A\s+", "", text[start:start + READ_CHARACTERS])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    options = parser.parse_args()

    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model_dir)
    model = hugging_face.load_model(options.model_dir)
    windows = []
    for path in options.texts:
        ids = tokenizer(passage(path), add_special_tokens=False)["input_ids"][:WINDOW_TOKENS]
        if len(ids) != WINDOW_TOKENS:
            raise SystemExit(f"{path} is too short")
        logits = hugging_face.logits(model, ids)
        windows.append({"text": path.name, "tokens": ids,
                        **figures.next_token(logits[:-1], ids[1:])})
    golden_file.write(options.out, {
        "about": "logprob[i], top1[i], margin[i]: of the token after tokens[0..i]; margin = log-"
                 "probability of the best token less that of the second",
        "script": "tools/make_reference/score_reference.py",
        "reference": hugging_face.versions(),
        "weights_sha256": weights_digest.sha256(options.model_dir),
        "windows": windows,
    })


main()
