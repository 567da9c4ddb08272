/* mt19937.h - Python's random.seed(int) and random.choice, bit for bit
 *
 * SafetyBench's script settles answers that it could not read by random.choice after random.seed(2023); scores compare only when the
 * same choices are made. Generator: Matsumoto & Nishimura 1998, init_by_array; the choice is CPython's _randbelow_with_getrandbits. */
#ifndef SA_MT19937_H
#define SA_MT19937_H

#include <stdint.h>

struct mt19937 {
	uint32_t state[624];
	int at;		/* next word of the state to temper; 624: make new ones */
};

/* random.seed(key), 0 <= key < 2^32. */
void mt19937_seed(struct mt19937 *m, uint32_t key);
uint32_t mt19937_next(struct mt19937 *m);
/* random.choice(range(n)), n > 0. */
uint32_t mt19937_below(struct mt19937 *m, uint32_t n);

#endif
