/* mt19937.c - see mt19937.h */

#include "mt19937.h"

#define N 624
#define M 397

static void
init(struct mt19937 *m, uint32_t seed)
{
	m->state[0] = seed;
	for (uint32_t i = 1; i < N; i++)
		m->state[i] = 1812433253u * (m->state[i - 1] ^ m->state[i - 1] >> 30) + i;
	m->at = N;
}

/* init_by_array() with a key of one word, so that its index into the key is always 0. */
void
mt19937_seed(struct mt19937 *m, uint32_t key)
{
	uint32_t *s = m->state, i = 1;

	init(m, 19650218);
	for (int k = 0; k < N; k++) {
		s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1664525u) + key;
		if (++i == N) {
			s[0] = s[N - 1];
			i = 1;
		}
	}
	for (int k = 0; k < N - 1; k++) {
		s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1566083941u) - i;
		if (++i == N) {
			s[0] = s[N - 1];
			i = 1;
		}
	}
	s[0] = 0x80000000u;
}

static void
twist(struct mt19937 *m)
{
	uint32_t *s = m->state;

	for (int i = 0; i < N; i++) {
		uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);

		s[i] = s[(i + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
	}
	m->at = 0;
}

uint32_t
mt19937_next(struct mt19937 *m)
{
	uint32_t y;

	if (m->at == N)
		twist(m);
	y = m->state[m->at++];
	y ^= y >> 11;
	y ^= y << 7 & 0x9d2c5680u;
	y ^= y << 15 & 0xefc60000u;
	return y ^ y >> 18;
}

uint32_t
mt19937_below(struct mt19937 *m, uint32_t n)
{
	int bits = 0;
	uint32_t x;

	for (uint32_t k = n; k; k >>= 1)
		bits++;
	do
		x = mt19937_next(m) >> (32 - bits);
	while (x >= n);
	return x;
}
