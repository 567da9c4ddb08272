"""The checkpoints that infer.py measures: random weights of a real shape, the same for all engines.

    mkmodel.py NAME... DIR      m1b (Llama-3.2-1B's shape), m60m, m5m: DIR/NAME in Hugging Face's form (bf16), and the same weights as
                                DIR/NAME.gguf where the gguf package is there

The tokenizer is made here: the 256 bytes, then pairs and triples of frequent ones. It is a valid byte-level BPE of the Llama-3 kind.
"""
import itertools
import json
import os
import sys

SHAPES = {
    "m1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64, intermediate_size=8192,
                vocab_size=128256, tie_word_embeddings=True, max_position_embeddings=131072, rope_theta=500000.0,
                rope_scaling=dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "m60m": dict(hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4, head_dim=64, intermediate_size=1536,
                 vocab_size=32000, tie_word_embeddings=False, max_position_embeddings=4096, rope_theta=10000.0, rope_scaling=None),
    "m5m": dict(hidden_size=192, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=2, head_dim=32, intermediate_size=512,
                vocab_size=4096, tie_word_embeddings=False, max_position_embeddings=4096, rope_theta=10000.0, rope_scaling=None),
}
EPS = 1e-5
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def parameters(name):
    """Weights that a token is multiplied with: the layers and the head, not the look-up of the embedding."""
    s = SHAPES[name]
    attention = 2 * s["hidden_size"] * s["head_dim"] * (s["num_attention_heads"] + s["num_key_value_heads"])
    return s["num_hidden_layers"] * (attention + 3 * s["hidden_size"] * s["intermediate_size"]) + s["vocab_size"] * s["hidden_size"]


def byte_alphabet():
    own = [b for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or b >= 174]
    more = iter(range(256, 512))
    return [chr(b if b in own else next(more)) for b in range(256)]


def vocabulary(size):
    """Tokens and merges, the frequent bytes first."""
    alphabet = byte_alphabet()
    order = [alphabet[b] for b in b" etaoinshrdlcumwfgypbvk.,'\"-0123456789ETAOINSHRDLCU\n"]
    order += [c for c in alphabet if c not in set(order)]
    near = ((order[i], order[j]) for r in range(256) for i, j in [*((r, j) for j in range(r + 1)), *((i, r) for i in range(r))])
    tokens = dict.fromkeys(alphabet)
    merges, pairs = [], []
    for a, b in itertools.chain(near, ((p, c) for p in pairs for c in order[:40])):
        if len(tokens) == size:
            break
        if a + b not in tokens:
            tokens[a + b] = None
            merges.append((a, b))
            if len(a) == 1:
                pairs.append(a + b)
    return list(tokens), merges


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f)


def write_tokenizer(to, size):
    tokens, merges = vocabulary(size - len(SPECIALS))
    added = [dict(id=len(tokens) + i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
             for i, s in enumerate(SPECIALS)]
    split = dict(type="Split", pattern=dict(Regex=PATTERN), behavior="Isolated", invert=False)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    write_json(to + "/tokenizer.json", dict(
        version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None,
        pre_tokenizer=dict(type="Sequence", pretokenizers=[split, byte_level]), post_processor=None, decoder=byte_level,
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                   byte_fallback=False, ignore_merges=False, vocab={t: i for i, t in enumerate(tokens)}, merges=merges)))
    write_json(to + "/tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", bos_token=SPECIALS[0], eos_token=SPECIALS[4]))
    return tokens, merges


def make_checkpoint(name, to):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, size = SHAPES[name], SHAPES[name]["vocab_size"]
    rope = dict(shape["rope_scaling"] or dict(rope_type="default"), rope_theta=shape["rope_theta"])
    torch.manual_seed(1234)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in shape.items() if not k.startswith("rope_")}, rope_parameters=rope,
                                         rms_norm_eps=EPS, bos_token_id=size - 5, eos_token_id=size - 1))
    torch.set_default_dtype(torch.float32)
    model.to(torch.bfloat16).save_pretrained(to)
    with open(to + "/config.json") as f:
        config = json.load(f)
    write_json(to + "/config.json", dict(config, architectures=["LlamaForCausalLM"], torch_dtype="bfloat16"))
    write_tokenizer(to, size)


# ---- the same as GGUF, the way llama.cpp's convert_hf_to_gguf.py does it ----

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def rope_factors(shape):
    """What each frequency is divided by."""
    import numpy as np

    r = shape["rope_scaling"]
    wave = 2 * np.pi * shape["rope_theta"] ** (np.arange(0, shape["head_dim"], 2) / shape["head_dim"])
    low, high, old, factor = (r[k] for k in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "factor"))
    smooth = (old / wave - low) / (high - low)
    return np.where(wave < old / high, 1, np.where(wave > old / low, factor, 1 / ((1 - smooth) / factor + smooth))).astype(np.float32)


def describe(w, shape, tokens, merges):
    import gguf

    size = shape["vocab_size"]
    w.add_block_count(shape["num_hidden_layers"])
    w.add_context_length(4096)
    w.add_embedding_length(shape["hidden_size"])
    w.add_feed_forward_length(shape["intermediate_size"])
    w.add_head_count(shape["num_attention_heads"])
    w.add_head_count_kv(shape["num_key_value_heads"])
    w.add_key_length(shape["head_dim"])
    w.add_value_length(shape["head_dim"])
    w.add_rope_dimension_count(shape["head_dim"])
    w.add_rope_freq_base(shape["rope_theta"])
    w.add_layer_norm_rms_eps(EPS)
    w.add_vocab_size(size)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens + SPECIALS)
    w.add_token_types([gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * len(SPECIALS))
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_bos_token_id(size - 5)
    w.add_eos_token_id(size - 1)
    w.add_add_bos_token(False)


def make_gguf(name, checkpoint, path):
    import gguf
    import numpy as np
    import torch
    from safetensors.torch import load_file

    shape = SHAPES[name]
    w = gguf.GGUFWriter(path, "llama")
    describe(w, shape, *vocabulary(shape["vocab_size"] - len(SPECIALS)))
    if shape["rope_scaling"]:
        w.add_tensor("rope_freqs.weight", rope_factors(shape))
    for key, t in load_file(checkpoint + "/model.safetensors").items():
        layer = key.split(".")[2] if key.startswith("model.layers.") else None
        base = key.removesuffix(".weight").removeprefix(f"model.layers.{layer}.")
        heads = {"self_attn.q_proj": shape["num_attention_heads"], "self_attn.k_proj": shape["num_key_value_heads"]}.get(base)
        if heads:   # from halves that turn together to neighbours that do
            t = t.reshape(heads, 2, t.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(t.shape)
        to = (f"blk.{layer}." if layer else "") + NAMES[base] + ".weight"
        if t.ndim == 1:
            w.add_tensor(to, t.float().numpy())
        else:
            w.add_tensor(to, t.contiguous().view(torch.uint8).numpy(), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(*args):
    *names, to = args
    for name in names:
        checkpoint, path = f"{to}/{name}", f"{to}/{name}.gguf"
        if not os.path.exists(checkpoint + "/tokenizer.json"):
            make_checkpoint(name, checkpoint)
        try:
            if not os.path.exists(path):
                make_gguf(name, checkpoint, path + ".part")
                os.rename(path + ".part", path)
        except ImportError as e:
            print(f"{path}: not made: {e}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
