/* products.c - matrix products over a checkpoint's rows, plain: weights widened, x as it is, sums in fp64 */
#include <stdlib.h>

#include "err.h"
#include "plain.h"

void
plain_gather(struct mach *m, float *out, const struct matrix *table, const int *ids, int T)
{
	int t;

	(void)m;
	for (t = 0; t < T; t++)
		matrix_floats(out + (size_t)t * table->K, table, ids[t], 0, table->K);
}

static void
product(const struct product *p, const float *x, int T)
{
	int K = p->w->K, N = p->w->N, t, n, k;
	float *row = xcalloc(K, sizeof *row);

	for (n = 0; n < N; n++) {
		matrix_floats(row, p->w, n, 0, K);
		for (t = 0; t < T; t++) {
			double sum = p->bias ? p->bias[n] : 0;

			for (k = 0; k < K; k++)
				sum += (double)x[(size_t)t * K + k] * row[k];
			p->out[(size_t)t * N + n] = sum;
		}
	}
	free(row);
}

void
plain_products(struct mach *m, const struct product *p, int n, const float *x, int T)
{
	int i;

	(void)m;
	for (i = 0; i < n; i++)
		product(&p[i], x, T);
}
