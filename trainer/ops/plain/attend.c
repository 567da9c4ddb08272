/* attend.c - causal attention over packed sequences, plain
 *
 * Backward: with p = softmax row, dp_j = dout . v_j and delta = sum_j p_j dp_j = dout . out,
 * ds_j = p_j (dp_j - delta); dq = scale sum ds_j k_j, dk_j += scale ds_j q, dv_j += p_j dout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
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

/* A page is [KV_PAGE,G,D] keys, then as many values. */
size_t
plain_kv_floats(int G, int D)
{
	return (size_t)2 * KV_PAGE * G * D;
}

void
plain_kv_put(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D)
{
	size_t row = (size_t)G * D;
	int i, t;

	(void)m;
	for (i = 0; i < nspans; i++)
		for (t = s[i].past; t < s[i].past + s[i].n; t++, k += row, v += row) {
			float *keys = s[i].page[t / KV_PAGE] + at;

			memcpy(keys + t % KV_PAGE * row, k, row * sizeof *k);
			memcpy(keys + (KV_PAGE + t % KV_PAGE) * row, v, row * sizeof *v);
		}
}

/* Tokens 0..n of a sequence, as kv_put had them: k, v[n,G,D]. */
static void
gather(float *k, float *v, float *const *page, size_t at, size_t n, size_t row)
{
	for (size_t t = 0; t < n; t++) {
		const float *keys = page[t / KV_PAGE] + at;

		memcpy(k + t * row, keys + t % KV_PAGE * row, row * sizeof *k);
		memcpy(v + t * row, keys + (KV_PAGE + t % KV_PAGE) * row, row * sizeof *v);
	}
}

static void
attend_span(float *out, const float *q, const struct kv_span *s, size_t at, int H, int G, int D)
{
	size_t row = (size_t)G * D, n = s->past + s->n;
	float *k = xreallocarray(NULL, n * row, sizeof *k), *v = xreallocarray(NULL, n * row, sizeof *v);
	int t, h;

	gather(k, v, s->page, at, n, row);
	for (t = 0; t < s->n; t++)
		for (h = 0; h < H; h++, q += D, out += D) {
			size_t first = (size_t)(h / (H / G)) * D;

			attend_row(out, q, k + first, v + first, s->past + t + 1, row, D);
		}
	free(k);
	free(v);
}

void
plain_attend_cached(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D)
{
	size_t rows = 0;
	int i;

	(void)m;
	for (i = 0; i < nspans; rows += s[i++].n)
		attend_span(out + rows * H * D, q + rows * H * D, &s[i], at, H, G, D);
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
