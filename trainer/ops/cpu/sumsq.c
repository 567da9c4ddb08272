/* sumsq.c - sum of squares: blocks of a fixed size, added in order, whoever computed them */
#include "cpu.h"
#include "mach.h"
#include "vec.h"

#define BLOCK 65536

struct job {
	double *sums;	/* one a block */
	const float *x;
	size_t n;
};

CLONES static double
block_sum(const float *x, size_t n)
{
	double lane[LANES] = { 0 }, sum = 0;
	size_t i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] += (double)x[i + l] * x[i + l];
	for (; i < n; i++)
		sum += (double)x[i] * x[i];
	for (l = 0; l < LANES; l++)
		sum += lane[l];
	return sum;
}

static void
blocks(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t b, to;

	for (mach_range((j->n + BLOCK - 1) / BLOCK, 1, part, parts, &b, &to); b < to; b++)
		j->sums[b] = block_sum(j->x + b * BLOCK, j->n - b * BLOCK < BLOCK ? j->n - b * BLOCK : BLOCK);
}

double
cpu_sumsq(struct mach *m, const float *x, size_t n)
{
	size_t count = (n + BLOCK - 1) / BLOCK, b;
	struct job j = { (double *)mach_scratch(m, 0, 2 * count + 2), x, n };
	double sum = 0;

	mach_run_if(m, n, blocks, &j);
	for (b = 0; b < count; b++)
		sum += j.sums[b];
	return sum;
}
