/* attend.c - causal attention over packed sequences, threaded over sequences, kv heads and spans of queries
 *
 * The backward is FlashAttention's (Dao et al. 2022) with a whole row of scores at a time: p from the kept log-sum, then
 * ds = p (dout v^T - dout . out) and three products. A sequence's kv head belongs to one thread, so dk and dv have one order of sums. These four may
 * be of bf16 numbers; the scores never are, for whose rounding gradients behind sharp attention lose most. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "attend.h"
#include "cpu.h"
#include "err.h"
#include "vec.h"

#define SPAN (8 * QUERIES)	/* queries that share a packing of the keys */

struct unit {
	int row, n;	/* the sequence's first row and its length */
	int g;		/* kv head */
	int from, to;	/* queries */
};

struct job {
	float *out, *lse, *dq, *dk, *dv;
	const float *dout, *q, *k, *v, *o, *kept;	/* o and kept: the forward's out and lse */
	int H, G, D;
	struct unit *units;
	size_t count;
	struct mach *m;
	const struct tile *tile, *exact;	/* of the backward's products, and of q k^T */
	atomic_size_t next;
};

/* Every (sequence, kv head), cut into spans of queries. */
static void
list_units(struct job *j, const int *cu, int nseq, int span)
{
	size_t most = 0;
	int s, g, from, n;

	for (s = 0; s < nseq; s++)
		most += (size_t)j->G * ((cu[s + 1] - cu[s]) / span + 1);
	j->units = xcalloc(most, sizeof *j->units);
	for (s = 0; s < nseq; s++)
		for (n = cu[s + 1] - cu[s], g = 0; g < j->G; g++)
			for (from = 0; from < n; from += span)
				j->units[j->count++] = (struct unit){ cu[s], n, g, from, n - from < span ? n : from + span };
}

/* Multiply-adds, about. */
static double
amount(const struct job *j)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < j->count; i++)
		sum += (double)(j->units[i].to - j->units[i].from) * j->units[i].to * j->D * (j->H / j->G);
	return sum;
}

static void
unit_forward(const struct job *j, const struct unit *u, int part)
{
	int H = j->H, G = j->G, D = j->D, h, t, rows;
	size_t floats = panels_floats(j->tile, u->to, D);
	float *kt = mach_scratch(j->m, part, 2 * floats + attend_room(u->to, D));
	struct panels p = { .tile = j->tile, .kt = kt, .v = kt + floats, .n = u->to, .D = D, .heads = 1 };

	pack_keys(j->tile, p.kt, j->k + ((size_t)u->row * G + u->g) * D, (size_t)G * D, u->to, D);
	pack_values(j->tile, p.v, j->v + ((size_t)u->row * G + u->g) * D, (size_t)G * D, u->to, D);
	for (h = u->g * (H / G); h < (u->g + 1) * (H / G); h++)
		for (t = u->from; t < u->to; t += rows) {
			size_t at = (size_t)(u->row + t) * H + h;

			rows = u->to - t < QUERIES ? u->to - t : QUERIES;
			attend_rows(&p, j->out + at * D, (size_t)H * D, j->lse + at, H, j->q + at * D, (size_t)H * D, rows, t, 1, kt + 2 * floats);
		}
}

static void
forward(void *arg, int part, int parts)
{
	struct job *j = arg;
	size_t u;

	(void)parts;
	while ((u = atomic_fetch_add(&j->next, 1)) < j->count)
		unit_forward(j, &j->units[u], part);
}

void
cpu_attend(struct mach *m, float *out, float *lse, const float *q, const float *k, const float *v, const int *cu, int nseq, int H, int G, int D)
{
	struct job j = { .out = out, .lse = lse, .q = q, .k = k, .v = v, .H = H, .G = G, .D = D, .m = m, .tile = tile_best(DT_F32) };

	list_units(&j, cu, nseq, SPAN);
	mach_run_if(m, 2 * amount(&j), forward, &j);
	free(j.units);
}

/* ---- backward ---- */

/* One kv head of a sequence, packed every way that its products need. */
struct packed {
	float *kt, *k, *vt;	/* q k^T, ds k, dout v^T */
	float *q, *dout;	/* a block of queries: ds^T q, p^T dout */
	float *p, *ds;		/* [QUERIES, lds] */
	size_t lds;
	float *room;		/* [QUERIES, D] */
};

static void
place_packed(struct packed *b, const struct job *j, int n, int part)
{
	size_t keys = panels_floats(j->tile, n, j->D), rows = panels_floats(j->tile, QUERIES, j->D);

	b->lds = scores_stride(n);
	b->kt = mach_scratch(j->m, part, 3 * keys + 2 * rows + QUERIES * (2 * b->lds + j->D));
	b->k = b->kt + keys;
	b->vt = b->k + keys;
	b->q = b->vt + keys;
	b->dout = b->q + rows;
	b->p = b->dout + rows;
	b->ds = b->p + QUERIES * b->lds;
	b->room = b->ds + QUERIES * b->lds;
}

