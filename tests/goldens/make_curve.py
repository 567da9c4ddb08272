#!/usr/bin/env python3
"""Make tests/goldens/train/real.jsonl again: 200 steps of torch on real text, what sa-train is compared with.

    make build/sa-train && python3 tests/goldens/make_curve.py       (torch, transformers; $SA_DATA, ../shared/data, has general/alpaca_*_demo.json)

The model is a new Llama of tests/goldens/train/real.json's shape, from the weights that sa-train --init makes; the tokenizer and its chat template
the bundled student's. Everything else is the reference implementation's: tokens, model, loss, clipping, schedule, optimizer. The records are those of at
most 300 characters, so that none is cut; tests/sa-train.bats takes the same and has the same options.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

from make_train import loss_sum, order

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/goldens/train"
DATA = pathlib.Path(os.environ.get("SA_DATA", ROOT / "../shared/data")) / "general"
STUDENT = ROOT / "pipelines/nano/student"
SA_TRAIN = os.environ.get("SA_TRAIN", str(ROOT / "build/sa-train"))
STEPS, LR, WARMUP, SEED, BATCH, CHARACTERS = 200, 1e-3, 0.05, 7, 4, 300


def sample(tok, r):
    """ids and labels of one turn: LLaMA-Factory's alpaca, the tokenizer's own template; the reply and its end token are supervised."""
    user = "\n".join(x for x in (r["instruction"], r["input"]) if x)
    head = tok.apply_chat_template([{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True)
    whole = tok.apply_chat_template([{"role": "user", "content": user}, {"role": "assistant", "content": r["output"]}], tokenize=False)
    assert whole.startswith(head)
    a = tok(head, add_special_tokens=False).input_ids
    b = tok(whole[len(head):], add_special_tokens=False).input_ids
    return a + b, [-100] * len(a) + b


def records():
    for name in ("alpaca_en_demo.json", "alpaca_zh_demo.json"):
        for r in json.load(open(DATA / name)):
            if len(r["instruction"] + r["input"] + r["output"]) <= CHARACTERS:
                yield r


def main():
    torch.set_num_threads(1)
    tok = transformers.AutoTokenizer.from_pretrained(STUDENT)
    samples = [sample(tok, r) for r in records()]
    assert max(len(ids) for ids, _ in samples) <= 512
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([SA_TRAIN, "--init", HERE / "real.json", "--model", STUDENT, "--data", HERE / "data.jsonl", "--out", f"{tmp}/first", "--lr", "0", "--max-steps",
                        "1", "--seed", str(SEED), "--dtype", "f32"], check=True, stderr=subprocess.DEVNULL)
        model = transformers.AutoModelForCausalLM.from_pretrained(f"{tmp}/first", dtype=torch.float32)
    opt = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    sched = transformers.get_cosine_schedule_with_warmup(opt, int(-(-STEPS * WARMUP // 1)), STEPS)
    per_epoch = -(-len(samples) // BATCH)
    rows = []
    for k in range(STEPS):
        at = k % per_epoch * BATCH
        take = [samples[i] for i in order(len(samples), SEED, k // per_epoch)[at:at + BATCH]]
        supervised = sum(x != -100 for _, labels in take for x in labels[1:])
        opt.zero_grad()
        loss = sum(loss_sum(model, *s) for s in take) / supervised
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rows.append({"loss": round(loss.item(), 6), "grad_norm": round(norm.item(), 5), "tokens": sum(len(i) for i, _ in take)})
        opt.step()
        sched.step()
        if k % 20 == 0:
            print(k, rows[-1], file=sys.stderr)
    (HERE / "real.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    print(len(samples), "samples;", "longest", max(len(i) for i, _ in samples))


main()
