/* attend_cached.c - keys and values in pages, and attention of sequences' new tokens over them, threaded over sequences, kv heads and spans of queries
 *
 * A page is laid out as the register tiles read it, so that nothing is packed when a token attends: per kv head the keys [KV_PAGE/width][D][width],
 * then per kv head the values [D/width][KV_PAGE][width]. Of bf16 numbers, neighbours along D and neighbouring tokens are the pairs.
 *
 * A single new token is a block of its own: the query heads of some kv heads are the rows. Their keys and values come from memory, which is read
 * faster the more of them lie side by side, so it is as many heads as leave each thread something to do. */
#include <stdatomic.h>
#include <string.h>

#include "attend.h"
#include "cpu.h"

#define SPAN (8 * QUERIES)
#define ROWS (2 * TALL)	/* of a prompt's block: the scores of more would not stay in the second cache where the context is long */

/* One kv head's keys, or values, of a page. */
static size_t
head_floats(enum dtype d, int D)
{
	size_t numbers = (size_t)KV_PAGE * ((D + TILE_MAX_WIDTH - 1) / TILE_MAX_WIDTH * TILE_MAX_WIDTH);

	return d == DT_BF16 ? numbers / 2 : numbers;
}

/* ---- storing ---- */

struct put_job {
	const struct kv_span *s;
	size_t at;
	const float *k, *v;
	int G, D, rows;
	const struct tile *tile;
};

static void
put_key(const struct tile *t, float *kt, const float *k, int slot, int D)
{
	size_t w = t->width, n, i;
	float units[32];
	int d;

	for (kt += slot / w * tile_units(t, D) * w + slot % w, d = 0; d < D; d += 32, kt += n * w) {
		n = tile_units(t, D - d < 32 ? D - d : 32);
		take_rows(t, units, n, k + d, D, 1, D - d < 32 ? D - d : 32);
		for (i = 0; i < n; i++)
			kt[i * w] = units[i];
	}
}

/* The values of tokens slot..slot+n of a page, which are one unit. */
static void
put_values(const struct tile *t, float *v, const float *from, size_t ld, int slot, int n, int D)
{
	int w = t->width, d;

	for (d = 0; d < D; d += w)
		pack_rows(t, v + (d * tile_units(t, KV_PAGE) + tile_units(t, slot) * w), from + d, ld, n, D - d < w ? D - d : w);
}

/* The value of a token whose pair's first one came with an earlier pass. */
static void
put_second(const struct tile *t, float *v, const float *from, int slot, int D)
{
	int w = t->width, d, i;
	uint32_t high[TILE_MAX_WIDTH], pair;

	for (d = 0; d < D; d += w) {
		float *at = v + d * tile_units(t, KV_PAGE) + slot / 2 * w;

		pack_rows(t, (float *)high, from + d, 0, 1, D - d < w ? D - d : w);
		for (i = 0; i < w; i++) {
			memcpy(&pair, at + i, sizeof pair);
			pair |= high[i] << 16;
			memcpy(at + i, &pair, sizeof pair);
		}
	}
}

/* Rows from..to of all spans' rows. The values of a pair are put with its first token: what is past the last one are zeros. */
static void
put(void *arg, int part, int parts)
{
	const struct put_job *j = arg;
	const struct kv_span *s = j->s;
	size_t from, to, first = 0, row, head = head_floats(j->tile->dtype, j->D);
	int pair = j->tile->dtype == DT_BF16 ? 2 : 1, g;

	for (mach_range(j->rows, 1, part, parts, &from, &to), row = from; row < to; row++) {
		while (row >= first + s->n)
			first += s++->n;
		for (g = 0; g < j->G; g++) {
			int token = s->past + (row - first), slot = token % KV_PAGE;
			float *keys = s->page[token / KV_PAGE] + j->at + g * head, *values = keys + j->G * head;
			size_t at = (row * j->G + g) * j->D;

			put_key(j->tile, keys, j->k + at, slot, j->D);
			if (slot % pair == 0)
				put_values(j->tile, values, j->v + at, (size_t)j->G * j->D, slot, row + 1 < first + s->n ? pair : 1, j->D);
			else if (row == first)
				put_second(j->tile, values, j->v + at, slot, j->D);
		}
	}
}

static int
count_rows(const struct kv_span *s, int nspans)
{
	int n = 0, i;

	for (i = 0; i < nspans; i++)
		n += s[i].n;
	return n;
}

static void
kv_put(struct mach *m, enum dtype d, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D)
{
	struct put_job j = { s, at, k, v, G, D, count_rows(s, nspans), tile_best(d) };

	mach_run_if(m, (double)j.rows * G * D, put, &j);
}

