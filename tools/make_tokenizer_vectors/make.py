"""Makes what the tokenizer tests read.

  make.py tokenizers --shared DIR [--out DIR] [--gguf NAME=FILE ...] [--llama3 DIR]
      Writes DIR/NAME/tokenizer.json for the vocabularies that must not be in the repository. DIR is
      build/tokenizers unless told; the tests look there and skip what is missing. Needs `gguf`.
      --llama3: a folder with Llama 3's encoder.json (token -> id) and vocab.bpe (merges).

  make.py golden [--out DIR]
      Writes tests/data/tokenizers/*.golden.json with the answers of the PyPI package `tokenizers`
      for every tokenizer found, in the repository or below DIR.

  make.py repository --shared DIR
      Writes the tokenizer.json files that are in the repository (tests/data/tokenizers/NAME/).
"""

from __future__ import annotations

import argparse
import copy
import json
import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data" / "tokenizers"
sys.path.insert(0, str(REPOSITORY))

import cases  # noqa: E402
import part_cases  # noqa: E402

CASES = 220
SEED = 20261122


def write(path: pathlib.Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {path} ({path.stat().st_size} bytes)")


def from_gguf(path: pathlib.Path) -> dict:
    import gguf

    from tools.convert_gguf import gguf_tokenizer

    return gguf_tokenizer.tokenizer_json(gguf.GGUFReader(path))


def from_vocab_files(vocab: pathlib.Path, merges: pathlib.Path, pre: str, names: list[str]) -> dict:
    """A vocabulary and its merges in two files; control tokens `names` follow the last id."""
    from tools.convert_gguf import gguf_tokenizer

    ids = json.loads(vocab.read_text(encoding="utf-8"))
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [line.split(" ") for line in lines if line]
    added = [
        gguf_tokenizer.added_token(len(ids) + i, name, special=True) for i, name in enumerate(names)
    ]
    return gguf_tokenizer.byte_level_tokenizer_json(ids, pairs, pre, added, None)


def make_tokenizers(options: argparse.Namespace) -> None:
    out, folder = options.out, options.shared / "tokenizers"
    for name in ("starcoder", "llama-spm"):
        path = folder / f"ggml-vocab-{name}.gguf"
        if path.exists():
            write(out / name / "tokenizer.json", from_gguf(path))
        else:
            print(f"{path} is missing: no {name}")
    qwen2 = folder / "qwen2"
    if qwen2.exists():
        names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        made = from_vocab_files(qwen2 / "vocab.json", qwen2 / "merges.txt", "qwen2", names)
        write(out / "qwen2" / "tokenizer.json", made)
    if options.llama3:
        llama3 = options.llama3
        names = ["<|begin_of_text|>", "<|end_of_text|>"]
        made = from_vocab_files(llama3 / "encoder.json", llama3 / "vocab.bpe", "llama-bpe", names)
        write(out / "llama-bpe" / "tokenizer.json", made)
    for item in options.gguf:
        name, _, path = item.partition("=")
        write(out / name / "tokenizer.json", from_gguf(pathlib.Path(path)))


def added_variant(stories: dict) -> dict:
    """Every flag of an added token that is supported, over a small vocabulary."""
    variant = copy.deepcopy(stories)
    first = len(variant["model"]["vocab"])
    flags = [
        ("<left>", {"lstrip": True, "special": True}),
        ("<right>", {"rstrip": True, "special": True}),
        ("<both>", {"lstrip": True, "rstrip": True, "special": True}),
        ("<tool>", {}),
        ("<tool>x", {}),
        ("norm al", {"normalized": True}),
        ("   ", {}),
    ]
    for i, (content, chosen) in enumerate(flags):
        token = {"id": first + i, "content": content, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": False}
        variant["added_tokens"].append(token | chosen)
    variant["normalizer"] = {
        "type": "Replace", "pattern": {"String": " "}, "content": "\u2581",
    }
    return variant


def metaspace_variant(stories: dict) -> dict:
    """The newer form of the same rules: Metaspace for the Prepend and Replace normalizers."""
    variant = copy.deepcopy(stories)
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first",
                 "split": False}
    variant["normalizer"] = None
    variant["pre_tokenizer"] = metaspace
    return variant


def make_repository(shared: pathlib.Path) -> None:
    gpt2 = from_gguf(shared / "tokenizers" / "ggml-vocab-gpt-2.gguf")
    gpt2["model"]["merges"] = [" ".join(merge) for merge in gpt2["model"]["merges"]]  # older form
    write(DATA / "gpt-2" / "tokenizer.json", gpt2)
    stories = from_gguf(shared / "models" / "stories260k" / "stories260K-f32.gguf")
    write(DATA / "stories260k" / "tokenizer.json", stories)
    write(DATA / "stories260k-added" / "tokenizer.json", added_variant(stories))
    write(DATA / "stories260k-metaspace" / "tokenizer.json", metaspace_variant(stories))


ADDED_TEXTS = [
    "a <left> b", "a  \n<left>b", "a <right>  b", "a <both> \u3000 b <both><both>", "<tool>x<tool> y",
    "<tool>xx", "norm al", "x norm alnorm al", "norm   al", "   ", "a    b", "a      b", "<left>",
    " <both> ", "<right> <left>", "<s> norm al </s>", "a   <left>   <left>",
]


def golden(tokenizer_file: pathlib.Path, texts: list[str]) -> list[dict]:
    """[{text, plain, special, decoded}]: ids with control tokens off and on, and plain decoded."""
    from tokenizers import Tokenizer

    oracle = Tokenizer.from_file(str(tokenizer_file))
    rows = []
    for text in texts:
        oracle.encode_special_tokens = True
        plain = oracle.encode(text, add_special_tokens=False).ids
        oracle.encode_special_tokens = False
        special = oracle.encode(text, add_special_tokens=True).ids
        decoded = oracle.decode(plain, skip_special_tokens=True)
        row = {"text": text, "plain": plain, "special": special}
        rows.append(row if decoded == text else row | {"decoded": decoded})
    return rows


def part_golden() -> dict:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    def loaded(key: str, part: dict) -> Tokenizer:
        document = json.loads(Tokenizer(models.BPE()).to_str())
        document[key] = part
        return Tokenizer.from_str(json.dumps(document))

    cut = []
    for part, texts in part_cases.pre_tokenizers():
        step: pre_tokenizers.PreTokenizer = loaded("pre_tokenizer", part).pre_tokenizer
        for text in texts:
            words = [word for word, _ in step.pre_tokenize_str(text)] if text else []
            cut.append({"part": part, "text": text, "words": words})
    normal = []
    for part, texts in part_cases.normalizers():
        rule: normalizers.Normalizer = loaded("normalizer", part).normalizer
        normal.extend({"part": part, "text": t, "result": rule.normalize_str(t)} for t in texts)
    return {"pre_tokenizers": cut, "normalizers": normal}


def make_golden(out: pathlib.Path) -> None:
    texts = cases.texts(CASES, SEED)
    found = sorted([*DATA.glob("*/tokenizer.json"), *out.glob("*/tokenizer.json")])
    for path in found:
        name = path.parent.name
        more = ADDED_TEXTS if name.endswith("-added") else []
        write(DATA / f"{name}.golden.json", golden(path, texts + more))
    write(DATA / "parts.golden.json", part_golden())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokenizers", "golden", "repository"])
    parser.add_argument("--shared", type=pathlib.Path, help="folder that holds tokenizers/, models/")
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "build" / "tokenizers")
    parser.add_argument("--gguf", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--llama3", type=pathlib.Path, metavar="DIR")
    options = parser.parse_args()
    if options.what != "golden" and options.shared is None:
        parser.error(f"{options.what} needs --shared")
    if options.what == "tokenizers":
        make_tokenizers(options)
    elif options.what == "repository":
        make_repository(options.shared)
    else:
        make_golden(options.out)


if __name__ == "__main__":
    main()
