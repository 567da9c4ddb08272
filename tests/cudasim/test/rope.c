/* rope.c - rotary embedding against ops_plain */
#include "compare.h"

static float *
frequencies(int D, float theta)
{
	float *f = host_alloc(D / 2 * sizeof *f);

	for (int i = 0; i < D / 2; i++)
		f[i] = powf(theta, -2.0f * i / D);
	return f;
}

/* Rows of q, k and v together: only the first `heads` turn. Positions begin anew, and pass 8192. */
static void
turn(int T, int heads, int D, int stride, int sign)
{
	float *x = noise16((size_t)T * stride), *want = copy(x, (size_t)T * stride), *own = host_alloc((size_t)heads * D * sizeof *own), *freq = frequencies(D, 500000);
	uint16_t *gx = dev16(x, (size_t)T * stride);
	int *pos = host_alloc(T * sizeof *pos);

	for (int t = 0; t < T; t++)
		pos[t] = t < T / 2 ? t * 37 : 120000 + t;
	CHECK_OK(gpu_rope(&gpu, gx, stride, device_copy(pos, T * sizeof *pos), dev32(freq, D / 2), sign, T, heads, D));
	for (int t = 0; t < T; t++) {
		memcpy(own, want + (size_t)t * stride, (size_t)heads * D * sizeof *own);
		ops_plain.rope(NULL, own, pos + t, freq, sign, 1, heads, D);
		memcpy(want + (size_t)t * stride, own, (size_t)heads * D * sizeof *own);
	}
	CHECK_BF16(back16(gx, (size_t)T * stride), want, (size_t)T * stride);
}

static void
rope_equals_plain(void)
{
	turn(1, 1, 64, 64, 1);
	turn(80, 5, 64, 5 * 64, 1);
	turn(41, 9, 128, 9 * 128 + 256, 1);
	turn(33, 4, 16, 4 * 16 + 8, 1);
	turn(41, 9, 128, 9 * 128 + 256, -1);
}

static void
backward_undoes_forward(void)
{
	enum { T = 50, H = 3, D = 64, N = T * H * D };
	float *x = noise16(N), *freq = dev32(frequencies(D, 10000), D / 2);
	uint16_t *gx = dev16(x, N);
	int pos[T], *gpos;

	for (int t = 0; t < T; t++)
		pos[t] = t * 11;
	gpos = device_copy(pos, sizeof pos);
	CHECK_OK(gpu_rope(&gpu, gx, H * D, gpos, freq, 1, T, H, D));
	CHECK_OK(gpu_rope(&gpu, gx, H * D, gpos, freq, -1, T, H, D));
	CHECK_ALIKE(back16(gx, N), x, N, 1 - 1e-5, 1e-3, 1.0 / 64);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_rope(&gpu, NULL, 128, NULL, NULL, 1, 4, 2, 72), -1);
	CHECK_INT(gpu_rope(&gpu, NULL, 64, NULL, NULL, 1, 4, 2, 64), -1);
	CHECK_INT(gpu_rope(&gpu, NULL, 128, NULL, NULL, 1, 0, 2, 64), 0);
}

int
main(void)
{
	device_begin();
	RUN(rope_equals_plain);
	RUN(backward_undoes_forward);
	RUN(other_sizes_are_refused);
	return device_done();
}
