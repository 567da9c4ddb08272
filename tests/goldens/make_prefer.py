#!/usr/bin/env python3
"""Make tests/goldens/prefer/ again: what sa-train --stage dpo and kto are compared with.

    make build/sa-train && python3 tests/goldens/make_prefer.py       (torch, transformers)

pairs.jsonl     pairs, of every kind of record that has them
labels.jsonl    labelled responses, for KTO alone
losses.jsonl    DPO's and KTO's loss and slope for some numbers, by torch's autograd
dpo.jsonl, kto.jsonl, labels-kto.jsonl
                loss, gradient norm and rewards of some steps of torch's AdamW with transformers' model, from the weights that sa-train --init makes

The formulas are TRL's (trl/trainer/dpo_trainer.py "sigmoid" with cDPO's label smoothing, kto_trainer.py "kto"), with KTO's z over the step.
"""
import json
import tempfile

import torch
import transformers
from make_train import HERE as TRAIN
from make_train import TINY, order, run

HERE = TRAIN.parent / "prefer"
STEPS, LR, WARMUP, SEED, BATCH, ACCUM = 10, 3e-3, 0.1, 7, 2, 2
BETA, SMOOTHING, DESIRABLE, UNDESIRABLE = 0.3, 0.1, 1.2, 0.7
logsigmoid, sigmoid = torch.nn.functional.logsigmoid, torch.sigmoid


def conversations():
    """(turns before the response, chosen, rejected)"""
    out = []
    for i, thing in enumerate(["cat", "door", "river", "flower", "hill", "boat", "lamp", "stone", "bird", "cup", "road"]):
        ask = [("user", f"How do I break the {thing} number {i}?")]
        if i % 4 == 1:
            ask = [("user", "Hello."), ("assistant", "Hello, what is it?")] + ask
        if i % 4 == 2:
            ask = [("system", "Be safe.")] + ask
        out.append((ask, f"I will not help to break a {thing}." + " Leave it." * (i % 3), f"Take the {thing} and hit it" + " hard" * (i % 2) + "."))
    return out


def pair(i, ask, chosen, rejected):
    if i % 4 == 0:
        return {"instruction": ask[0][1], "input": "", "chosen": chosen, "rejected": rejected}
    if i % 4 == 1:
        turns = [{"from": {"user": "human", "assistant": "gpt"}[r], "value": t} for r, t in ask]
        return {"conversations": turns, "chosen": {"from": "gpt", "value": chosen}, "rejected": {"from": "gpt", "value": rejected}}
    if i % 4 == 2:
        turns = [{"role": r, "content": t} for r, t in ask]
        return {"messages": turns, "chosen": {"role": "assistant", "content": chosen}, "rejected": {"role": "assistant", "content": rejected}}
    return {"prompt": ask[0][1], "chosen": chosen, "rejected": rejected}


def label(i, ask, chosen, rejected):
    good = i % 3 != 1
    turns = [{"role": r, "content": t} for r, t in ask + [("assistant", chosen if good else rejected)]]
    return {"messages": turns, ("kto_tag" if i % 2 else "label"): good}


def encode(tok, ask, response):
    """Prompt and response tokens."""
    turns = [{"role": r, "content": t} for r, t in ask]
    head = tok.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    whole = tok.apply_chat_template(turns + [{"role": "assistant", "content": response}], tokenize=False)
    assert whole.startswith(head)
    head, whole = (tok(x, add_special_tokens=False).input_ids for x in (head, whole))
    assert whole[:len(head)] == head
    return head, whole[len(head):]


def logp(model, prompt, response):
    ids = torch.tensor([prompt + response])
    rows = torch.log_softmax(model(ids).logits[0, len(prompt) - 1:-1].float(), -1)
    return rows.gather(1, torch.tensor(response)[:, None]).sum()


def mean(x):
    return torch.stack(x).mean().item() if x else None


def dpo_step(model, ref, take):
    losses, chosen, rejected = [], [], []
    for i in take:
        (pc, rc), (pr, rr) = ((logp(model, *s), logp(ref, *s).detach()) for s in i)
        delta = (pc - rc) - (pr - rr)
        losses.append(-logsigmoid(BETA * delta) * (1 - SMOOTHING) - logsigmoid(-BETA * delta) * SMOOTHING)
        chosen.append(BETA * (pc - rc).detach())
        rejected.append(BETA * (pr - rr).detach())
    right = [(c > r).float() for c, r in zip(chosen, rejected)]
    return torch.stack(losses).mean(), {"rewards/chosen": mean(chosen), "rewards/rejected": mean(rejected), "rewards/accuracies": mean(right),
                                        "rewards/margins": mean(chosen) - mean(rejected)}


