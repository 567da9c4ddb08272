/* head.c - the last norm, the logits and their loss, over the supervised rows only and so many at a time as there is room for */
#include "inside.h"

/* The gradients of rows at..at+n, whose logits have become theirs. */
static int
rows_back(struct cuda *g, int at, int n)
{
	struct gpu_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	struct gpu_matmul *m = g->device.products;
	int C = g->c.hidden, V = g->c.vocab, e = 0;

	if (p->dhead)
		e = gpu_linear_back_w(m, p->dhead, p->logits, p->logit_stride, p->hh, n, C, V);
	if (!e)	/* over hh, which was needed for the weights alone */
		e = gpu_linear_back_x(m, p->hh, 0, p->logits, p->logit_stride, p->head, n, C, V);
	if (!e && cudaMemsetAsync(p->dhx, 0, (size_t)n * (size_t)C * sizeof *p->dhx, gpu->stream) != cudaSuccess)
		e = gpu_launched(gpu, "zero");
	if (!e)
		e = gpu_rmsnorm_back(gpu, p->dhx, p->dnorm, p->hh, p->hx, p->norm, p->hrstd, p->scratch, n, C);
	return e ? e : gpu_scatter(gpu, p->dx, p->dhx, g->rows + at, n, C);
}

int
cuda_head(struct cuda *g, bool back, float scale)
{
	struct gpu_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int C = g->c.hidden, V = g->c.vocab, e = 0, n;

	if (back && cudaMemsetAsync(p->dx, 0, (size_t)g->T * (size_t)C * sizeof *p->dx, gpu->stream) != cudaSuccess)
		return gpu_launched(gpu, "zero");
	for (int at = 0; !e && at < g->supervised; at += n) {
		n = g->supervised - at < p->head_rows ? g->supervised - at : p->head_rows;
		e = gpu_embed(gpu, p->hx, p->branch, g->rows + at, n, C);
		if (!e)
			e = gpu_rmsnorm(gpu, p->hh, p->hrstd, NULL, p->hx, NULL, p->norm, g->c.eps, n, C);
		if (!e)
			e = gpu_linear(g->device.products, p->logits, p->logit_stride, p->hh, p->head, NULL, n, C, V);
		if (!e)
			e = gpu_cross_entropy(gpu, p->logits, p->loss + at, g->target + at, g->weight ? g->weight + at : NULL, scale, n, V, p->logit_stride);
		if (!e && back)
			e = rows_back(g, at, n);
	}
	return e;
}
