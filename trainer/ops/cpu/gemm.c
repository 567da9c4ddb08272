/* gemm.c - the blocked product over the register tiles of tile.c */
#include <stdatomic.h>
#include <string.h>

#include "gemm.h"

/* Measured on Zen 4 (32 KiB L1, 1 MiB L2): a packed group is 160 KiB, copied rows 315 KiB. */
#define DEPTH 320	/* summed elements a block */
#define GROUP 128	/* columns packed together */
#define CHUNK 240	/* rows that share a packing; a multiple of 4 TALL */
#define TALL 12		/* rows of a copied tile; a multiple of every register tile's */
#define COPY_ROW (DEPTH + 16)	/* floats a copied row takes */

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

/* Rows r0..r1 of a, elements i..i+k, as tight copies of TALL rows each. Rows that lie a multiple of the page apart would evict each other from
 * the first cache; of a transposed a, every element of a row is on another page. */
static void
copy_rows(float *to, const struct mat *a, size_t r0, size_t r1, size_t i, size_t k)
{
	const float *from = a->p + r0 * a->row + i * a->col;
	size_t rows = r1 - r0, j, r;

	if (a->col == 1) {
		for (r = 0; r < rows; r++)
			memcpy(to + r * COPY_ROW, from + r * a->row, k * sizeof *to);
		return;
	}
	for (j = 0; j < k; j++, from += a->col) {
		for (r = 0; r + TALL <= rows; r += TALL)
			memcpy(to + r * COPY_ROW + j * TALL, from + r, TALL * sizeof *to);
		for (; r < rows; r++)
			to[r / TALL * TALL * COPY_ROW + j * TALL + r % TALL] = from[r];
	}
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
	size_t r1 = min_size(r0 + g->chunk, g->M), n1 = min_size(n0 + g->group, g->N), i, k, r;
	bool copied = g->a.col != 1 || g->a.row % 512 == 0;
	struct mat a;

	for (i = 0; i < g->K; i += k) {
		k = min_size(DEPTH, g->K - i);
		pack(g, panels, n0, n1, i, k);
		if (copied)
			copy_rows(copy, &g->a, r0, r1, i, k);
		for (r = r0; r < r1; r += TALL) {
			if (!copied)
				a = (struct mat){ g->a.p + r * g->a.row + i, g->a.row, 1 };
			else if (g->a.col == 1)
				a = (struct mat){ copy + (r - r0) * COPY_ROW, COPY_ROW, 1 };
			else
				a = (struct mat){ copy + (r - r0) * COPY_ROW, 1, TALL };
			run_rows(g, panels, &a, r, min_size(TALL, r1 - r), n0, n1, k, g->accum || i > 0);
		}
	}
}

static void
work(void *arg, int part, int parts)
{
	struct job *g = arg;
	float *panels = mach_scratch(g->m, part, DEPTH * (GROUP + TILE_MAX_WIDTH) + CHUNK * COPY_ROW);
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

static size_t
units(const struct job *g)
{
	return (g->N + g->group - 1) / g->group * ((g->M + g->chunk - 1) / g->chunk);
}

/* Few units would leave threads idle. Rows are split where they are copied for each group, else columns, which are packed once either way. */
static void
split(struct job *g)
{
	size_t wanted = 3 * mach_threads(g->m);

	while (g->a.col != 1 && units(g) < wanted && g->chunk > CHUNK / 4)
		g->chunk /= 2;
	if (units(g) < wanted)
		g->group = g->tile->width;
}

void
gemm(struct mach *m, float *out, size_t ldo, bool accum, struct mat a, struct mat b, size_t M, size_t N, size_t K)
{
	struct job g = { out, ldo, accum, a, b, M, N, K, GROUP, CHUNK, tile_best(), m, 0 };

	if (K == 0) {
		zero(&g);
		return;
	}
	split(&g);
	mach_run_if(m, (double)N * K * (M + 4), work, &g);
}