def kto_step(model, ref, take):
    with torch.no_grad():
        kl = torch.stack([logp(model, *mixed) - logp(ref, *mixed) for _, mixed, _ in take]).mean().clamp(min=0)
    losses, rewards, right = [], {True: [], False: []}, []
    for one, _, good in take:
        ratio = logp(model, *one) - logp(ref, *one).detach()
        losses.append(DESIRABLE * (1 - sigmoid(BETA * (ratio - kl))) if good else UNDESIRABLE * (1 - sigmoid(BETA * (kl - ratio))))
        rewards[good].append(BETA * ratio.detach())
        right.append(((ratio > kl) if good else (ratio < kl)).float())
    seen = {"rewards/chosen": mean(rewards[True]), "rewards/rejected": mean(rewards[False]), "rewards/accuracies": mean(right)}
    if rewards[True] and rewards[False]:
        seen["rewards/margins"] = seen["rewards/chosen"] - seen["rewards/rejected"]
    return torch.stack(losses).mean(), {k: v for k, v in seen.items() if v is not None} | {"kl": kl.item()}


def curve(first, units, step):
    model, ref = (transformers.AutoModelForCausalLM.from_pretrained(first, dtype=torch.float32) for _ in range(2))
    opt = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0)
    sched = transformers.get_cosine_schedule_with_warmup(opt, 1, STEPS)
    window, out = BATCH * ACCUM, []
    per_epoch = -(-len(units) // window)
    for k in range(STEPS):
        at = k % per_epoch * window
        take = [units[i] for i in order(len(units), SEED, k // per_epoch)[at:at + window]]
        opt.zero_grad()
        loss, seen = step(model, ref, take)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        out.append({"step": k + 1, "loss": loss.item(), "grad_norm": norm.item(), **seen})
        opt.step()
        sched.step()
    return out


def mismatched(samples):
    """(sample, its prompt with the response before it of the same label and another record, label); samples: (record, prompt and response, label)"""
    out = []
    for i, (record, one, good) in enumerate(samples):
        before = [samples[i - k] for k in range(1, len(samples)) if samples[i - k][0] != record]
        other = next((s for s in before if s[2] == good), before[0])
        out.append((one, (one[0], other[1][1]), good))
    return out


def formulas():
    out = []
    for i, x in enumerate([-40.0, -3.0, -0.5, 0.0, 0.25, 2.0, 90.0]):
        for beta, s in ((0.1, 0.0), (0.5, 0.2)):
            m = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            loss = -logsigmoid(beta * m) * (1 - s) - logsigmoid(-beta * m) * s
            loss.backward()
            out.append({"loss": "dpo", "x": x, "beta": beta, "smoothing": s, "value": loss.item(), "slope": m.grad.item()})
        for good in (True, False):
            beta, z, w = 0.2, 0.7, 1.3
            m = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            loss = w * (1 - sigmoid(beta * (m - z) if good else beta * (z - m)))
            loss.backward()
            out.append({"loss": "kto", "x": x, "beta": beta, "z": z, "weight": w, "desirable": good, "value": loss.item(), "slope": m.grad.item()})
    return out


def write(name, rows):
    (HERE / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


def main():
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    talks = conversations()
    write("pairs.jsonl", [pair(i, *t) for i, t in enumerate(talks)])
    write("labels.jsonl", [label(i, *t) for i, t in enumerate(talks)])
    write("losses.jsonl", formulas())
    tok = transformers.AutoTokenizer.from_pretrained(TINY)
    pairs = [(encode(tok, ask, chosen), encode(tok, ask, rejected)) for ask, chosen, rejected in talks]
    sides = [(i, p[k], k == 0) for i, p in enumerate(pairs) for k in range(2)]
    labels = [(i, p[i % 3 == 1], i % 3 != 1) for i, p in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as tmp:
        run("--init", TINY / "config.json", "--model", TINY, "--data", TRAIN / "data.jsonl", "--out", f"{tmp}/first", "--lr", 0, "--max-steps", 1,
            "--seed", SEED)
        write("dpo.jsonl", curve(f"{tmp}/first", pairs, dpo_step))
        write("kto.jsonl", curve(f"{tmp}/first", mismatched(sides), kto_step))
        write("labels-kto.jsonl", curve(f"{tmp}/first", mismatched(labels), kto_step))


if __name__ == "__main__":
    main()
