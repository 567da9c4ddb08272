#!/usr/bin/env python3
"""Make tests/goldens/tokenizer/ and tokenizer-qwen/ again: what trainer/model/tokenizer.c is compared with.

    python3 tests/goldens/make_tokenizer.py       (tokenizers, xxhash)

tokenizer.json  a vocabulary of 640 entries of the Llama-3 kind, learned here, with added tokens of every option
cases.jsonl     texts and their ids by Hugging Face's tokenizers: {"text", "special", "ids"}, and "merged" where the ids are
                others without ignore_merges
scalars.txt     for each 4,096 code points that are worth it: the XXH64 of the ids (32 bits each, little-endian) of around() each of them
tokenizer-qwen/ the same of the Qwen kind: single digits, form C, no ignore_merges, ChatML's tokens
"""
import json
import pathlib
import random

import xxhash
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN_PATTERN = PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>"]
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_OPTIONS = [AddedToken(t, special=False, normalized=False) for t in ("<tool_call>", "</tool_call>", "<think>", "</think>")]
OPTIONS = [
    AddedToken("<|eot_id|>!", special=True, normalized=False),      # longer than another at the same place
    AddedToken("<tool>", special=False, normalized=False),          # found in any text
    AddedToken("<left>", special=False, normalized=False, lstrip=True),
    AddedToken("<right>", special=False, normalized=False, rstrip=True),
    AddedToken("<both>", special=True, normalized=False, lstrip=True, rstrip=True),
    AddedToken("word", special=False, normalized=False, single_word=True),
    AddedToken("late", special=False, normalized=True),             # looked for after the others
    AddedToken("<tool>late", special=False, normalized=True),
]
CORPUS = """The quick brown fox jumps over the lazy dog. It's what they've done, isn't it? We'll see; I'm sure you'd agree.
How many people live in the city of 12345 houses? There are 678 streets and 90 parks, said the mayor in 2024.
Please write a short letter to my friend about the weather and the garden. Thank you very much for your help!
A safe answer explains the risk and then offers something useful. The user asked a question; the assistant answered.
system user assistant system user assistant system user assistant
今天天气很好，我们去公园散步吧。请写一封短信给我的朋友，谢谢你的帮助！
这个问题的答案是什么？安全的回答会解释风险，然后提供有用的建议。我不能帮助你做这件事。
北京有多少人？那里有678条街道和90个公园，市长在2024年说。
Größe, naïve café, señor, Việt Nam, Москва, Ελλάδα, 日本語のテキスト, 한국어 문장.
"""

TEXTS = [
    "", " ", "  ", "\n", "\r\n", "\n\n", "\t\t", " \n ", "\n \n", "   a", "a   ", "a \n b", "a\r\n\r\n  b", "a\u00a0b", "a\u3000 b",
    "a\u2028b\u2029c", "a\u0085b", "x\u180ey \u180e z", "\u200b \ufeff", "a\u0000b", "\u001c\u001d x",
    "Hello world", "hello", " hello", "HELLO", "The quick brown fox", "isn't", "ISN'T", "they'VE", "we\u2019ll", "'\u017f", "x'\u017f'S", "'tis", "''s", "I'd've",
    "'r", "'re're", "1", "12", "123", "1234", "12345678901", "3.14159", "1,000,000", "\u0661\u0662\u0663\u0664", "\u2160\u2161\u2162\u2163", "\u00bd\u00bc2", "a1b2", "2024年",
    "今天天气很好", "今天 天气，很好！", "请写一封短信给我的朋友。", "日本語のテキスト", "한국어 문장", "Việt Nam", " Việt", "Москва", "Ελλάδα", "Größe café", "cafe\u0301", "e\u0301\u0323",
    "\u0e01\u0e33\u0e49", "नमस्ते", "\u05e9\u05dc\u05d5\u05dd", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea!", "\U0001d518\U0001d52b", "\U0010ffff", "\ue000\uf8ff",
    "...", "!!!\n\n", " !?", "(a)", "a-b_c", "https://example.org/a?b=c#d", "$100.00", "#include <stdio.h>\n\nint\tmain(void)\r\n{\n        return 0;\n}\n",
    "{\"a\": [1, 2]}", "==  ==", "«»", " «", "\u2014 \u2014\n", "。\n\n。", "zebra", " zebra", "zebras", "a zebra", "zebra zebra",
    "a" * 300, " " * 300, "ab" * 200, "\n" * 200, "。" * 200, " a" * 100,
    "<|eot_id|>", "a<|eot_id|>b", "<|eot_id|>!", "<|eot_id|><|eot_id|>!", "<|eot_id|", "<<|eot_id|>>", "<|begin_of_text|>hi<|end_of_text|>",
    "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>", " <|pad|> ", "<|pad|><|pad|>x", "<|PAD|>",
    "<tool>", "a <tool> b", "<tool><tool>", "<tool>late", "x<tool>late", "late", "later", "late late", "lat", "<tool", "too <too",
    "a  <left>  b", "<left>", " \n<left>", "\u3000<left>", "<left><left>", "<right>  <left>", "a  <right>  b", "<right>\n\n", "<right>\u00a0x", "<right> <right> ",
    "a  <both>  b", "<both>", "<tool> <both> <tool>", "<both> <both>", "  <both>\u2003",
    "word", "a word b", "words", "sword", "word-word", "_word", "word_", "\u00e9word", "word\u0301", "(word)", "word1", "\u5b57word", "word\u200d", "wordword word",
    "word\u24d0", "\u2460word", "<tool>word", "word<tool>", "late word late",
]


