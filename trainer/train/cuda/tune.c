/* tune.c - which matrix products a run's algorithms are chosen for, before anything else is in the device's memory
 *
 * The number of tokens T differs from one micro-batch to the next. Algorithms are chosen for the largest T of the run, rounded up so that runs of nearly the
 * same size share them, for half of it and for a quarter; what lies between takes the next larger one's (matmul.h). */
#include "inside.h"

enum { SIZES = 3, PRODUCTS = 15 };

struct list {
	struct gpu_shape v[SIZES * PRODUCTS];
	int n;
};

static void
add(struct list *l, enum gpu_product which, int stride, int T, int K, int N)
{
	l->v[l->n++] = (struct gpu_shape){ (int)which, stride, T, K, N };
}

/* Up to the next of eight steps from one power of two to the next one, in eights at least. */
static int
rounded(int n)
{
	int step = 8;

	while (step <= n / 16)
		step *= 2;
	return (n + step - 1) / step * step;
}

/* Is a slot trained in some layer? */
static bool
trained(const struct cuda *g, enum slot slot)
{
	for (int i = 0; i < g->c.layers; i++)
		if (g->place.layer[i].dw[slot])
			return true;
	return false;
}

/* Those of pass.c, for T tokens: forward, the gradients of inputs, those of weights. */
static void
add_layers(struct list *l, const struct cuda *g, int T)
{
	const struct config *c = &g->c;
	int C = c->hidden, F = c->ffn, q = c->heads * c->head_dim, S = q + 2 * c->kv_heads * c->head_dim;

	add(l, c->qkv_bias ? GPU_FORWARD_BIAS : GPU_FORWARD, S, T, C, S);
	add(l, GPU_FORWARD, C, T, q, C);
	add(l, GPU_FORWARD, 2 * F, T, C, 2 * F);
	add(l, GPU_FORWARD, C, T, F, C);
	add(l, GPU_BACK_X, S, T, C, S);
	add(l, GPU_BACK_X, C, T, q, C);
	add(l, GPU_BACK_X, 2 * F, T, C, 2 * F);
	add(l, GPU_BACK_X, C, T, F, C);
	if (trained(g, WQ))
		add(l, GPU_BACK_W, S, T, C, S);
	if (trained(g, WO))
		add(l, GPU_BACK_W, C, T, q, C);
	if (trained(g, WGATE))
		add(l, GPU_BACK_W, 2 * F, T, C, 2 * F);
	if (trained(g, WDOWN))
		add(l, GPU_BACK_W, C, T, F, C);
}

/* Those of head.c, for so many rows. */
static void
add_head(struct list *l, const struct cuda *g, int rows)
{
	int C = g->c.hidden, V = g->c.vocab, stride = g->place.logit_stride;

	add(l, GPU_FORWARD, stride, rows, C, V);
	add(l, GPU_BACK_X, stride, rows, C, V);
	if (g->place.dhead)
		add(l, GPU_BACK_W, stride, rows, C, V);
}

int
cuda_tune(struct cuda *g, const struct cuda_start *s)
{
	struct list l = { .n = 0 };

	for (int part = 1; part <= 1 << (SIZES - 1); part *= 2) {
		add_layers(&l, g, rounded((g->run.tokens + part - 1) / part));
		add_head(&l, g, rounded((g->place.head_rows + part - 1) / part));
	}
	if (gpu_matmul_tune(g->device.products, l.v, l.n, s->tuned, (char *)g->device.memory + GPU_WORKSPACE, g->device.arena.size - GPU_WORKSPACE, s->say))
		return -1;
	g->en.products = gpu_matmul_chosen(g->device.products);
	return 0;
}
