/* logits.c - a row of logits: where its largest is, what is above something; op.h says more */
#include <math.h>

#include "op.h"
#include "vec.h"

#define BLOCK 256	/* looked at as a whole before one of them is looked for */

/* The largest; NaN when one is. */
CLONES static float
largest(const float *x, int n)
{
	float lane[LANES];
	int bad[LANES] = { 0 }, any = 0, i, l;

	for (l = 0; l < LANES; l++)
		lane[l] = -INFINITY;
	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++) {
			lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
			bad[l] |= x[i + l] != x[i + l];
		}
	for (l = 0; i + l < n; l++) {
		lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
		bad[l] |= x[i + l] != x[i + l];
	}
	for (l = 0; l < LANES; l++)
		any |= bad[l];
	return any ? NAN : lanes_max(lane);
}

CLONES static int
count_above(const float *x, int n, float than)
{
	int sum = 0, i;

	for (i = 0; i < n; i++)
		sum += x[i] > than;
	return sum;
}

CLONES static int
count_equal(const float *x, int n, float to)
{
	int sum = 0, i;

	for (i = 0; i < n; i++)
		sum += x[i] == to;
	return sum;
}

int
logits_above(const float *x, int from, int n, float than)
{
	for (; from + BLOCK <= n && count_above(x + from, BLOCK, than) == 0; from += BLOCK)
		;
	while (from < n && !(x[from] > than))
		from++;
	return from;
}

int
logits_argmax(const float *x, int n)
{
	float max = largest(x, n);
	int at = 0;

	if (!isfinite(max))
		return -1;
	for (; at + BLOCK <= n && count_equal(x + at, BLOCK, max) == 0; at += BLOCK)
		;
	while (x[at] != max)
		at++;
	return at;
}

int
logits_rank(const float *x, int n, int id)
{
	return 1 + count_above(x, n, x[id]) + count_equal(x, id, x[id]);
}
