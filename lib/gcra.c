/* gcra.c - a pace that many share */

#include "gcra.h"

uint64_t
gcra_ahead(uint64_t cost)
{
	return 64 * cost > GCRA_AHEAD ? 64 * cost : GCRA_AHEAD;
}

/* Differences are signed, so that damaged values are just far away. */
uint64_t
gcra_take(struct gcra *g, uint64_t now, uint64_t cost)
{
	uint64_t least = now > GCRA_BURST ? now - GCRA_BURST : 0, most = now + gcra_ahead(cost);
	uint64_t back = atomic_load(&g->back), next = atomic_load(&g->next), at;

	do {
		at = next - back;
		if ((int64_t)(at - most) > 0)
			at = most;
		if ((int64_t)(at - least) < 0)
			at = least;
	} while (!atomic_compare_exchange_weak(&g->next, &next, at + back + cost));
	return at + back;
}

uint64_t
gcra_due(const struct gcra *g, uint64_t place)
{
	uint64_t at = place - atomic_load(&g->back);

	return (int64_t)at < 0 ? 0 : at;
}

void
gcra_give(struct gcra *g, uint64_t cost)
{
	atomic_fetch_sub(&g->next, cost);
}

void
gcra_back(struct gcra *g, int64_t less)
{
	atomic_fetch_add(&g->back, (uint64_t)less);
}
