/* attend_back.c - the gradients of causal attention over packed sequences against ops_plain */
#include "attend.h"

struct gradients {
	float *q, *k, *v;	/* contiguous */
};

/* dout is `noise` of the seed that the batch left. Between the tokens nothing is written. */
static struct gradients
back_of(const struct batch *b, const float *dout, uint16_t *out, float *lse)
{
	int nq = b->H * b->D, nk = b->G * b->D;
	size_t n = (size_t)b->T * b->stride;
	float *was = noise16(n), *back;
	uint16_t *grad = dev16(was, n);

	CHECK_OK(attend(b, out, lse));
	CHECK_OK(gpu_attend_back(&gpu, grad, grad + nq, grad + nq + nk, b->stride, dev16(dout, (size_t)b->T * nq), b->qkv, keys_of(b), values_of(b), b->stride, out,
				 lse, b->dcu, b->nseq, b->longest, device_copy(NULL, gpu_attend_back_scratch(b->T, b->H, b->G, b->D)), b->T, b->H, b->G, b->D));
	back = back16(grad, n);
	for (int t = 0; t < b->T; t++)
		CHECK(!memcmp(back + (size_t)t * b->stride + nq + 2 * nk, was + (size_t)t * b->stride + nq + 2 * nk, (b->stride - nq - 2 * nk) * sizeof *back));
	return (struct gradients){ gather(back, b->stride, 0, b->T, nq), gather(back, b->stride, nq, b->T, nk), gather(back, b->stride, nq + nk, b->T, nk) };
}

/* Three matrices are rounded to bf16 on the way: p, ds, and the result. Where all is nothing (each score's gradient is, of a sequence of one token), the
 * order of sums still shows. */
static void
near(const float *got, const float *want, size_t n)
{
	float most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(want[i]) + fabsf(got[i]));
	if (most > 1e-5f)
		CHECK_ALIKE(got, want, n, 1 - 1e-5, 5e-4, 1 / 150.0);
	else
		CHECK(!isnan(most));
}

/* The oracle gets the rounded out, for delta is made of it. */
static void
compare(struct batch b)
{
	size_t nq = (size_t)b.T * b.H * b.D, nk = (size_t)b.T * b.G * b.D;
	uint16_t *out = device_copy(NULL, nq * sizeof *out);
	float *lse = dev32(NULL, (size_t)b.T * b.H), *dout = noise16(nq), *dq = noise(nq), *dk = noise(nk), *dv = noise(nk);
	struct gradients got = back_of(&b, dout, out, lse);

	ops_plain.attend_back(NULL, dq, dk, dv, dout, b.q, b.k, b.v, back16(out, nq), back32(lse, (size_t)b.T * b.H), b.cu, b.nseq, b.H, b.G, b.D);
	near(got.q, dq, nq);
	near(got.k, dk, nk);
	near(got.v, dv, nk);
}

static void
one_token_has_no_gradient_of_its_score(void)
{
	compare(batch_new((int[]){ 1 }, 1, 2, 1, 64, 1, 0));
	compare(batch_new((int[]){ 1, 1, 1 }, 3, 4, 2, 16, 1, 0));
}

static void
lengths_around_tiles(void)
{
	compare(batch_new((int[]){ 63, 1, 64, 65 }, 4, 1, 1, 64, 4, 0));
	compare(batch_new((int[]){ 127, 1, 129 }, 3, 1, 1, 64, 4, 8));
	compare(batch_new((int[]){ 31, 33, 2, 66, 0, 15 }, 6, 1, 1, 128, 4, 0));
	compare(batch_new((int[]){ 200 }, 1, 1, 1, 32, 4, 0));
}

static void
heads_share_keys(void)
{
	compare(batch_new((int[]){ 70, 13 }, 2, 4, 1, 64, 4, 16));
	compare(batch_new((int[]){ 50 }, 1, 8, 1, 64, 4, 0));
	compare(batch_new((int[]){ 40, 41 }, 2, 8, 2, 16, 4, 0));
	compare(batch_new((int[]){ 37 }, 1, 4, 2, 128, 4, 8));
}

/* Where there are blocks enough, one takes all heads that share a key head, or a part of them. */
static void
blocks_take_several_heads(void)
{
	compare(batch_new((int[]){ 3 }, 1, 512, 256, 16, 4, 0));
	compare(batch_new((int[]){ 3 }, 1, 512, 128, 16, 4, 0));
}

