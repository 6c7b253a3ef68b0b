#!/usr/bin/env python3
"""Writes tests/data/byte_level_bpe_cases.jsonl and unigram_cases.jsonl: hard
texts and what `tokenizers` makes of them with the tokenizers of
tests/data/tiny-roberta and tiny-xlm-roberta, in the form of
wordpiece_cases.jsonl (make_wordpiece_cases.py, which needs tokenizers).

    python3 tests/scripts/make_tokenizer_cases.py
"""

import base64
import json
import random

import tokenizer_kinds
from make_wordpiece_cases import ACCENTS, COMMON, DATA, SYMBOLS, WORDS, added, write_cases

SPACES = [
    "a  b   c    d",
    "  two in front and behind  ",
    " \t \n mixed \u00a0 \u3000 spaces \u2028 ",
    "line\n\n\nline\r\n\r\nline",
    "tab\t\ttab \t tab",
    "\u00a0nbsp \u00a0\u00a0 nbsp\u00a0",
    "end \u3000\u3000",
    "   ",
    "\n",
    " \n",
    "a\u2003\u2003b",
    "▁sign ▁▁ signs▁ ▁",
]

CONTRACTIONS = [
    "don't I'll we've they're I'm he'd it's",
    "DON'T I'LL 's't're've'm'll'd 'sx 'lx ''s 'r 've",
    "a 's b 't !'s 1's\n's",
    "x1y2 3.14abc ½x ²³ Ⅷ१२",
    "_a_ --- a---b !!! ?!a !1",
    "e\u0301 \u0301 a\u200db \u00ad",
]

RUNS = ["a" * 50, "-" * 33, "=-" * 20, "the" * 12, "日" * 9, "aab" * 7, "☃" * 5]

MASKS = [
    "<mask>",
    "a <mask> b",
    "a<mask>b <s> </s><pad><unk>",
    "<mask><mask>  <mask> <mas <mask",
    " <s>a</s>b",
    "<unk>☃ ☃<unk>",
]

CLUSTERS = [
    "ｅ\u0301 Ａ\u0300 e\u0301\u0302 e\u0301\u0302\u0303 E\u0301",
    "\u2122\u0301 \u2122\u200d \u00a8\u0301 \u2116\u0327x ﬁ\u0301",
    "\u0958\u0301 \u0915\u094d\u0958\u0301 \u0915\u094d\u200c\u0958\u0301",
    "\u1100\u1161\u0301 \u1161\u0301 가\u0301",
    "\r\n\r\r\n \t\u0301 \u0001\u0301 a\u0001b\u007f",
    "ｶﾞ ｶﾞﾊﾟ \uff9e\u0301 \ufdfa\u0301 ㎡ \u0132\u0301",
    "\u00a9\u200d\u2122\u0301 ★\u200d\u2122\u0301 😀\u200d\u2122\u0301",
    "\u0600\u2122 \u0600a \u2122\u20e3 1\ufe0f\u20e3",
    "\u200b \u200bstart \ufeff \ufeffstart so\u00adft\u00ad",
    "… ½ ２０２４ ＦＵＬＬ　ｗｉｄｔｈ！",
]

JOINED = [
    "\u0600a\u06dda \U000113d1a",
    "\u0915\u094d\u0915\u0301 \u0915\u0301\u094d\u200d\u0915\u0301 \u0915\u094da\u0301",
    "\u1100\u1160\u0301 \u1160\u11a8\u0301 \uac01\u11a8\u0301 \uac00\u1160\u0301 \u11a8\u1160\u0301",
    "\u00a9\u0301\u200d\u00a9\u0301 \u00a9\u200d\u2605\u0301 \u00a9\u0903\u200d\u00a9\u0301",
    "a\u0903 a\u0cc0 a\u0897 a\U000e0100 a\u200b\u0301 a\ufe0f\u20e3",
]


def read(model):
    return json.loads((DATA / model / "tokenizer.json").read_text(encoding="utf-8"))


def bpe_variants():
    base = read("tiny-roberta")
    vocab = base["model"]["vocab"]
    own = SPACES + CONTRACTIONS + RUNS + MASKS
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}

    def special(token):
        return {"id": token, "ids": [vocab[token]], "tokens": [token]}

    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": special("<s>"), "</s>": special("</s>")},
    }
    sequence = {"type": "Sequence", "processors": [byte_level, template], "sep": None, "cls": None}
    old = {"type": None, "merges": ["#version: 0.2"] + [" ".join(m) for m in base["model"]["merges"]]}
    few = {"merges": [], "vocab": {"Ã": None, "x": None}}
    unknown = {**few, "unk_token": "<unk>"}
    # A word shows by what is merged in it. \xf0 stands for the byte that many
    # rare characters begin with.
    joined = {
        "merges": [["a", "\xf0"], ["1", "\xf0"]],
        "vocab": {"a\xf0": len(vocab), "1\xf0": len(vocab) + 1},
    }
    equal = {"merges": [["a", "a"]], "vocab": {"aa": len(vocab)}}
    return base, [
        ("words by merges", {"model": joined}, ["a\U0002ebf1 1\U0002ebf1 a\U000116d0 1\U000116d0 a\U0001f600"]),
        ("equal merges", {"model": equal}, ["a" * n for n in range(1, 8)]),
        ("RoBERTa", {}, COMMON + own),
        ("space in front", {"pre_tokenizer": {"add_prefix_space": True}}, own),
        ("an old file", {"model": old, "post_processor": sequence}, own),
        ("bytes left out", {"model": few}, ACCENTS + RUNS),
        ("unknown bytes", {"model": unknown}, ACCENTS + RUNS + ["xx", "axxb", "x"]),
        ("unknown bytes in one", {"model": {**unknown, "fuse_unk": True}}, ACCENTS + RUNS + ["xx", "axxb", "x"]),
    ]


