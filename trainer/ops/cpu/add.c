/* add.c - sum of two arrays, threaded */
#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *out;
	const float *x;
	size_t n;
};

CLONES static void
add_some(float *out, const float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] += x[i];
}

static void
add(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to;

	mach_range(j->n, LANES, part, parts, &from, &to);
	add_some(j->out + from, j->x + from, to - from);
}

void
cpu_add(struct mach *m, float *out_acc, const float *x, size_t n)
{
	mach_run_if(m, n, add, &(struct job){ out_acc, x, n });
}
