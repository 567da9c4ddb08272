/* cross_entropy.c - softmax cross entropy and its gradient in place, threaded over rows */
#include <math.h>
#include <stdlib.h>

#include "cpu.h"
#include "err.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *logits;
	double *loss;	/* [T] */
	const int *target;
	const float *weight;
	float scale;
	int T, V;
};

CLONES static double
row_loss(float *x, int target, float scale, size_t V)
{
	float max = row_max(x, V), at = x[target], sum, by;
	size_t v;

	sum = row_exp(x, 1, max, V);
	by = scale / sum;
	for (v = 0; v < V; v++)
		x[v] *= by;
	x[target] -= scale;
	return (double)max - at + log(sum);
}

static void
rows(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t t, to;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++)
		j->loss[t] = row_loss(j->logits + t * j->V, j->target[t], j->weight ? j->scale * j->weight[t] : j->scale, j->V);
}

double
cpu_cross_entropy(struct mach *m, float *logits, float *loss, const int *target, const float *weight, float scale, int T, int V)
{
	struct job j = { logits, xcalloc(T, sizeof(double)), target, weight, scale, T, V };
	double sum = 0;
	int t;

	mach_run_if(m, 10.0 * T * V, rows, &j);
	for (t = 0; t < T; t++) {
		if (loss)
			loss[t] = j.loss[t];
		sum += weight ? weight[t] * j.loss[t] : j.loss[t];
	}
	free(j.loss);
	return sum;
}
