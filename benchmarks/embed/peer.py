"""sentence-transformers' part of embed_bench, which runs it.

    peer.py INPUT

INPUT is {"model", "threads": [n], "repetitions", "texts": {mix: [[id]]}}.
Prints rows of embed_bench without engine, recall and share of the bound. Texts are
decoded from the ids, so the time is that of tokenizing and embedding, as a user
calls it; tokens are counted as sentence-transformers counts them. The cosine is
that to its own vectors in f32.
"""

import json
import os
import statistics
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from sentence_transformers import SentenceTransformer

BATCH = 32
PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16}


def encode(model, texts):
    return model.encode(
        texts,
        batch_size=BATCH,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=False,
    ).float()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    transformers.utils.logging.disable_progress_bar()
    rows = []
    exact = {}
    for precision, dtype in PRECISIONS.items():
        model = SentenceTransformer(given["model"], device="cpu").to(dtype)
        for mix, ids in given["texts"].items():
            texts = model.tokenizer.batch_decode(ids, skip_special_tokens=True)
            limit = model.max_seq_length
            tokens = sum(
                min(limit, len(encoded)) for encoded in model.tokenizer(texts)["input_ids"]
            )
            for threads in given["threads"]:
                torch.set_num_threads(threads)
                vectors = encode(model, texts)
                exact.setdefault(mix, vectors)
                cosines = torch.nn.functional.cosine_similarity(vectors, exact[mix])
                seconds = []
                for _ in range(given["repetitions"]):
                    start = time.perf_counter()
                    encode(model, texts)
                    seconds.append(time.perf_counter() - start)
                median = statistics.median(seconds)
                rows.append(
                    {
                        "precision": precision,
                        "tokens_per_text": mix,
                        "threads": threads,
                        "tokens_per_second": tokens / median,
                        "texts_per_second": len(texts) / median,
                        "cosine_mean": cosines.mean().item(),
                        "cosine_min": cosines.min().item(),
                    }
                )
    print(json.dumps(rows))


main()
