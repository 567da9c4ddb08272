/* products.c - matrix products over a checkpoint's rows: units, groups of rows, blocks of K, threads
 *
 * A unit of work is a range of a matrix's rows times a chunk of x's. It is gone through in groups of the matrix's rows that lie in the second cache: for a block
 * of K and a tile's rows of x, which then stay in the first cache, all strips of the group pass by. Meanwhile the next group is fetched in the order in
 * which it lies in memory, whatever unit it is of. With x passing by instead, its misses queued behind the fetches: products and reading took turns, and
 * eight rows of x took as long as both together. The order of sums is dots.h's, so none of this shows in the bits. */
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"
#include "dots.h"
#include "mach.h"

/* Measured on Zen 4 (32 KiB L1, 1 MiB L2). */
#define X_BYTES (576 << 10)	/* of x at a time */
#define CHUNK 258		/* most rows of x; a multiple of a tile's */
#define RANGE 256		/* most rows of the matrix */
#define GROUP_BYTES (128 << 10)	/* of the matrix at a time */
#define GROUP_BLOCKS 2		/* of K: runs of a page in a row of bf16 numbers */
#define GROUP 16		/* most strips in them */
#define X_NEAR (16 << 10)	/* so little of x stays in the first cache anyway */
#define FEW 12			/* rows of x up to which weights are widened in registers, by each tile again */
#define ROW_BYTES (BLOCK_BYTES + 64)	/* widened rows do not lie a multiple of the page apart */
#define WIDE_BYTES (STRIP * ROW_BYTES)

struct job {
	struct mach *m;
	enum isa isa;
	const struct product *p;
	int n;
	const float *x;
	size_t T, K;
	const struct dots *as[2];	/* which take x: the first that multiply floats, and bf16 numbers; or NULL */
	char *taken[2];			/* x as they do; scratch of part 0 */
	size_t ldx[2];			/* bytes */
	char *wide;			/* part 0's */
	size_t chunk, chunks, range;	/* rows of x and of the matrices in a unit */
	atomic_size_t next;		/* the next unit that nobody has begun */
};

/* A unit and a group in it: rows n..end of the matrix, elements k0..k1 of the sums. */
struct place {
	const struct product *p;
	const struct dots *dots;
	size_t t0, t1, n0, n1;
	size_t slab, from;		/* of K: as many blocks as there is room for of x in the second cache; where the one that k0 is in begins */
	size_t k0, k1, n, end;
};

