"""The tokenizer against `tokenizers`, id for id.

Usage: tokenizer_equivalence_test.py TOKENIZE_LINES DATA_DIRECTORY

Compares whole texts and texts cut at 128 and 256 tokens, then every code point,
with a vocabulary that has most of them as tokens. The model is named by
PITH_MODEL; PITH_DATA names another data directory. Exits with 77
(skipped) and says why if the model, the data or a package is missing.
"""

import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

NO_LIMIT = 1 << 20
SETS = [
    ("ntrex_sample/corpus.jsonl.zst", None),
    ("blns/corpus.jsonl", None),
    ("cosqa_code/corpus.jsonl.zst", None),
    ("arxiv_200k/corpus.jsonl.zst", 20_000),
]


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


try:
    import tokenizers
    import zstandard
except ImportError as error:
    skip(f"{error}; this check wants tokenizers, zstandard")


def read_texts(path, limit):
    with open(path, "rb") as file:
        if path.suffix == ".zst":
            file = zstandard.ZstdDecompressor().stream_reader(file)
        texts = []
        for line in io.TextIOWrapper(file, encoding="utf-8"):
            if len(texts) == limit:
                break
            texts.append(json.loads(line)["text"])
    return texts


def differences(name, tokenize_lines, directory, texts, max_tokens):
    """Prints the first texts whose tokens differ, returns how many do."""
    reference = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    own_tokens = [
        len(encoding.ids)
        for encoding in reference.encode_batch(texts, add_special_tokens=False)
    ]
    if max_tokens < NO_LIMIT:
        reference.enable_truncation(max_tokens)
    expected = [encoding.ids for encoding in reference.encode_batch(texts)]
    result = subprocess.run(
        [tokenize_lines, str(directory), str(max_tokens)],
        input="".join(json.dumps(text) + "\n" for text in texts),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert len(lines) == len(texts), (len(lines), len(texts))
    different = 0
    special = reference.num_special_tokens_to_add(False)
    for text, line, ids, count in zip(texts, lines, expected, own_tokens):
        cut = count + special - len(ids)
        if [int(word) for word in line.split()] != [count, cut, *ids]:
            different += 1
            if different <= 3:
                print(f"  {text[:200]!r}\n  expected {count} {cut} {ids}\n  is {line}")
    tokens = sum(len(ids) for ids in expected)
    limit = "whole" if max_tokens == NO_LIMIT else f"{max_tokens} tokens"
    print(f"{name}, {limit}: {different} of {len(texts)} texts differ, {tokens} tokens")
    return different


def code_point_differences(tokenize_lines, model):
    """All code points between letters and marks, for uncased and cased models.

    Those that are neither a token nor made of tokens would all be [UNK], so the
    vocabulary has every code point but unassigned planes and most of the
    ideographs and syllables, which have no properties that could differ.
    """
    base = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    characters = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    texts = [f"a\u0301{c}\u0323b" for c in characters]
    vocab = base["model"]["vocab"]
    for c in characters:
        code = ord(c)
        is_plain = 0x5000 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4
        if not is_plain and (code < 0x20000 or 0x2F800 <= code < 0x2FA20):
            vocab.setdefault(c, len(vocab))
            vocab.setdefault("##" + c, len(vocab))
    different = 0
    for lowercase, strip_accents in [(True, None), (False, None)]:
        base["normalizer"]["lowercase"] = lowercase
        base["normalizer"]["strip_accents"] = strip_accents
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory)
            (path / "tokenizer.json").write_text(json.dumps(base), encoding="utf-8")
            name = f"code points, lowercase {lowercase}, strip_accents {strip_accents}"
            different += differences(name, tokenize_lines, path, texts, NO_LIMIT)
    return different


def main():
    tokenize_lines = sys.argv[1]
    data = pathlib.Path(os.environ.get("PITH_DATA", sys.argv[2]))
    if not os.environ.get("PITH_MODEL"):
        skip("PITH_MODEL names no model directory")
    model = pathlib.Path(os.environ["PITH_MODEL"])
    if not (model / "tokenizer.json").exists():
        skip(f"{model}/tokenizer.json is missing")
    for name, _ in SETS:
        if not (data / name).exists():
            skip(f"{data / name} is missing; PITH_DATA names the data")
    different = 0
    for name, limit in SETS:
        texts = read_texts(data / name, limit)
        for max_tokens in (NO_LIMIT, 256, 128):
            different += differences(name, tokenize_lines, model, texts, max_tokens)
    different += code_point_differences(tokenize_lines, model)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
