/* swiglu.c - silu(gate) * up, plain. silu(g) = g s with s = 1 / (1 + exp(-g)); its derivative is s (1 + g (1 - s)). */
#include <math.h>

#include "plain.h"

void
plain_swiglu(struct mach *m, float *out, const float *gate, const float *up, int T, int F)
{
	size_t i, n = (size_t)T * F;

	(void)m;
	for (i = 0; i < n; i++)
		out[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
}

void
plain_swiglu_back(struct mach *m, float *dgate, float *dup, const float *dout, const float *gate, const float *up, int T, int F)
{
	size_t i, n = (size_t)T * F;

	(void)m;
	for (i = 0; i < n; i++) {
		double g = gate[i], s = 1 / (1 + exp(-g)), d = dout[i];

		dgate[i] = d * up[i] * s * (1 + g * (1 - s));
		dup[i] = d * g * s;
	}
}
