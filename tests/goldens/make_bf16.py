#!/usr/bin/env python3
"""Make tests/goldens/bf16.json again: how far transformers, computing in bfloat16, is from float64, on the checkpoints here that are stored so.

    make_bf16.py       after make_model.py and make_families.py

{"DIR": {"golden": DIR, "logits": RMS, "loss": RMS}}: the root mean square of the differences over all logits, and over all per-token losses, of the
sequences ids.I in DIR's golden. tests/unit/parity.c asks that sa-serve is no further off; it takes the golden's float32 figures as exact, which
are that here to 1e-4 (checked)."""
import json
import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = {"model/tied-bf16": "model/tied/expect", "model/untied-sharded": "model/untied/expect", "family/qwen2-tied": "family/qwen2-tied/expect",
               "family/qwen3": "family/qwen3/expect"}


def losses(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:-1].double(), ids[1:], reduction="none")


def rms(parts):
    return float(torch.cat([p.double().flatten() for p in parts]).square().mean().sqrt())


def errors(checkpoint, golden):
    exact = AutoModelForCausalLM.from_pretrained(HERE / checkpoint, dtype=torch.float64).eval()
    bf16 = AutoModelForCausalLM.from_pretrained(HERE / checkpoint, dtype=torch.bfloat16).eval()
    expect = load_file(HERE / golden / "model.safetensors")
    off = {"logits": [], "loss": []}
    for i in range(sum(name.startswith("ids.") for name in expect)):
        ids = expect[f"ids.{i}"].long()
        want, got = exact(ids[None]).logits[0], bf16(ids[None]).logits[0]
        assert (want - expect[f"logits.{i}"]).abs().max() < 1e-4, (checkpoint, i)
        off["logits"].append(got.double() - want)
        off["loss"].append(losses(got, ids) - losses(want, ids))
    return {"golden": golden, **{k: rms(v) for k, v in off.items()}}


torch.set_num_threads(1)
torch.set_grad_enabled(False)
result = {c: errors(c, g) for c, g in CHECKPOINTS.items()}
(HERE / "bf16.json").write_text(json.dumps(result, indent=1) + "\n")
