#!/usr/bin/env python3
"""Writes tests/data/tiny-bert, tiny-roberta and tiny-xlm-roberta: small random
encoders in Hugging Face layout.

The vocabularies are built from the lists below, the weights are drawn from a
fixed seed, and reference.json holds what sentence-transformers computes with
them in f32. Names on the command line make only those. Needs torch,
transformers, sentence-transformers, tokenizers and, for tiny-xlm-roberta,
sentencepiece with protobuf.

    python3 tests/scripts/make_tiny_model.py
"""

import json
import pathlib
import shutil
import sys
import tempfile
import unicodedata

import tokenizer_kinds
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
MAX_TOKENS = 64

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" "–—‘’“”…€£¥§°·•×→≤"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
OTHER_LETTERS = (
    "ßæøđıłœþαβγδεζηθικλμνξοπρσςτυφχψωабвгдежзийклмнопрстуфхцчшщъыьэюя"
    "אבגדשابتدرسلกขคนม"
)
IDEOGRAPHS = "一七三上下不世中九二五人今何你先八六出十四国大好学小山年日明月本東水火生的界華言語"
KANA_AND_JAMO = "あいうえおかきくけこのはへほアイウカハ" "ᄀᄂᄃᄅᄒᄋ" "ᅡᅥᅵ" "ᆨᆫᆯ"

WORDS = """
a about above across after again against age air all almost along also always am among an and animal another answer
any are area around as ask at away back bad base be because bed been before began begin being below best better between
big bird black blue boat body book both box boy bring brown build but buy by call came can car care carry cat change
check children city class clear close code cold color come common company complete computer contain control cook could
country course cover cross cry cut dark data day deep did differ direct dish do document does dog done door down draw
drive dry during each early earth east easy eat end energy english enough even every example eye face fact fall family
far farm fast father feel feet few field file fill final find fire first fish five flow fly folder follow food foot for
force form found four fox friend from front full game garden gave get girl give go gold good got govern great green
ground group grow had half hand happen hard has have he head hear heat help her here high him his hold home horse hot
hour house how hundred i idea if in inch index interest into is island it its itself jump just keep kind king knew know
land language large last late laugh lay lazy lead learn leave left less let letter life light like line list listen
little live local long look lot love low machine made main make man many map mark matter may me mean measure men might
mile mind minute miss model money moon more morning most mother mountain move much music must my name near need never
new next night no north not note nothing notice noun now number numeral object of off often oh oil old on once one only
open or order other our out over own page paper part pass pattern people person picture piece place plan plane plant
play point port pose pound power press problem produce program pull push put question quick rain ran reach read ready
real record red remember rest right river road rock room round rule run said same saw say school science sea search
second see seem self sentence serve set several shape she ship short should show side simple since sing sit six size
sleep slow small snow so some song soon sound south spell stand star start state stay step still stood stop store story
street strong study such sun sure surface system table tail take talk teach tell ten test text than that the their them
then there these they thing think this those thought thousand three through time to together told too took top toward
town travel tree true try turn two under unit until up us use usual very voice vowel wait walk want war warm was watch
water way we week weight well went were west what wheel when where which while white who whole why wind window with
wonder wood word work world would write year yes yet you young your
""".split()

PIECES = """
ing ed er est ly ness ment able ion tion ity al ive ful less ous ist ism ize en es th ers ings or ar el le in on an re
st ch sh ck ll ss ee ea ou ai ation ence ance ant ent ial ical ure ight ough other ever self one thing body time day way
work man men land light
""".split()

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A cat sat by the door and watched the rain.",
    "How do I cook fish on an open fire?",
    "Search the folder for a file about the English language.",
    "the",
    "Yes",
    "[MASK]",
    "Every morning the children walk to school along the river.",
    "The moon is smaller than the earth, and the sun is larger than both.",
    "She said: “I don't know — ask him again tomorrow…”",
    "x = 3 * (y + 4) / 2  # not a number",
    "Ünïcödé ÀÉÎ naïve café",
    "今年 は 山 の 火",
    "мама мыла раму",
    "Ελλάδα και θάλασσα",
    "12,345.67 € and 100 %",
    "unbelievablyunusualwords areSplitIntoPieces",
    "A document is cut into passages, and every passage is turned into a "
    "vector of numbers that stands for what it means.",
    "water " * 62,
    "The people of the town had built a long road to the north, over the "
    "mountain and through the wood, so that in the cold months when snow fell "
    "they could still bring food, oil and letters from the other side of the "
    "country without waiting for the river to open again in the warm season.",
]


