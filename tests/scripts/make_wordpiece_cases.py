#!/usr/bin/env python3
"""Writes tests/data/wordpiece_cases.jsonl: hard texts and what `tokenizers`
makes of them with the vocabulary of tests/data/tiny-bert.

A line {"tokenizer": NAME, "patch": JSON merge patch} changes tokenizer.json for
the lines that follow; they are {"text": ..., "ids": [...]}, with the special
tokens. Needs tokenizers.

    python3 tests/scripts/make_wordpiece_cases.py
"""

import json
import pathlib

import tokenizers

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"

WORDS = [
    "",
    " ",
    "\t\n\r",
    "the",
    "THE Quick bRoWn FOX",
    "  leading and trailing  ",
    "tabs\tand\nlines\r\nand\rreturns",
    "running runs runner unrunnable",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "é" * 100,
    "é" * 101,
    "e\u0301" * 100,
    "日" * 101,
    "the " + "x" * 101 + " end",
    "☃ snow☃man the☃",
    "don't can't o'clock",
    "e-mail user@example.org https://example.org/a_b?c=d&e=f#g",
    "$100 50% #1 a+b=c <tag> [x] {y} `z` ^ ~ |",
    "...!!!???,,,;;;:::",
    "“quoted” ‘text’ — dash – en … dots",
    "1,234.56 3.14e-10 0x1F 1/2 ½ ² ³ № ™",
    "foo_bar fooBar FOO-BAR foo.bar",
    "#hashtag ##piece ##ing ##",
    "[UNK] [PAD] [CLS] [SEP] [MASK]",
    "[cls] [Mask] [ MASK ] [MASK][MASK] the[MASK]end [MASK",
    "[[MASK]] [CLS][SEP [SEP]]",
]

ACCENTS = [
    "Crème Brûlée à la façon naïve",
    "Ångström ÅNGSTRÖM A\u030angstro\u0308m",
    "Ünïcödé ÀÉÎÕÜ ñ ç ş ğ ł ø æ œ ß þ ð đ",
    "e\u0301 e\u0300\u0301 \u0301e \u0301",
    "a\u0323\u0307 a\u0307\u0323 \u1e69 s\u0323\u0307",
    "ặ ẩ ỗ ữ Nguyễn Phạm",
    "İstanbul ISPARTA ıssız i\u0307",
    "ΣΊΣΥΦΟΣ Σίσυφος σς ΌΣΟΣ ΐ ΰ",
    "ǅ ǆ Ǆ ŉ ǰ ﬁ ﬂ ﬀ ſ K Å Ω",
    "ᾳ ᾼ ῼ Ὠ ᾯ",
    "Ёлка ёж Йод йод Їжак Ўзбек",
    "שָׁלוֹם עִבְרִית",
    "العَرَبِيَّة السَّلَامُ ـــ لا",
    "हिन्दी में नमस्ते क़ ख़",
    "ไทย ภาษาไทย กำลัง",
    "தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
    "ខ្មែរ မြန်မာ བོད་ཡིག",
    "한국어 가각갂 ᄀ\u1161\u11a8 ㄱㅏ",
    "\ud7a3 \uac00 \uac01",
    "ქართული ᲥᲐᲠᲗᲣᲚᲘ Ⴀ ⴀ",
    "ᎠᎡ ꭰ Ꭰ",
    "𐐀𐐨 𞤀𞤢 𝐀𝒜 Ⓐ ⅷ Ⅷ",
    "\u1dc4 a\u1df6 a\u1dfa\u0323 \u1abf\u1ac0",
]

CJK = [
    "今年は日本語",
    "中文字符，标点。「引号」",
    "中a文b字 c中",
    "東京タワー とうきょう ｶﾀｶﾅ がぎぐ か\u3099",
    "㐀 䶿 一 鿿 \U00020000 \U0002a6df \U0002a700 \U0002b73f \U0002b81f",
    "\U0002b820\U0002b821 \U0002b920 \U0002ceaf \U0002ceb0 \U0002ebe0 \U00030000",
    "豈更車 神 \ufa0e \U0002f800 \U0002fa1d",
    "々〆〇〡 ㍿ ㌀ ⺀ ⼀ ぁァ ー・",
    "ＦＵＬＬ ｗｉｄｔｈ １２３ ！？",
]

