/* optim.c - the optimizer's step */
#include <math.h>

#include "optim.h"

void
optim_init(struct optim *o, const struct config *c, const bool *trained)
{
	*o = (struct optim){ .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1 };
	weights_some(&o->m, c, trained);
	weights_some(&o->v, c, trained);
}

void
optim_free(struct optim *o)
{
	weights_free(&o->m);
	weights_free(&o->v);
}

double
clip_factor(double norm, double max)
{
	return max > 0 ? fmin(1, max / (norm + 1e-6)) : 1;
}

double
optim_norm(const struct model *m, const struct weights *grad)
{
	return sqrt(m->ops->sumsq(m->mach, grad->all, grad->n));
}

void
optim_step(struct optim *o, struct model *m, const struct weights *grad, double norm, double lr)
{
	float factor = (float)clip_factor(norm, o->clip);
	struct tensor_at t;

	o->step++;
	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		float *w = weights_tensor(&m->w, &m->c, i), *g = weights_tensor(grad, &m->c, i);

		if (g)
			m->ops->adamw(m->mach, w, g, weights_tensor(&o->m, &m->c, i), weights_tensor(&o->v, &m->c, i), t.count, factor, (float)lr,
				      (float)o->beta1, (float)o->beta2, (float)o->eps, t.ndim > 1 ? (float)o->decay : 0, o->step);
	}
}
