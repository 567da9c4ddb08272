/* oracle.h - random inputs, distances and slopes: what the tests of operations share */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdint.h>

#include "cpu/isa.h"
#include "op.h"
#include "t.h"

static struct mach *one, *three;	/* machines of one and of three threads */
static uint64_t state = 1;

/* Uniform in -1..1. */
static inline float
rnd(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (float)(state >> 40) / (1 << 23) - 1;
}

static inline float *
noise(size_t n)
{
	float *p = malloc(n * sizeof *p);
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = rnd();
	return p;
}

static inline float *
copy(const float *x, size_t n)
{
	return memcpy(malloc(n * sizeof *x), x, n * sizeof *x);
}

/* The largest difference, as a part of the largest value. NaN counts as infinite. */
static inline double
off(const float *got, const float *want, size_t n)
{
	double most = 0, diff = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (isnan(got[i]) != isnan(want[i]))
			return INFINITY;
		most = fmax(most, fabs(want[i]));
		diff = fmax(diff, fabs((double)got[i] - want[i]));
	}
	return diff / (most > 0 ? most : 1);
}

static inline double
weighed(const float *x, const float *by, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (double)x[i] * by[i];
	return sum;
}

#define TOL 3e-6
#define CHECK_CLOSE(got, want, n) CHECK_NUM(off(got, want, n), 0, TOL)
#define CHECK_SAME(a, b, n) CHECK(memcmp(a, b, (n) * sizeof *(a)) == 0)

/* d/dx[i] of loss(arg), by central differences of +-h, against grad[i] for all i. */
static inline void
check_slope(const char *what, float *x, const float *grad, size_t n, float h, double (*loss)(void *arg), void *arg)
{
	double most = 0, diff = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		float was = x[i], up, down;
		double a, b;

		x[i] = up = was + h;
		a = loss(arg);
		x[i] = down = was - h;
		b = loss(arg);
		x[i] = was;
		most = fmax(most, fabs(grad[i]));
		diff = fmax(diff, fabs(grad[i] - (a - b) / ((double)up - down)));
	}
	if (!CHECK(diff <= 2e-3 * most + 1e-6))
		printf("#   slope of %s: off by %g, largest %g\n", what, diff, most);
}

static inline int
oracle_main(void (*tests)(void))
{
	one = mach_new(1);
	three = mach_new(3);
	tests();
	mach_free(one);
	mach_free(three);
	return t_done();
}

/* Call `test` with every instruction set that is here. */
static inline void
each_isa(void (*test)(void))
{
	enum isa was = isa_now();

	for (enum isa i = 0; i < ISA_COUNT; i++) {
		int bad = t_bad;

		if (!isa_usable(i))
			continue;
		isa_use(i);
		test();
		if (t_bad > bad)
			printf("#   SA_CPU=%s\n", isa_names[i]);
	}
	isa_use(was);
}

#endif
