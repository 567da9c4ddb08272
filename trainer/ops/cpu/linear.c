/* linear.c - matrix products of a layer, threaded */
#include <string.h>

#include "cpu.h"
#include "gemm.h"

static void
linear(struct mach *m, enum dtype d, float *out, const float *x, const float *w, const float *bias, int T, int K, int N)
{
	int t;

	for (t = 0; bias && t < T; t++)
		memcpy(out + (size_t)t * N, bias, N * sizeof *out);
	gemm(m, d, out, N, bias != NULL, (struct mat){ x, K, 1 }, (struct mat){ w, 1, K }, T, N, K);
}

static void
linear_back(struct mach *m, enum dtype d, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N)
{
	int t, n;

	if (dx)
		gemm(m, d, dx, K, accum_dx, (struct mat){ dout, N, 1 }, (struct mat){ w, K, 1 }, T, K, N);
	if (dw_acc)
		gemm(m, d, dw_acc, K, true, (struct mat){ dout, 1, N }, (struct mat){ x, K, 1 }, N, K, T);
	for (t = 0; dbias_acc && t < T; t++)
		for (n = 0; n < N; n++)
			dbias_acc[n] += dout[(size_t)t * N + n];
}

void
cpu_linear(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N)
{
	linear(m, DT_F32, out, x, w, bias, T, K, N);
}

void
cpu_linear_bf16(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N)
{
	linear(m, DT_BF16, out, x, w, bias, T, K, N);
}

void
cpu_linear_back(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N)
{
	linear_back(m, DT_F32, dx, accum_dx, dw_acc, dbias_acc, dout, x, w, T, K, N);
}

void
cpu_linear_back_bf16(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N)
{
	linear_back(m, DT_BF16, dx, accum_dx, dw_acc, dbias_acc, dout, x, w, T, K, N);
}
