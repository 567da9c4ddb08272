/* layout.h - inside the model: which tensor is what, and the views of the serving pass */
#ifndef SA_LAYOUT_H
#define SA_LAYOUT_H

#include "model.h"

enum slot { LN1, WQ, BQ, QNORM, WK, BK, KNORM, WV, BV, WO, LN2, WGATE, WUP, WDOWN, PER_LAYER, EMBED = PER_LAYER, NORM, HEAD,
	    LORA_A, LORA_B = LORA_A + PROJECTIONS, SLOTS = LORA_B + PROJECTIONS };	/* LORA_A + PROJ_Q: A of the adapter beside Q */

/* How many tensors there are without the adapters', which come behind them. */
int model_tensors(const struct config *c);
/* What tensor i is, adapters too, and in which layer (-1: in none). */
enum slot model_slot(const struct config *c, int i, int *layer);
/* Every tensor of `c` is in ts, of its shape, and nothing else. 0, or -1 with a message. */
int model_check(const struct config *c, const char *dir, const struct tensors *ts, struct err *e);

/* Give back the pages of a tensor that has been converted, so that loading never holds the checkpoint twice. */
void tensor_drop_pages(const struct tensor *t);

/* m->v over the float weights of m->w. */
void view_floats(struct model *m);
void view_free(struct model *m);

#endif
