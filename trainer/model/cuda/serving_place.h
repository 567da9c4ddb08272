/* serving_place.h - where everything of the serving pass lies in a GPU's memory: planned and taken by the same code (arena.h) */
#ifndef SA_SERVING_PLACE_H
#define SA_SERVING_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "layout.h"

/* What is placed. */
struct serving_shape {
	const struct config *c;
	int tokens, spans;	/* of a slice, at most */
	int context, pages;
};

/* By enum slot, as training has them (place.h): projections of the same input, and their biases, lie behind one another, so that they are one product. */
struct serving_layer {
	uint16_t *w[PER_LAYER];	/* NULL: the family has none */
};

struct serving_place {
	struct serving_layer *layer;	/* [layers] */
	uint16_t *embed, *norm, *head;	/* [V,C] [C] [V,C], which is embed when they are tied */
	float *inv_freq;

	int *tables;			/* [serving_tables()]: a slice's, in one copy */
	uint16_t *x, *h, *branch;	/* [T,C] */
	uint16_t *qkv, *att;		/* [T,S] [T,H*D] */
	uint16_t *gate_up, *act;	/* [T,2F] [T,F] */
	void *scratch;			/* of attention */
	int head_rows, logit_stride;	/* rows R of logits at a time, so far apart */
	uint16_t *hx, *hh;		/* [R,C] */
	float *logits;			/* [R,logit_stride] */

	uint16_t *pages;		/* [pages,page], page of a token */
	size_t page;			/* elements: of all layers */
};

/* Ints: ids, positions and wanted rows of T tokens, past and bounds of the spans, their pages. */
size_t serving_tables(const struct serving_shape *s);
/* Bytes of a page of the key-value caches, and of all weights. */
size_t serving_page(const struct config *c);
size_t serving_weights(const struct config *c);

/* Take everything for `s` from the arena, the products' workspace excepted. a->full afterwards: it does not fit. serving_place_free() in any case. */
void serving_place(struct serving_place *p, struct arena *a, const struct serving_shape *s);
void serving_place_free(struct serving_place *p);
/* The bytes that it would take, the products' workspace with it. */
size_t serving_plan(const struct serving_shape *s);
/* As many pages as `room` bytes hold, up to s->pages, and no longer contexts than they hold. 0, or -1: not even one; s is then of one page. */
int serving_choose(struct serving_shape *s, size_t room);

/* Where a tensor lies. */
uint16_t *serving_tensor_at(const struct serving_place *p, enum slot slot, int layer);

#endif
