/* rmsnorm.c - the norms against ops_plain */
#include "compare.h"

static const int shapes[][2] = { { 1, 8 }, { 3, 64 }, { 80, 264 }, { 150, 48 }, { 301, 8 } };

static void
forward_equals_plain(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], C = shapes[s][1], n = T * C;
		float *x = noise16(n), *w = noise16(C), *out = noise(n), *rstd = noise(T);
		uint16_t *dout = device_copy(NULL, n * 2);
		float *drstd = dev32(NULL, T);

		CHECK_OK(gpu_rmsnorm(&gpu, dout, drstd, NULL, dev16(x, n), NULL, dev16(w, C), 1e-5f, T, C));
		ops_plain.rmsnorm(NULL, out, rstd, x, w, 1e-5f, T, C);
		CHECK_BF16(back16(dout, n), out, n);
		CHECK_F32(back32(drstd, T), rstd, T);
	}
}

/* The sum is rounded, and what is normalised is the rounded sum. In place or not. */
static void
the_residual_is_added_first(void)
{
	enum { T = 37, C = 272, N = T * C };

	for (int in_place = 0; in_place < 2; in_place++) {
		float *x = noise16(N), *branch = noise16(N), *w = noise16(C), *sum = copy(x, N), *out = noise(N), *rstd = noise(T);
		uint16_t *dx = dev16(x, N), *dsum = in_place ? dx : device_copy(NULL, N * 2), *dout = device_copy(NULL, N * 2);
		float *drstd = dev32(NULL, T);

		CHECK_OK(gpu_rmsnorm(&gpu, dout, drstd, dsum, dx, dev16(branch, N), dev16(w, C), 1e-6f, T, C));
		for (int i = 0; i < N; i++)
			sum[i] = from_bf16(to_bf16(sum[i] + branch[i]));
		ops_plain.rmsnorm(NULL, out, rstd, sum, w, 1e-6f, T, C);
		CHECK(!memcmp(back16(dsum, N), sum, N * sizeof *sum));
		CHECK_BF16(back16(dout, N), out, N);
		CHECK_F32(back32(drstd, T), rstd, T);
	}
}

static void
backward_equals_plain(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], C = shapes[s][1], n = T * C;
		float *x = noise16(n), *w = noise16(C), *dout = noise16(n), *out = noise(n), *rstd = noise(T), *dx = noise16(n), *dw = noise(C);
		uint16_t *ddx = dev16(dx, n);
		float *ddw = dev32(dw, C);

		ops_plain.rmsnorm(NULL, out, rstd, x, w, 1e-5f, T, C);
		CHECK_OK(gpu_rmsnorm_back(&gpu, ddx, ddw, dev16(dout, n), dev16(x, n), dev16(w, C), dev32(rstd, T),
					  device_copy(NULL, gpu_rmsnorm_back_scratch(T, C)), T, C));
		ops_plain.rmsnorm_back(NULL, dx, dw, dout, x, w, rstd, T, C);
		CHECK_BF16(back16(ddx, n), dx, n);
		CHECK_F32(back32(ddw, C), dw, C);
	}
}

/* Serving keeps no rstd; a frozen weight has no gradient. */
static void
what_is_not_wanted_is_left_out(void)
{
	enum { T = 20, C = 64, N = T * C };
	float *x = noise16(N), *w = noise16(C), *dout = noise16(N), *out = noise(N), *rstd = noise(T), *dx = noise16(N), *dw = noise(C);
	uint16_t *gx = dev16(x, N), *gw = dev16(w, C), *gout = device_copy(NULL, N * 2), *gdx = dev16(dx, N);

	CHECK_OK(gpu_rmsnorm(&gpu, gout, NULL, NULL, gx, NULL, gw, 1e-5f, T, C));
	ops_plain.rmsnorm(NULL, out, rstd, x, w, 1e-5f, T, C);
	CHECK_BF16(back16(gout, N), out, N);
	CHECK_OK(gpu_headnorm(&gpu, gout, C, NULL, gx, C, gw, 1e-5f, T, 1, C));
	CHECK_BF16(back16(gout, N), out, N);
	CHECK_OK(gpu_rmsnorm_back(&gpu, gdx, NULL, dev16(dout, N), gx, gw, dev32(rstd, T), NULL, T, C));
	ops_plain.rmsnorm_back(NULL, dx, dw, dout, x, w, rstd, T, C);
	CHECK_BF16(back16(gdx, N), dx, N);
}

/* The heads of a fused row: gathered for the oracle. */
static float *
gather(const float *x, int stride, int T, int heads, int D)
{
	float *rows = host_alloc((size_t)T * heads * D * sizeof *rows);

	for (int t = 0; t < T; t++)
		memcpy(rows + (size_t)t * heads * D, x + (size_t)t * stride, (size_t)heads * D * sizeof *rows);
	return rows;
}

static void
heads_are_normalised_alone(void)
{
	enum { T = 53, H = 3, D = 64, STRIDE = H * D + 40, OUT = H * D + 8 };
	int rows = T * H, n = rows * D;
	float *x = noise16(T * STRIDE), *w = noise16(D), *own = gather(x, STRIDE, T, H, D), *out = noise(n), *rstd = noise(rows);
	float *dout = noise16(T * OUT), *dx = host_alloc(n * sizeof *dx), *dw = noise(D), *was = noise16(T * OUT);
	uint16_t *gx = dev16(x, T * STRIDE), *gout = dev16(was, T * OUT), *gw = dev16(w, D), *gd = dev16(dout, T * OUT);
	float *grstd = dev32(NULL, rows), *gdw = dev32(dw, D), *back;

	CHECK_OK(gpu_headnorm(&gpu, gout, OUT, grstd, gx, STRIDE, gw, 1e-6f, T, H, D));
	ops_plain.rmsnorm(NULL, out, rstd, own, w, 1e-6f, rows, D);
	back = back16(gout, T * OUT);
	CHECK_BF16(gather(back, OUT, T, H, D), out, n);
	CHECK(!memcmp(back + H * D, was + H * D, 8 * sizeof *was));	/* between the rows nothing is written */
	CHECK_F32(back32(grstd, rows), rstd, rows);

	CHECK_OK(gpu_headnorm_back(&gpu, gd, gdw, gd, OUT, gx, STRIDE, gw, grstd, device_copy(NULL, gpu_rmsnorm_back_scratch(rows, D)), T, H, D));
	ops_plain.rmsnorm_back(NULL, dx, dw, gather(dout, OUT, T, H, D), own, w, rstd, rows, D);
	CHECK_BF16(gather(back16(gd, T * OUT), OUT, T, H, D), dx, n);
	CHECK_F32(back32(gdw, D), dw, D);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_rmsnorm(&gpu, NULL, NULL, NULL, NULL, NULL, NULL, 1e-5f, 4, 12), -1);
	CHECK_INT(gpu_rmsnorm_back(&gpu, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_headnorm(&gpu, NULL, 64, NULL, NULL, 64, NULL, 1e-5f, 4, 2, 64), -1);
	CHECK_INT(gpu_rmsnorm(&gpu, NULL, NULL, NULL, NULL, NULL, NULL, 1e-5f, 0, 16), 0);
}

int
main(void)
{
	device_begin();
	RUN(forward_equals_plain);
	RUN(the_residual_is_added_first);
	RUN(backward_equals_plain);
	RUN(what_is_not_wanted_is_left_out);
	RUN(heads_are_normalised_alone);
	RUN(other_sizes_are_refused);
	return device_done();
}
