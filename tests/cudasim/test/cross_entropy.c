/* cross_entropy.c - softmax cross entropy and its gradient against ops_plain */
#include "compare.h"

struct batch {
	int T, V, Vp, *target;
	float *wide, *own;	/* rows Vp apart; rows V apart */
};

static struct batch
batch_of(int T, int V, int Vp, float size)
{
	struct batch b = { T, V, Vp, host_alloc(T * sizeof *b.target), host_alloc((size_t)T * Vp * sizeof *b.wide), host_alloc((size_t)T * V * sizeof *b.own) };

	for (int t = 0; t < T; t++) {
		b.target[t] = t == 0 ? V - 1 : t * 31 % V;
		for (int v = 0; v < Vp; v++)
			b.wide[(size_t)t * Vp + v] = v < V ? from_bf16(to_bf16(size * rnd())) : 1e30f;	/* would be the maximum */
		memcpy(b.own + (size_t)t * V, b.wide + (size_t)t * Vp, V * sizeof *b.own);
	}
	return b;
}

static void
compare(struct batch b, const float *weight, float scale)
{
	size_t n = (size_t)b.T * b.Vp;
	float *loss = noise(b.T), *gloss = dev32(NULL, b.T), *back;
	uint16_t *g = dev16(b.wide, n);
	double sum, one = 1, *gsum = device_copy(&one, sizeof one);
	const float *gweight = weight ? dev32(weight, b.T) : NULL;

	CHECK_OK(gpu_cross_entropy(&gpu, g, gloss, device_copy(b.target, b.T * sizeof *b.target), gweight, scale, b.T, b.V, b.Vp));
	CHECK_OK(gpu_sum(&gpu, gsum, gloss, gweight, b.T));
	sum = ops_plain.cross_entropy(NULL, b.own, loss, b.target, weight, scale, b.T, b.V);
	back = back16(g, n);
	for (int t = 0; t < b.T; t++) {
		CHECK_BF16(back + (size_t)t * b.Vp, b.own + (size_t)t * b.V, b.V);
		for (int v = b.V; v < b.Vp; v++)
			CHECK(back[(size_t)t * b.Vp + v] == 0);
	}
	CHECK_F32(back32(gloss, b.T), loss, b.T);
	CHECK_NUM(*(double *)device_back(gsum, sizeof *gsum), 1 + sum, 1e-5 * fabs(sum));
}

static void
it_equals_plain(void)
{
	compare(batch_of(1, 1, 8, 1), NULL, 1);
	compare(batch_of(37, 8, 8, 4), noise(37), 0.25f);
	compare(batch_of(9, 5003, 5008, 4), NULL, 1.0f / 9);
	compare(batch_of(5, 4099, 4104, 30), noise(5), 1);
}

/* Row 0's target is far above all others, row 1's far below: a loss of 0 and of 20,000. */
static void
logits_of_1e4_are_finite(void)
{
	struct batch b = batch_of(2, 515, 520, 1);
	float high = from_bf16(to_bf16(1e4f));

	b.wide[b.target[0]] = b.own[b.target[0]] = high;
	for (int v = 0; v < b.V; v++)
		b.wide[b.Vp + v] = b.own[b.V + v] = v == b.target[1] ? -high : v == 3 ? high : 0;
	compare(b, NULL, 1);
}

/* A NaN among the logits is not hidden. */
static void
nan_comes_out(void)
{
	struct batch b = batch_of(1, 40, 40, 1);
	float *gloss = dev32(NULL, 1);
	int finite = 0;

	b.wide[5] = NAN;
	CHECK_OK(gpu_cross_entropy(&gpu, dev16(b.wide, 40), gloss, device_copy(b.target, sizeof *b.target), NULL, 1, 1, 40, 40));
	finite = isfinite(*back32(gloss, 1));
	CHECK_INT(finite, 0);
}

static void
sums_are_in_float64(void)
{
	enum { N = 100003 };
	float *x = noise(N);
	double want = 5, *sum = device_copy(&want, sizeof want);

	CHECK_OK(gpu_sum(&gpu, sum, dev32(x, N), NULL, N));
	for (int i = 0; i < N; i++)
		want += x[i];
	CHECK_NUM(*(double *)device_back(sum, sizeof *sum), want, 1e-9);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_cross_entropy(&gpu, NULL, NULL, NULL, NULL, 1, 4, 10, 12), -1);
	CHECK_INT(gpu_cross_entropy(&gpu, NULL, NULL, NULL, NULL, 1, 4, 10, 8), -1);
	CHECK_INT(gpu_cross_entropy(&gpu, NULL, NULL, NULL, NULL, 1, 0, 10, 16), 0);
}

int
main(void)
{
	device_begin();
	RUN(it_equals_plain);
	RUN(logits_of_1e4_are_finite);
	RUN(nan_comes_out);
	RUN(sums_are_in_float64);
	RUN(other_sizes_are_refused);
	return device_done();
}
