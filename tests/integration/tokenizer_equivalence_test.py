"""The tokenizer against `tokenizers`, id for id.

Usage: tokenizer_equivalence_test.py TOKENIZE_LINES DATA_DIRECTORY

Compares whole texts and texts cut at 128 and 256 tokens, then every code point,
with a vocabulary that has most of them as tokens: WordPiece of the model that
PITH_MODEL names, byte-level BPE and Unigram trained here on the texts. PITH_DATA
names another data directory. Exits with 77 (skipped) and says why if the data
or a package is missing; without PITH_MODEL or sentencepiece, says what it leaves
out.
"""

import base64
import copy
import io
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

NO_LIMIT = 1 << 20
TRAINED_SETS = [
    ("ntrex_sample/corpus.jsonl.zst", None),
    ("blns/corpus.jsonl", None),
]
SETS = [
    *TRAINED_SETS,
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

# No __pycache__ beside the scripts.
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import tokenizer_kinds


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


def built_differences(name, tokenize_lines, tokenizer, texts, max_tokens=NO_LIMIT):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        (path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        return differences(name, tokenize_lines, path, texts, max_tokens)


def characters():
    return [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def is_plain(c):
    """Ideographs, syllables and unassigned planes, all of a kind."""
    code = ord(c)
    if 0x5000 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4:
        return True
    return not (code < 0x20000 or 0x2F800 <= code < 0x2FA20)


def code_point_differences(tokenize_lines, model):
    """All code points between letters and marks, for uncased and cased models.

    Those that are neither a token nor made of tokens would all be [UNK], so the
    vocabulary has every code point but unassigned planes and most of the
    ideographs and syllables, which have no properties that could differ.
    """
    base = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    texts = [f"a\u0301{c}\u0323b" for c in characters()]
    vocab = base["model"]["vocab"]
    for c in characters():
        if not is_plain(c):
            vocab.setdefault(c, len(vocab))
            vocab.setdefault("##" + c, len(vocab))
    different = 0
    for lowercase, strip_accents in [(True, None), (False, None)]:
        base["normalizer"]["lowercase"] = lowercase
        base["normalizer"]["strip_accents"] = strip_accents
        name = f"code points, lowercase {lowercase}, strip_accents {strip_accents}"
        different += built_differences(name, tokenize_lines, base, texts)
    return different


def bpe_variants(texts):
    bpe = tokenizer_kinds.byte_level_bpe(texts, 8000)
    yield "byte-level BPE", bpe
    bpe = tokenizer_kinds.byte_level_bpe(texts, 3000, add_prefix_space=True)
    yield "byte-level BPE with a space in front", bpe


def unigram_variants(texts, charsmap):
    unigram = tokenizer_kinds.unigram(texts, 8000, charsmap)
    yield "Unigram", unigram
    # As converted by transformers, bge-m3 among others.
    sign = tokenizer_kinds.SIGN
    metaspace = {"type": "Metaspace", "replacement": sign, "prepend_scheme": "always"}
    steps = [
        unigram["normalizer"],
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": sign},
    ]
    unigram["normalizer"] = {"type": "Sequence", "normalizers": steps}
    unigram["pre_tokenizer"] = metaspace
    yield "Unigram, spaces in Metaspace alone", unigram
    metaspace["prepend_scheme"] = "first"
    metaspace["split"] = False
    steps[2]["content"] = " "
    yield "Unigram, sign in front once, whole texts", unigram
    metaspace["prepend_scheme"] = "never"
    vocab = unigram["model"]["vocab"]
    vocab += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    unigram["model"]["byte_fallback"] = True
    unigram["normalizer"] = None
    yield "Unigram with bytes, nothing in front", unigram


def whole_charsmap():
    """SentencePiece's nmt_nfkc, or else the small one of the test data."""
    try:
        return tokenizer_kinds.charsmap(normalization_rule_name="nmt_nfkc")
    except ImportError as error:
        print(f"SKIPPED: nmt_nfkc: {error}; the charsmap of tiny-xlm-roberta instead")
        data = pathlib.Path(__file__).resolve().parent.parent / "data"
        path = data / "tiny-xlm-roberta/tokenizer.json"
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        return base64.b64decode(tokenizer["normalizer"]["precompiled_charsmap"])


def trained_differences(tokenize_lines, data):
    different = 0
    sets = {name: read_texts(data / name, limit) for name, limit in TRAINED_SETS}
    train = sets[TRAINED_SETS[0][0]]
    charsmap = whole_charsmap()
    for variants in (bpe_variants(train), unigram_variants(train, charsmap)):
        for kind, tokenizer in variants:
            for name, texts in sets.items():
                for max_tokens in (NO_LIMIT, 32):
                    different += built_differences(
                        f"{kind}: {name}", tokenize_lines, tokenizer, texts, max_tokens
                    )

    bpe = tokenizer_kinds.byte_level_bpe(train[:100], 600)
    # Words show by what is merged in them: letters and digits with the byte
    # that a character begins with, for which its own character stands.
    model = bpe["model"]
    for pair in itertools.product("a1", map(chr, range(0xC2, 0xF5))):
        model["vocab"].setdefault("".join(pair), len(model["vocab"]))
        model["merges"].insert(0, pair)
    texts = [f"a{c} 1{c}1  {c}'s{c}{c}" for c in characters()]
    different += built_differences("byte-level BPE: code points", tokenize_lines, bpe, texts)

    unigram = tokenizer_kinds.unigram(train[:100], 600, charsmap)
    vocab = unigram["model"]["vocab"]
    known = {piece for piece, _ in vocab}
    vocab += [[c, -15.0] for c in characters() if c not in known and not is_plain(c)]
    texts = [f"a\u0301{c}\u0323b {c} {c}\u0301" for c in characters()]
    different += built_differences("Unigram: code points", tokenize_lines, unigram, texts)

    clusters = copy.deepcopy(unigram)
    encoded = base64.b64encode(tokenizer_kinds.charsmap_to_x()).decode()
    clusters["normalizer"]["precompiled_charsmap"] = encoded
    # One token for each X.
    clusters["model"]["vocab"] = [["<unk>", 0.0], ["X", -1.0]]
    clusters["model"]["unk_id"] = 0
    clusters["added_tokens"] = []
    # Some syllables too, and the extenders of plane 14.
    sample = [
        c
        for c in characters()
        if not is_plain(c) or 0xAC00 <= ord(c) < 0xAD00 or 0xE0000 <= ord(c) < 0xE1000
    ]
    for shape in (
        "a{}\u0301",
        "{}a",
        "\u0915\u094d{}\u0301",
        "\u0915{}\u0915\u0301",
        "\u0915\u094d{}\u0915\u0301",
        "\u1100{}\u0301",
        "\u1160{}\u0301",
        "\u11a8{}\u0301",
        "\uac00{}\u0301",
        "\uac01{}\u0301",
        "{}\u1160\u0301",
        "{}\u200d\u00a9\u0301",
        "\u00a9{}\u200d\u00a9\u0301",
        "\r{}\n",
    ):
        texts = [shape.format(c) for c in sample]
        different += built_differences(f"clusters {shape!a}", tokenize_lines, clusters, texts)
    return different


def main():
    tokenize_lines = sys.argv[1]
    data = pathlib.Path(os.environ.get("PITH_DATA", sys.argv[2]))
    for name, _ in SETS:
        if not (data / name).exists():
            skip(f"{data / name} is missing; PITH_DATA names the data")
    different = trained_differences(tokenize_lines, data)
    model = pathlib.Path(os.environ.get("PITH_MODEL", ""))
    if not (model / "tokenizer.json").exists():
        print("SKIPPED: WordPiece: PITH_MODEL names no directory with a tokenizer.json")
        sys.exit(1 if different else 0)
    for name, limit in SETS:
        texts = read_texts(data / name, limit)
        for max_tokens in (NO_LIMIT, 256, 128):
            different += differences(name, tokenize_lines, model, texts, max_tokens)
    different += code_point_differences(tokenize_lines, model)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
