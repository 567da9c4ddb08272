#!/usr/bin/env python3
"""Logits, losses and gradients of small Llama checkpoints by transformers in float32: what tests/unit/model.c compares with.

    make_model.py                                   model/: tiny random checkpoints and what comes out of them
    make_model.py --checkpoint DIR [--name NAME]    nano/NAME/: logits and losses of a real one (the last two rows a sequence)

Everything is a safetensors file, ids as floats. Each checkpoint DIR has DIR/expect/model.safetensors:
ids.I, target.I (-1: not supervised), logits.I (or last.I), loss.I (per token, of the next one), grad.NAME of
sum(loss where supervised) / supervised tokens over all sequences."""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent


def tiny(tied):
    # theta and original length put the four frequencies into all three regimes of the llama3 scaling
    config = LlamaConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=48, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=tied, rope_theta=500.0,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=64),
        bos_token_id=1, eos_token_id=2)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (0.6 if "embed" in name else 0.3))
            p.copy_(p.bfloat16().float())  # so that the F32 and the BF16 file hold the same numbers
    return model


def samples(vocab, lengths):
    out = []
    for n in lengths:
        ids = torch.randint(0, vocab, (n,))
        target = torch.full((n,), -1)
        target[n // 3:n - 1] = ids[n // 3 + 1:]
        out.append((ids, target))
    return out


def losses(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")


def expect(model, batch, rows=None):
    """rows: keep only that many last rows of the logits, and no gradients."""
    out, total, count = {}, 0, sum(int((t >= 0).sum()) for _, t in batch)
    model.zero_grad()
    for i, (ids, target) in enumerate(batch):
        logits = model(ids[None]).logits[0]
        out[f"ids.{i}"], out[f"target.{i}"] = ids.float(), target.float()
        out[f"loss.{i}"] = losses(logits, ids).detach()
        out[f"last.{i}" if rows else f"logits.{i}"] = logits[-rows if rows else 0:].detach().clone()
        total = total + torch.nn.functional.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
    if not rows:
        (total / count).backward()
        out.update({"grad." + n: p.grad.clone() for n, p in model.named_parameters()})
    return {k: v.contiguous() for k, v in out.items()}


def save(tensors, to):
    to.mkdir(parents=True, exist_ok=True)
    save_file(tensors, to / "model.safetensors")


def write_checkpoint(model, to, dtype, **how):
    shutil.rmtree(to, ignore_errors=True)
    model.to(dtype).save_pretrained(to, **how)
    model.float()
    config = json.loads((to / "config.json").read_text())
    config.pop("transformers_version", None)
    (to / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (to / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [3, 2]}) + "\n")


def old_rope_spelling(to):
    """rope_theta and rope_scaling at the top, as checkpoints before rope_parameters have them."""
    config = json.loads((to / "config.json").read_text())
    if "rope_parameters" in config:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
    (to / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_tiny():
    for tied in (True, False):
        torch.manual_seed(7 + tied)
        model, batch = tiny(tied), samples(128, (1, 2, 17, 40, 70))
        to = HERE / "model" / ("tied" if tied else "untied")
        wanted = expect(model, batch)  # before the bf16 copy: .to() rounds the rotary buffers too
        write_checkpoint(model, to, torch.float32)
        other = HERE / "model" / ("tied-bf16" if tied else "untied-sharded")
        write_checkpoint(model, other, torch.bfloat16, **({} if tied else dict(max_shard_size="20KB")))
        old_rope_spelling(other)
        save(wanted, to / "expect")


def make_real(checkpoint, name):
    torch.manual_seed(3)
    model = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    batch = samples(model.config.vocab_size, (5, 33, 90, 200))
    with torch.no_grad():
        save(expect(model, batch, rows=2), HERE / "nano" / name)


if __name__ == "__main__":
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--checkpoint", type=pathlib.Path)
    arg.add_argument("--name", help="default: the directory's own")
    arg = arg.parse_args()
    torch.set_num_threads(1)
    if arg.checkpoint:
        make_real(arg.checkpoint, arg.name or arg.checkpoint.resolve().name)
    else:
        make_tiny()
