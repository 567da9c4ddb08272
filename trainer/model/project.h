/* project.h - a layer's matrix products in training, with the adapters beside them (lora.h) */
#ifndef SA_PROJECT_H
#define SA_PROJECT_H

#include "model.h"

/* Shape of a projection's weight. */
static inline void
projection_shape(const struct config *c, enum projection p, int *out, int *in)
{
	int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
	const int shapes[PROJECTIONS][2] = {
		[PROJ_Q] = { q, c->hidden }, [PROJ_K] = { kv, c->hidden }, [PROJ_V] = { kv, c->hidden }, [PROJ_O] = { c->hidden, q },
		[PROJ_GATE] = { c->ffn, c->hidden }, [PROJ_UP] = { c->ffn, c->hidden }, [PROJ_DOWN] = { c->hidden, c->ffn },
	};

	*out = shapes[p][0];
	*in = shapes[p][1];
}

float *projection_weight(const struct layer *w, enum projection p);

/* out[T,N] = x[T,K] W^T + bias, and scale (x A^T) B^T where there is an adapter. low[T,r] keeps scale * x A^T for the backward; wide[T,N] is scratch. */
void project(struct model *m, const struct layer *w, enum projection p, float *out, const float *x, int T, float *low, float *wide);

/* dx[T,K] = (accum ? dx : 0) + the gradient of the input; those of W, bias, A and B are added to what g has. dlow[T,r] is scratch. */
void project_back(struct model *m, const struct layer *w, const struct layer *g, enum projection p, float *dx, int accum, const float *dout, const float *x,
		  const float *low, float *dlow, int T);

#endif
