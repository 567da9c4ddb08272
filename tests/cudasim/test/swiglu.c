/* swiglu.c - silu(gate) * up against ops_plain */
#include "compare.h"

static const int shapes[][2] = { { 1, 8 }, { 80, 264 }, { 33, 1000 } };

/* Gates up to 60: exp(60) is large, exp(-60) small, neither is infinite; the products are finite. */
static float *
gates(int T, int F)
{
	float *x = noise16((size_t)T * 2 * F);

	for (int t = 0; t < T; t++)
		for (int f = 0; f < F; f += 5)
			x[(size_t)t * 2 * F + f] = from_bf16(to_bf16(60 * x[(size_t)t * 2 * F + f]));
	return x;
}

static float *
half(const float *x, int T, int F, int which)
{
	float *h = host_alloc((size_t)T * F * sizeof *h);

	for (int t = 0; t < T; t++)
		memcpy(h + (size_t)t * F, x + ((size_t)t * 2 + which) * F, F * sizeof *h);
	return h;
}

static void
forward_equals_plain(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], F = shapes[s][1], n = T * F;
		float *x = gates(T, F), *out = noise(n);
		uint16_t *gout = device_copy(NULL, n * 2);

		CHECK_OK(gpu_swiglu(&gpu, gout, dev16(x, 2 * n), T, F));
		ops_plain.swiglu(NULL, out, half(x, T, F, 0), half(x, T, F, 1), T, F);
		CHECK_BF16(back16(gout, n), out, n);
	}
}

/* With and without the forward's result again; in place or not. */
static void
backward_equals_plain(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
		for (int in_place = 0; in_place < 2; in_place++) {
			int T = shapes[s][0], F = shapes[s][1], n = T * F;
			float *x = gates(T, F), *dout = noise16(n), *out = noise(n), *dgate = noise(n), *dup = noise(n), *back;
			float *gate = half(x, T, F, 0), *up = half(x, T, F, 1);
			uint16_t *gx = dev16(x, 2 * n), *gd = in_place ? gx : device_copy(NULL, n * 4), *gout = in_place ? device_copy(NULL, n * 2) : NULL;

			CHECK_OK(gpu_swiglu_back(&gpu, gd, gout, dev16(dout, n), gx, T, F));
			ops_plain.swiglu(NULL, out, gate, up, T, F);
			ops_plain.swiglu_back(NULL, dgate, dup, dout, gate, up, T, F);
			back = back16(gd, 2 * n);
			CHECK_BF16(half(back, T, F, 0), dgate, n);
			CHECK_BF16(half(back, T, F, 1), dup, n);
			if (gout)
				CHECK_BF16(back16(gout, n), out, n);
		}
}

/* exp overflows in float below -88: the result is 0, not NaN. */
static void
large_gates_are_finite(void)
{
	float x[16], out[8];
	uint16_t *gout = device_copy(NULL, 16);

	for (int i = 0; i < 8; i++) {
		x[i] = i % 2 ? 1e4f : -1e4f;
		x[i + 8] = 1;
		out[i] = i % 2 ? from_bf16(to_bf16(1e4f)) : 0;
	}
	CHECK_OK(gpu_swiglu(&gpu, gout, dev16(x, 16), 1, 8));
	CHECK_BF16(back16(gout, 8), out, 8);
	CHECK_OK(gpu_swiglu_back(&gpu, device_copy(NULL, 32), gout, dev16(out, 8), dev16(x, 16), 1, 8));
	CHECK_BF16(back16(gout, 8), out, 8);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_swiglu(&gpu, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_swiglu_back(&gpu, NULL, NULL, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_swiglu(&gpu, NULL, NULL, 0, 16), 0);
}

int
main(void)
{
	device_begin();
	RUN(forward_equals_plain);
	RUN(backward_equals_plain);
	RUN(large_gates_are_finite);
	RUN(other_sizes_are_refused);
	return device_done();
}
