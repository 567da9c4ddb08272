/* pack.h - samples put together into packs: a pack is what the order of an epoch shuffles and what micro-batches are counted in
 *
 * Without packing each sample is a pack of its own. With it, packs of at most `room` tokens are filled greedily: the longest sample that is left,
 * then again and again the longest that still fits (LLaMA-Factory's greedy knapsack). In the model each sample of a pack stays alone, with positions
 * from 0: a pack changes what is computed at once, never a gradient. Pure: the same lengths give the same packs. */
#ifndef SA_PACK_H
#define SA_PACK_H

#include <stddef.h>
#include <stdint.h>

struct packs {
	uint32_t *sample;	/* sample numbers; pack i holds sample[at[i]..at[i+1]) */
	size_t *at;		/* [n+1] */
	size_t n;
};

/* Packs of the samples whose lengths are length[0..n), each at most `room`; room 0: one sample each, in order. */
void packs_fill(struct packs *p, const int *length, size_t n, int room);
/* Put two and two samples of packs of one each into one. */
void packs_pair(struct packs *p);
void packs_free(struct packs *p);

#endif
