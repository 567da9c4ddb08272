/* adapters.c - products of adapters beside projections, in bf16 with float sums as those are
 *
 * x A^T is made again in the backward, which is cheap: it reads x once. It is scaled, so that neither the product with B nor B's gradient is. */
#include "inside.h"
#include "lora.h"
#include "project.h"

/* x[T,K] A^T, scaled. */
static int
inner(struct cuda *g, const struct gpu_adapter *ad, const uint16_t *x, int K)
{
	int R = g->place.lora_rank;

	return gpu_linear_scaled(g->device.products, g->place.ax, R, 0, lora_scale(&g->c), x, ad->a, g->T, K, R);
}

int
cuda_adapter(struct cuda *g, int i, enum projection p, uint16_t *out, int stride, const uint16_t *x)
{
	const struct gpu_adapter *ad = &g->place.layer[i].lora[p];
	int N, K, e;

	if (!ad->a)
		return 0;
	projection_shape(&g->c, p, &N, &K);
	e = inner(g, ad, x, K);
	return e ? e : gpu_linear_scaled(g->device.products, out, stride, 1, 1, g->place.ax, ad->b, g->T, g->place.lora_rank, N);
}

static uint16_t *
inner_gradient(struct cuda *g, int k)
{
	return g->place.dax + (size_t)k * (size_t)g->T * (size_t)g->place.lora_rank;
}

int
cuda_adapter_back_x(struct cuda *g, int i, enum projection p, int k, uint16_t *dx, const uint16_t *dout, int stride)
{
	const struct gpu_adapter *ad = &g->place.layer[i].lora[p];
	uint16_t *dax = inner_gradient(g, k);
	int N, K, R = g->place.lora_rank, e;

	if (!ad->a)
		return 0;
	projection_shape(&g->c, p, &N, &K);
	e = gpu_linear_back_x_scaled(g->device.products, dax, lora_scale(&g->c), dout, stride, ad->b, g->T, R, N);
	return e ? e : gpu_linear_back_x(g->device.products, dx, 1, dax, R, ad->a, g->T, K, R);
}

int
cuda_adapter_back_w(struct cuda *g, int i, enum projection p, int k, const uint16_t *dout, int stride, const uint16_t *x)
{
	const struct gpu_adapter *ad = &g->place.layer[i].lora[p];
	int N, K, R = g->place.lora_rank, e = 0;

	projection_shape(&g->c, p, &N, &K);
	if (ad->db)
		e = inner(g, ad, x, K);
	if (!e && ad->db)
		e = gpu_linear_back_w(g->device.products, ad->db, dout, stride, g->place.ax, g->T, R, N);
	if (!e && ad->da)
		e = gpu_linear_back_w(g->device.products, ad->da, inner_gradient(g, k), R, x, g->T, K, R);
	return e;
}
