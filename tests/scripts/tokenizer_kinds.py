"""Builds a tokenizer.json of each kind that pith reads besides WordPiece, for
tests: byte-level BPE as RoBERTa has it, Unigram as XLM-RoBERTa has it.

Needs tokenizers; charsmap() needs sentencepiece.
"""

import base64
import json
import pathlib
import struct
import tempfile

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = "<mask>"
SIGN = "▁"


def added_tokens(vocab):
    return [
        {
            "id": vocab[token],
            "content": token,
            "single_word": False,
            "lstrip": token == MASK,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in SPECIAL + [MASK]
    ]


def empty(vocab):
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(vocab),
    }


def byte_level_bpe(texts, size, add_prefix_space=False):
    """roberta-base's tokenizer.json, trained on `texts`."""
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    model = json.loads(trained.to_str())["model"]
    vocab = model["vocab"]
    vocab[MASK] = len(vocab)
    byte_level = {"add_prefix_space": add_prefix_space, "trim_offsets": True}
    return {
        **empty(vocab),
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **byte_level},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", vocab["</s>"]],
            "cls": ["<s>", vocab["<s>"]],
            **byte_level,
        },
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {**model, "continuing_subword_prefix": "", "end_of_word_suffix": ""},
    }


def charsmap(**rule):
    """The charsmap of a SentencePiece model trained with `rule`."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        (path / "text").write_text("the quick brown fox\n" * 10, encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(path / "text"),
            model_prefix=str(path / "model"),
            vocab_size=20,
            hard_vocab_limit=False,
            minloglevel=2,
            **rule,
        )
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((path / "model.model").read_bytes())
        return model.normalizer_spec.precompiled_charsmap


def charsmap_to_x():
    """A charsmap that makes every character an X.

    A grapheme cluster of fewer than six bytes becomes one X, a longer one as
    many as it has characters: boundaries of clusters show. The trie is a double
    array in which the last bytes of all characters share their nodes.
    """
    block = 256
    unused = 1 << 31 | 0xFF
    units = [unused] * (6 * block)
    last, second_last, third_last, end, first = (i * block for i in range(1, 6))

    def connect(begin, byte, target, is_end=False):
        position = begin ^ byte
        units[position] = byte | (position ^ target) << 10 | is_end << 8

    units[0] = first << 10
    units[end] = 1 << 31
    for byte in range(1, 0x80):
        connect(first, byte, end, True)
    for byte in range(0xC2, 0xF5):
        target = last if byte < 0xE0 else second_last if byte < 0xF0 else third_last
        connect(first, byte, target)
    for byte in range(0x80, 0xC0):
        connect(last, byte, end, True)
        connect(second_last, byte, last)
        connect(third_last, byte, second_last)
    trie = b"".join(struct.pack("<I", unit) for unit in units)
    return struct.pack("<I", len(trie)) + trie + b"X\0"


def unigram(texts, size, charsmap_bytes):
    """xlm-roberta-base's tokenizer.json, trained on `texts`."""
    precompiled = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(charsmap_bytes).decode(),
    }
    metaspace = {"type": "Metaspace", "replacement": SIGN, "prepend_scheme": "always", "split": True}
    split = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    start = {
        **empty({token: 0 for token in SPECIAL + [MASK]}),
        "added_tokens": [],
        "normalizer": precompiled,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]], "byte_fallback": False},
    }
    trained = tokenizers.Tokenizer.from_str(json.dumps(start))
    trainer = trainers.UnigramTrainer(
        vocab_size=size - 1, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    model = json.loads(trained.to_str())["model"]
    model["vocab"].append([MASK, 0.0])
    vocab = {token: i for i, (token, _) in enumerate(model["vocab"])}

    def special(token):
        return {"id": token, "ids": [vocab[token]], "tokens": [token]}

    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    return {
        **empty(vocab),
        "normalizer": precompiled,
        "pre_tokenizer": split,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, sequence, end],
            "pair": [begin, sequence, end, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {"<s>": special("<s>"), "</s>": special("</s>")},
        },
        "decoder": metaspace,
        "model": model,
    }
