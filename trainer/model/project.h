/* project.h - a layer's matrix products in training, with the adapters beside them (lora.h) */
#ifndef SA_PROJECT_H
#define SA_PROJECT_H

#include "model.h"

/* Shape of a projection's weight. */
void projection_shape(const struct config *c, enum projection p, int *out, int *in);
float *projection_weight(const struct layer *w, enum projection p);

/* out[T,N] = x[T,K] W^T + bias, and scale (x A^T) B^T where there is an adapter. low[T,r] keeps scale * x A^T for the backward; wide[T,N] is scratch. */
void project(struct model *m, const struct layer *w, enum projection p, float *out, const float *x, int T, float *low, float *wide);

/* dx[T,K] = (accum ? dx : 0) + the gradient of the input; those of W, bias, A and B are added to what g has. dlow[T,r] is scratch. */
void project_back(struct model *m, const struct layer *w, const struct layer *g, enum projection p, float *dx, int accum, const float *dout, const float *x,
		  const float *low, float *dlow, int T);

#endif
