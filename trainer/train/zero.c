/* zero.c - which parts of the parameters are whose */
#include <string.h>

#include "zero.h"

#define BUCKETS 8			/* at least: one can be on its way while another is made */

static size_t
bucket_of(const struct comm *comm, size_t n)
{
	size_t part = (n / BUCKETS + 16) / 16 * 16;

	return comm->size == 1 ? n : part < ZERO_BUCKET ? part : ZERO_BUCKET;
}

/* This rank's piece of bucket b. */
static void
piece(const struct zero *z, size_t b, size_t *from, size_t *to)
{
	size_t at, n;

	zero_bucket(z, b, &at, &n);
	comm_piece(z->comm, n, z->comm->rank, from, to);
	*from += at;
	*to += at;
}

void
zero_init(struct zero *z, const struct comm *comm, size_t n)
{
	size_t from, to, at, len;

	*z = (struct zero){ .comm = comm, .n = n, .bucket = bucket_of(comm, n) };
	for (size_t b = 0; zero_bucket(z, b, &at, &len); b++) {
		piece(z, b, &from, &to);
		z->own += to - from;
	}
}

bool
zero_bucket(const struct zero *z, size_t b, size_t *at, size_t *n)
{
	*at = b * z->bucket < z->n ? b * z->bucket : z->n;
	*n = z->n - *at < z->bucket ? z->n - *at : z->bucket;
	return *n > 0;
}

bool
zero_own(const struct zero *z, size_t at, size_t end, struct own *part)
{
	size_t whole, to;

	comm_piece(z->comm, z->bucket, z->comm->rank, &whole, &to);
	whole = to - whole;	/* of every bucket before the last */
	for (size_t b = z->bucket ? at / z->bucket : 0; b * z->bucket < end && b * z->bucket < z->n; b++) {
		size_t from;

		piece(z, b, &from, &to);
		part->at = from > at ? from : at;
		part->place = b * whole + part->at - from;
		if (part->at < to && part->at < end) {
			part->n = (to < end ? to : end) - part->at;
			return true;
		}
	}
	return false;
}

void
zero_reduce(const struct zero *z, float *x)
{
	size_t at, n;

	for (size_t b = 0; zero_bucket(z, b, &at, &n); b++)
		comm_reduce_scatter(z->comm, x + at, n);
}

void
zero_spread(const struct zero *z, float *x)
{
	size_t at, n;

	for (size_t b = 0; zero_bucket(z, b, &at, &n); b++)
		comm_all_gather(z->comm, x + at, n);
}

const float *
zero_collect(const struct zero *z, const float *own, size_t b, float *room)
{
	struct own part;
	size_t at, n;

	if (z->comm->size == 1)
		return own + b * z->bucket;
	zero_bucket(z, b, &at, &n);
	if (zero_own(z, at, at + n, &part))
		memcpy(room + part.at - at, own + part.place, part.n * sizeof *room);
	comm_all_gather(z->comm, room, n);
	return room;
}
