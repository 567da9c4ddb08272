/* linear.c - matrix products, plain */
#include "plain.h"

void
plain_linear(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N)
{
	int t, n, k;

	(void)m;
	for (t = 0; t < T; t++)
		for (n = 0; n < N; n++) {
			double sum = bias ? bias[n] : 0;

			for (k = 0; k < K; k++)
				sum += (double)x[(size_t)t * K + k] * w[(size_t)n * K + k];
			out[(size_t)t * N + n] = sum;
		}
}

static void
back_x(float *dx, int accum, const float *dout, const float *w, int T, int K, int N)
{
	int t, n, k;

	for (t = 0; t < T; t++)
		for (k = 0; k < K; k++) {
			double sum = accum ? dx[(size_t)t * K + k] : 0;

			for (n = 0; n < N; n++)
				sum += (double)dout[(size_t)t * N + n] * w[(size_t)n * K + k];
			dx[(size_t)t * K + k] = sum;
		}
}

static void
back_w(float *dw_acc, const float *dout, const float *x, int T, int K, int N)
{
	int t, n, k;

	for (n = 0; n < N; n++)
		for (k = 0; k < K; k++) {
			double sum = dw_acc[(size_t)n * K + k];

			for (t = 0; t < T; t++)
				sum += (double)dout[(size_t)t * N + n] * x[(size_t)t * K + k];
			dw_acc[(size_t)n * K + k] = sum;
		}
}

void
plain_linear_back(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N)
{
	int t, n;

	(void)m;
	if (dx)
		back_x(dx, accum_dx, dout, w, T, K, N);
	if (dw_acc)
		back_w(dw_acc, dout, x, T, K, N);
	for (t = 0; dbias_acc && t < T; t++)
		for (n = 0; n < N; n++)
			dbias_acc[n] += dout[(size_t)t * N + n];
}