/* p[i] = exp(scale p[i] - lse), ds[i] = scale p[i] (ds[i] - delta) for i < n; zero from there to `end`. */
CLONES static void
row_back(float *restrict p, float *restrict ds, size_t n, size_t end, float scale, float lse, float delta)
{
	size_t i;

	for (i = 0; i < n; i++) {
		p[i] = fast_exp(p[i] * scale - lse);
		ds[i] = scale * p[i] * (ds[i] - delta);
	}
	memset(p + n, 0, (end - n) * sizeof *p);
	memset(ds + n, 0, (end - n) * sizeof *ds);
}

CLONES static float
dot(const float *a, const float *b, size_t n)
{
	return lanes_dot(a, b, n);
}

/* c[n, D] += a[rows, n]^T * b[rows, D], b in panels. */
static void
times_turned(const struct tile *t, float *c, size_t ldc, const float *a, size_t lda, const float *panels, size_t rows, int D, size_t n)
{
	float some[TALL * QUERIES];
	size_t r;

	if (t->dtype == DT_F32) {
		times_panels(t, c, ldc, (struct mat){ a, 1, lda }, panels, rows, rows, D, n, true);
		return;
	}
	for (r = 0; r < n; r += TALL) {
		size_t high = n - r < TALL ? n - r : TALL;

		take_cols(t, some, a + r, lda, high, rows);
		times_panels(t, c + r * ldc, ldc, (struct mat){ some, 1, TALL }, panels, rows, rows, D, high, true);
	}
}

/* Queries t..t+rows of head h. */
static void
block_back(const struct job *j, const struct unit *u, const struct packed *b, int h, int t, int rows)
{
	const struct tile *tile = j->tile;
	size_t at = (size_t)(u->row + t) * j->H + h, ldq = (size_t)j->H * j->D, ldk = (size_t)j->G * j->D, key = ((size_t)u->row * j->G + u->g) * j->D;
	int D = j->D, last = t + rows, i;

	scores(j->exact, b->p, b->lds, taken(j->exact, j->q + at * D, ldq, D, rows, b->room), b->kt, D, rows, last);
	scores(tile, b->ds, b->lds, taken(tile, j->dout + at * D, ldq, D, rows, b->room), b->vt, D, rows, last);
	for (i = 0; i < rows; i++) {
		size_t row = at + (size_t)i * j->H;

		row_back(b->p + i * b->lds, b->ds + i * b->lds, t + i + 1, last, 1 / sqrtf(D), j->kept[row], dot(j->dout + row * D, j->o + row * D, D));
	}
	pack_values(tile, b->q, j->q + at * D, ldq, rows, D);
	pack_values(tile, b->dout, j->dout + at * D, ldq, rows, D);
	times_turned(tile, j->dk + key, ldk, b->ds, b->lds, b->q, rows, D, last);
	times_turned(tile, j->dv + key, ldk, b->p, b->lds, b->dout, rows, D, last);
	if (tile->dtype != DT_F32)
		take_rows(tile, b->ds, b->lds, b->ds, b->lds, rows, last);
	times_panels(tile, j->dq + at * D, ldq, (struct mat){ b->ds, b->lds, 1 }, b->k, u->n, last, D, rows, false);
}

static void
unit_back(const struct job *j, const struct unit *u, int part)
{
	size_t ldk = (size_t)j->G * j->D, key = ((size_t)u->row * j->G + u->g) * j->D;
	int R = j->H / j->G, h, t;
	struct packed b;

	place_packed(&b, j, u->n, part);
	pack_keys(j->exact, b.kt, j->k + key, ldk, u->n, j->D);
	pack_values(j->tile, b.k, j->k + key, ldk, u->n, j->D);
	pack_keys(j->tile, b.vt, j->v + key, ldk, u->n, j->D);
	for (t = 0; t < u->n; t++) {
		memset(j->dk + key + t * ldk, 0, j->D * sizeof(float));
		memset(j->dv + key + t * ldk, 0, j->D * sizeof(float));
	}
	for (h = u->g * R; h < (u->g + 1) * R; h++)
		for (t = 0; t < u->n; t += QUERIES)
			block_back(j, u, &b, h, t, u->n - t < QUERIES ? u->n - t : QUERIES);
}

static void
back(void *arg, int part, int parts)
{
	struct job *j = arg;
	size_t u;

	(void)parts;
	while ((u = atomic_fetch_add(&j->next, 1)) < j->count)
		unit_back(j, &j->units[u], part);
}

static void
attend_back(struct mach *m, enum dtype d, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D)
{
	struct job j = { .dq = dq, .dk = dk, .dv = dv, .dout = dout, .q = q, .k = k, .v = v, .o = out, .kept = lse, .H = H, .G = G, .D = D,
			 .m = m, .tile = tile_best(d), .exact = tile_best(DT_F32) };

	list_units(&j, cu, nseq, cu[nseq] + 1);
	mach_run_if(m, 5 * amount(&j), back, &j);
	free(j.units);
}

void
cpu_attend_back(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D)
{
	attend_back(m, DT_F32, dq, dk, dv, dout, q, k, v, out, lse, cu, nseq, H, G, D);
}

void
cpu_attend_back_bf16(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		     const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D)
{
	attend_back(m, DT_BF16, dq, dk, dv, dout, q, k, v, out, lse, cu, nseq, H, G, D);
}
