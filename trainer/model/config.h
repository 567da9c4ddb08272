/* config.h - the shape of a checkpoint, from its config.json and generation_config.json
 *
 * The architectures of families.c; what is not known (another one, a quantisation, another activation or rope type, sliding windows, experts) is
 * refused by name. Both spellings of the rope settings are read: rope_theta + rope_scaling (transformers 4), and rope_parameters (5). */
#ifndef SA_CONFIG_H
#define SA_CONFIG_H

#include <stdbool.h>

#include "err.h"

#define CONFIG_MAX_EOS 8

/* Low-rank adapters (lora.h): their rank, alpha (their scale is alpha / r), and beside which projections they are, a bit each. */
struct lora {
	int r;			/* 0: there are none */
	double alpha;
	unsigned targets;	/* 1 << PROJ_Q, ... (model.h) */
};

struct config {
	char arch[64];		/* "LlamaForCausalLM" */
	char dtype[16];		/* torch_dtype / dtype: "bfloat16", ... as written; "" when absent */
	int hidden, layers, heads, kv_heads, head_dim, ffn, vocab, max_pos;
	float eps;
	bool tied;
	bool qkv_bias, qk_norm;	/* as in struct family */
	double rope_theta;
	bool rope_llama3;	/* the llama3 scaling below holds */
	double rope_factor, rope_low, rope_high;
	int rope_old;		/* original_max_position_embeddings */
	int bos;		/* -1: none */
	int eos[CONFIG_MAX_EOS], neos;	/* generation_config.json's first, then config.json's */
	float init_range;	/* initializer_range */
	struct lora lora;	/* of no file: lora_attach() sets it */
};

/* 0, or -1 with a message that names the file and the member. All sizes are > 0 and their products fit. */
int config_read(struct config *c, const char *dir, struct err *e);
int config_read_file(struct config *c, const char *path, struct err *e);	/* one config.json, no generation_config */

/* inv_freq[head_dim/2], llama3 scaling applied; in float from beginning to end, as transformers does it, since the last bit of a frequency
 * counts some thousand positions further on. */
void config_inv_freq(const struct config *c, float *inv_freq);

#endif
