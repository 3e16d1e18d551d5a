"""The vocabulary inside a GGUF file, written as Hugging Face's tokenizer.json would have it.

Two families: byte-level BPE (tokenizer.ggml.model "gpt2") and SentencePiece-style BPE with byte
fallback ("llama"). Anything else is refused by name. Needs the PyPI package `gguf`.
"""

from __future__ import annotations

from typing import Any

import gguf

# Token types of the GGUF specification (ggml docs/gguf.md, tokenizer.ggml.token_type).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

SPACE_MARK = "\u2581"  # stands for a space in SentencePiece vocabularies

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_REGEX = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _LLAMA3_TAIL
QWEN2_REGEX = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _LLAMA3_TAIL

# tokenizer.ggml.pre -> how text is cut before merging.
GPT2_PRE = ("gpt-2", "gpt2", "default")
DIGIT_PRE = ("smollm", "starcoder", "refact", "command-r")
LLAMA3_PRE = ("llama-bpe", "llama3", "llama-v3", "smaug-bpe")
QWEN2_PRE = ("qwen2",)


def field(reader: gguf.GGUFReader, key: str, default: Any = None) -> Any:
    found = reader.fields.get(key)
    return default if found is None else found.contents()


def _required(reader: gguf.GGUFReader, key: str) -> Any:
    value = field(reader, key)
    if value is None:
        raise ValueError(f"{key} is missing: the GGUF file holds no usable vocabulary")
    return value


def _tokens(reader: gguf.GGUFReader) -> tuple[list[str], list[int]]:
    tokens = list(_required(reader, "tokenizer.ggml.tokens"))
    types = list(field(reader, "tokenizer.ggml.token_type", [NORMAL] * len(tokens)))
    if len(types) != len(tokens):
        raise ValueError("tokenizer.ggml.token_type and tokenizer.ggml.tokens differ in length")
    if len(set(tokens)) != len(tokens):
        raise ValueError("tokenizer.ggml.tokens holds the same token twice")
    return tokens, types


def _byte_level(use_regex: bool) -> dict:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _split(regex: str) -> dict:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": regex},
                "behavior": "Isolated",
                "invert": False,
            },
            _byte_level(use_regex=False),
        ],
    }


def pre_tokenizer(pre: str) -> dict:
    """The pre_tokenizer object for a byte-level BPE vocabulary."""
    if pre in GPT2_PRE:
        return _byte_level(use_regex=True)
    if pre in DIGIT_PRE:
        digits = {"type": "Digits", "individual_digits": True}
        return {"type": "Sequence", "pretokenizers": [digits, _byte_level(use_regex=True)]}
    if pre in LLAMA3_PRE:
        return _split(LLAMA3_REGEX)
    if pre in QWEN2_PRE:
        return _split(QWEN2_REGEX)
    known = ", ".join(GPT2_PRE + DIGIT_PRE + LLAMA3_PRE + QWEN2_PRE)
    raise ValueError(f'tokenizer.ggml.pre "{pre}" is not supported; supported are: {known}')


