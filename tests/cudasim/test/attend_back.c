/* attend_back.c - the gradients of causal attention over packed sequences against ops_plain */
#include "attend.h"

/* The oracle gets the rounded out. p and ds are rounded to bf16 before they are multiplied. */
static void
compare(struct batch b)
{
	size_t nq = (size_t)b.T * b.H * b.D, nk = (size_t)b.T * b.G * b.D;
	uint16_t *out = device_copy(NULL, nq * sizeof *out), *grad = device_copy(NULL, (size_t)b.T * b.stride * sizeof *grad);
	float *lse = dev32(NULL, (size_t)b.T * b.H), *dout = noise16(nq), *dq = noise(nq), *dk = noise(nk), *dv = noise(nk), *back;

	CHECK_OK(attend(&b, out, lse));
	CHECK_OK(gpu_attend_back(&gpu, grad, grad + b.H * b.D, grad + (b.H + b.G) * b.D, b.stride, dev16(dout, nq), b.qkv, keys_of(&b), values_of(&b), b.stride, out,
				 lse, b.dcu, b.nseq, b.longest, device_copy(NULL, gpu_attend_back_scratch(b.T, b.H, b.G, b.D)), b.T, b.H, b.G, b.D));
	ops_plain.attend_back(NULL, dq, dk, dv, dout, b.q, b.k, b.v, back16(out, nq), back32(lse, (size_t)b.T * b.H), b.cu, b.nseq, b.H, b.G, b.D);
	back = back16(grad, (size_t)b.T * b.stride);
	CHECK_ALIKE(gather(back, b.stride, 0, b.T, b.H * b.D), dq, nq, 1 - 2e-5, 1e-3, 1 / 100.0);
	CHECK_ALIKE(gather(back, b.stride, b.H * b.D, b.T, b.G * b.D), dk, nk, 1 - 2e-5, 1e-3, 1 / 100.0);
	CHECK_ALIKE(gather(back, b.stride, (b.H + b.G) * b.D, b.T, b.G * b.D), dv, nk, 1 - 2e-5, 1e-3, 1 / 100.0);
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
	RUN(one_token_has_no_gradient_of_its_score);
	RUN(lengths_around_tiles);
	RUN(heads_share_keys);
	return device_done();
}
