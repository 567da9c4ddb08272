/* reply.h - the replies of a fault server as the bytes that go over the wire */
#ifndef FAULT_REPLY_H
#define FAULT_REPLY_H

#include "buf.h"
#include "script.h"

/* A reply that is being sent: `out`, then `fill` so many times. Lives as long as its connection. */
struct wire {
	struct buf out;
	size_t drip_from;	/* from this byte of `out` on one at a time; SIZE_MAX: never */
	const struct buf *fill;	/* of this file */
	long long fills;
};

/* The whole reply to the request `body` (n bytes) in place of what *w holds. Not for the actions that send nothing. */
void reply_make(struct wire *w, const struct action *a, const char *body, size_t n);
/* A plain good one. */
void reply_plain(struct wire *w, const char *body);

#endif
