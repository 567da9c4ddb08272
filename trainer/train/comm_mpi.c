/* comm_mpi.c - the ranks over MPI: all of sa-mpi.so
 *
 * MPI's own reductions may add in any order, and do so in another one for another size or network. So parts are exchanged as they are and added here, in the
 * order of the ranks. That sends no more than a ring would: of n floats each rank receives n (size - 1) / size for a sum of its piece. */
#include <limits.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm.h"

#define MOST ((size_t)1 << 30)	/* bytes a call: MPI counts in int */

static struct comm self;
static bool going;

/* Of the exchange: what each rank gets of us, and what we get of each. */
static int *sent, *place, *got, *lie;
static float *parts;
static size_t room;

_Noreturn static void
fail(const char *what)
{
	fprintf(stderr, "sa-mpi: rank %d: %s\n", self.rank, what);
	MPI_Abort(MPI_COMM_WORLD, STATUS_IO);
	abort();
}

/* exit() in the middle of a run: the others would wait for ever. */
static void
leave(int status, void *none)
{
	(void)none;
	if (going)
		MPI_Abort(MPI_COMM_WORLD, status ? status : STATUS_IO);
}

static int *
numbers(void)
{
	int *n = calloc((size_t)self.size, sizeof *n);

	if (!n)
		fail("out of memory");
	return n;
}

static int
start(int *rank, int *size, int *local, int *local_rank)
{
	MPI_Comm node;
	int level;

	if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
		return -1;
	going = true;
	on_exit(leave, NULL);
	MPI_Comm_rank(MPI_COMM_WORLD, &self.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &self.size);
	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
	MPI_Comm_size(node, local);
	MPI_Comm_rank(node, local_rank);
	MPI_Comm_free(&node);
	*rank = self.rank;
	*size = self.size;
	sent = numbers();
	place = numbers();
	got = numbers();
	lie = numbers();
	return 0;
}

static void
gather(void *all, size_t each)
{
	MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, (int)each, MPI_BYTE, MPI_COMM_WORLD);
}

/* Pieces of n floats as MPI has them. */
static void
lay(size_t n, int *count, int *at)
{
	for (int r = 0; r < self.size; r++) {
		size_t from, to;

		comm_piece(&self, n, r, &from, &to);
		at[r] = (int)from;
		count[r] = (int)(to - from);
	}
}

static void
need(size_t floats)
{
	if (floats <= room)
		return;
	free(parts);
	parts = malloc(floats * sizeof *parts);
	if (!parts)
		fail("out of memory");
	room = floats;
}

static void
reduce_scatter(float *x, size_t n)
{
	float *mine;
	size_t m;

	if (n > INT_MAX)
		fail("more floats at once than MPI counts");
	lay(n, sent, place);
	m = (size_t)sent[self.rank];
	mine = x + place[self.rank];
	need(m * (size_t)self.size);
	for (int r = 0; r < self.size; r++) {
		got[r] = (int)m;
		lie[r] = (int)m * r;
	}
	MPI_Alltoallv(x, sent, place, MPI_FLOAT, parts, got, lie, MPI_FLOAT, MPI_COMM_WORLD);
	memcpy(mine, parts, m * sizeof *mine);
	for (int r = 1; r < self.size; r++)
		for (size_t i = 0; i < m; i++)
			mine[i] += parts[m * (size_t)r + i];
}

static void
all_gather(float *x, size_t n)
{
	if (n > INT_MAX)
		fail("more floats at once than MPI counts");
	lay(n, sent, place);
	MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, sent, place, MPI_FLOAT, MPI_COMM_WORLD);
}

static void
broadcast(void *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += MOST)
		MPI_Bcast((char *)p + at, (int)(bytes - at < MOST ? bytes - at : MOST), MPI_BYTE, 0, MPI_COMM_WORLD);
}

static void
end(void)
{
	going = false;
	MPI_Finalize();
	free(parts);
	free(sent);
	free(place);
	free(got);
	free(lie);
}

extern const struct comm_way comm_mpi;
const struct comm_way comm_mpi = { start, gather, reduce_scatter, all_gather, broadcast, end };