CONTROLS = [
    "a\u0000b a\u0001b a\u007fb a\u0080b a\u009fb",
    "a\u000bb a\u000cb a\u001cb a\u001fb a\u0085b",
    "a\u00a0b a\u1680b a\u2000b a\u200ab a\u2028b a\u2029b a\u202fb a\u205fb a\u3000b",
    "a\u200bb a\u200cb a\u200db a\u200eb a\u2060b a\ufeffb a\u00adb",
    "a\u180eb a\u061cb a\u0600b a\u06ddb a\u070fb a\u08e2b a\u0890b",
    "a\ue000b a\uf8ffb a\U000f0000b a\U0010fffdb",
    "a\ufffdb a\ufffeb a\uffffb a\ufdd0b a\U0001fffeb a\U0010ffffb",
    "a\u0378b a\u0e00b a\U000e0fffb",
    "a\U000110bdb a\U000110cdb a\U00013430b a\U000e0001b a\U000e0020b",
    "e\u0001\u0301 e\u200d\u0301 \u0323\u0000\u0307a",
    "\ufeffthe start",
]

SYMBOLS = [
    "😀 👍🏽 👨‍👩‍👧 🇩🇪 ☺️ ❤️",
    "the😀end 😀😀",
    "→ ⇒ ≤ ≥ ≠ ± × ÷ √ ∞ ∑ ∫",
    "¡hola! ¿qué? «tal» §1 ¶ · • ‣ † ‡ ‰",
    "₠ € £ ¥ ¢ ₿ ₹",
    "© ® ℗ ° º ª",
    "¨ ´ ` ˆ ˜ ¸ \u02dd",
    "\u2e43 \u2e52 \u2e3c \u2e42 \u061d \u061f \u09fd \u0a76 \u0c77 \u0c84",
    "\u166d a\u166db \U000111c9 a\U000111c9b \u1734 a\u1734b \u1885 \ua9bd a\ua9bdb",
    "a\U00010eadb a\U00011944b a\U00016e97b a\U0001e95eb a\u2e4fb a\u1b7db",
    "\u1c89 \ua7cb \ua7cc \ua7da \ua7dc \U00010d50 \U00016ea0 \U00011938",
    "\u302e\u302f a\u302f\u302e가\u302e \U0001d165\U0001d16d\U0001d166",
    "\u1715\u0334 \U00016ff0\u0345 a\U0001193d\u0323 \U00011f41\u0301",
    "०१२ ٠١٢ 〇 Ⅳ ① ⑴",
]

# Marks that stay, or stay where `tokenizers` puts them, in a vocabulary that has
# them: their order shows.
MARKS = (
    "\u302e\u302f\u0345\u1715\U0001d165\U0001d166\U0001d16d"
    "\U00016ff0\U0001193d\U00011f41\U00011938\U00011935\U00011930"
)
MARK_TEXTS = [
    "a\u302f\u302e",
    "a\u302e\u302f",
    "a\u302f\u0301\u302e",
    "a\u302f\U0001d16d\U0001d166\U0001d165\u302e",
    "a\U0001d16d\U0001d166\U0001d165",
    "a\U0001d166\u1715\U0001d165",
    "a\u302e\U00016ff0 a\U00016ff0\u302e",
    "a\u302e\U0001193d a\U0001193d\u302e",
    "a\u302e\U00011f41 a\U00011f41\u302e",
    "a\U00011938 a\U00011935\U00011930",
]

# Every kind of character between letters.
SWEEP = [
    "a" + chr(c) + "b"
    for c in [
        *range(0x21, 0x30),
        *range(0xA1, 0xC0),
        *range(0x2010, 0x2028, 3),
        *range(0x2030, 0x205F, 5),
        *range(0x3001, 0x3020, 3),
        *range(0xFE10, 0xFE70, 11),
        *range(0xFF01, 0xFF66, 13),
        *range(0x0300, 0x0370, 17),
        *range(0x0900, 0x0980, 9),
    ]
]

