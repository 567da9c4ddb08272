/* embed.c - rows of a table, threaded */
#include <string.h>

#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *out;
	const float *in;
	const int *ids;
	int T, C;
};

static void
gather(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t t, to, C = j->C;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++)
		memcpy(j->out + t * C, j->in + j->ids[t] * C, C * sizeof(float));
}

void
cpu_embed(struct mach *m, float *out, const float *table, const int *ids, int T, int C)
{
	mach_run_if(m, (double)T * C, gather, &(struct job){ out, table, ids, T, C });
}

CLONES static void
add_to(float *out, const float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] += x[i];
}

/* A part owns some columns of the table, so that every sum is in token order. */
static void
scatter(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to, C = j->C;
	int t;

	mach_range(C, LANES, part, parts, &from, &to);
	for (t = 0; t < j->T; t++)
		add_to(j->out + j->ids[t] * C + from, j->in + t * C + from, to - from);
}

void
cpu_embed_back(struct mach *m, float *dtable_acc, const float *dout, const int *ids, int T, int C)
{
	mach_run_if(m, (double)T * C, scatter, &(struct job){ dtable_acc, dout, ids, T, C });
}
