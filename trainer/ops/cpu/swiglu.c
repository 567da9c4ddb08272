/* swiglu.c - silu(gate) * up, threaded */
#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *out, *dgate, *dup;
	const float *dout, *gate, *up;
	size_t n;
};

CLONES static void
forward_some(float *out, const float *gate, const float *up, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] = gate[i] / (1 + fast_exp(-gate[i])) * up[i];
}

static void
forward(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to;

	mach_range(j->n, LANES, part, parts, &from, &to);
	forward_some(j->out + from, j->gate + from, j->up + from, to - from);
}

void
cpu_swiglu(struct mach *m, float *out, const float *gate, const float *up, int T, int F)
{
	struct job j = { .out = out, .gate = gate, .up = up, .n = (size_t)T * F };

	mach_run_if(m, 10.0 * j.n, forward, &j);
}

CLONES static void
back_some(float *restrict dgate, float *restrict dup, const float *dout, const float *gate, const float *up, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		float g = gate[i], s = 1 / (1 + fast_exp(-g)), d = dout[i];

		dgate[i] = d * up[i] * s * (1 + g * (1 - s));
		dup[i] = d * g * s;
	}
}

static void
back(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to;

	mach_range(j->n, LANES, part, parts, &from, &to);
	back_some(j->dgate + from, j->dup + from, j->dout + from, j->gate + from, j->up + from, to - from);
}

void
cpu_swiglu_back(struct mach *m, float *dgate, float *dup, const float *dout, const float *gate, const float *up, int T, int F)
{
	struct job j = { .dgate = dgate, .dup = dup, .dout = dout, .gate = gate, .up = up, .n = (size_t)T * F };

	mach_run_if(m, 16.0 * j.n, back, &j);
}
