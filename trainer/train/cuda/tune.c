/* tune.c - which matrix products a run's algorithms are chosen for, before anything else is in the device's memory
 *
 * The number of tokens T differs from one micro-batch to the next. Algorithms are chosen for the largest T of the run, rounded up so that runs of nearly the
 * same size share them, for half of it and for a quarter; what lies between takes the next larger one's (matmul.h). */
#include "inside.h"
#include "layer.h"

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
	static const enum gpu_product products[] = { GPU_FORWARD, GPU_BACK_X, GPU_BACK_W };

	for (int k = 0; k < 3; k++)
		for (int which = 0; which < JOINED; which++) {
			struct columns c = layer_columns(&g->c, (enum joined)which);

			if (products[k] != GPU_BACK_W || trained(g, c.weight[0]))
				add(l, products[k] == GPU_FORWARD && c.has_bias ? GPU_FORWARD_BIAS : products[k], c.out, T, c.in, c.out);
		}
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