def as_serde_json_reads(score):
    """The crate that reads scores makes them of an integer and a power of ten."""
    whole, fraction = repr(abs(score)).split(".")
    return -(float(int(whole + fraction)) / 10.0 ** len(fraction))


def scores_that_tell_readers_apart():
    """Scores of a, b and ab: as one piece only if they are read to the bit."""
    draw = random.Random(5)
    while True:
        a, b = draw.uniform(-9, -5), draw.uniform(-9, -5)
        ab = as_serde_json_reads(a) + as_serde_json_reads(b)
        if a + b > ab == as_serde_json_reads(ab):
            return [["a", a], ["b", b], ["ab", ab]]


def unigram_variants():
    base = read("tiny-xlm-roberta")
    vocab = base["model"]["vocab"]
    mask = base["added_tokens"][-1]
    specials = base["added_tokens"][:-1]
    own = SPACES + RUNS + MASKS + CLUSTERS
    sign = "▁"
    alone = {
        "type": "Metaspace",
        "replacement": sign,
        "prepend_scheme": "always",
        "pretokenizers": None,
    }
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": sign}
    converted = {"type": "Sequence", "normalizers": [base["normalizer"], strip, spaces]}
    replaced = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
            {"type": "Replace", "pattern": {"String": "aa"}, "content": "b"},
        ],
    }
    in_bytes = vocab + [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    some_bytes = vocab + [[f"<0x{byte:02X}>", -20.0] for byte in range(128, 256)]

    def with_vocab(pieces):
        pieces = [[token["content"], 0.0] for token in specials] + pieces + [["<mask>", 0.0]]
        tokens = specials + [{**mask, "id": len(pieces) - 1}]
        return {"model": {"vocab": pieces}, "added_tokens": tokens}

    every_x = with_vocab([[sign, -1.0], ["X", -1.0]])
    encoded = base64.b64encode(tokenizer_kinds.charsmap_to_x()).decode()
    every_x["normalizer"] = {"precompiled_charsmap": encoded}
    # Above zero, so that two unknown characters beat the piece that they are.
    positive = with_vocab([[sign, 90.0], ["☃☃", 30.0], ["a", 40.0]])
    for piece in positive["model"]["vocab"]:
        piece[1] = max(piece[1], 30.0)
    return base, [
        ("XLM-RoBERTa", {}, COMMON + own),
        ("converted", {"normalizer": converted, "pre_tokenizer": alone}, own),
        (
            "not split, no normalizer",
            {"normalizer": None, "pre_tokenizer": {**alone, "split": False}},
            own,
        ),
        (
            "sign in front of the first",
            {"normalizer": None, "pre_tokenizer": {**alone, "prepend_scheme": "first"}},
            SPACES + MASKS,
        ),
        (
            "sign never in front",
            {
                "normalizer": None,
                "pre_tokenizer": {**alone, "prepend_scheme": "never", "add_prefix_space": False},
            },
            SPACES + MASKS,
        ),
        ("another sign", {"pre_tokenizer": {**alone, "replacement": "e"}}, SPACES + WORDS[3:8]),
        ("every character an X", every_x, CLUSTERS + JOINED),
        ("texts replaced", {"normalizer": replaced}, RUNS + ["``a`` ```aaa````"]),
        ("bytes", {"model": {"vocab": in_bytes, "byte_fallback": True}}, SYMBOLS[:4] + MASKS),
        ("not all bytes", {"model": {"vocab": some_bytes, "byte_fallback": True}}, ["☃", "☃Q", "Q"]),
        ("without model type", {"model": {"type": None}}, WORDS[:5]),
        ("unknown pieces that are known", positive, ["☃☃", "☃☃☃", "a☃☃a", "☃a☃"]),
        ("scores to the bit", with_vocab([[sign, -3.0], *scores_that_tell_readers_apart()]), ["ab", "abab"]),
        (
            "equal pieces",
            with_vocab([[sign, -3.0], ["a", -2.0], ["b", -1.0], ["a", -9.0], ["ab", -5.0]]),
            ["a", "ab", "aab"],
        ),
        (
            "added tokens",
            {
                "added_tokens": base["added_tokens"]
                + [
                    added("ﬁ", len(vocab), single_word=False),
                    added("Ａ", len(vocab) + 1, single_word=True),
                ]
            },
            ["ﬁ fi ｆｉ xﬁx", "A Ａ ＡＢ", *MASKS],
        ),
    ]


def main():
    write_cases("byte_level_bpe", *bpe_variants())
    write_cases("unigram", *unigram_variants())


if __name__ == "__main__":
    main()
