"""Single parts of tokenizer.json (normalizers, pre-tokenizers) and texts to try them on."""

from __future__ import annotations

BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

SPLIT_TEXTS = ["", "a", "-", "--", "a-b", "-a--b-", "a---b c", "--a", "b--", "\u00e9-\u4f60--\u597d"]


def split(pattern: dict, behavior: str, invert: bool) -> dict:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def pre_tokenizers() -> list[tuple[dict, list[str]]]:
    cases: list[tuple[dict, list[str]]] = []
    for behavior in BEHAVIORS:
        for invert in (False, True):
            for pattern in ({"String": "-"}, {"Regex": "-|b"}, {"Regex": "-+"}):
                cases.append((split(pattern, behavior, invert), SPLIT_TEXTS))
    digits = ["a1b22c333", "12", "x\u0663\u00bd\u2167y", ""]
    for individual in (True, False):
        cases.append(({"type": "Digits", "individual_digits": individual}, digits))
    spaces = ["a b", " a", "  a  b ", "a", "\u2581a b", "", " "]
    for scheme in ("always", "first", "never"):
        for cuts in (True, False):
            metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme,
                         "split": cuts}
            cases.append((metaspace, spaces))
            first_split = split({"Regex": "\\|"}, "Isolated", False)
            sequence = {"type": "Sequence", "pretokenizers": [first_split, metaspace]}
            cases.append((sequence, ["a|b c| d", "|a"]))
    white = [chr(c) for c in (*range(0, 0x21), 0x7F, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x2010),
                              0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)]
    gpt2 = ["Hello  world's\n\n 42", "a " + " ".join(f"x{c}y{c}{c} z" for c in white)]
    for prefix in (True, False):
        cases.append(({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
                       "use_regex": True}, gpt2 + [" x", "x"]))
    cases.append((split({"Regex": r"[^\s]+|\S"}, "Isolated", False), gpt2))
    return cases


def normalizers() -> list[tuple[dict, list[str]]]:
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    spaces = ["", " ", "a b  c", "\u2581x"]
    marks = [
        "e\u0301", "a\u0302\u0323", "a\u0323\u0302", "\u212b\u2126", "\u1e9b\u0323", "\u0344", "\u0958",
        "\u1100\u1161\u11a8", "\uac00\u11a8", "\ufb1d\ufb2c", "\U0001d15e\U0001d15f", "\u0301\u0323",
        "plain", "\u0b92\u0bd7", "x" + "\u0301\u0323" * 20, "\u0f71\u0f72\u0f74", "\u2adc", "",
    ]
    return [
        (replace, spaces),
        (prepend, spaces),
        ({"type": "Sequence", "normalizers": [prepend, replace]}, spaces),
        ({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"}, ["a  b   c d", "  "]),
        ({"type": "NFC"}, marks),
    ]
