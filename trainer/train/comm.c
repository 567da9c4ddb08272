/* comm.c - the part that is the same whatever carries the bytes, and finding it */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm.h"
#include "num.h"
#include "plugin.h"

/* What launchers tell the processes that they start. Slurm's SLURM_NTASKS is not here: a batch script has it too, where there is one process. */
static const char *const sizes[] = {
	"OMPI_COMM_WORLD_SIZE",	/* Open MPI's mpirun */
	"PMI_SIZE",		/* MPICH's and Intel's, and srun --mpi=pmi2 */
	"SLURM_STEP_NUM_TASKS",	/* srun */
};

static int
number_of(const char *name)
{
	const char *text = getenv(name);
	long long n;

	return text && num_int(text, 0, INT_MAX, &n, NULL) == 0 ? (int)n : 0;
}

/* How many processes were started together, by the environment: the first that says something is the nearest, mpirun's within a step of srun's. */
static int
launched(void)
{
	int size = 0;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && size == 0; i++)
		size = number_of(sizes[i]);
	return size > 1 ? size : 1;
}

static const struct plugin mpi = { "sa-mpi.so", NULL, "comm_mpi", "when there is an mpicc (Debian: libopenmpi-dev)" };

/* Say first what the reason in e is of. */
static int
unreachable(int size, struct err *e)
{
	struct err why = *e;

	return err_set(e, "this is one of %d processes that were started together, but it cannot reach the others: %.400s", size, why.msg);
}

int
comm_start(struct comm *c, struct err *e)
{
	int size = launched();

	*c = (struct comm){ .size = 1, .local = 1 };
	if (size == 1)
		return 0;
	c->way = plugin_load(&mpi, e);
	if (!c->way)
		return unreachable(size, e);
	if (c->way->start(&c->rank, &c->size, &c->local, &c->local_rank) < 0)
		return err_set(e, "MPI cannot be started");
	if (c->size != size) {
		comm_end(c);
		return err_set(e, "the launcher started %d processes, but MPI knows of %d: use this MPI's own mpirun, or srun --mpi=pmix", size, c->size);
	}
	if (c->rank > 0)
		warn_quiet();
	return 0;
}

void
comm_end(struct comm *c)
{
	if (c->way)
		c->way->end();
	c->way = NULL;
}

void
comm_gather(const struct comm *c, void *all, size_t each)
{
	if (c->size > 1)
		c->way->gather(all, each);
}

void
comm_sum(const struct comm *c, double *x, size_t n)
{
	double *all;

	if (c->size == 1)
		return;
	all = xcalloc((size_t)c->size * n, sizeof *all);
	memcpy(all + (size_t)c->rank * n, x, n * sizeof *x);
	comm_gather(c, all, n * sizeof *x);
	for (size_t i = 0; i < n; i++) {
		x[i] = 0;
		for (int r = 0; r < c->size; r++)
			x[i] += all[(size_t)r * n + i];
	}
	free(all);
}

void
comm_reduce_scatter(const struct comm *c, float *x, size_t n)
{
	if (c->size > 1)
		c->way->reduce_scatter(x, n);
}

void
comm_all_gather(const struct comm *c, float *x, size_t n)
{
	if (c->size > 1)
		c->way->all_gather(x, n);
}

void
comm_broadcast(const struct comm *c, void *p, size_t bytes)
{
	if (c->size > 1)
		c->way->broadcast(p, bytes);
}

struct verdict {
	int rc;
	struct err e;
};

int
comm_agree(const struct comm *c, int rc, struct err *e)
{
	struct verdict *all;
	int low = 0;

	if (c->size == 1)
		return rc;
	all = xcalloc((size_t)c->size, sizeof *all);
	all[c->rank].rc = rc;
	if (rc < 0)
		all[c->rank].e = *e;
	comm_gather(c, all, sizeof *all);
	for (int r = 1; r < c->size; r++)
		if (all[r].rc < all[low].rc)
			low = r;
	rc = all[low].rc;
	if (rc >= 0) {	/* 1, somebody was asked to end, is for all too */
		for (int r = 0; r < c->size; r++)
			rc = all[r].rc > rc ? all[r].rc : rc;
	} else if (low > 0) {
		err_set(e, "rank %d: %.480s", low, all[low].e.msg);
	} else {
		*e = all[low].e;
	}
	free(all);
	return rc;
}

int
comm_lost(const struct comm *c, enum exit_status status, const struct err *e)
{
	if (c->size > 1)
		die(status, "rank %d: %s", c->rank, e->msg);
	return -(int)status;
}

int
comm_threads(const struct comm *c)
{
	cpu_set_t may;
	int n;

	if (c->local == 1 || sched_getaffinity(0, sizeof may, &may) < 0)
		return 0;
	n = CPU_COUNT(&may);
	if (n < sysconf(_SC_NPROCESSORS_ONLN))	/* it was given its own */
		return 0;
	return n > c->local ? n / c->local : 1;
}
