/* attend_cached.c - attention of a sequence's new tokens over its cache, threaded over kv heads and spans of queries
 *
 * A single new token is a block of its own: the query heads of a kv head are the rows. */
#include "attend.h"
#include "cpu.h"

#define SPAN (8 * QUERIES)

struct job {
	float *out;
	const float *q, *k, *v;
	int past, n, H, G, D;
	struct mach *m;
	const struct tile *tile;
};

static void
one_token(const struct job *j, const struct panels *p, int g, float *s)
{
	int R = j->H / j->G, r, rows;

	for (r = 0; r < R; r += rows) {
		size_t at = (size_t)(g * R + r) * j->D;

		rows = R - r < QUERIES ? R - r : QUERIES;
		attend_rows(p, j->out + at, j->D, NULL, 0, j->q + at, j->D, rows, j->past, 0, s);
	}
}

static void
many_tokens(const struct job *j, const struct panels *p, int g, int from, int to, float *s)
{
	int R = j->H / j->G, h, t, rows;
	size_t ld = (size_t)j->H * j->D;

	for (h = g * R; h < (g + 1) * R; h++)
		for (t = from; t < to; t += rows) {
			size_t at = ((size_t)t * j->H + h) * j->D;

			rows = to - t < QUERIES ? to - t : QUERIES;
			attend_rows(p, j->out + at, ld, NULL, 0, j->q + at, ld, rows, j->past + t, 1, s);
		}
}

/* Queries from..to of one kv head. */
static void
unit(const struct job *j, int g, int from, int to, int part)
{
	size_t keys = (size_t)j->past + to, floats = panels_floats(j->tile, keys, j->D), ld = (size_t)j->G * j->D;
	float *kt = mach_scratch(j->m, part, 2 * floats + QUERIES * scores_stride(keys));
	struct panels p = { j->tile, kt, kt + floats, keys, j->D };

	pack_keys(j->tile, p.kt, j->k + (size_t)g * j->D, ld, keys, j->D);
	pack_values(j->tile, p.v, j->v + (size_t)g * j->D, ld, keys, j->D);
	if (j->n == 1)
		one_token(j, &p, g, kt + 2 * floats);
	else
		many_tokens(j, &p, g, from, to, kt + 2 * floats);
}

static void
heads(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t spans = (j->n + SPAN - 1) / SPAN, u, to;

	for (mach_range(j->G * spans, 1, part, parts, &u, &to); u < to; u++) {
		int from = u % spans * SPAN;

		unit(j, u / spans, from, j->n - from < SPAN ? j->n : from + SPAN, part);
	}
}

void
cpu_attend_cached(struct mach *m, float *out, const float *q, const float *kc, const float *vc, int past, int n, int H, int G, int D)
{
	struct job j = { out, q, kc, vc, past, n, H, G, D, m, tile_best() };

	mach_run_if(m, ((double)n * H + 2.0 * G) * (past + n) * D, heads, &j);
}
