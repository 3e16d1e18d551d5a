"""Texts on which tokenizers tend to differ: a fixed list and seeded random mixes of it."""

from __future__ import annotations

import random

SPECIAL_LOOKING = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>system\n", "<s>", "</s>", "<unk>",
    "<s", "s>", "<|im_start", "|im_end|>", "[INST]", "<0x0A>", "<fim_prefix>", "<|endoftext|",
]
CONTRACTIONS = [
    "I'm", "you're", "it's", "we'll", "I'd", "they've", "don't", "I'M", "YOU'RE", "'S", "'T",
    "'\u017f", "can\u2019t", "'", "''s", "'ll'll",
]
DIGITS = ["0", "7", "42", "123", "1234", "3.14159", "1,000,000", "\u0663\u0664", "\u00bd", "\u2167",
          "\u00b2\u00b3", "0x1F", "12th", "\uff11\uff12"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n ", "\n  \n", "\u00a0", "\u2003",
          "\u3000", "\u200b", "\u180e", "\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\x00", "\ufeff"]
WORDS = [
    "Hello", "world", "the", "quick", "Once", "upon", "token", "izer", "na\u00efve", "\u00c9cole",
    "stra\u00dfe", "\u0391\u03b8\u03ae\u03bd\u03b1", "\u041f\u0440\u0438\u0432\u0435\u0442",
    "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u4f60\u597d\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\ud55c\uad6d\uc5b4",
    "\u1780\u17b6\u1793\u17cb", "\u2581", "\u2581under", "ing", "SCREAM", "camelCase", "snake_case",
]
COMBINING = ["e\u0301", "a\u0323\u0302", "o\u0302\u0323", "\u212b", "\u1e9b\u0323", "\u0344",
             "\u1100\u1161\u11a8", "\u0958", "\ufb1d", "\U0001d15e", "\u0301", "n\u0303o"]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f",
         "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2603", "\U0010ffff", "\U000e0041"]
CODE = [
    "def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i];\n}",
    "https://example.org/a?b=c&d=%20", "{\"key\": [1, 2.5e-3, null]}", "#include <vector>", "// ---",
    "a->b::c", "$x = @y;", "!!!", "...", "......", "-----", "=====>", "(((", "\\n", "`code`", "/* */",
]
POOLS = [SPECIAL_LOOKING, CONTRACTIONS, DIGITS, SPACES, WORDS, COMBINING, EMOJI, CODE]


def _random_code_points(rng: random.Random) -> str:
    ranges = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x900, 0x97F),
              (0x3040, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x1F300, 0x1F5FF)]
    points = []
    for _ in range(rng.randint(1, 24)):
        low, high = rng.choice(ranges)
        points.append(chr(rng.randint(low, high)))
    return "".join(points)


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    found = ["", " ", "a", " a", "  a", "a ", "\n"] + [piece for pool in POOLS for piece in pool][::3]
    while len(found) < count:
        kind = rng.random()
        if kind < 0.15:
            found.append(_random_code_points(rng))
            continue
        pools = POOLS if kind < 0.6 else rng.sample(POOLS, 3)
        pieces = [rng.choice(rng.choice(pools)) for _ in range(rng.randint(2, 14))]
        joiner = rng.choice(["", "", " "])
        found.append(joiner.join(pieces))
    return found[:count]
