/* attend.c - causal attention over packed sequences against ops_plain */
#include "attend.h"

/* Weights are rounded to bf16 before they are multiplied with v, as every flash attention does: each 1/600 off on average, and their sum by less. */
static void
compare(struct batch b)
{
	size_t n = (size_t)b.T * b.H * b.D;
	uint16_t *out = device_copy(NULL, n * sizeof *out);
	float *lse = dev32(NULL, (size_t)b.T * b.H);

	CHECK_OK(attend(&b, out, lse));
	CHECK_ALIKE(back16(out, n), b.out, n, 1 - 8e-6, 5e-4, 1 / 200.0);
	CHECK_F32(back32(lse, (size_t)b.T * b.H), b.lse, (size_t)b.T * b.H);
}

static void
one_token_is_its_value(void)
{
	compare(batch_new((int[]){ 1 }, 1, 2, 1, 64, 1, 0));
	compare(batch_new((int[]){ 1, 1, 1 }, 3, 4, 2, 16, 1, 0));
}

/* Lengths at the borders of tiles, as many sequences as one launch has: each begins in the middle of another's tile. */
static void
lengths_around_tiles(void)
{
	compare(batch_new((int[]){ 63, 1, 64, 65 }, 4, 2, 2, 64, 4, 0));
	compare(batch_new((int[]){ 127, 128, 1, 129 }, 4, 2, 1, 64, 4, 8));
	compare(batch_new((int[]){ 31, 33, 2, 66, 0, 15 }, 6, 2, 2, 128, 4, 0));
	compare(batch_new((int[]){ 200 }, 1, 1, 1, 128, 4, 0));
}

static void
heads_share_keys(void)
{
	compare(batch_new((int[]){ 70, 13 }, 2, 4, 1, 64, 4, 16));
	compare(batch_new((int[]){ 50 }, 1, 8, 1, 64, 4, 0));
	compare(batch_new((int[]){ 40, 41 }, 2, 8, 2, 16, 4, 0));
	compare(batch_new((int[]){ 81 }, 1, 3, 3, 32, 4, 0));
}

int
main(void)
{
	device_begin();
	RUN(one_token_is_its_value);
	RUN(lengths_around_tiles);
	RUN(heads_share_keys);
	return device_done();
}