/* All weight on one key: its score's gradient vanishes, and nothing overflows. */
static void
large_logits_are_finite(void)
{
	struct batch b = batch_new((int[]){ 90, 7 }, 2, 2, 1, 64, 3000, 0);
	size_t nq = (size_t)b.T * b.H * b.D, nk = (size_t)b.T * b.G * b.D;
	float *dout = noise16(nq), *dv = noise(nk), *none = noise(nq), *nothing = noise(nk);
	uint16_t *out = device_copy(NULL, nq * sizeof *out);
	float *lse = dev32(NULL, (size_t)b.T * b.H);
	struct gradients got = back_of(&b, dout, out, lse);
	int finite = 1;

	ops_plain.attend_back(NULL, none, nothing, dv, dout, b.q, b.k, b.v, back16(out, nq), b.lse, b.cu, b.nseq, b.H, b.G, b.D);
	near(got.v, dv, nk);
	for (size_t i = 0; i < nq; i++)
		finite &= isfinite(got.q[i]);
	for (size_t i = 0; i < nk; i++)
		finite &= isfinite(got.k[i]);
	CHECK_INT(finite, 1);
}

/* Change one sequence, and the bits of the gradients of the others stay. */
static void
packed_sequences_are_isolated(void)
{
	enum { H = 2, G = 1, D = 64, FIRST = 70, LAST = 21 };
	struct batch b = batch_new((int[]){ FIRST, 30, LAST }, 3, H, G, D, 2, 0), other;
	size_t nq = (size_t)b.T * H * D;
	float *dout = noise16(nq), *fused = back16(b.qkv, (size_t)b.T * b.stride);
	struct gradients one, two;

	one = back_of(&b, dout, device_copy(NULL, nq * 2), dev32(NULL, (size_t)b.T * H));
	for (int i = FIRST * b.stride; i < (FIRST + 30) * b.stride; i++)
		fused[i] = from_bf16(to_bf16(5 * rnd()));
	for (int i = FIRST * H * D; i < (FIRST + 30) * H * D; i++)
		dout[i] = from_bf16(to_bf16(5 * rnd()));
	other = b;
	batch_of(&other, fused);
	two = back_of(&other, dout, device_copy(NULL, nq * 2), dev32(NULL, (size_t)b.T * H));
	CHECK(!memcmp(one.q, two.q, FIRST * H * D * sizeof *one.q));
	CHECK(!memcmp(one.k, two.k, FIRST * G * D * sizeof *one.q));
	CHECK(!memcmp(one.v, two.v, FIRST * G * D * sizeof *one.q));
	CHECK(!memcmp(one.q + (FIRST + 30) * H * D, two.q + (FIRST + 30) * H * D, LAST * H * D * sizeof *one.q));
	CHECK(!memcmp(one.k + (FIRST + 30) * G * D, two.k + (FIRST + 30) * G * D, LAST * G * D * sizeof *one.q));
	CHECK(!memcmp(one.v + (FIRST + 30) * G * D, two.v + (FIRST + 30) * G * D, LAST * G * D * sizeof *one.q));
	CHECK(memcmp(one.q + FIRST * H * D, two.q + FIRST * H * D, 30 * H * D * sizeof *one.q));
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_attend_back(&gpu, NULL, NULL, NULL, 256, NULL, NULL, NULL, NULL, 256, NULL, NULL, NULL, 1, 4, NULL, 4, 2, 1, 96), -1);
	CHECK_INT(gpu_attend_back(&gpu, NULL, NULL, NULL, 60, NULL, NULL, NULL, NULL, 256, NULL, NULL, NULL, 1, 4, NULL, 4, 2, 1, 64), -1);
	CHECK_INT(gpu_attend_back(&gpu, NULL, NULL, NULL, 256, NULL, NULL, NULL, NULL, 256, NULL, NULL, NULL, 0, 0, NULL, 0, 2, 1, 64), 0);
}

int
main(void)
{
	device_begin();
	gpu.shared = 99 << 10;	/* as the smallest cards have it */
	RUN(one_token_has_no_gradient_of_its_score);
	RUN(lengths_around_tiles);
	RUN(heads_share_keys);
	RUN(blocks_take_several_heads);
	RUN(large_logits_are_finite);
	RUN(packed_sequences_are_isolated);
	RUN(other_sizes_are_refused);
	return device_done();
}