COMMON = WORDS + ACCENTS + CJK + CONTROLS + SYMBOLS


def added(token, token_id, **options):
    flags = ["single_word", "lstrip", "rstrip", "special"]
    entry = {"id": token_id, "content": token, "normalized": True}
    entry.update({flag: False for flag in flags})
    entry.update(options)
    return entry


ADDED_TEXTS = [
    "foo Foo FOO fo food afoo foo.foo",
    "é É e\u0301 café CAFÉ cafe",
    "the [x] [X] [x]y [x ]",
    "a  foo  b \u2003foo\u2003 b foo",
    "word wordy aword word_ word- -word, word",
    "word\u0301 \u200dword ²word wordא",
    "日本 日本語 日 本",
    "bar  bar bar  foo  bar foo bar",
    "foo bar FOO BAR foobar foo  bar",
    "[MASK]foo[MASK] foo[MASK]word",
    "longest long longer longes",
]


def added_tokens_patch(base):
    tokens = [
        added("foo", 0, lstrip=True),
        added("É", 0),
        added("[X]", 0, normalized=False, special=True),
        added("word", 0, single_word=True),
        added("日本", 0, normalized=False),
        added("bar ", 0, normalized=False, rstrip=True),
        added("foo bar", 0, lstrip=True, rstrip=True),
        added("long", 0, normalized=False),
        added("longest", 0, normalized=False),
    ]
    next_id = len(base["model"]["vocab"])
    for token in tokens:
        known = base["model"]["vocab"].get(token["content"])
        token["id"] = next_id if known is None else known
        next_id += known is None
    return {"added_tokens": base["added_tokens"] + tokens}


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def write_cases(name, base, variants):
    """A variant: its name, its patch of `base`, texts."""
    with open(DATA / f"{name}_cases.jsonl", "w", encoding="utf-8") as out:
        for variant, patch, texts in variants:
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(merge(base, patch)))
            print(json.dumps({"tokenizer": variant, "patch": patch}), file=out)
            for text in texts:
                ids = tokenizer.encode(text).ids
                print(json.dumps({"text": text, "ids": ids}), file=out)


def main():
    base = json.loads((DATA / "tiny-bert/tokenizer.json").read_text(encoding="utf-8"))
    vocab = base["model"]["vocab"]
    bert = {
        "type": "BertProcessing",
        "sep": ["[SEP]", vocab["[SEP]"]],
        "cls": ["[CLS]", vocab["[CLS]"]],
        "single": None,
        "pair": None,
        "special_tokens": None,
    }
    mark_entries = {"##" + c: len(vocab) + i for i, c in enumerate(MARKS)}
    not_stripped = {
        "model": {"vocab": mark_entries},
        "normalizer": {"strip_accents": False},
    }
    small = ACCENTS + CONTROLS
    variants = [
        ("uncased", {}, COMMON + SWEEP),
        ("cased", {"normalizer": {"lowercase": False}}, COMMON),
        (
            "stripped, cased",
            {"normalizer": {"lowercase": False, "strip_accents": True}},
            small,
        ),
        ("lower case with accents", {"normalizer": {"strip_accents": False}}, small),
        ("not cleaned", {"normalizer": {"clean_text": False}}, small),
        (
            "ideographs in words",
            {"normalizer": {"handle_chinese_chars": False}},
            CJK,
        ),
        ("short words", {"model": {"max_input_chars_per_word": 4}}, WORDS + CJK),
        ("other prefix", {"model": {"continuing_subword_prefix": ""}}, WORDS),
        ("no continuation", {"model": {"continuing_subword_prefix": "@@"}}, WORDS),
        ("without model type", {"model": {"type": None}}, WORDS[:5]),
        ("BertProcessing", {"post_processor": bert}, WORDS[:5]),
        ("marks", {"model": {"vocab": mark_entries}}, MARK_TEXTS),
        ("marks, not stripped", not_stripped, MARK_TEXTS),
        ("added tokens", added_tokens_patch(base), ADDED_TEXTS),
    ]
    write_cases("wordpiece", base, variants)


if __name__ == "__main__":
    main()
