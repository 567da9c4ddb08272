/* zero.h - the optimizer's part of a step divided among the ranks (ZeRO stage 1; Rajbhandari et al. 2020)
 *
 * The n trained parameters, in the order of model_tensor(), are cut into buckets, and of each bucket every rank has one piece (comm_piece). A rank sums the
 * gradients of its pieces only, keeps the moments of its pieces only, one behind the other in that order, and updates the weights of its pieces only.
 * One rank alone has one bucket, all of which is its piece. */
#ifndef SA_ZERO_H
#define SA_ZERO_H

#include "comm.h"

#define ZERO_BUCKET ((size_t)4 << 20)	/* floats at most, 16 MB: long enough for a network's full rate, and what is received at once stays small */

struct zero {
	const struct comm *comm;
	size_t n;		/* floats in all */
	size_t bucket;		/* of each bucket but the last, which may have less */
	size_t own;		/* of this rank's pieces */
};

/* A part of what is this rank's. */
struct own {
	size_t at, n;		/* floats at..at+n of all */
	size_t place;		/* where the first of them is among the rank's own */
};

/* `comm` must outlive it. */
void zero_init(struct zero *z, const struct comm *comm, size_t n);

/* The first part of floats at..end that is this rank's; false when there is none. The next one is looked for from part->at + part->n on. */
bool zero_own(const struct zero *z, size_t at, size_t end, struct own *part);

/* Bucket b = 0, 1, ...: where it begins and its length; false past the last. */
bool zero_bucket(const struct zero *z, size_t b, size_t *at, size_t *n);

/* Collective: x[n] of all ranks summed into each one's pieces; the rest holds nothing of use then. */
void zero_reduce(const struct zero *z, float *x);
/* Collective: every rank's pieces of x[n] to all. */
void zero_spread(const struct zero *z, float *x);
/* Collective: bucket b of what the ranks keep of their own, whole, in `room` (bucket floats) or, with one rank, where it is. */
const float *zero_collect(const struct zero *z, const float *own, size_t b, float *room);

#endif
