#!/usr/bin/env python3
"""Make tests/goldens/lora/ again: what tests/unit/lora.c compares with. Needs torch, transformers and peft.

    make build/sa-train && python3 tests/goldens/make_lora.py

lora/NAME/model.safetensors, of the checkpoint family/NAME with adapters on TARGETS, both factors random:

    ids.I, target.I         sequences, as make_model.py has them
    w.TENSOR, grad.TENSOR   a factor, and the gradient of sum(loss where supervised) / supervised tokens over all sequences
    loss                    that sum, before the division

It also trains adapters with sa-train, loads them with PEFT and compares the loss there with that of the merged checkpoint that sa-train wrote.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import peft
import torch
import transformers
from make_model import samples, save

HERE = pathlib.Path(__file__).parent
SA_TRAIN = os.environ.get("SA_TRAIN", str(HERE.parents[1] / "build/sa-train"))
TARGETS = {"llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "qwen2-tied": ["q_proj", "v_proj"],
           "qwen3": ["k_proj", "o_proj", "down_proj"]}


def base(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")


def loss_sum(model, ids, target):
    logits = model(input_ids=ids[None]).logits[0]
    return torch.nn.functional.cross_entropy(logits, target, ignore_index=-1, reduction="sum")


def golden(name, targets):
    model = peft.get_peft_model(base(HERE / "family" / name), peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM"))
    factors = {n.removeprefix("base_model.model.").replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for p in factors.values():
            p.copy_(torch.randn_like(p) * 0.2)
    batch, out, total = samples(model.config.vocab_size, (2, 17, 40)), {}, 0
    for i, (ids, target) in enumerate(batch):
        out[f"ids.{i}"], out[f"target.{i}"] = ids.float(), target.float()
        total = total + loss_sum(model, ids, target)
    (total / sum(int((t >= 0).sum()) for _, t in batch)).backward()
    out["loss"] = total.detach()[None]
    for n, p in factors.items():
        out["w." + n], out["grad." + n] = p.detach().clone(), p.grad.clone()
    save(out, HERE / "lora" / name)
    print(name, len(factors), "factors, loss", float(total.detach()))


def compare():
    """A run of sa-train's twice, as adapters and merged: PEFT and transformers agree on them."""
    tiny, data = HERE / "train/tiny", HERE / "train/data.jsonl"
    with tempfile.TemporaryDirectory() as tmp:
        def run(*args):
            subprocess.run([SA_TRAIN, "--data", str(data), "--lr", "3e-2", "--accum", "3", "--epochs", "20", *map(str, args)], check=True)
        run("--init", tiny / "config.json", "--model", tiny, "--max-steps", 1, "--out", f"{tmp}/base", "--lr", 0)
        spec = ["--model", f"{tmp}/base", "--lora", "4:8:all"]
        run(*spec, "--out", f"{tmp}/adapter")
        run(*spec, "--out", f"{tmp}/merged", "--merge")
        print(json.dumps(json.load(open(f"{tmp}/adapter/adapter_config.json"))))
        with_adapter = peft.PeftModel.from_pretrained(base(f"{tmp}/base"), f"{tmp}/adapter")
        auto = peft.AutoPeftModelForCausalLM.from_pretrained(f"{tmp}/adapter", dtype=torch.float32)
        text = "".join(r["text"] + " " for r in map(json.loads, data.open()) if "text" in r)
        ids = transformers.AutoTokenizer.from_pretrained(tiny)(text, return_tensors="pt").input_ids[0]
        losses = [float(loss_sum(m, ids[:-1], ids[1:]).detach()) for m in (base(f"{tmp}/base"), base(f"{tmp}/merged"), with_adapter, auto)]
        print(f"peft {peft.__version__}: loss of the base, the merged, the adapter on the base, the adapter by itself:", losses)
        assert abs(losses[0] - losses[1]) > 1 and all(abs(x - losses[1]) < 1e-4 * losses[1] for x in losses[2:])


def main():
    torch.set_num_threads(1)
    torch.manual_seed(11)
    shutil.rmtree(HERE / "lora", ignore_errors=True)
    for name, targets in TARGETS.items():
        golden(name, targets)
    compare()


main()
