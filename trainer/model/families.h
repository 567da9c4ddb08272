/* families.h - the architectures that are known, and in what each departs from the transformer that they share
 *
 * All of them are pre-norm decoders with RMSNorm, rotary embedding, grouped-query attention and SwiGLU; the differences are switches
 * of struct config, so that a new family of that kind is one entry here and a golden (tests/goldens/make_families.py).
 * Source: the models' configuration_*.py and modeling_*.py in HF transformers. */
#ifndef SA_FAMILIES_H
#define SA_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>

struct family {
	const char *arch;	/* config.json's architectures[0] */
	bool qkv_bias;		/* q_proj, k_proj and v_proj have a bias; o_proj and the MLP never */
	bool qk_norm;		/* RMSNorm of every head's query and key, one weight of head_dim for all heads, before the rotation */
	/* What holds where config.json is silent; 0: hidden / heads, and as many as there are heads */
	int head_dim, kv_heads;
	int max_pos;
};

/* The family of that architecture; NULL when it is not known. */
const struct family *family_find(const char *arch);

/* The architectures that are known, in words, into text[0..size). */
void family_list(char *text, size_t size);

#endif