def vocabulary():
    tokens = list(SPECIAL)
    tokens += PUNCTUATION + LETTERS + OTHER_LETTERS + IDEOGRAPHS + KANA_AND_JAMO
    tokens += ["##" + c for c in LETTERS + OTHER_LETTERS + KANA_AND_JAMO]
    tokens += WORDS
    tokens += ["##" + piece for piece in PIECES]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def tokenizer(vocab):
    def special(token):
        return {"id": token, "ids": [vocab[token]], "tokens": [token]}

    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    cls = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    sep = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocab[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in SPECIAL
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, sequence, sep],
            "pair": [cls, sequence, sep, {"Sequence": {"id": "B", "type_id": 1}}, sep],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def charsmap_rules():
    """Some of SentencePiece's nmt_nfkc: source and target of each rule."""
    rules = {"\u00ad": "", "\u200b": " ", "\u200e": "", "\ufeff": "", "\u2028": " "}
    for c in map(chr, [*range(1, 0x20), 0x7F]):
        rules[c] = " " if c in "\t\n\r" else ""
    ranges = [(0xFF01, 0xFF5E), (0xFF66, 0xFF9F), (0xFB00, 0xFB06), (0x2000, 0x200A)]
    singles = "\u00a0\u00a8\u00b2\u00bd\u0132\u0958\u2026\u2103\u2116\u2122\u3000\u33a1\uf900\ufdfa"
    for c in [chr(c) for first, last in ranges for c in range(first, last + 1)] + list(singles):
        rules[c] = unicodedata.normalize("NFKC", c)
    for letter in "aceinouzAEIOU":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u030c\u0327":
            composed = unicodedata.normalize("NFC", letter + mark)
            if len(composed) == 1:
                rules[letter + mark] = composed
    return rules


def charsmap():
    def code_points(text):
        return " ".join(f"{ord(c):X}" for c in text)

    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        for source, target in charsmap_rules().items():
            print(code_points(source), code_points(target), sep="\t", file=file)
        file.flush()
        return tokenizer_kinds.charsmap(normalization_rule_tsv=file.name)


def write_json(path, value, indent=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    path.write_text(text + "\n", encoding="utf-8")


def write_model(directory, model, tokenizer_json, tokenizer_config, pooling):
    shutil.rmtree(directory, ignore_errors=True)
    # Wider than the usual initialisation, biases and layer norms included:
    # otherwise all texts have nearly the same embedding and an error in a bias
    # would not show.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.normal_(1.0, 0.1)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.05)
            else:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)

    # Only what describes the model, whatever this version of transformers adds.
    saved = json.loads((directory / "config.json").read_text())
    kept = [
        "architectures",
        "model_type",
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        "pad_token_id",
    ]
    write_json(directory / "config.json", {key: saved[key] for key in kept})
    write_json(directory / "tokenizer.json", tokenizer_json, indent=None)
    write_json(
        directory / "tokenizer_config.json",
        {**tokenizer_config, "model_max_length": MAX_TOKENS},
    )
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        directory / "modules.json",
        [
            {
                "idx": i,
                "name": str(i),
                "path": path,
                "type": "sentence_transformers.models." + kind,
            }
            for i, (path, kind) in enumerate(kinds)
        ],
    )
    write_json(
        directory / "1_Pooling/config.json",
        {
            "word_embedding_dimension": saved["hidden_size"],
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    write_json(
        directory / "sentence_bert_config.json",
        {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
    )


def write_reference(directory, prompts=("",)):
    reference = SentenceTransformer(
        str(directory), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    rows = []
    for prompt in prompts:
        for text in TEXTS:
            ids = reference.tokenize([prompt + text])["input_ids"][0].tolist()
            assert ids == tokenizer.encode(prompt + text).ids
            embedding = reference.encode([text], prompt=prompt)[0].tolist()
            row = {"prompt": prompt} if prompt else {}
            row |= {"text": text, "ids": ids, "embedding": [round(x, 8) for x in embedding]}
            rows.append(row)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (directory / "reference.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def make_bert(directory):
    vocab = vocabulary()
    config = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=MAX_TOKENS,
    )
    torch.manual_seed(20240501)
    tokenizer_config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    model = transformers.BertModel(config)
    write_model(directory, model, tokenizer(vocab), tokenizer_config, "mean")
    write_reference(directory)


ROBERTA_TOKENIZER_CONFIG = {
    # The one that takes tokenizer.json as it is.
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


def roberta_sizes(vocab_size):
    return {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_TOKENS + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }


def training_texts():
    lines = [" ".join(WORDS[i : i + 12]) for i in range(0, len(WORDS), 12)]
    return TEXTS + lines


def make_roberta(directory):
    tokenizer_json = tokenizer_kinds.byte_level_bpe(training_texts(), 600)
    config = transformers.RobertaConfig(**roberta_sizes(len(tokenizer_json["model"]["vocab"])))
    torch.manual_seed(20240502)
    model = transformers.RobertaModel(config, add_pooling_layer=False)
    write_model(directory, model, tokenizer_json, ROBERTA_TOKENIZER_CONFIG, "mean")
    # As for a model that needs prompts and does not bring them.
    write_json(directory / "pith.json", {"query_prompt": "query: "})
    write_reference(directory, ["", "query: "])


def make_xlm_roberta(directory):
    tokenizer_json = tokenizer_kinds.unigram(training_texts(), 600, charsmap())
    config = transformers.XLMRobertaConfig(**roberta_sizes(len(tokenizer_json["model"]["vocab"])))
    torch.manual_seed(20240503)
    model = transformers.XLMRobertaModel(config, add_pooling_layer=False)
    # Half of what others weigh, and as many real models come.
    model.half()
    write_model(directory, model, tokenizer_json, ROBERTA_TOKENIZER_CONFIG, "cls")
    write_json(
        directory / "config_sentence_transformers.json",
        {
            "prompts": {"query": "query: ", "document": "passage: "},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )
    write_reference(directory, ["query: ", "passage: "])


def main():
    makers = {
        "tiny-bert": make_bert,
        "tiny-roberta": make_roberta,
        "tiny-xlm-roberta": make_xlm_roberta,
    }
    for name in sys.argv[1:] or makers:
        makers[name](DATA / name)


if __name__ == "__main__":
    main()
