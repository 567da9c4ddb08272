/* gather.c - rows of a checkpoint's table as floats, threaded */
#include "cpu.h"
#include "mach.h"

struct job {
	float *out;
	const struct matrix *table;
	const int *ids;
	int T;
};

static void
rows(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t t, to, K = j->table->K;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++)
		matrix_floats(j->out + t * K, j->table, j->ids[t], 0, K);
}

void
cpu_gather(struct mach *m, float *out, const struct matrix *table, const int *ids, int T)
{
	mach_run_if(m, (double)T * table->K, rows, &(struct job){ out, table, ids, T });
}
