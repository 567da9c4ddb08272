#!/usr/bin/env python3
"""Small random checkpoints of each model family, and what transformers makes of them in float32: what tests/unit/families.c compares with.

    make_families.py        (torch, transformers, safetensors)

family/NAME is a checkpoint, family/NAME/expect/model.safetensors has ids.I, target.I, logits.I, loss.I and grad.NAME as make_model.py describes them, and
    prompt.I, greedy.I      a prompt and the tokens that always taking the likeliest one adds to it
    long.last, long.loss    the last rows of logits and every 16th loss of one sequence of LONG tokens, lcg(LONG, vocabulary, 5); not of qwen2, whose test
                            would take longest and show nothing that qwen2-tied does not
"""
import pathlib
import shutil

import torch
from make_model import expect, losses, old_rope_spelling, samples, save, write_checkpoint
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = pathlib.Path(__file__).parent / "family"
LONG = 8448
VOCAB = 128
COMMON = dict(vocab_size=VOCAB, num_hidden_layers=2, intermediate_size=48, max_position_embeddings=16384, bos_token_id=1, eos_token_id=2)
QWEN = dict(rms_norm_eps=1e-6, use_sliding_window=False, sliding_window=None, rope_parameters=dict(rope_type="default", rope_theta=1e6))
# The scaling's own original length: what lies past 8,192 positions is what it is for.
LLAMA3 = dict(rope_type="llama3", rope_theta=5e5, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)

MODELS = {
    "llama": (LlamaForCausalLM, torch.float32, LlamaConfig(
        hidden_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_parameters=LLAMA3, **COMMON)),
    # as Qwen2.5-7B: untied, seven queries a key, in shards; F16 and the old spelling of the rope settings
    "qwen2": (Qwen2ForCausalLM, torch.float16, Qwen2Config(
        hidden_size=56, num_attention_heads=7, num_key_value_heads=1, tie_word_embeddings=False, **QWEN, **COMMON)),
    "qwen2-tied": (Qwen2ForCausalLM, torch.bfloat16, Qwen2Config(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, **QWEN, **COMMON)),
    # heads twice as wide together as the hidden state
    "qwen3": (Qwen3ForCausalLM, torch.bfloat16, Qwen3Config(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, **QWEN, **COMMON)),
}


def randomise(model, dtype):
    """Weights that matter everywhere, biases and norms too, and that the checkpoint's dtype holds exactly."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif name.endswith(".bias"):
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (0.6 if "embed" in name else 0.25))
            p.copy_(p.to(dtype).float())


def lcg(n, vocab, seed):
    out = []
    for _ in range(n):
        seed = (seed * 1664525 + 1013904223) % 2**32
        out.append((seed >> 8) % vocab)
    return torch.tensor(out)


def greedy(model, length, n):
    """A prompt and what follows, none of it a close call: a tie would be another implementation's to break."""
    while True:
        ids, margin = torch.randint(0, VOCAB, (length,)), 1.0
        for _ in range(n):
            top = model(ids[None]).logits[0, -1].topk(2)
            margin = min(margin, float(top.values[0] - top.values[1]))
            ids = torch.cat([ids, top.indices[:1]])
        if margin > 2e-3:
            return ids[:length].float(), ids[length:].float()


def more(model, long):
    out = {}
    with torch.no_grad():
        for i in range(3):
            out[f"prompt.{i}"], out[f"greedy.{i}"] = greedy(model, 3 + 9 * i, 24)
        if long:
            ids = lcg(LONG, VOCAB, 5)
            logits = model(ids[None]).logits[0]
            out["long.last"], out["long.loss"] = logits[-4:].clone(), losses(logits, ids)[::16].contiguous()
    return out


def main():
    torch.set_num_threads(2)
    for i, (name, (kind, dtype, config)) in enumerate(MODELS.items()):
        torch.manual_seed(40 + i)
        model = kind._from_config(config, attn_implementation="sdpa").float().eval()
        randomise(model, dtype)
        wanted = expect(model, samples(VOCAB, (1, 2, 17, 40, 3, 9, 5, 24)))
        wanted.update(more(model, name != "qwen2"))  # before the copy: .to() rounds the rotary buffers too
        write_checkpoint(model, HERE / name, dtype, **(dict(max_shard_size="40KB") if name == "qwen2" else {}))
        if name == "qwen2":
            old_rope_spelling(HERE / name)
        save(wanted, HERE / name / "expect")
        print(name, sum(p.numel() for p in model.parameters()), "parameters")


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    main()
