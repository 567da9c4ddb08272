#!/usr/bin/env python3
"""Make tests/goldens/train/ again: what sa-train is compared with.

    make build/sa-train && python3 tests/goldens/make_train.py       (torch, transformers, tokenizers, safetensors)

tiny/          a tokenizer and a configuration of a very small Llama model (Hugging Face tokenizers' files)
data.jsonl     thirty records, of all four kinds
curve.jsonl    loss, learning rate and gradient norm of 20 steps of torch's AdamW on them, with transformers' model and
               schedule, from the weights that sa-train --init makes

Everything but those first weights is the reference implementation's: tokens and chat template, model, loss, clipping, schedule,
optimizer. The sample order is written here a second time. It also loads a checkpoint that sa-train wrote in bfloat16 and compares the loss
on every record with sa-train's own.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/goldens/train"
TINY = HERE / "tiny"
SA_TRAIN = os.environ.get("SA_TRAIN", str(ROOT / "build/sa-train"))

SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATE = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
            "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
            "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 314, "eos_token_id": 315, "head_dim": 8, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.1,
    "intermediate_size": 64, "max_position_embeddings": 256, "mlp_bias": False, "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
    "tie_word_embeddings": True, "torch_dtype": "float32", "use_cache": True, "vocab_size": 320,
}
STEPS, LR, WARMUP, SEED, BATCH, ACCUM = 20, 3e-3, 0.1, 7, 2, 3


def records():
    colours, things = ["red", "green", "blue", "白色", "黑色"], ["cat", "door", "river", "花", "山"]
    out = []
    for i in range(30):
        c, t = colours[i % 5], things[(i // 5 + i) % 5]
        ask, say = f"What colour is the {t} number {i}?", f"The {t} is {c}."
        out.append([
            {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": say},
                          {"role": "user", "content": "Again, please."}, {"role": "assistant", "content": c}]},
            {"instruction": ask, "input": f"Look at the {t}." if i % 2 else "", "output": say},
            {"prompt": ask, "response": say},
            {"text": f"{ask} {say}"},
            {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": ask},
                          {"role": "assistant", "content": f"{t}: {c}"}]},
        ][i % 5])
    return out


def make_tokenizer(texts):
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=320 - len(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    assert tok.get_vocab_size() == 314, tok.get_vocab_size()
    tok.add_special_tokens(SPECIALS)
    tok.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B", special_tokens=[("<|begin_of_text|>", 314)])
    tok.save(str(TINY / "tokenizer.json"))
    dump(TINY / "tokenizer_config.json", {
        "add_bos_token": True, "bos_token": SPECIALS[0], "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": SPECIALS[4], "model_max_length": 256, "pad_token": SPECIALS[5], "tokenizer_class": "PreTrainedTokenizerFast"})
    dump(TINY / "generation_config.json", {"bos_token_id": 314, "eos_token_id": [315, 318], "pad_token_id": 319})
    dump(TINY / "config.json", CONFIG)


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def messages_of(r):
    if "messages" in r:
        return r["messages"]
    if "instruction" in r:
        user, answer = "\n".join(x for x in (r["instruction"], r["input"]) if x), r["output"]
    else:
        user, answer = r["prompt"], r["response"]
    return [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]


def sample(tok, r):
    """ids and labels (-100: not supervised), by rendering each prefix of the conversation with the tokenizer's own template."""
    if "text" in r:
        ids = tok(r["text"]).input_ids + [315]
        return ids, [-100] + ids[1:]
    m, ids, labels = messages_of(r), [], []
    for i, turn in enumerate(m):
        def render(k, gen=False):
            text = tok.apply_chat_template(m[:k], tokenize=False, add_generation_prompt=gen)
            return tok(text, add_special_tokens=False).input_ids
        whole = render(i + 1)
        if turn["role"] == "assistant":
            head = render(i, True)
            labels += [-100] * (len(head) - len(ids)) + whole[len(head):]
        else:
            labels += [-100] * (len(whole) - len(ids))
        ids = whole
    assert len(ids) == len(labels)
    return ids, labels


