/* draw.c - see draw.h */
#include "draw.h"

#include <math.h>
#include <stdbool.h>

#include "op.h"
#include "text.h"

#define PARTS 64	/* of a vocabulary */

int
draw_argmax(const float *x, int V)
{
	return logits_argmax(x, V);
}

double
draw_lse(const float *x, int V)
{
	return log_sum_exp(x, V);
}

static bool
before(struct candidate a, struct candidate b)
{
	return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void
sift(struct candidate *h, int n, int i)
{
	for (;;) {
		int top = i, l = 2 * i + 1;
		struct candidate swap = h[i];

		if (l < n && before(h[l], h[top]))
			top = l;
		if (l + 1 < n && before(h[l + 1], h[top]))
			top = l + 1;
		if (top == i)
			return;
		h[i] = h[top];
		h[top] = swap;
		i = top;
	}
}

static double
weight(float logit, float best, double temperature)
{
	return exp(((double)logit - best) / temperature);
}

/* 0 <= u < 1, 53 bits. */
static double
uniform(uint64_t *rng)
{
	return (text_random(rng) >> 11) * 0x1p-53;
}

/* A token's weight when min_p leaves it. */
static double
share(float logit, float best, const struct sampling *how)
{
	double w = weight(logit, best, how->temperature);

	return w >= how->min_p ? w : 0;
}

/* Walk the whole distribution in id order. The sums up to the end of each part are those of the total's own way, so that the part that the walk ends in is
 * known without another walk through those before it: exp() of every logit is what this costs. */
static int
walk_all(const float *x, int V, float best, const struct sampling *how, double u)
{
	int size = (V + PARTS - 1) / PARTS, part = 0, i;
	double upto[PARTS], sum = 0, goal;

	for (i = 0; i < V; i++) {
		sum += share(x[i], best, how);
		upto[i / size] = sum;
	}
	goal = u * sum;
	while ((part + 1) * size < V && !(upto[part] > goal))
		part++;
	sum = part > 0 ? upto[part - 1] : 0;
	for (i = part * size; i < V; i++) {
		sum += share(x[i], best, how);
		if (sum > goal)
			return i;
	}
	while (i > 1 && share(x[i - 1], best, how) == 0)
		i--;
	return i - 1;
}

/* Take the best candidates off a heap until one of the limits is reached, then walk those. A heap, because a sort of a large vocabulary for
 * every token would cost more than the model's last layer. What was taken lies at h's end, best last. */
static int
walk_best(struct candidate *h, int V, const struct sampling *how, double total, double u)
{
	float best = h[0].logit;
	int limit = how->top_k > 0 && how->top_k < V ? how->top_k : V, kept = 0;
	double mass = 0, sum = 0;

	while (kept < limit && (how->top_k > 0 || kept == 0 || mass < how->top_p * total)) {
		struct candidate c = h[0];

		h[0] = h[V - 1 - kept];
		h[V - 1 - kept] = c;
		kept++;
		sift(h, V - kept, 0);
		mass += weight(c.logit, best, how->temperature);
	}
	if (how->top_k > 0 && how->top_p < 1) {	/* top_p of what top_k left */
		total = mass;
		mass = weight(h[V - 1].logit, best, how->temperature);
		for (limit = 1; limit < kept && mass < how->top_p * total; limit++)
			mass += weight(h[V - 1 - limit].logit, best, how->temperature);
		kept = limit;
	}
	for (int i = 0; i < kept; i++) {
		sum += weight(h[V - 1 - i].logit, best, how->temperature);
		if (sum > u * mass)
			return h[V - 1 - i].id;
	}
	return h[V - 1].id;
}

int
draw_token(const float *x, int V, const struct sampling *how, uint64_t *rng, struct candidate *scratch)
{
	int best = draw_argmax(x, V), n = 0;
	double u, total = 0;

	if (best < 0 || how->temperature == 0)
		return best;
	u = uniform(rng);
	if (how->top_p >= 1 && (how->top_k <= 0 || how->top_k >= V))
		return walk_all(x, V, x[best], how, u);
	for (int i = 0; i < V; i++) {
		double w = share(x[i], x[best], how);

		if (w > 0)
			scratch[n++] = (struct candidate){ x[i], i };
		total += w;
	}
	for (int i = n / 2 - 1; i >= 0; i--)
		sift(scratch, n, i);
	return walk_best(scratch, n, how, total, u);
}

int
draw_top(const float *x, int V, int n, int *ids)
{
	int have = 0, i, at;

	for (i = 0; n > 0 && i < V; i++) {
		if (have == n && (i = logits_above(x, i, V, x[ids[n - 1]])) == V)
			break;
		at = have < n ? have++ : n - 1;
		for (; at > 0 && x[i] > x[ids[at - 1]]; at--)
			ids[at] = ids[at - 1];
		ids[at] = i;
	}
	return have;
}

int
draw_rank(const float *x, int V, int id)
{
	return logits_rank(x, V, id);
}

uint64_t
draw_seed(uint64_t seed, int choice)
{
	uint64_t state = seed;

	for (int i = 0; i <= choice; i++)
		seed = text_random(&state);
	return seed;
}