/* One thread's. */
struct worker {
	struct job *j;
	char *wide;			/* scratch: a strip's block widened */
	const char *ahead;		/* what is to be fetched next: runs of a block, row by row; NULL: nothing */
	size_t run, runs, row, rows, stride;	/* which, how many in a row; the row, how many; bytes from one to the next */
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

/* ---- places ---- */

static size_t
ranges(const struct job *j, int i)
{
	return (j->p[i].w->N + j->range - 1) / j->range;
}

static size_t
units(const struct job *j)
{
	size_t sum = 0;
	int i;

	for (i = 0; i < j->n; i++)
		sum += ranges(j, i);
	return sum * j->chunks;
}

static bool
is_bf16(const struct dots *d)
{
	return d->native == DT_BF16;
}

static size_t
block_of(const struct place *u)
{
	return BLOCK_BYTES / dtype_size(u->dots->native);
}

/* The group that begins at row n and element k0: a single strip where x stays in the first cache anyway. */
static void
set_group(const struct job *j, struct place *u, size_t n, size_t k0)
{
	size_t strips = 1;

	u->n = n;
	u->k0 = k0;
	u->from = k0 - k0 % u->slab;
	u->k1 = min_size(u->from + u->slab, j->K);
	if ((u->t1 - u->t0) * (u->k1 - u->from) * dtype_size(u->dots->native) > X_NEAR) {
		u->k1 = min_size(u->k1, k0 + GROUP_BLOCKS * block_of(u));
		strips = min_size(GROUP, GROUP_BYTES / ((u->k1 - k0) * dtype_size(u->p->w->dtype) * STRIP));
	}
	u->end = min_size(n + STRIP * strips, u->n1);
}

/* The next unit that nobody has begun. Chunks of x are next to each other in the order of units: threads that work on the same range read it from
 * memory once. */
static bool
set_unit(struct job *j, struct place *u)
{
	size_t at = atomic_fetch_add(&j->next, 1), range = at / j->chunks;
	int i;

	if (at >= units(j))
		return false;
	for (i = 0; range >= ranges(j, i); i++)
		range -= ranges(j, i);
	u->p = &j->p[i];
	u->dots = dots_for(j->isa, u->p->w);
	u->t0 = at % j->chunks * j->chunk;
	u->t1 = min_size(u->t0 + j->chunk, j->T);
	u->n0 = range * j->range;
	u->n1 = min_size(u->n0 + j->range, u->p->w->N);
	u->slab = min_size(X_BYTES / (u->t1 - u->t0) / ROW_BYTES * block_of(u), round_up(j->K, u->dots->lanes));
	set_group(j, u, u->n0, 0);
	return true;
}

static bool
advance(struct job *j, struct place *u)
{
	if (u->end < u->n1)
		set_group(j, u, u->end, u->k0);
	else if (u->k1 < j->K)
		set_group(j, u, u->n0, u->k1);
	else
		return set_unit(j, u);
	return true;
}

/* ---- fetching ---- */

static void
fetch_from(struct worker *a, const struct place *next)
{
	const struct matrix *w = next->p->w;
	size_t block = block_of(next), size = dtype_size(w->dtype);

	a->ahead = (const char *)w->rows + (next->n * w->K + next->k0) * size;
	a->stride = w->K * size;
	a->run = a->row = 0;
	a->runs = (next->k1 - next->k0 + block - 1) / block;
	a->rows = next->end - next->n;
}

/* The next `most` runs of `bytes` each; how many there are: `most` or none. */
static int
fetch_next(struct worker *a, const char **ahead, int most, size_t bytes)
{
	int i;

	for (i = 0; i < most; i++) {
		if (!a->ahead || a->row == a->rows)
			return 0;
		ahead[i] = a->ahead + a->row * a->stride + a->run * bytes;
		if (++a->run == a->runs) {
			a->run = 0;
			a->row++;
		}
	}
	return most;
}

/* ---- a group ---- */

static void
strip_at(struct strip *s, const struct matrix *w, size_t n, size_t k)
{
	size_t groups = matrix_groups(w->K), j, row;

	for (j = 0; j < STRIP; j++) {
		row = min_size(n + j, w->N - 1);
		s->w[j] = (const char *)w->rows + (row * w->K + k) * dtype_size(w->dtype);
		s->scale[j] = w->dtype == DT_INT8 ? w->scale + row * groups + k / MATRIX_GROUP : NULL;
	}
}

/* Strips n..end, `n_of_k` elements from k on; `wide`: as what x is. */
static void
take_strips(const struct worker *a, const struct place *u, struct strip *s, size_t n, size_t end, size_t k, size_t n_of_k, bool wide)
{
	const struct matrix *w = u->p->w;
	char *to = a->wide;
	size_t j;

	for (; n < end; n += STRIP, s++) {
		strip_at(s, w, n, k);
		for (j = 0; wide && j < STRIP; j++, to += ROW_BYTES) {
			u->dots->widen(to, w->dtype, s->w[j], s->scale[j], n_of_k);
			s->w[j] = to;
		}
	}
}

/* Rows t..t+rows of x times strips n..end. `fetch` runs with each strip. */
static void
run_rows(struct worker *a, const struct place *u, const struct strip *s, enum dtype d, size_t n, size_t end, size_t t, size_t rows, size_t k, size_t n_of_k, int fetch)
{
	size_t size = dtype_size(u->dots->native), N = u->p->w->N, bytes = block_of(u) * dtype_size(u->p->w->dtype);
	size_t ldx = a->j->ldx[is_bf16(u->dots)];
	const char *x = a->j->taken[is_bf16(u->dots)] + t * ldx + k * size, *ahead[FETCH];
	float *out = u->p->out + t * N;
	bool accum = u->p->bias || k > 0;

	for (; n < end; n += STRIP, s++)
		u->dots->run[d](out + n, N, x, ldx, rows, s, min_size(STRIP, end - n), n_of_k, accum, ahead, fetch_next(a, ahead, fetch, bytes));
}

/* All rows of x times strips n..end, a tile after the other. */
static void
run_tiles(struct worker *a, const struct place *u, const struct strip *s, enum dtype d, size_t n, size_t end, size_t k, size_t n_of_k)
{
	size_t T = u->t1 - u->t0, tiles = (T + u->dots->rows - 1) / u->dots->rows, i, from, to;

	for (i = 0; i < tiles; i++) {
		from = T * i / tiles;
		to = T * (i + 1) / tiles;
		run_rows(a, u, s, d, n, end, u->t0 + from, to - from, k, n_of_k, (int)(FETCH * (i + 1) / tiles - FETCH * i / tiles));
	}
}

/* Where weights must be widened and many rows of x want them, it is once for all and a strip at a time, which stays in the first cache instead of x. */
static void
run_group(struct worker *a, const struct place *u)
{
	bool wide = u->t1 - u->t0 > FEW && u->p->w->dtype != u->dots->native;
	enum dtype d = wide ? u->dots->native : u->p->w->dtype;
	size_t step = wide ? STRIP : u->end - u->n, k, n_of_k, n, end;
	struct strip strips[GROUP];

	for (k = u->k0; k < u->k1; k += n_of_k) {
		n_of_k = min_size(block_of(u), u->k1 - k);
		for (n = u->n; n < u->end; n = end) {
			end = min_size(n + step, u->end);
			take_strips(a, u, strips, n, end, k, n_of_k, wide);
			run_tiles(a, u, strips, d, n, end, k, n_of_k);
		}
	}
}

static void
put_bias(const struct place *u)
{
	size_t t;

	for (t = u->t0; u->p->bias && t < u->t1; t++)
		memcpy(u->p->out + t * u->p->w->N + u->n, u->p->bias + u->n, (u->end - u->n) * sizeof(float));
}

static void
work(void *arg, int part, int parts)
{
	struct job *j = arg;
	struct worker a = { .j = j, .wide = part == 0 ? j->wide : (char *)mach_scratch(j->m, part, WIDE_BYTES / sizeof(float)) };
	struct place u, next;
	bool more = set_unit(j, &next);

	(void)parts;
	while (more) {
		u = next;
		more = advance(j, &next);
		a.ahead = NULL;
		if (more)
			fetch_from(&a, &next);
		if (u.k0 == 0)
			put_bias(&u);
		run_group(&a, &u);
	}
}

/* ---- x ---- */

/* Rows of x as the tiles read them. */
static void
take(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to, t;
	int i;

	mach_range(j->T, 1, part, parts, &from, &to);
	for (i = 0; i < 2; i++)
		for (t = from; j->as[i] && t < to; t++)
			j->as[i]->take(j->taken[i] + t * j->ldx[i], j->x + t * j->K, j->K);
}

static void
take_x(struct job *j)
{
	size_t bytes = WIDE_BYTES;
	const struct dots *d;
	int i;

	for (i = 0; i < j->n; i++) {
		d = dots_for(j->isa, j->p[i].w);
		j->as[is_bf16(d)] = d;
	}
	for (i = 0; i < 2; i++)
		if (j->as[i]) {
			j->ldx[i] = round_up(j->K, j->as[i]->lanes) * dtype_size(j->as[i]->native) + 64;
			bytes += j->T * j->ldx[i];
		}
	j->wide = (char *)mach_scratch(j->m, 0, bytes / sizeof(float));
	j->taken[0] = j->wide + WIDE_BYTES;
	j->taken[1] = j->taken[0] + j->T * j->ldx[0];
	mach_run_if(j->m, (double)j->T * j->K, take, j);
}

void
cpu_products(struct mach *m, const struct product *p, int n, const float *x, int T)
{
	struct job j = { .m = m, .isa = isa_now(), .p = p, .n = n, .x = x, .T = T, .K = p->w->K, .range = RANGE };
	size_t wanted = 4 * mach_threads(m), N = 0;
	int i;

	for (i = 0; i < n; i++)
		N += p[i].w->N;
	j.chunks = (T + CHUNK - 1) / CHUNK;
	j.chunk = round_up((T + j.chunks - 1) / j.chunks, 6);
	while (j.range > 8 * STRIP && N / j.range * j.chunks < wanted)
		j.range /= 2;
	take_x(&j);
	mach_run_if(m, (double)T * N * j.K, work, &j);
}