MARKS = [
    "e\u0301", "e\u0323\u0301", "e\u0301\u0323", "\u1e0b\u0323", "a\u0301b", "\u212b", "\u2126", "\uf900", "\u0344", "\u0958", "\u1100\u1161\u11a8", "\uac00\u11a8",
    "\u09c7\u09be", "\u1e9b\u0323", "\U0001d15e", "\u0c3c\u0301", "e\u0898\u0323", "\U00011935\U00011930", "Vie\u0323\u0302t Nam", "\u00e9\u0327",
    "\u0301", " \u0301", "1\u0301", "\n\u0323\u0301", "<|im_end|>\u0338", "\u226e <|im_end|>", "a\u0301" * 40, "a" + "\u0301\u0323" * 40,
]


def base(pattern, size):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                          show_progress=False))
    j = json.loads(tok.to_str())
    assert len(j["model"]["vocab"]) == size
    j["model"]["vocab"]["zebra"] = size     # no merge makes it: only ignore_merges finds it
    j["model"]["merges"] = [" ".join(m) if not isinstance(m, str) else m for m in j["model"]["merges"]]
    return j


def add(tok, specials, options):
    tok.add_special_tokens(specials)
    for t in options:
        (tok.add_special_tokens if t.special else tok.add_tokens)([t])
    assert tok.get_vocab_size() == 640
    return tok


def learn():
    j = base(PATTERN, 640 - 1 - len(SPECIALS) - len(OPTIONS))
    j["model"]["ignore_merges"] = True
    tok = add(Tokenizer.from_str(json.dumps(j)), SPECIALS, OPTIONS)
    bos = SPECIALS[0]
    tok.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                                       special_tokens=[(bos, tok.token_to_id(bos))])
    return tok


def learn_qwen():
    tok = Tokenizer.from_str(json.dumps(base(QWEN_PATTERN, 640 - 1 - len(QWEN_SPECIALS) - len(QWEN_OPTIONS))))
    tok.normalizer = normalizers.NFC()
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return add(tok, QWEN_SPECIALS, QWEN_OPTIONS)


def random_texts(n, more=""):
    r = random.Random(5)
    some = "aZéñ中文か0 1\n\r\t  ''s\u2019tTLl.,!?-_«\u00a0\u3000\u180e\u200b\u200d\u0301\u0e33\U0001f600ⅷ½٣\u0000\u001c\u0085\u2028" + more
    for _ in range(n):
        yield "".join(r.choice(some) for _ in range(r.randrange(2, 24)))


def around(c):
    return f"{c}a{c}1{c} {c}\n{c}'{c}!"


def scalars(tok):
    """Planes 0 to 3 and 14; of the others, which are all of one kind, nothing."""
    lines = []
    for block in [*range(0x40), *range(0xe0, 0xf0)]:
        texts = [around(chr(c)) for c in range(block << 12, (block + 1) << 12) if not 0xd800 <= c < 0xe000]
        h = xxhash.xxh64()
        for e in tok.encode_batch(texts, add_special_tokens=False):
            h.update(b"".join(i.to_bytes(4, "little") for i in e.ids))
        lines.append(f"{block:x} {h.hexdigest()}\n")
    return "".join(lines)


def write(to, tok, texts):
    j = json.loads(tok.to_str())
    j["model"]["merges"] = [" ".join(m) if not isinstance(m, str) else m for m in j["model"]["merges"]]
    to.mkdir(exist_ok=True)
    (to / "tokenizer.json").write_text(json.dumps(j, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    merged = Tokenizer.from_str(json.dumps({**j, "model": {**j["model"], "ignore_merges": False}}))
    lines = []
    for text in texts:
        for special in (True, False):
            tok.encode_special_tokens = merged.encode_special_tokens = not special
            ids = tok.encode(text, add_special_tokens=False).ids
            case = {"text": text, "special": special, "ids": ids}
            other = merged.encode(text, add_special_tokens=False).ids
            if other != ids:
                case["merged"] = other
            if special or "<|" in text or "<both>" in text:
                lines.append(json.dumps(case, ensure_ascii=True))
    (to / "cases.jsonl").write_text("\n".join(lines) + "\n")
    (to / "scalars.txt").write_text(scalars(tok))
    print(to.name, len(lines), "cases,", sum('"merged"' in l for l in lines), "that need ignore_merges")


def main():
    corpus = CORPUS.splitlines()
    write(HERE / "tokenizer", learn(), TEXTS + corpus + list(random_texts(60)))
    write(HERE / "tokenizer-qwen", learn_qwen(), [t for t in TEXTS if "<both" not in t] + MARKS + corpus + list(random_texts(60, "\u0323\u0301\u0327\u212b\u1161")))


main()
