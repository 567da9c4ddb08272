#!/usr/bin/env python3
"""Make tests/goldens/draw.json again: what becomes of logits before a token is drawn.

    python3 tests/goldens/make_draw.py       (torch, transformers)

The repetition penalty, temperature, min_p, top_k and top_p are transformers' logits processors, the latter three in vLLM's order; logit_bias
and the presence and frequency penalties are OpenAI's formulas in torch, as vLLM applies them.
"""
import json
import pathlib

import torch
from transformers.generation.logits_process import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
    TopKLogitsWarper, TopPLogitsWarper)

V = 24
torch.manual_seed(5)


def case(bias={}, repetition=1.0, presence=0.0, frequency=0.0, temperature=1.0, min_p=0.0, top_k=0, top_p=1.0):
    x = (torch.randn(V) * 2).round(decimals=3)
    prompt, made = torch.randint(0, V, (6,)), torch.randint(0, V // 2, (8,))
    seen = torch.cat([prompt, made])
    y = x.clone()
    for i, b in bias.items():
        y[int(i)] += b
    if repetition != 1:
        y = RepetitionPenaltyLogitsProcessor(repetition)(seen[None], y[None])[0]
    count = torch.bincount(made, minlength=V)
    y = y - frequency * count
    y = y - presence * (count > 0)
    z = TemperatureLogitsWarper(temperature)(seen[None], y[None].clone())
    for on, warper in ((min_p > 0, lambda: MinPLogitsWarper(min_p)), (top_k > 0, lambda: TopKLogitsWarper(top_k)), (top_p < 1, lambda: TopPLogitsWarper(top_p))):
        z = warper()(seen[None], z) if on else z
    return {"bias": bias, "repetition": repetition, "presence": presence, "frequency": frequency, "temperature": temperature, "min_p": min_p,
        "top_k": top_k, "top_p": top_p, "prompt": prompt.tolist(), "made": made.tolist(), "logits": x.tolist(), "adjusted": y.tolist(),
        "probabilities": torch.softmax(z[0].double(), 0).tolist()}


cases = [case(), case(repetition=1.3), case(repetition=0.7), case(presence=0.9), case(frequency=0.6), case(presence=-1.5, frequency=-0.4),
    case(bias={"3": 4.0, "7": -100.0}), case(bias={"0": 1.5}, repetition=1.2, presence=0.5, frequency=0.25, temperature=0.8),
    case(min_p=0.1), case(min_p=0.3, temperature=2.0), case(min_p=0.05, top_k=5), case(min_p=0.02, top_p=0.8), case(min_p=0.05, top_k=6, top_p=0.7, temperature=1.4),
    case(min_p=1.0), case(top_k=3, repetition=1.8), case(top_p=0.5, frequency=1.0)]
path = pathlib.Path(__file__).resolve().parent / "draw.json"
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
