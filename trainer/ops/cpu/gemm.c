/* gemm.c - the blocked product over the register tiles of tile.c
 *
 * A unit of work is a chunk of rows times a group of columns. A block of K at a time, the group's columns are packed, and the rows pass over
 * them, HIGH at a time, copied in the form that the tile reads. So B is packed once a chunk and A copied once a group. */
#include <stdatomic.h>
#include <string.h>

#include "gemm.h"

/* Measured on Zen 4 (32 KiB L1, 1 MiB L2): packed panels, copied rows (63 KiB) and the next ones (120 KiB) lie in the second cache together, a tile's rows in the first. */
#define DEPTH 320	/* units of the sum a block: so many floats, or pairs of bf16 */
#define PANELS (DEPTH * 512)	/* units packed together: 640 KiB; 512 columns are a model's width or a part of it */
#define CHUNK 1056	/* most rows that share a packing */
#define LINE 16		/* rows of a transposed A in a cache line: chunks begin with a whole one */
#define STRIP 32		/* rows of B packed at a time */
#define HIGH (4 * TALL)	/* rows copied at a time: of a transposed A whole cache lines are read */
#define COPY_ROW (DEPTH + 16)	/* units a copied row takes: rows that lie a multiple of the page apart would evict each other */

struct job {
	float *out;
	size_t ldo;
	bool accum;
	struct mat a, b;
	size_t M, N, K;
	size_t depth;		/* elements of a block */
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

static size_t
round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Rows are packed a strip at a time, across the panels, since the columns of all of them lie behind one another. */
static void
pack(const struct job *g, float *panels, size_t n0, size_t n1, size_t i, size_t k)
{
	size_t width = g->tile->width, units = tile_units(g->tile, k), step = g->b.col == 1 ? STRIP : k, j, n;

	for (j = 0; j < k; j += step)
		for (n = n0; n < n1; n += width) {
			float *panel = panels + (n - n0) / width * units * width + tile_units(g->tile, j) * width;
			const float *b = g->b.p + (i + j) * g->b.row + n * g->b.col;

			if (g->b.col == 1)
				pack_rows(g->tile, panel, b, g->b.row, min_size(step, k - j), min_size(width, n1 - n));
			else
				pack_cols(g->tile, panel, b, g->b.col, k, min_size(width, n1 - n));
		}
}

/* Floats that lie well are read where they are. */
static bool
in_place(const struct job *g)
{
	return g->tile->dtype == DT_F32 && g->a.col == 1 && g->a.row % 512 != 0;
}

/* Rows r0..r1 of a, elements i..i+k, TALL rows behind one another. */
static void
copy_rows(const struct job *g, float *to, size_t r0, size_t r1, size_t i, size_t k)
{
	const float *from = g->a.p + r0 * g->a.row + i * g->a.col;
	size_t r;

	if (g->a.col == 1) {
		take_rows(g->tile, to, COPY_ROW, from, g->a.row, r1 - r0, k);
		return;
	}
	for (r = r0; r < r1; r += TALL, from += TALL, to += TALL * COPY_ROW)
		take_cols(g->tile, to, from, g->a.col, min_size(TALL, r1 - r), k);
}

/* Memory to be fetched: `count` runs of `lines` cache lines each. */
struct ahead {
	const float *p;
	size_t stride, lines, count;
};

/* What the rows HIGH further down need that are copied together with row r: a quarter of theirs. */
static struct ahead
ahead_of(const struct job *g, size_t r, size_t r1, size_t quarter, size_t i, size_t k)
{
	size_t next = r + HIGH;

	if (next >= r1)
		return (struct ahead){ 0 };
	if (g->a.col == 1)
		return (struct ahead){ g->a.p + next * g->a.row + i, g->a.row, k / 16 + 1, min_size(TALL, r1 - next) };
	i += quarter * (k / 4);
	return (struct ahead){ g->a.p + next - quarter * TALL + i * g->a.col, g->a.col, HIGH / 16, k / 4 };
}

/* Part `at` of `parts`. */
static void
fetch(const struct ahead *f, size_t at, size_t parts)
{
	size_t i, l;

	for (i = f->count * at / parts; i < f->count * (at + 1) / parts; i++)
		for (l = 0; l < f->lines; l++)
			__builtin_prefetch(f->p + i * f->stride + l * 16, 0, 2);
}

/* TALL rows, units of which lie at a, times all panels. Some of what comes next is fetched with each. */
static void
run_rows(const struct job *g, const float *panels, struct mat a, const struct ahead *f, size_t r, size_t rows, size_t n0, size_t n1, size_t units, bool accum)
{
	size_t width = g->tile->width, n;

	for (n = n0; n < n1; n += width, panels += units * width) {
		fetch(f, (n - n0) / width, (n1 - n0 + width - 1) / width);
		fetch(&(struct ahead){ g->out + r * g->ldo + n + width, g->ldo, width / 16 + 1, n + width < n1 ? rows : 0 }, 0, 1);	/* the next sums */
		g->tile->run(g->out + r * g->ldo + n, g->ldo, a.p, a.row, a.col, panels, units, rows, min_size(width, n1 - n), accum);
	}
}

/* Rows r0.. and columns n0.. of the product, block by block along the sum. */
static void
run_unit(const struct job *g, float *panels, float *copy, size_t r0, size_t n0)
{
	size_t r1 = min_size(r0 + g->chunk, g->M), n1 = min_size(n0 + g->group, g->N), i, k, r, h;
	bool where_it_is = in_place(g);
	struct ahead f;
	struct mat a;

	for (i = 0; i < g->K; i += k) {
		k = min_size(g->depth, g->K - i);
		pack(g, panels, n0, n1, i, k);
		for (h = r0; h < r1; h += HIGH) {
			if (!where_it_is)
				copy_rows(g, copy, h, min_size(h + HIGH, r1), i, k);
			for (r = h; r < min_size(h + HIGH, r1); r += TALL) {
				if (where_it_is)
					a = (struct mat){ g->a.p + r * g->a.row + i, g->a.row, 1 };
				else if (g->a.col == 1)
					a = (struct mat){ copy + (r - h) * COPY_ROW, COPY_ROW, 1 };
				else
					a = (struct mat){ copy + (r - h) * COPY_ROW, 1, TALL };
				f = ahead_of(g, r, r1, (r - h) / TALL, i, k);
				run_rows(g, panels, a, &f, r, min_size(TALL, r1 - r), n0, n1, tile_units(g->tile, k), g->accum || i > 0);
			}
		}
	}
}

static void
work(void *arg, int part, int parts)
{
	struct job *g = arg;
	float *panels = mach_scratch(g->m, part, PANELS + DEPTH * TILE_MAX_WIDTH + HIGH * COPY_ROW);
	float *copy = panels + PANELS + DEPTH * TILE_MAX_WIDTH;
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

/* n in equal parts of at most `most`, each a multiple of `unit`. */
static size_t
even(size_t n, size_t most, size_t unit)
{
	size_t parts = (n + most - 1) / most;

	return round_up((n + parts - 1) / parts, unit);
}

/* Is there as much to do for each of the threads? With many units the last ones make no difference. */
static bool
shared_out(const struct job *g)
{
	size_t units = (g->N + g->group - 1) / g->group * ((g->M + g->chunk - 1) / g->chunk), threads = mach_threads(g->m);

	return units % threads == 0 || units >= 4 * threads;
}

/* As few units as keep all threads busy, since each copies its rows and packs its columns for itself: the longer side is halved until it is so. One row is
 * nothing but packing, which columns share. */
static void
split(struct job *g)
{
	size_t width = g->tile->width, group = PANELS / tile_units(g->tile, min_size(g->K, g->depth)) / width * width, chunk = CHUNK;

	for (;;) {
		g->group = even(g->N, group, width);
		g->chunk = even(g->M, chunk, LINE);
		if (shared_out(g) || (g->chunk <= HIGH && g->group == width))
			return;
		if (g->chunk > HIGH && (g->chunk >= g->group || g->group == width))
			chunk = g->chunk / 2;
		else
			group = g->group / 2 > width ? g->group / 2 : width;
	}
}

void
gemm(struct mach *m, enum dtype d, float *out, size_t ldo, bool accum, struct mat a, struct mat b, size_t M, size_t N, size_t K)
{
	struct job g = { .out = out, .ldo = ldo, .accum = accum, .a = a, .b = b, .M = M, .N = N, .K = K, .tile = tile_best(d), .m = m };

	if (M == 0 || N == 0)
		return;
	if (K == 0) {
		zero(&g);
		return;
	}
	g.depth = d == DT_BF16 ? 2 * DEPTH : DEPTH;
	split(&g);
	mach_run_if(m, (double)N * K * (M + 4), work, &g);
}
