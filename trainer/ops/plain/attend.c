/* attend.c - causal attention over packed sequences, plain
 *
 * Backward: with p = softmax row, dp_j = dout . v_j and delta = sum_j p_j dp_j = dout . out,
 * ds_j = p_j (dp_j - delta); dq = scale sum ds_j k_j, dk_j += scale ds_j q, dv_j += p_j dout. */
#include <math.h>
#include <string.h>

#include "plain.h"

static double
dot(const float *a, const float *b, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* One query against n keys. Scores are computed three times instead of kept. Returns the log of the sum. */
static double
attend_row(float *out, const float *q, const float *k, const float *v, size_t n, size_t stride, int D)
{
	double scale = 1 / sqrt(D), max = -INFINITY, sum = 0;
	size_t j;
	int i;

	for (j = 0; j < n; j++)
		max = fmax(max, scale * dot(q, k + j * stride, D));
	for (j = 0; j < n; j++)
		sum += exp(scale * dot(q, k + j * stride, D) - max);
	memset(out, 0, D * sizeof *out);
	for (j = 0; j < n; j++) {
		double p = exp(scale * dot(q, k + j * stride, D) - max) / sum;

		for (i = 0; i < D; i++)
			out[i] += p * v[j * stride + i];
	}
	return max + log(sum);
}

void
plain_attend(struct mach *m, float *out, float *lse, const float *q, const float *k, const float *v, const int *cu, int nseq, int H, int G, int D)
{
	int s, t, h;

	(void)m;
	for (s = 0; s < nseq; s++)
		for (t = cu[s]; t < cu[s + 1]; t++)
			for (h = 0; h < H; h++) {
				size_t row = (size_t)t * H + h, first = ((size_t)cu[s] * G + h / (H / G)) * D;

				lse[row] = attend_row(out + row * D, q + row * D, k + first, v + first, t - cu[s] + 1, (size_t)G * D, D);
			}
}

void
plain_attend_cached(struct mach *m, float *out, const float *q, const float *kc, const float *vc, int past, int n, int H, int G, int D)
{
	int t, h;

	(void)m;
	for (t = 0; t < n; t++)
		for (h = 0; h < H; h++) {
			size_t row = (size_t)t * H + h, first = (size_t)(h / (H / G)) * D;

			attend_row(out + row * D, q + row * D, kc + first, vc + first, past + t + 1, (size_t)G * D, D);
		}
}

static void
back_row(float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v, const float *out, float lse, size_t n, size_t stride, int D)
{
	double scale = 1 / sqrt(D), delta = dot(dout, out, D);
	size_t j;
	int i;

	memset(dq, 0, D * sizeof *dq);
	for (j = 0; j < n; j++, k += stride, v += stride, dk += stride, dv += stride) {
		double p = exp(scale * dot(q, k, D) - lse);
		double ds = scale * p * (dot(dout, v, D) - delta);

		for (i = 0; i < D; i++) {
			dq[i] += ds * k[i];
			dk[i] += ds * q[i];
			dv[i] += p * dout[i];
		}
	}
}

void
plain_attend_back(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		  const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D)
{
	int s, t, h;

	(void)m;
	memset(dk, 0, (size_t)cu[nseq] * G * D * sizeof *dk);
	memset(dv, 0, (size_t)cu[nseq] * G * D * sizeof *dv);
	for (s = 0; s < nseq; s++)
		for (t = cu[s]; t < cu[s + 1]; t++)
			for (h = 0; h < H; h++) {
				size_t row = (size_t)t * H + h, first = ((size_t)cu[s] * G + h / (H / G)) * D;

				back_row(dq + row * D, dk + first, dv + first, dout + row * D, q + row * D, k + first, v + first, out + row * D, lse[row],
					 t - cu[s] + 1, (size_t)G * D, D);
			}
}
