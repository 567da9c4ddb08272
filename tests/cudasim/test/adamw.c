/* adamw.c - updates against ops_plain, with the weight whole or in two halves and moments in float32 or bf16 */
#include "compare.h"

enum { N = 4 * 2053, STEPS = 3 };

struct run {
	float *w, *m, *v;	/* the plain one's */
	struct gpu_adamw a;
	float *gscale;
};

static struct run
run_of(int halves, int moments16, float size)
{
	struct run r = { noise(N), host_alloc(N * sizeof(float)), host_alloc(N * sizeof(float)), { .n = N, .first = 1000 }, NULL };

	for (int i = 0; i < N; i++)
		r.w[i] *= size;
	r.gscale = device_copy(&(float){ 0.5f }, sizeof(float));
	r.a.copy = device_copy(NULL, N * 2);
	if (halves) {
		r.a.low = device_copy(NULL, N * 2);
		CHECK_OK(gpu_adamw_split(&gpu, r.a.copy, r.a.low, dev32(r.w, N), N));
	} else {
		r.a.master = dev32(r.w, N);
	}
	if (moments16) {
		r.a.m16 = dev16(r.m, N);
		r.a.v16 = dev16(r.v, N);
	} else {
		r.a.m = dev32(r.m, N);
		r.a.v = dev32(r.v, N);
	}
	return r;
}

static float *
weights(const struct run *r)
{
	float *w = dev32(NULL, N);

	if (r->a.master)
		return back32(r->a.master, N);
	CHECK_OK(gpu_adamw_join(&gpu, w, r->a.copy, r->a.low, N));
	return back32(w, N);
}

static void
steps(struct run *r, float lr, float decay)
{
	for (long step = 1; step <= STEPS; step++) {
		float *g = noise(N);

		CHECK_OK(gpu_adamw(&gpu, &r->a, dev32(g, N), r->gscale, lr, 0.9f, 0.999f, 1e-8f, decay, step, 42));
		ops_plain.adamw(NULL, r->w, g, r->m, r->v, N, 0.5f, lr, 0.9f, 0.999f, 1e-8f, decay, step);
	}
}

static float *
change(const float *now, const float *was)
{
	float *d = host_alloc(N * sizeof *d);

	for (int i = 0; i < N; i++)
		d[i] = now[i] - was[i];
	return d;
}

/* What is compared is the change, not the weight, of which it is a small part. Small weights, so that it is not lost in their rounding. */
static void
updates_equal_plain(void)
{
	for (int halves = 0; halves < 2; halves++) {
		struct run r = run_of(halves, 0, 1e-3f);
		float *was = copy(r.w, N), *now, *bf16 = host_alloc(N * sizeof *bf16), *copied;

		steps(&r, 1e-3f, 0.1f);
		now = weights(&r);
		CHECK_F32(change(now, was), change(r.w, was), N);
		CHECK_F32(back32(r.a.m, N), r.m, N);
		CHECK_F32(back32(r.a.v, N), r.v, N);
		copied = back16(r.a.copy, N);
		for (int i = 0; i < N; i++)
			bf16[i] = from_bf16(to_bf16(now[i]));
		CHECK_ALIKE(copied, bf16, N, 1 - 1e-6, 1e-6, halves ? 1.0 / 256 : 0);	/* ties differ */
	}
}

/* Both ways of keeping the weight give the same bits. */
static void
halves_are_exactly_the_whole(void)
{
	struct run a = run_of(0, 0, 1), b = run_of(1, 0, 1);
	float *w = weights(&a);

	b.a.copy = device_copy(NULL, N * 2);
	CHECK_OK(gpu_adamw_split(&gpu, b.a.copy, b.a.low, a.a.master, N));
	CHECK(!memcmp(weights(&b), w, N * sizeof *w));
	for (long step = 1; step <= STEPS; step++) {
		float *g = dev32(noise(N), N);

		CHECK_OK(gpu_adamw(&gpu, &a.a, g, NULL, 6e-7f, 0.9f, 0.999f, 1e-8f, 0, step, 1));
		CHECK_OK(gpu_adamw(&gpu, &b.a, g, NULL, 6e-7f, 0.9f, 0.999f, 1e-8f, 0, step, 2));
	}
	CHECK(!memcmp(weights(&a), weights(&b), N * sizeof *w));
}

