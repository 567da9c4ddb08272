/* add.c - sum of two arrays, and an array times a number, threaded */
#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *out;
	const float *x;
	float by;
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
	mach_run_if(m, n, add, &(struct job){ .out = out_acc, .x = x, .n = n });
}

CLONES static void
scale_some(float *x, float by, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		x[i] *= by;
}

static void
scale(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to;

	mach_range(j->n, LANES, part, parts, &from, &to);
	scale_some(j->out + from, j->by, to - from);
}

void
cpu_scale(struct mach *m, float *x, float by, size_t n)
{
	mach_run_if(m, n, scale, &(struct job){ .out = x, .by = by, .n = n });
}
