/* order.h - the order of the samples in an epoch: a pure function of (seed, epoch), so that a resumed run replays nothing */
#ifndef SA_ORDER_H
#define SA_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* order[n] = a permutation of 0..n-1. */
void order_fill(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch);

#endif