def order(n, seed, epoch):
    """Fisher-Yates over splitmix64, as in trainer/train/order.c."""
    mask = (1 << 64) - 1

    def mix(state):
        state = state + 0x9E3779B97F4A7C15 & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return state, z ^ z >> 31

    _, state = mix(seed)
    state = state + epoch & mask
    p = list(range(n))
    for i in range(n, 1, -1):
        state, z = mix(state)
        j = z * i >> 64
        p[i - 1], p[j] = p[j], p[i - 1]
    return p


def loss_sum(model, ids, labels):
    logits = model(torch.tensor([ids])).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), ignore_index=-100, reduction="sum")


def run(*args):
    subprocess.run([SA_TRAIN, *map(str, args)], check=True, stderr=subprocess.DEVNULL)


def curve(tok, data, first):
    model = transformers.AutoModelForCausalLM.from_pretrained(first, dtype=torch.float32)
    samples = [sample(tok, r) for r in data]
    opt = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    warm = -(-STEPS * WARMUP // 1)
    sched = transformers.get_cosine_schedule_with_warmup(opt, int(warm), STEPS)
    window, out = BATCH * ACCUM, []
    per_epoch = -(-len(samples) // window)
    for k in range(STEPS):
        at = k % per_epoch * window
        take = [samples[i] for i in order(len(samples), SEED, k // per_epoch)[at:at + window]]
        supervised = sum(x != -100 for _, labels in take for x in labels[1:])
        opt.zero_grad()
        loss = sum(loss_sum(model, *s) for s in take) / supervised
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        out.append({"step": k + 1, "loss": loss.item(), "lr": sched.get_last_lr()[0], "grad_norm": norm.item(),
                    "tokens": sum(len(i) for i, _ in take), "supervised": supervised})
        opt.step()
        sched.step()
    return out


def compare(tok, data, tmp):
    """A bfloat16 checkpoint of ours in transformers: its loss on each record, and ours at learning rate 0."""
    run("--init", TINY / "config.json", "--model", TINY, "--data", HERE / "data.jsonl", "--out", f"{tmp}/trained", "--dtype", "bf16",
        "--lr", LR, "--batch", 6, "--accum", 1, "--epochs", 4, "--seed", SEED)
    run("--model", f"{tmp}/trained", "--data", HERE / "data.jsonl", "--out", f"{tmp}/probe", "--lr", 0, "--batch", 1, "--accum", 1, "--epochs", 1)
    model = transformers.AutoModelForCausalLM.from_pretrained(f"{tmp}/trained", dtype="auto")
    assert model.dtype == torch.bfloat16
    model = model.float()
    ours = [json.loads(line)["loss"] for line in open(f"{tmp}/probe/log.jsonl")]
    worst = 0
    with torch.no_grad():
        for i, loss in zip(order(len(data), 42, 0), ours):
            ids, labels = sample(tok, data[i])
            want = loss_sum(model, ids, labels).item() / sum(x != -100 for x in labels[1:])
            worst = max(worst, abs(loss - want) / want)
    print(f"checkpoint of ours in transformers {transformers.__version__}: loss on {len(data)} records, largest relative difference {worst:.2e}")
    assert worst < 1e-5


def main():
    TINY.mkdir(parents=True, exist_ok=True)
    data = records()
    (HERE / "data.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in data))
    make_tokenizer([json.dumps(r, ensure_ascii=False) for r in data])
    tok = transformers.AutoTokenizer.from_pretrained(TINY)
    if "--files" in sys.argv:
        return
    with tempfile.TemporaryDirectory() as tmp:
        run("--init", TINY / "config.json", "--model", TINY, "--data", HERE / "data.jsonl", "--out", f"{tmp}/first", "--lr", 0, "--max-steps", 1,
            "--seed", SEED)
        rows = curve(tok, data, f"{tmp}/first")
        (HERE / "curve.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        compare(tok, data, tmp)


if __name__ == "__main__":
    main()
