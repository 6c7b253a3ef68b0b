"""TorchEngine against sentence-transformers on 500 texts of five kinds.

Usage: torch_equivalence_test.py EMBED_LINES DATA_DIRECTORY

The model is named by PITH_MODEL; PITH_DATA names another data directory,
PITH_TEST_DEVICE another device than the CPU. Exits with 77 (skipped) and says
why if the model, the data or a package is missing.
"""

import io
import itertools
import json
import os
import pathlib
import subprocess
import sys

SETS = ["squad_dev", "cranfield", "cosqa_code", "til_notes", "ntrex_sample"]
TEXTS_PER_SET = 100
MINIMUM_COSINE = {"f32": 0.99999, "bf16": 0.9995}


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


try:
    import numpy
    import sentence_transformers
    import zstandard
except ImportError as error:
    skip(f"{error}; this check wants numpy, sentence-transformers, zstandard")


def read_texts(path):
    """Every n-th text, so that the set's whole range is seen."""
    with open(path, "rb") as compressed:
        stream = zstandard.ZstdDecompressor().stream_reader(compressed)
        lines = io.TextIOWrapper(stream, encoding="utf-8").readlines()
    step = max(1, len(lines) // TEXTS_PER_SET)
    return [json.loads(line)["text"] for line in lines[::step]][:TEXTS_PER_SET]


def main():
    embed_lines, data = sys.argv[1], os.environ.get("PITH_DATA", sys.argv[2])
    model = os.environ.get("PITH_MODEL")
    if not model:
        skip("PITH_MODEL names no model directory")
    texts = []
    for name in SETS:
        path = pathlib.Path(data) / name / "corpus.jsonl.zst"
        if not path.exists():
            skip(f"{path} is missing; PITH_DATA names the data")
        texts += [text for text in read_texts(path) if text.strip()]

    reference = sentence_transformers.SentenceTransformer(model, device="cpu")
    expected = reference.encode(texts, normalize_embeddings=True)
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    failed = False
    device = os.environ.get("PITH_TEST_DEVICE", "cpu")
    for precision, attention in itertools.product(["f32", "bf16"], ["own", "packed"]):
        minimum = MINIMUM_COSINE[precision]
        command = [embed_lines, "--model", model, "--device", device, "--threads", "2"]
        if precision == "bf16":
            command.append("--bf16")
        if attention == "packed":
            command.append("--packed")
        result = subprocess.run(command, input=lines.encode(), capture_output=True)
        if b"packed attention: LibTorch 1." in result.stderr:
            print(f"{precision}, packed attention: not in this LibTorch")
            continue
        print(result.stderr.decode(), end="")
        result.check_returncode()
        actual = numpy.frombuffer(result.stdout, dtype=numpy.float32)
        actual = actual.reshape(expected.shape)
        cosines = (actual * expected).sum(axis=1)
        worst = int(cosines.argmin())
        print(
            f"{precision}, {attention} attention: {len(texts)} texts, cosine at least {cosines[worst]:.7f}"
            f" (wanted {minimum}), mean {cosines.mean():.7f}"
        )
        if not cosines[worst] >= minimum:
            print(f"worst text: {texts[worst][:200]!r}")
            failed = True
    sys.exit(1 if failed else 0)


main()
