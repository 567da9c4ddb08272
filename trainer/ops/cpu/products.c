/* products.c - matrix products over a checkpoint's rows: blocks of K, ranges of rows, threads
 *
 * A unit of work is a range of a matrix's rows times a chunk of x's. Its x is converted once, a slab of K at a time so that it stays in the second
 * cache; strips of four matrix rows then pass over it, a block of K at a time. Few rows of x read the matrix where it lies; for many, a strip's block
 * is copied first (and widened, if it must be), since it is read again and again: the bits are the same. */
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"
#include "dots.h"
#include "mach.h"

/* Measured on Zen 4 (32 KiB L1, 1 MiB L2). */
#define X_BYTES (576 << 10)	/* of x at a time */
#define CHUNK 258		/* most rows of x; a multiple of a tile's */
#define RANGE 256		/* most rows of the matrix */
#define FEW 12			/* rows of x up to which the matrix is read where it lies */
#define ROW_BYTES (BLOCK_BYTES + 64)	/* copied rows do not lie a multiple of the page apart */

struct job {
	struct mach *m;
	enum isa isa;
	const struct product *p;
	int n;
	const float *x;
	size_t T, K;
	size_t chunk, chunks, range;	/* rows of x and of the matrices in a unit */
	atomic_size_t next;		/* the next unit that nobody has begun */
};

/* A unit on its way. */
struct unit {
	const struct product *p;
	const struct dots *dots;
	size_t t0, t1, n0, n1;
	char *x, *copy;		/* scratch: x's slab and a strip's block */
	size_t ldx;		/* bytes */
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

/* Copy a strip's block as what x is, and point the strip at the copy. */
static void
copy_strip(const struct unit *u, struct strip *s, size_t k)
{
	size_t j;

	for (j = 0; j < STRIP; j++) {
		u->dots->widen(u->copy + j * ROW_BYTES, u->p->w->dtype, s->w[j], s->scale[j], k);
		s->w[j] = u->copy + j * ROW_BYTES;
	}
}

/* Rows n.. of the matrix, elements k0..k1 of the sums. */
static void
run_strip(const struct unit *u, size_t n, size_t k0, size_t k1)
{
	const struct matrix *w = u->p->w;
	size_t size = dtype_size(u->dots->native), block = BLOCK_BYTES / size, k, rows = u->t1 - u->t0;
	enum dtype d = rows > FEW ? u->dots->native : w->dtype;
	struct strip s, next;

	strip_at(&next, w, n, k0);
	for (k = k0; k < k1; k += block) {
		bool more = k + block < k1;

		s = next;
		strip_at(&next, w, more ? n : n + STRIP, more ? k + block : k0);
		if (rows > FEW)
			copy_strip(u, &s, min_size(block, k1 - k));
		u->dots->run[d](u->p->out + u->t0 * w->N + n, w->N, u->x + (k - k0) * size, u->ldx, rows, &s, min_size(STRIP, u->n1 - n), min_size(block, k1 - k),
				u->p->bias || k > 0, more || n + STRIP < u->n1 ? &next : NULL);
	}
}

static void
run_unit(const struct job *j, struct unit *u)
{
	size_t size = dtype_size(u->dots->native), block = BLOCK_BYTES / size, rows = u->t1 - u->t0, N = u->p->w->N, slab, k0, k1, t, n;

	slab = min_size(X_BYTES / rows / ROW_BYTES * block, round_up(j->K, u->dots->lanes));
	u->ldx = slab * size + 64;
	for (t = u->t0; u->p->bias && t < u->t1; t++)
		memcpy(u->p->out + t * N + u->n0, u->p->bias + u->n0, (u->n1 - u->n0) * sizeof(float));
	for (k0 = 0; k0 < j->K; k0 = k1) {
		k1 = min_size(k0 + slab, j->K);
		for (t = 0; t < rows; t++)
			u->dots->take(u->x + t * u->ldx, j->x + (u->t0 + t) * j->K + k0, k1 - k0);
		for (n = u->n0; n < u->n1; n += STRIP)
			run_strip(u, n, k0, k1);
	}
}

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

/* Chunks of x are next to each other in the order of units: threads that work on the same range read it from memory once. */
static void
work(void *arg, int part, int parts)
{
	struct job *j = arg;
	struct unit u = { .x = (char *)mach_scratch(j->m, part, (X_BYTES + 64 * CHUNK + STRIP * ROW_BYTES) / sizeof(float)) };
	size_t count = units(j), at, range;
	int i;

	(void)parts;
	u.copy = u.x + X_BYTES + 64 * CHUNK;
	while ((at = atomic_fetch_add(&j->next, 1)) < count) {
		for (i = 0, range = at / j->chunks; range >= ranges(j, i); i++)
			range -= ranges(j, i);
		u.p = &j->p[i];
		u.dots = dots_for(j->isa, u.p->w);
		u.t0 = at % j->chunks * j->chunk;
		u.t1 = min_size(u.t0 + j->chunk, j->T);
		u.n0 = range * j->range;
		u.n1 = min_size(u.n0 + j->range, u.p->w->N);
		run_unit(j, &u);
	}
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
	mach_run_if(m, (double)T * N * j.K, work, &j);
}
