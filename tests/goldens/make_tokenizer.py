#!/usr/bin/env python3
"""Make tests/goldens/tokenizer/ again: what trainer/model/tokenizer.c is compared with.

    python3 tests/goldens/make_tokenizer.py       (tokenizers)

tokenizer.json  a vocabulary of 640 entries of the Llama-3 kind, learned here, with added tokens of every option
cases.jsonl     texts and their ids by Hugging Face's tokenizers: {"text", "special", "ids"}, and "merged" where the ids are
                others without ignore_merges
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent / "tokenizer"
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>"]
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


def learn():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    size = 640 - 1 - len(SPECIALS) - len(OPTIONS)
    tok.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                          show_progress=False))
    j = json.loads(tok.to_str())
    assert len(j["model"]["vocab"]) == size
    j["model"]["vocab"]["zebra"] = size     # no merge makes it: only ignore_merges finds it
    j["model"]["ignore_merges"] = True
    j["model"]["merges"] = [" ".join(m) if not isinstance(m, str) else m for m in j["model"]["merges"]]
    tok = Tokenizer.from_str(json.dumps(j))
    tok.add_special_tokens(SPECIALS)
    for t in OPTIONS:
        (tok.add_special_tokens if t.special else tok.add_tokens)([t])
    bos = SPECIALS[0]
    tok.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                                       special_tokens=[(bos, tok.token_to_id(bos))])
    assert tok.get_vocab_size() == 640
    return tok


def random_texts(n):
    r = random.Random(5)
    some = "aZéñ中文か0 1\n\r\t  ''s\u2019tTLl.,!?-_«\u00a0\u3000\u180e\u200b\u200d\u0301\u0e33\U0001f600ⅷ½٣\u0000\u001c\u0085\u2028"
    for _ in range(n):
        yield "".join(r.choice(some) for _ in range(r.randrange(2, 24)))


def main():
    tok = learn()
    j = json.loads(tok.to_str())
    j["model"]["merges"] = [" ".join(m) if not isinstance(m, str) else m for m in j["model"]["merges"]]
    HERE.mkdir(exist_ok=True)
    (HERE / "tokenizer.json").write_text(json.dumps(j, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    merged = Tokenizer.from_str(json.dumps({**j, "model": {**j["model"], "ignore_merges": False}}))
    lines = []
    for text in TEXTS + [t for t in CORPUS.splitlines()] + list(random_texts(60)):
        for special in (True, False):
            tok.encode_special_tokens = merged.encode_special_tokens = not special
            ids = tok.encode(text, add_special_tokens=False).ids
            case = {"text": text, "special": special, "ids": ids}
            other = merged.encode(text, add_special_tokens=False).ids
            if other != ids:
                case["merged"] = other
            if special or "<|" in text or "<both>" in text:
                lines.append(json.dumps(case, ensure_ascii=True))
    (HERE / "cases.jsonl").write_text("\n".join(lines) + "\n")
    print(len(lines), "cases,", sum('"merged"' in l for l in lines), "that need ignore_merges")


main()
