/* gemm.c - the blocked product over the register tiles of tile.c */
#include <stdatomic.h>
#include <string.h>

#include "gemm.h"

/* Measured on Zen 4 (32 KiB L1, 1 MiB L2): a packed group is 128 KiB, a tile of a 12 KiB. */
#define DEPTH 256	/* summed elements a block */
#define GROUP 128	/* columns packed together */
#define CHUNK 240	/* rows that share a packing */
#define TALL 12		/* rows copied together; a multiple of every tile's rows */

struct job {
	float *out;
	size_t ldo;
	bool accum;
	struct mat a, b;
	size_t M, N, K;
	size_t group, chunk;	/* columns and rows of a unit of work */
	const struct tile *tile;
	struct mach *m;
	atomic_size_t next;	/* the next unit that nobody has begun */
};

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Rows r.. of a, columns i..i+k, into a tight copy: rows whose distance is a multiple of the page would evict each other from the
 * first cache, and a transposed a would touch a page per element. Leaves the strides of the copy in *c. */
static void
copy_rows(float *to, struct mat *c, const struct mat *a, size_t r, size_t rows, size_t i, size_t k)
{
	const float *from = a->p + r * a->row + i * a->col;
	size_t j;

	if (a->col == 1) {
		for (j = 0; j < rows; j++)
			memcpy(to + j * (DEPTH + 16), from + j * a->row, k * sizeof *to);
		*c = (struct mat){ to, DEPTH + 16, 1 };
		return;
	}
	for (j = 0; j < k && rows == TALL; j++)
		memcpy(to + j * TALL, from + j * a->col, TALL * sizeof *to);
	for (; j < k; j++)
		memcpy(to + j * TALL, from + j * a->col, rows * sizeof *to);
	*c = (struct mat){ to, 1, TALL };
}

static void
pack(const struct job *g, float *panels, size_t n0, size_t n1, size_t i, size_t k)
{
	int width = g->tile->width;
	size_t n;

	for (n = n0; n < n1; n += width, panels += k * width) {
		const float *b = g->b.p + i * g->b.row + n * g->b.col;
		size_t cols = min_size(width, n1 - n);

		if (g->b.col == 1)
			pack_rows(panels, width, b, g->b.row, k, cols);
		else
			pack_cols(panels, width, b, g->b.col, k, cols);
	}
}

static void
run_rows(const struct job *g, const float *panels, const struct mat *a, size_t r, size_t rows, size_t n0, size_t n1, size_t k, bool accum)
{
	size_t width = g->tile->width, n;

	for (n = n0; n < n1; n += width, panels += k * width)
		g->tile->run(g->out + r * g->ldo + n, g->ldo, a->p, a->row, a->col, panels, k, rows, min_size(width, n1 - n), accum);
}

/* Rows r0.. and columns n0.. of the product, block by block along the sum. */
static void
run_unit(const struct job *g, float *panels, float *copy, size_t r0, size_t n0)
{
	size_t r1 = min_size(r0 + g->chunk, g->M), n1 = min_size(n0 + g->group, g->N), i, k, r, rows;
	struct mat a;

	for (i = 0; i < g->K; i += k) {
		k = min_size(DEPTH, g->K - i);
		pack(g, panels, n0, n1, i, k);
		for (r = r0; r < r1; r += rows) {
			rows = min_size(TALL, r1 - r);
			if (g->a.col == 1 && g->a.row % 512 != 0)
				a = (struct mat){ g->a.p + r * g->a.row + i, g->a.row, 1 };
			else
				copy_rows(copy, &a, &g->a, r, rows, i, k);
			run_rows(g, panels, &a, r, rows, n0, n1, k, g->accum || i > 0);
		}
	}
}

static void
work(void *arg, int part, int parts)
{
	struct job *g = arg;
	float *panels = mach_scratch(g->m, part, DEPTH * (GROUP + TILE_MAX_WIDTH) + TALL * (DEPTH + 16));
	float *copy = panels + DEPTH * (GROUP + TILE_MAX_WIDTH);
	size_t across = (g->N + g->group - 1) / g->group, down = (g->M + g->chunk - 1) / g->chunk, u;

	(void)parts;
	while ((u = atomic_fetch_add(&g->next, 1)) < across * down)
		run_unit(g, panels, copy, u / across * g->chunk, u % across * g->group);
}

static void
zero(const struct job *g)
{
	size_t r;

	for (r = 0; r < g->M && !g->accum; r++)
		memset(g->out + r * g->ldo, 0, g->N * sizeof(float));
}

void
gemm(struct mach *m, float *out, size_t ldo, bool accum, struct mat a, struct mat b, size_t M, size_t N, size_t K)
{
	struct job g = { out, ldo, accum, a, b, M, N, K, GROUP, CHUNK, tile_best(), m, 0 };
	size_t wanted = 4 * mach_threads(m);

	if (K == 0) {
		zero(&g);
		return;
	}
	/* Few units would leave threads idle: narrower ones pack as much and only copy a again. */
	if ((N + GROUP - 1) / GROUP * ((M + CHUNK - 1) / CHUNK) < wanted)
		g.group = g.tile->width;
	mach_run_if(m, (double)N * K * (M + 4), work, &g);
}
