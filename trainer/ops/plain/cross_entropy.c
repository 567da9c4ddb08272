/* cross_entropy.c - softmax cross entropy and its gradient in place, plain */
#include <math.h>

#include "plain.h"

static double
row_loss(float *x, int target, float scale, int V)
{
	double max = -INFINITY, sum = 0, loss;
	int v;

	for (v = 0; v < V; v++)
		max = fmax(max, x[v]);
	for (v = 0; v < V; v++)
		sum += exp(x[v] - max);
	loss = max + log(sum) - x[target];
	for (v = 0; v < V; v++)
		x[v] = scale * (exp(x[v] - max) / sum - (v == target));
	return loss;
}

double
plain_cross_entropy(struct mach *m, float *logits, float *loss, const int *target, const float *weight, float scale, int T, int V)
{
	double sum = 0;
	int t;

	(void)m;
	for (t = 0; t < T; t++) {
		float w = weight ? weight[t] : 1;
		double l = row_loss(logits + (size_t)t * V, target[t], scale * w, V);

		if (loss)
			loss[t] = l;
		sum += w * l;
	}
	return sum;
}
