/* lora.h - low-rank adapters beside the projections of a model (LoRA, Hu et al. 2021), named, begun and stored as HF PEFT does
 *
 * With an adapter a projection is y = x W^T + scale (x A^T) B^T: A [r,in] and B [out,r] are tensors of the model (model_tensor() has them last), scale is
 * alpha / r. B begins as zero, so that the model begins as it was. */
#ifndef SA_LORA_H
#define SA_LORA_H

#include "model.h"

#define LORA_MAX_RANK 4096

/* "r:alpha:targets" into *l, the targets being q, k, v, o, gate, up and down, divided by commas, or all. 0, or -1 with a message. */
int lora_parse(struct lora *l, const char *text, struct err *e);

/* Give m, which has none, adapters: A uniform in +-1/sqrt(in) (PEFT's kaiming_uniform with a = sqrt 5), B zero; the same for a seed on every machine.
 * m's tensors move. */
void lora_attach(struct model *m, const struct lora *l, uint64_t seed);
/* W += scale B A, and the adapters are gone. */
void lora_merge(struct model *m);

/* adapter_model.safetensors into `dir`. 0, or -1. */
int lora_save(const struct model *m, const char *dir, enum dtype d, struct err *e);
/* The text of adapter_config.json, which names `base` as the model that the adapters belong to; the caller frees it. */
char *lora_config(const struct config *c, const char *base);

/* alpha / r */
static inline float
lora_scale(const struct config *c)
{
	return (float)(c->lora.alpha / c->lora.r);
}

/* ---- for model.c: the tensors in a configuration's layout ---- */

/* Adapter tensor k from 0, its place at `offset` after those before; -1 past the last. */
int lora_tensor(const struct config *c, int k, size_t offset, struct tensor_at *t);
/* The projection that it lies beside, and in which layer; *b: B, not A. */
enum projection lora_place(const struct config *c, int k, int *layer, bool *b);
/* Where w keeps the pointer to it. */
float **lora_pointer(const struct weights *w, const struct config *c, int k);

#endif