/* Every bit pattern's upper half, with low halves around the middle, comes back. */
static void
splitting_loses_nothing(void)
{
	enum { LOWS = 5 };
	static const uint16_t lows[LOWS] = { 0, 1, 0x7fff, 0x8000, 0xffff };
	size_t n = 65536 * LOWS;
	uint32_t *u = host_alloc(n * sizeof *u), *back;
	uint16_t *gcopy = device_copy(NULL, n * 2), *glow = device_copy(NULL, n * 2), *half;
	float *w, *gw = dev32(NULL, n);
	int wrong = 0, far = 0;

	for (size_t i = 0; i < n; i++)
		u[i] = (uint32_t)(i / LOWS) << 16 | lows[i % LOWS];
	w = (float *)u;
	CHECK_OK(gpu_adamw_split(&gpu, gcopy, glow, dev32(w, n), n));
	CHECK_OK(gpu_adamw_join(&gpu, gw, gcopy, glow, n));
	back = device_back(gw, n * sizeof *back);
	half = device_back(gcopy, n * sizeof *half);
	for (size_t i = 0; i < n; i++) {
		wrong += back[i] != u[i];
		if (isfinite(w[i]) && isfinite(from_bf16(half[i])) && isfinite(from_bf16(to_bf16(w[i]))))
			far += fabs((double)from_bf16(half[i]) - w[i]) > fabs((double)from_bf16(to_bf16(w[i])) - w[i]);
	}
	CHECK_INT(wrong, 0);
	CHECK_INT(far, 0);	/* the half is the nearest bf16 number, or one of the two nearest */
}

/* lr 6e-7: 200 steps move the master as float32 arithmetic does; the bf16 copy alone would hardly move (pitfall 6 of fine-tuning in bf16). */
static void
small_steps_are_not_lost(void)
{
	struct run r = run_of(1, 0, 0.02f);
	float *was = copy(r.w, N), *g = noise(N), *gg = dev32(g, N), *want;
	uint16_t *copy0 = device_back(r.a.copy, N * 2), *copy1;
	int moved = 0;

	for (long step = 1; step <= 50; step++) {
		CHECK_OK(gpu_adamw(&gpu, &r.a, gg, NULL, 6e-7f, 0.9f, 0.999f, 1e-8f, 0, step, 42));
		ops_plain.adamw(NULL, r.w, g, r.m, r.v, N, 1, 6e-7f, 0.9f, 0.999f, 1e-8f, 0, step);
	}
	want = change(r.w, was);
	CHECK_ALIKE(change(weights(&r), was), want, N, 1 - 1e-5, 1e-3, 2e-3);
	copy1 = device_back(r.a.copy, N * 2);
	for (int i = 0; i < N; i++)
		moved += copy0[i] != copy1[i];
	CHECK(moved < N);
}

/* On average nothing is lost; each moment is one of the two bf16 numbers around the exact one. */
static void
moments_are_rounded_by_chance(void)
{
	struct run r = run_of(0, 1, 1e-3f);
	float *was = copy(r.w, N), *g = noise(N), *m, *v;
	double bias = 0, size = 0;
	int outside = 0;

	CHECK_OK(gpu_adamw(&gpu, &r.a, dev32(g, N), NULL, 1e-3f, 0.9f, 0.999f, 1e-8f, 0, 1, 42));
	ops_plain.adamw(NULL, r.w, g, r.m, r.v, N, 1, 1e-3f, 0.9f, 0.999f, 1e-8f, 0, 1);
	CHECK_F32(change(weights(&r), was), change(r.w, was), N);	/* the update itself is made of the exact ones */
	m = back16(r.a.m16, N);
	v = back16(r.a.v16, N);
	for (int i = 0; i < N; i++) {
		outside += fabs(m[i] - r.m[i]) > fabs(r.m[i]) / 127 || fabs(v[i] - r.v[i]) > r.v[i] / 127;
		bias += v[i] - r.v[i];
		size += r.v[i];
	}
	CHECK_INT(outside, 0);
	CHECK_NUM(bias / size, 0, 3e-4);	/* half a bit would be 2e-3 */
	steps(&r, 1e-3f, 0);
	CHECK_ALIKE(change(weights(&r), was), change(r.w, was), N, 0.9999, 5e-3, 0.1);
}

static void
other_calls_are_refused(void)
{
	struct run r = run_of(0, 0, 1);
	struct gpu_adamw a = r.a;

	a.n = 6;
	CHECK_INT(gpu_adamw(&gpu, &a, NULL, NULL, 1, 0.9f, 0.999f, 1e-8f, 0, 1, 1), -1);
	CHECK_INT(gpu_adamw(&gpu, &r.a, NULL, NULL, 1, 0.9f, 0.999f, 1e-8f, 0, 0, 1), -1);
	a = r.a;
	a.master = NULL;
	CHECK_INT(gpu_adamw(&gpu, &a, NULL, NULL, 1, 0.9f, 0.999f, 1e-8f, 0, 1, 1), -1);
	a = r.a;
	a.v = NULL;
	CHECK_INT(gpu_adamw(&gpu, &a, NULL, NULL, 1, 0.9f, 0.999f, 1e-8f, 0, 1, 1), -1);
}

int
main(void)
{
	device_begin();
	RUN(updates_equal_plain);
	RUN(halves_are_exactly_the_whole);
	RUN(splitting_loses_nothing);
	RUN(small_steps_are_not_lost);
	RUN(moments_are_rounded_by_chance);
	RUN(other_calls_are_refused);
	return device_done();
}
