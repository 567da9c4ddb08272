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

/* Scores of 1e5: all weight on one key, which is no overflow. And rows whose maximum comes last, far above what came before. */
static void
large_logits_are_finite(void)
{
	struct batch b = batch_new((int[]){ 150, 9 }, 2, 2, 1, 64, 3000, 0);
	float *fused = back16(b.qkv, (size_t)b.T * b.stride);

	compare(b);
	for (int t = 0; t < b.T; t++)
		for (int i = 0; i < (b.H + b.G) * b.D; i++)
			fused[(size_t)t * b.stride + i] = from_bf16(to_bf16(i < b.H * b.D ? 1 : t / 8.0f + 0.5f * rnd()));
	batch_of(&b, fused);
	compare(b);
}

/* Serving keeps no lse. */
static void
lse_is_left_out(void)
{
	struct batch b = batch_new((int[]){ 20 }, 1, 2, 1, 64, 4, 0);
	size_t n = (size_t)b.T * b.H * b.D;
	uint16_t *out = device_copy(NULL, n * sizeof *out);

	CHECK_OK(attend(&b, out, NULL));
	CHECK_ALIKE(back16(out, n), b.out, n, 1 - 8e-6, 5e-4, 1 / 200.0);
}

/* Change one sequence, and the bits of the others stay. */
static void
packed_sequences_are_isolated(void)
{
	enum { H = 2, D = 64, FIRST = 70, LAST = 21, ROW = H * D };
	struct batch b = batch_new((int[]){ FIRST, 30, LAST }, 3, H, 1, D, 2, 0);
	size_t n = (size_t)b.T * ROW;
	uint16_t *out = device_copy(NULL, n * sizeof *out);
	float *fused = back16(b.qkv, (size_t)b.T * b.stride), *one, *two;

	CHECK_OK(attend(&b, out, NULL));
	one = back16(out, n);
	for (int i = FIRST * b.stride; i < (FIRST + 30) * b.stride; i++)
		fused[i] = from_bf16(to_bf16(5 * rnd()));
	batch_of(&b, fused);
	CHECK_OK(attend(&b, out, NULL));
	two = back16(out, n);
	CHECK(!memcmp(one, two, FIRST * ROW * sizeof *one));
	CHECK(!memcmp(one + (FIRST + 30) * ROW, two + (FIRST + 30) * ROW, LAST * ROW * sizeof *one));
	CHECK(memcmp(one + FIRST * ROW, two + FIRST * ROW, 30 * ROW * sizeof *one));
}

/* A NaN is not hidden, and stays in its sequence and head. */
static void
nan_comes_out(void)
{
	struct batch b = batch_new((int[]){ 5, 3 }, 2, 2, 2, 64, 1, 0);
	size_t n = (size_t)b.T * b.H * b.D;
	uint16_t *out = device_copy(NULL, n * sizeof *out);
	float *fused = back16(b.qkv, (size_t)b.T * b.stride), *back;
	int nan = 0;

	fused[2 * b.stride + b.H * b.D] = NAN;	/* the key of token 2, head 0 */
	batch_of(&b, fused);
	CHECK_OK(attend(&b, out, NULL));
	back = back16(out, n);
	for (size_t i = 0; i < n; i++)
		nan += isnan(back[i]) > 0;
	CHECK_INT(nan, 3 * 64);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_attend(&gpu, NULL, NULL, NULL, NULL, NULL, 384, NULL, 1, 4, 4, 2, 1, 96), -1);
	CHECK(strstr(gpu_err.msg, "heads of 96"));
	CHECK_INT(gpu_attend(&gpu, NULL, NULL, NULL, NULL, NULL, 384, NULL, 1, 4, 4, 3, 2, 64), -1);
	CHECK_INT(gpu_attend(&gpu, NULL, NULL, NULL, NULL, NULL, 252, NULL, 1, 4, 4, 2, 1, 64), -1);
	CHECK_INT(gpu_attend(&gpu, NULL, NULL, NULL, NULL, NULL, 256, NULL, 2, 1, 4, 2, 1, 64), -1);
	CHECK_INT(gpu_attend(&gpu, NULL, NULL, NULL, NULL, NULL, 256, NULL, 0, 0, 0, 2, 1, 64), 0);
}

int
main(void)
{
	device_begin();
	gpu.shared = 99 << 10;	/* as the smallest cards have it */
	RUN(one_token_is_its_value);
	RUN(lengths_around_tiles);
	RUN(heads_share_keys);
	RUN(large_logits_are_finite);
	RUN(lse_is_left_out);
	RUN(packed_sequences_are_isolated);
	RUN(nan_comes_out);
	RUN(other_sizes_are_refused);
	return device_done();
}
