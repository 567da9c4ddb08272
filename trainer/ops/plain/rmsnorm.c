/* rmsnorm.c - root mean square normalisation, plain
 *
 * With r = rstd[t] and y = x r: d loss/d x_c = r (w_c dout_c - y_c mean_j(w_j dout_j y_j)). */
#include <math.h>

#include "plain.h"

void
plain_rmsnorm(struct mach *m, float *out, float *rstd, const float *x, const float *w, float eps, int T, int C)
{
	int t, c;

	(void)m;
	for (t = 0; t < T; t++, x += C, out += C) {
		double sum = 0;
		float r;

		for (c = 0; c < C; c++)
			sum += (double)x[c] * x[c];
		r = 1 / sqrt(sum / C + eps);
		for (c = 0; c < C; c++)
			out[c] = x[c] * r * w[c];
		if (rstd)
			rstd[t] = r;
	}
}

void
plain_rmsnorm_back(struct mach *m, float *dx_acc, float *dw_acc, const float *dout, const float *x, const float *w, const float *rstd, int T, int C)
{
	int t, c;

	(void)m;
	for (t = 0; t < T; t++, x += C, dout += C, dx_acc += C) {
		double r = rstd[t], dot = 0;

		for (c = 0; c < C; c++)
			dot += (double)w[c] * dout[c] * x[c] * r;
		for (c = 0; c < C; c++) {
			dx_acc[c] += r * ((double)w[c] * dout[c] - x[c] * r * dot / C);
			if (dw_acc)
				dw_acc[c] += dout[c] * x[c] * r;
		}
	}
}
