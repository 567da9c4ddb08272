/* project.c - a layer's matrix products in training */
#include "project.h"

#include "lora.h"

float *
projection_weight(const struct layer *w, enum projection p)
{
	float *const all[PROJECTIONS] = { w->wq, w->wk, w->wv, w->wo, w->wgate, w->wup, w->wdown };

	return all[p];
}

static float *
bias_of(const struct layer *w, enum projection p)
{
	float *const all[PROJECTIONS] = { [PROJ_Q] = w->bq, [PROJ_K] = w->bk, [PROJ_V] = w->bv };

	return all[p];
}

void
project(struct model *m, const struct layer *w, enum projection p, float *out, const float *x, int T, float *low, float *wide)
{
	const struct adapter *ad = &w->lora[p];
	const struct ops *o = m->ops;
	int N, K, r = m->c.lora.r;

	projection_shape(&m->c, p, &N, &K);
	o->linear(m->mach, out, x, projection_weight(w, p), bias_of(w, p), T, K, N);
	if (!ad->a)
		return;
	o->linear(m->mach, low, x, ad->a, NULL, T, K, r);
	o->scale(m->mach, low, lora_scale(&m->c), (size_t)T * r);
	o->linear(m->mach, wide, low, ad->b, NULL, T, r, N);
	o->add(m->mach, out, wide, (size_t)T * N);
}

void
project_back(struct model *m, const struct layer *w, const struct layer *g, enum projection p, float *dx, int accum, const float *dout, const float *x,
	     const float *low, float *dlow, int T)
{
	const struct adapter *ad = &w->lora[p];
	const struct ops *o = m->ops;
	int N, K, r = m->c.lora.r;

	projection_shape(&m->c, p, &N, &K);
	o->linear_back(m->mach, dx, accum, projection_weight(g, p), bias_of(g, p), dout, x, projection_weight(w, p), T, K, N);
	if (!ad->a)
		return;
	o->linear_back(m->mach, dlow, 0, g->lora[p].b, NULL, dout, low, ad->b, T, r, N);
	o->scale(m->mach, dlow, lora_scale(&m->c), (size_t)T * r);
	o->linear_back(m->mach, dx, 1, g->lora[p].a, NULL, dlow, x, ad->a, T, K, r);
}
