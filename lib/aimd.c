/* aimd.c - how many requests may be in flight below --jobs */

#include "aimd.h"

#define GROWTH (1.0 / 24)	/* of the limit, per round trip, beside the 1: see aimd.h for what it holds out against */
#define SMOOTHING 0.125		/* of a new duration in the round trip, as in TCP (RFC 6298) */
/* A cut always falls on a signal. Were only the replies since the last one counted, the share would be far too high where there are few in a round trip. */
#define MEMORY 0.8
#define FIRST_MS 1000		/* the round trip before any success */

void
aimd_init(struct aimd *a, int ceiling)
{
	*a = (struct aimd){ .limit = ceiling, .ceiling = ceiling, .known = ceiling };
}

/* The counts start with the first reply: no cut is due before a round trip of them. */
static void
start(struct aimd *a, uint64_t now)
{
	if (a->all == 0 && a->cut_ms == 0)
		a->cut_ms = now;
}

void
aimd_success(struct aimd *a, uint64_t now, double took, bool limited)
{
	start(a, now);
	took = took > 1 ? took : 1;
	a->rtt_ms = a->rtt_ms > 0 ? a->rtt_ms + SMOOTHING * (took - a->rtt_ms) : took;
	a->good++;
	a->all++;
	a->since++;
	if (!limited)
		return;
	a->limit += a->limit < a->known / 2 ? 1 : 1 / a->limit + GROWTH;
	if (a->limit > a->ceiling)
		a->limit = a->ceiling;
}

void
aimd_other(struct aimd *a, uint64_t now)
{
	start(a, now);
	a->all++;
	a->since++;
}

static void
cut(struct aimd *a, uint64_t now)
{
	a->limit *= 1 - 0.5 * a->bad / a->all;
	if (a->limit < 1)
		a->limit = 1;
	if (a->good > 0)
		a->known = a->limit;
	a->good = a->since = 0;
	a->all *= MEMORY;
	a->bad *= MEMORY;
	a->cut_ms = now;
}

void
aimd_overload(struct aimd *a, uint64_t now)
{
	start(a, now);
	a->all++;
	a->since++;
	a->bad++;
	if ((double)a->since >= a->limit && (double)(now - a->cut_ms) >= (a->rtt_ms > 0 ? a->rtt_ms : FIRST_MS))
		cut(a, now);
}

int
aimd_limit(const struct aimd *a)
{
	return (int)a->limit;
}