def byte_level_tokenizer_json(
    vocab: dict[str, int], merges: list[list[str]], pre: str, added: list[dict], post: dict | None
) -> dict:
    """tokenizer.json of a byte-level BPE vocabulary. `added`: see added_token()."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if pre in QWEN2_PRE else None,
        "pre_tokenizer": pre_tokenizer(pre),
        "post_processor": post or _byte_level(use_regex=True),
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in LLAMA3_PRE,
            "vocab": vocab,
            "merges": merges,
        },
    }


def spm_tokenizer_json(
    vocab: dict[str, int],
    merges: list[list[str]],
    unk: str,
    space_prefix: bool,
    added: list[dict],
    post: dict | None,
) -> dict:
    """tokenizer.json of a SentencePiece-style BPE vocabulary, as the Llama-2 files have it."""
    normalizers: list[dict] = [
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
    ]
    decoders: list[dict] = [
        {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if space_prefix:
        normalizers.insert(0, {"type": "Prepend", "prepend": SPACE_MARK})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": post,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unk,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def added_token(token_id: int, content: str, special: bool) -> dict:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def merges_from_scores(
    tokens: list[str], scores: list[float], types: list[int]
) -> list[list[str]]:
    """Merge list equal to SentencePiece's highest-score-first merging.

    Every way to cut a piece into two pieces is a merge; merges are ordered by the score of what
    they make, best first. Ties follow transformers' converter: the longer left part first, then the
    longer right part. Control, byte and unknown pieces are never made by merging.
    """
    mergeable = (NORMAL, USER_DEFINED, UNUSED)
    ids = {token: i for i, token in enumerate(tokens) if types[i] in mergeable}
    found: list[tuple[float, int, int, str, str]] = []
    for token, i in ids.items():
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        cuts = [(a, b) for a, b in cuts if a in ids and b in ids]
        cuts.sort(key=lambda cut: (ids[cut[0]], ids[cut[1]]))
        found.extend((scores[i], len(a), len(b), a, b) for a, b in cuts)
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [[a, b] for _, _, _, a, b in found]


def _template(tokens: list[str], bos: int | None, eos: int | None) -> dict | None:
    """Post-processor that puts `bos` before and `eos` behind the text; None when neither."""
    if bos is None and eos is None:
        return None

    def special(i: int, type_id: int) -> dict:
        return {"SpecialToken": {"id": tokens[i], "type_id": type_id}}

    def sequence(name: str, type_id: int) -> list[dict]:
        head = [] if bos is None else [special(bos, type_id)]
        tail = [] if eos is None else [special(eos, type_id)]
        return head + [{"Sequence": {"id": name, "type_id": type_id}}] + tail

    used = [i for i in (bos, eos) if i is not None]
    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": sequence("A", 0) + sequence("B", 1),
        "special_tokens": {
            tokens[i]: {"id": tokens[i], "ids": [i], "tokens": [tokens[i]]} for i in used
        },
    }


def _special_id(reader: gguf.GGUFReader, name: str, count: int) -> int | None:
    """tokenizer.ggml.<name>_token_id, or None when absent."""
    value = field(reader, f"tokenizer.ggml.{name}_token_id")
    if value is None:
        return None
    if not 0 <= int(value) < count:
        raise ValueError(f"tokenizer.ggml.{name}_token_id {value} is not in [0, {count})")
    return int(value)


def _post_processor(reader: gguf.GGUFReader, tokens: list[str], adds_bos: bool) -> dict | None:
    bos = _special_id(reader, "bos", len(tokens))
    eos = _special_id(reader, "eos", len(tokens))
    if not field(reader, "tokenizer.ggml.add_bos_token", adds_bos):
        bos = None
    if not field(reader, "tokenizer.ggml.add_eos_token", False):
        eos = None
    return _template(tokens, bos, eos)


def _byte_level_json(reader: gguf.GGUFReader) -> dict:
    tokens, types = _tokens(reader)
    merges = []
    for line in _required(reader, "tokenizer.ggml.merges"):
        parts = line.split(" ")
        if len(parts) != 2:
            raise ValueError(f"tokenizer.ggml.merges: {line!r} is not two tokens")
        merges.append(parts)
    pre = field(reader, "tokenizer.ggml.pre", "default")
    added = [
        added_token(i, token, special=types[i] == CONTROL)
        for i, token in enumerate(tokens)
        if types[i] in (CONTROL, USER_DEFINED)
    ]
    post = _post_processor(reader, tokens, adds_bos=pre in LLAMA3_PRE)
    vocab = {token: i for i, token in enumerate(tokens)}
    return byte_level_tokenizer_json(vocab, merges, pre, added, post)


def _spm_json(reader: gguf.GGUFReader) -> dict:
    tokens, types = _tokens(reader)
    scores = list(_required(reader, "tokenizer.ggml.scores"))
    if len(scores) != len(tokens):
        raise ValueError("tokenizer.ggml.scores and tokenizer.ggml.tokens differ in length")
    missing = [b for b in range(256) if f"<0x{b:02X}>" not in set(tokens)]
    if missing:
        raise ValueError(f"tokenizer.ggml.tokens lacks the byte token <0x{missing[0]:02X}>")
    unk = _special_id(reader, "unknown", len(tokens))
    unk = types.index(UNKNOWN) if unk is None and UNKNOWN in types else unk
    if unk is None:
        raise ValueError("tokenizer.ggml.unknown_token_id is missing")
    added = [
        added_token(i, token, special=types[i] != USER_DEFINED)
        for i, token in enumerate(tokens)
        if types[i] in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    return spm_tokenizer_json(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=merges_from_scores(tokens, scores, types),
        unk=tokens[unk],
        space_prefix=bool(field(reader, "tokenizer.ggml.add_space_prefix", True)),
        added=added,
        post=_post_processor(reader, tokens, adds_bos=True),
    )


def tokenizer_json(reader: gguf.GGUFReader) -> dict:
    """The tokenizer.json object of the file's vocabulary. ValueError names what is unsupported."""
    model = _required(reader, "tokenizer.ggml.model")
    if model == "gpt2":
        return _byte_level_json(reader)
    if model == "llama":
        return _spm_json(reader)
    raise ValueError(f'tokenizer.ggml.model "{model}" is not supported; supported: gpt2, llama')


def tokenizer_config(reader: gguf.GGUFReader) -> dict:
    """The tokenizer_config.json object: special tokens by name, and the chat template if any."""
    tokens, _ = _tokens(reader)
    is_spm = field(reader, "tokenizer.ggml.model") == "llama"
    pre = field(reader, "tokenizer.ggml.pre", "default")
    adds_bos = is_spm or pre in LLAMA3_PRE
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(field(reader, "tokenizer.ggml.add_bos_token", adds_bos)),
        "add_eos_token": bool(field(reader, "tokenizer.ggml.add_eos_token", False)),
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = _special_id(reader, key, len(tokens))
        if token_id is not None:
            config[f"{name}_token"] = tokens[token_id]
    template = field(reader, "tokenizer.chat_template")
    if template is not None:
        config["chat_template"] = template
    return config
