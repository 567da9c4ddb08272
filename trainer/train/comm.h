/* comm.h - what the ranks of a training run say to one another
 *
 * A rank is a process that mpirun or srun started for the run; there are `size` of them, numbered from 0. A process that is alone is rank 0 of 1, and every
 * call here then returns at once. All others are collective: every rank makes the same calls with the same sizes in the same order, from one thread.
 *
 * Sums are taken in the order of the ranks, whatever the library below would do: the same number of ranks gives the same bits, and every rank gets the same.
 *
 * MPI is not linked to the program, which must start without it: sa-mpi.so beside the executable is (comm_mpi.c), and is loaded when a launcher's environment
 * says that there is more than one rank. A rank that ends without comm_end(), by die() too, ends all the others. */
#ifndef SA_COMM_H
#define SA_COMM_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* One way to reach the other ranks. Sizes are in bytes or floats as the functions of the same names below; none returns with an error: the library ends all
 * ranks then. */
struct comm_way {
	int (*start)(int *rank, int *size, int *local, int *local_rank);	/* 0, or -1 */
	void (*gather)(void *all, size_t each);
	void (*reduce_scatter)(float *x, size_t n);
	void (*all_gather)(float *x, size_t n);
	void (*broadcast)(void *p, size_t bytes);
	void (*end)(void);
};

struct comm {
	int rank, size;
	int local, local_rank;		/* ranks on this machine, this one included, and which of them it is */
	const struct comm_way *way;	/* NULL: alone */
};

/* Who are we? Before threads are made. 0, or -1 with a message. warn() is for rank 0 alone from here on: what is the same on all ranks is said once. */
int comm_start(struct comm *c, struct err *e);
void comm_end(struct comm *c);

/* The piece of n floats that is a rank's: x[*from..*to). Pieces lie in the order of the ranks and are as long as one another, in whole cache lines, but for the
 * last ones, which may be shorter or empty. */
static inline void
comm_piece(const struct comm *c, size_t n, int rank, size_t *from, size_t *to)
{
	size_t lines = (n + 15) / 16, each = (lines + (size_t)c->size - 1) / (size_t)c->size * 16;

	*from = (size_t)rank * each < n ? (size_t)rank * each : n;
	*to = n - *from < each ? n : *from + each;
}

/* all[rank * each] is this rank's; afterwards it has everybody's. */
void comm_gather(const struct comm *c, void *all, size_t each);
/* x[i] becomes its sum over the ranks. */
void comm_sum(const struct comm *c, double *x, size_t n);
/* The same in this rank's piece of x[n]; the other pieces hold nothing of use then. */
void comm_reduce_scatter(const struct comm *c, float *x, size_t n);
/* Every rank's piece of x[n] to all. */
void comm_all_gather(const struct comm *c, float *x, size_t n);
/* p[bytes] of rank 0 to all. */
void comm_broadcast(const struct comm *c, void *p, size_t bytes);

/* What becomes of all when this rank is at rc, with the message in e when rc < 0: the lowest rc, and the message of the first rank that is there. */
int comm_agree(const struct comm *c, int rc, struct err *e);

/* This rank alone failed where the others go on, maybe in the middle of what is collective: end them all with the message in e. Alone: -status, for the caller
 * to return. */
int comm_lost(const struct comm *c, enum exit_status status, const struct err *e);

/* Threads that a rank takes by itself; 0: as many as it may run on. Where the launcher gave every rank all processors, they are shared out. */
int comm_threads(const struct comm *c);

#endif
