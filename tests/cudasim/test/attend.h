/* attend.h - batches of packed sequences, and what ops_plain makes of them: shared by attend.c and attend_back.c */
#ifndef ATTEND_TEST_H
#define ATTEND_TEST_H

#include "compare.h"

/* q, k, v of T tokens as parts of one fused array on the device, `stride` elements a token, and contiguous for the oracle. */
struct batch {
	int T, H, G, D, nseq, longest, stride, *cu;
	float *q, *k, *v, *out, *lse;
	uint16_t *qkv;		/* on the device */
	const int *dcu;
};

/* heads x D columns of rows `stride` apart, from column `from` on. */
static inline float *
gather(const float *x, int stride, int from, int T, int n)
{
	float *rows = host_alloc((size_t)T * n * sizeof *rows);

	for (int t = 0; t < T; t++)
		memcpy(rows + (size_t)t * n, x + (size_t)t * stride + from, (size_t)n * sizeof *rows);
	return rows;
}

/* Of a fused array: the oracle's q, k, v, and its results. */
static inline void
batch_of(struct batch *b, const float *fused)
{
	int nq = b->H * b->D, nk = b->G * b->D;

	b->qkv = dev16(fused, (size_t)b->T * b->stride);
	b->q = gather(fused, b->stride, 0, b->T, nq);
	b->k = gather(fused, b->stride, nq, b->T, nk);
	b->v = gather(fused, b->stride, nq + nk, b->T, nk);
	b->out = noise((size_t)b->T * nq);
	b->lse = noise((size_t)b->T * b->H);
	ops_plain.attend(NULL, b->out, b->lse, b->q, b->k, b->v, b->cu, b->nseq, b->H, b->G, b->D);
}

/* Sequences of lengths[0..nseq); queries times `size`; `gap` elements between the tokens. */
static inline struct batch
batch_new(const int *lengths, int nseq, int H, int G, int D, float size, int gap)
{
	struct batch b = { 0, H, G, D, nseq, 0, (H + 2 * G) * D + gap, host_alloc((nseq + 1) * sizeof *b.cu), .out = NULL };
	float *fused;

	for (int s = 0; s < nseq; s++) {
		b.cu[s + 1] = b.cu[s] + lengths[s];
		b.longest = lengths[s] > b.longest ? lengths[s] : b.longest;
	}
	b.T = b.cu[nseq];
	b.dcu = device_copy(b.cu, (nseq + 1) * sizeof *b.cu);
	fused = noise16((size_t)b.T * b.stride);
	for (int t = 0; t < b.T; t++)
		for (int i = 0; i < H * D; i++)
			fused[(size_t)t * b.stride + i] = from_bf16(to_bf16(fused[(size_t)t * b.stride + i] * size));
	batch_of(&b, fused);
	return b;
}

static inline uint16_t *
keys_of(const struct batch *b)
{
	return b->qkv + b->H * b->D;
}

static inline uint16_t *
values_of(const struct batch *b)
{
	return b->qkv + (b->H + b->G) * b->D;
}

static inline int
attend(const struct batch *b, uint16_t *out, float *lse)
{
	return gpu_attend(&gpu, out, lse, b->qkv, keys_of(b), values_of(b), b->stride, b->dcu, b->nseq, b->longest, b->T, b->H, b->G, b->D);
}

#endif