/* ---- attending ---- */

struct job {
	float *out;
	const float *q;
	const struct kv_span *s;
	int nspans, H, G, D;
	size_t at;
	struct mach *m;
	const struct tile *tile;
	int heads;		/* kv heads of a unit of a single token */
	atomic_size_t next;	/* the next unit that nobody has begun */
};

static size_t
units(const struct job *j, const struct kv_span *s)
{
	return s->n == 1 ? (size_t)(j->G + j->heads - 1) / (size_t)j->heads : (size_t)j->G * ((s->n + SPAN - 1) / SPAN);
}

/* Query heads that are too many for one kv head take turns. */
static void
one_token(const struct job *j, const struct panels *p, size_t row, int past, int g, float *s)
{
	int R = j->H / j->G * p->heads, r, rows;

	for (r = 0; r < R; r += rows) {
		size_t at = (row * j->H + g * (j->H / j->G) + r) * j->D;

		rows = R - r < QUERIES ? R - r : QUERIES;
		attend_rows(p, j->out + at, j->D, NULL, 0, j->q + at, j->D, rows, past, 0, s);
	}
}

static void
many_tokens(const struct job *j, const struct panels *p, size_t row, int past, int g, int from, int to, float *s)
{
	int R = j->H / j->G, h, t, rows;
	size_t ld = (size_t)j->H * j->D;

	for (h = g * R; h < (g + 1) * R; h++)
		for (t = from; t < to; t += rows) {
			size_t at = ((row + t) * j->H + h) * j->D;

			rows = to - t < ROWS ? to - t : ROWS;
			attend_rows(p, j->out + at, ld, NULL, 0, j->q + at, ld, rows, past + t, 1, s);
		}
}

/* Unit u of a sequence whose first row is `row`. */
static void
unit(const struct job *j, const struct kv_span *s, size_t row, size_t u, int part)
{
	int one = s->n == 1, g = one ? (int)u * j->heads : (int)u % j->G, from = one ? 0 : (int)u / j->G * SPAN, to = s->n - from < SPAN ? s->n : from + SPAN;
	size_t keys = (size_t)s->past + to, head = head_floats(j->tile->dtype, j->D);
	struct panels p = { .tile = j->tile, .n = keys, .D = j->D, .page = s->page, .kt_at = j->at + g * head, .v_at = j->at + (j->G + g) * head, .heads = 1, .head = head };
	float *scratch = mach_scratch(j->m, part, attend_room(keys, j->D));

	if (one) {
		p.heads = j->G - g < j->heads ? j->G - g : j->heads;
		one_token(j, &p, row, s->past, g, scratch);
	} else {
		many_tokens(j, &p, row, s->past, g, from, to, scratch);
	}
}

static void
attend(void *arg, int part, int parts)
{
	struct job *j = arg;
	size_t first = 0, row = 0, u;	/* the sequence's first unit and row */
	int i = 0;

	(void)parts;
	for (;;) {
		u = atomic_fetch_add(&j->next, 1);
		for (; i < j->nspans && u - first >= units(j, &j->s[i]); i++) {
			first += units(j, &j->s[i]);
			row += j->s[i].n;
		}
		if (i == j->nspans)
			return;
		unit(j, &j->s[i], row, u - first, part);
	}
}

static void
attend_cached(struct mach *m, enum dtype d, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D)
{
	struct job j = { out, q, s, nspans, H, G, D, at, m, tile_best(d), G, 0 };
	double amount = 0;
	int i;

	while (j.heads > 1 && (j.heads * (H / G) > QUERIES || nspans * (G / j.heads) < 4 * mach_threads(m)))
		j.heads = (j.heads + 1) / 2;
	for (i = 0; i < nspans; i++)
		amount += (double)s[i].n * H * (s[i].past + s[i].n) * D;
	mach_run_if(m, amount, attend, &j);
}

/* ---- floats, and bf16 numbers ---- */

size_t
cpu_kv_floats(int G, int D)
{
	return 2 * G * head_floats(DT_F32, D);
}

void
cpu_kv_put(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D)
{
	kv_put(m, DT_F32, s, nspans, at, k, v, G, D);
}

void
cpu_attend_cached(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D)
{
	attend_cached(m, DT_F32, out, q, s, nspans, at, H, G, D);
}

size_t
cpu_kv_floats_bf16(int G, int D)
{
	return 2 * G * head_floats(DT_BF16, D);
}

void
cpu_kv_put_bf16(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D)
{
	kv_put(m, DT_BF16, s, nspans, at, k, v, G, D);
}

void
cpu_attend_cached_bf16(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D)
{
	attend_cached(m, DT_BF16, out, q, s, nspans, at, H, G, D);
}
