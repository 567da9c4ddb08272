/* rmsnorm.c - root mean square normalisation, threaded over tokens (and over columns where tokens are summed) */
#include <math.h>

#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *out, *rstd;
	const float *x, *w;
	float eps;
	int T, C;
};

CLONES static float
norm_row(float *out, const float *x, const float *w, float eps, size_t C)
{
	float r = 1 / sqrtf(lanes_dot(x, x, C) / C + eps);
	size_t c;

	for (c = 0; c < C; c++)
		out[c] = x[c] * r * w[c];
	return r;
}

static void
norm(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t t, to, C = j->C;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++) {
		float r = norm_row(j->out + t * C, j->x + t * C, j->w, j->eps, C);

		if (j->rstd)
			j->rstd[t] = r;
	}
}

void
cpu_rmsnorm(struct mach *m, float *out, float *rstd, const float *x, const float *w, float eps, int T, int C)
{
	mach_run_if(m, 2.0 * T * C, norm, &(struct job){ out, rstd, x, w, eps, T, C });
}

struct back {
	float *dx_acc, *dw_acc;
	const float *dout, *x, *w, *rstd;
	int T, C;
};

CLONES static void
back_row(float *dx_acc, const float *dout, const float *x, const float *w, float r, size_t C)
{
	float lane[LANES] = { 0 }, mean;
	size_t c, l;

	for (c = 0; c + LANES <= C; c += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] += w[c + l] * dout[c + l] * x[c + l];
	for (l = 0; c + l < C; l++)
		lane[l] += w[c + l] * dout[c + l] * x[c + l];
	mean = lanes_sum(lane) * r * r / C;
	for (c = 0; c < C; c++)
		dx_acc[c] += r * (w[c] * dout[c] - x[c] * mean);
}

CLONES static void
back_weight(float *dw_acc, const float *dout, const float *x, float r, size_t n)
{
	size_t c;

	for (c = 0; c < n; c++)
		dw_acc[c] += dout[c] * (x[c] * r);
}

static void
back(void *arg, int part, int parts)
{
	const struct back *j = arg;
	size_t t, from, to, C = j->C;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++)
		back_row(j->dx_acc + t * C, j->dout + t * C, j->x + t * C, j->w, j->rstd[t], C);
	mach_range(C, LANES, part, parts, &from, &to);
	for (t = 0; j->dw_acc && t < (size_t)j->T; t++)
		back_weight(j->dw_acc + from, j->dout + t * C + from, j->x + t * C + from, j->rstd[t], to - from);
}

void
cpu_rmsnorm_back(struct mach *m, float *dx_acc, float *dw_acc, const float *dout, const float *x, const float *w, const float *rstd, int T, int C)
{
	mach_run_if(m, 4.0 * T * C, back, &(struct back){ dx_acc, dw_acc, dout, x, w, rstd, T, C });
}
