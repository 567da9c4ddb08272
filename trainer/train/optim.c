/* optim.c - the optimizer's step */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "huge.h"
#include "optim.h"

void
optim_init(struct optim *o, const struct comm *comm, size_t n)
{
	*o = (struct optim){ .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1 };
	zero_init(&o->zero, comm, n);
	o->m = xcalloc(o->zero.own, sizeof *o->m);
	o->v = xcalloc(o->zero.own, sizeof *o->v);
	huge_advise(o->m, o->zero.own * sizeof *o->m);
	huge_advise(o->v, o->zero.own * sizeof *o->v);
}

void
optim_free(struct optim *o)
{
	free(o->m);
	free(o->v);
}

double
clip_factor(double norm, double max)
{
	return max > 0 ? fmin(1, max / (norm + 1e-6)) : 1;
}

double
optim_reduce(const struct optim *o, const struct model *m, struct weights *grad)
{
	double sum = 0;
	struct own part;

	zero_reduce(&o->zero, grad->all);
	for (size_t at = 0; zero_own(&o->zero, at, grad->n, &part); at = part.at + part.n)
		sum += m->ops->sumsq(m->mach, grad->all + part.at, part.n);
	comm_sum(o->zero.comm, &sum, 1);
	return sqrt(sum);
}

/* Of the tensor w[count], whose gradient is grad[at..at+count), this rank's part. */
static void
update(const struct optim *o, const struct model *m, float *w, const float *grad, size_t at, size_t count, float factor, float lr, float decay)
{
	size_t end = at + count;
	struct own part;

	for (size_t from = at; zero_own(&o->zero, from, end, &part); from = part.at + part.n)
		m->ops->adamw(m->mach, w + part.at - at, grad + part.at, o->m + part.place, o->v + part.place, part.n, factor, lr, (float)o->beta1,
			      (float)o->beta2, (float)o->eps, decay, o->step);
}

/* Every rank's part of the weights to all, by way of the gradient's memory: the trained tensors lie behind one another there. */
static void
spread(const struct optim *o, struct model *m, struct weights *grad)
{
	struct tensor_at t;
	struct own part;

	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		float *w = weights_tensor(&m->w, &m->c, i), *g = weights_tensor(grad, &m->c, i);
		size_t at = g ? (size_t)(g - grad->all) : 0;

		for (size_t from = at; g && zero_own(&o->zero, from, at + t.count, &part); from = part.at + part.n)
			memcpy(grad->all + part.at, w + part.at - at, part.n * sizeof *w);
	}
	zero_spread(&o->zero, grad->all);
	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		const float *g = weights_tensor(grad, &m->c, i);

		if (g)
			memcpy(weights_tensor(&m->w, &m->c, i), g, t.count * sizeof *g);
	}
}

void
optim_step(struct optim *o, struct model *m, struct weights *grad, double norm, double lr)
{
	float factor = (float)clip_factor(norm, o->clip);
	struct tensor_at t;

	o->step++;
	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		float *g = weights_tensor(grad, &m->c, i);

		if (g)
			update(o, m, weights_tensor(&m->w, &m->c, i), grad->all, (size_t)(g - grad->all), t.count, factor, (float)lr,
			       t.ndim > 1 ? (float)o->decay : 0);
	}
	if (o->zero.comm->size > 1)
		spread(o, m, grad);
}
