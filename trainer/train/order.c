/* order.c - Fisher-Yates over splitmix64 (Steele, Lea, Flood 2014) */
#include "order.h"

#include "text.h"

/* Uniform in 0..n-1 by the high half of a product; for n < 2^32 the bias is below 2^-32. */
static uint64_t
below(uint64_t *state, uint64_t n)
{
	return (uint64_t)((unsigned __int128)text_random(state) * n >> 64);
}

void
order_fill(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch)
{
	uint64_t state = seed;

	state = text_random(&state) + epoch;	/* so that (seed + 1, epoch) is not (seed, epoch + 1) */
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n; i > 1; i--) {
		size_t j = below(&state, i);
		uint32_t t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}
