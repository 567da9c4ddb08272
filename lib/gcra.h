/* gcra.h - a pace that many share: when the next request is due, by compare-and-swap
 *
 * The generic cell rate algorithm (ITU-T I.371): one time, `next`, at which the next request is due; whoever takes it moves it on by what the request costs,
 * its share of a minute. What goes unused is kept for GCRA_BURST, 1% of a minute, so that a late timer costs nothing; so in a minute from any
 * moment at most 1.01 of the limit, and one, is due. No lock: who is killed leaves nothing but a request that was not sent. Pure: the clock is an argument.
 *
 * `next` counts in ns of the clock plus `back`, the sum of what requests gave back after they were sent: a difference that all who wait see at once.
 * Any contents are valid, zeros are a fresh state. A `next` that is further ahead than GCRA_AHEAD (or 64 of the asker's own requests, where that is more) is
 * damaged, or a time of another boot: it counts as that far ahead, so it stops nobody for longer. */
#ifndef SA_GCRA_H
#define SA_GCRA_H

#include <stdatomic.h>
#include <stdint.h>

#define GCRA_BURST 600000000ull		/* ns */
#define GCRA_AHEAD 600000000000ull
#define GCRA_COST_MAX 86400000000000ull	/* a day */

struct gcra {
	_Atomic uint64_t next, back;
};

/* A request that costs `cost` ns: its place, for gcra_due(). */
uint64_t gcra_take(struct gcra *g, uint64_t now, uint64_t cost);

/* When the request of that place is due, as it looks now. */
uint64_t gcra_due(const struct gcra *g, uint64_t place);

/* It will not be sent: the next one is due earlier. Those that hold a place keep it. */
void gcra_give(struct gcra *g, uint64_t cost);

/* It was sent and cost less by `less` ns (negative: more): everybody is due earlier. */
void gcra_back(struct gcra *g, int64_t less);

/* No request is due later than this after it was taken. */
uint64_t gcra_ahead(uint64_t cost);

#endif
