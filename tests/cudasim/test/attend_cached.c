/* attend_cached.c - attention over keys and values in pages against ops_plain, and the same bits however the tokens come */
#include "compare.h"

/* A sequence: q, k, v of all its tokens, and what attention gives. */
struct sequence {
	int len;
	float *q, *k, *v, *out;
};

struct shape {
	int H, G, D;
};

/* Pages of several layers, of which one is in use, for all sequences of a test; table[i] lists its sequence's pages. */
struct pages {
	struct shape s;
	struct gpu_kv kv;
	int used, most, *table[16];
};

enum { TABLE = 20, EXTRA = 24, SPLIT = 256 };

static struct sequence
sequence_new(struct shape s, int len, float size)
{
	size_t nq = (size_t)len * s.H * s.D, nk = (size_t)len * s.G * s.D;
	struct sequence q = { len, noise16(nq), noise16(nk), noise16(nk), noise(nq) };
	int cu[] = { 0, len };

	for (size_t i = 0; i < nq; i++)
		q.q[i] = from_bf16(to_bf16(size * q.q[i]));
	ops_plain.attend(NULL, q.out, noise((size_t)len * s.H), q.q, q.k, q.v, cu, 1, s.H, s.G, s.D);
	return q;
}

/* Nothing in them yet: what comes out of the device first is NaN. */
static struct pages
pages_new(struct shape s, int most)
{
	struct pages p = { s, { .at = 40, .stride = gpu_kv_elements(s.G, s.D) + 64, .table_stride = TABLE }, 0, most, { NULL } };

	p.kv.pages = device_copy(NULL, most * p.kv.stride * sizeof *p.kv.pages);
	return p;
}

/* Pages for len tokens of sequence i, not in order. The others' numbers lead far away. */
static void
reserve(struct pages *p, int i, int len)
{
	if (!p->table[i]) {
		p->table[i] = host_alloc(TABLE * sizeof *p->table[i]);
		for (int k = 0; k < TABLE; k++)
			p->table[i][k] = 1 << 30;
	}
	for (int k = 0; k * KV_PAGE < len; k++)
		if (p->table[i][k] == 1 << 30)
			p->table[i][k] = p->used++ * 7 % p->most;
}

/* A batch: of each sequence listed the tokens past..past+n. What is `which`, its own pages are used. */
struct span {
	int which, past, n;
};

/* Rows of the spans, of arrays with `row` elements a token, EXTRA more between them. */
static float *
rows_of(const struct span *s, int n, float *const *x, int row)
{
	size_t at = 0, all = 0;
	float *to;

	for (int i = 0; i < n; i++)
		all += s[i].n;
	to = noise16(all * (row + EXTRA));
	for (int i = 0; i < n; i++)
		for (int t = s[i].past; t < s[i].past + s[i].n; t++, at += row + EXTRA)
			memcpy(to + at, x[i] + (size_t)t * row, row * sizeof *to);
	return to;
}

/* Put the spans' keys and values into the pages, and let their queries see them; out, rows one after the other. */
static float *
run(struct pages *p, const struct sequence *all, const struct span *s, int n)
{
	struct shape z = p->s;
	int *past = host_alloc(n * sizeof *past), *cu = host_alloc((n + 1) * sizeof *cu), *table = host_alloc(n * TABLE * sizeof *table), nk = z.G * z.D, nq = z.H * z.D;
	float *q[16], *k[16], *v[16];
	uint16_t *out;

	p->kv.most = p->kv.longest = 0;
	for (int i = 0; i < n; i++) {
		reserve(p, s[i].which, s[i].past + s[i].n);
		memcpy(table + i * TABLE, p->table[s[i].which], TABLE * sizeof *table);
		past[i] = s[i].past;
		cu[i + 1] = cu[i] + s[i].n;
		q[i] = all[s[i].which].q;
		k[i] = all[s[i].which].k;
		v[i] = all[s[i].which].v;
		p->kv.most = s[i].n > p->kv.most ? s[i].n : p->kv.most;
		p->kv.longest = s[i].past + s[i].n > p->kv.longest ? s[i].past + s[i].n : p->kv.longest;
	}
	p->kv.nspans = n;
	p->kv.T = cu[n];
	p->kv.table = device_copy(table, n * TABLE * sizeof *table);
	p->kv.past = device_copy(past, n * sizeof *past);
	p->kv.cu = device_copy(cu, (n + 1) * sizeof *cu);
	out = device_copy(NULL, (size_t)cu[n] * nq * sizeof *out);
	CHECK_OK(gpu_kv_put(&gpu, &p->kv, dev16(rows_of(s, n, k, nk), (size_t)cu[n] * (nk + EXTRA)), dev16(rows_of(s, n, v, nk), (size_t)cu[n] * (nk + EXTRA)), nk + EXTRA,
			    z.G, z.D));
	CHECK_OK(gpu_attend_cached(&gpu, out, dev16(rows_of(s, n, q, nq), (size_t)cu[n] * (nq + EXTRA)), nq + EXTRA, &p->kv,
				   device_copy(NULL, gpu_attend_cached_scratch(n, p->kv.longest, z.H, z.D)), z.H, z.G, z.D));
	return back16(out, (size_t)cu[n] * nq);
}

static void
compare(const float *got, const struct sequence *q, struct span s, int row)
{
	CHECK_ALIKE(got, q->out + (size_t)s.past * row, (size_t)s.n * row, 1 - 1e-5, 3e-3, 1 / 100.0);
}

/* Prefill in two chunks, then a token, of several sequences in one batch. */
static void
batches(struct shape s, const int *first, const int *second, int n, float size)
{
	struct sequence all[16];
	struct span spans[16];
	struct pages p;
	float *got;
	int pages = 0;

	for (int i = 0; i < n; i++) {
		all[i] = sequence_new(s, first[i] + second[i] + 1, size);
		pages += all[i].len / KV_PAGE + 1;
	}
	while (pages % 7 == 0)
		pages++;
	p = pages_new(s, pages);
	for (int step = 0; step < 3; step++) {
		for (int i = 0; i < n; i++)
			spans[i] = (struct span){ i, step == 0 ? 0 : step == 1 ? first[i] : first[i] + second[i], step == 0 ? first[i] : step == 1 ? second[i] : 1 };
		got = run(&p, all, spans, n);
		for (int i = 0; i < n; got += spans[i++].n * s.H * s.D)
			if (spans[i].n > 0)
				compare(got, &all[i], spans[i], s.H * s.D);
	}
}

static void
prompts_and_tokens_equal_plain(void)
{
	batches((struct shape){ 4, 2, 64 }, (int[]){ 31, 1, 40, 63, 0 }, (int[]){ 1, 1, 50, 0, 5 }, 5, 4);
	batches((struct shape){ 2, 2, 128 }, (int[]){ 20, 33 }, (int[]){ 40, 1 }, 2, 4);
	batches((struct shape){ 7, 1, 32 }, (int[]){ 9 }, (int[]){ 30 }, 1, 4);
	batches((struct shape){ 18, 1, 16 }, (int[]){ 5, 70 }, (int[]){ 1, 2 }, 2, 4);
}

/* Longer than one piece: to its border, over it, and a chunk in whose first rows' eyes the second piece is empty. */
static void
pieces_are_merged(void)
{
	batches((struct shape){ 2, 1, 64 }, (int[]){ SPLIT - 10, SPLIT - 1 }, (int[]){ 21, 1 }, 2, 4);
	batches((struct shape){ 2, 1, 128 }, (int[]){ SPLIT + 1 }, (int[]){ 1 }, 1, 4);
	batches((struct shape){ 1, 1, 16 }, (int[]){ 2 * SPLIT - 1 }, (int[]){ 2 }, 1, 4);
	batches((struct shape){ 1, 1, 16 }, (int[]){ SPLIT + 3 }, (int[]){ 9 }, 1, 1000);
}

/* Tokens one by one, in chunks, alone and beside others: the same bits. */
static void
bits_do_not_depend_on_the_batch(void)
{
	static const struct shape shapes[] = { { 3, 1, 64 }, { 2, 1, 128 } };

	for (size_t z = 0; z < sizeof shapes / sizeof *shapes; z++) {
		enum { PAST = SPLIT - 5, NEW = 9 };
		struct shape s = shapes[z];
		int row = s.H * s.D;
		struct sequence all[] = { sequence_new(s, PAST + NEW, 6), sequence_new(s, 70, 6) };
		struct pages chunk = pages_new(s, 16), one = pages_new(s, 16), beside = pages_new(s, 16);
		float *whole = run(&chunk, all, &(struct span){ 0, 0, PAST + NEW }, 1), *part = run(&one, all, &(struct span){ 0, 0, PAST }, 1), *pair;

		CHECK(!memcmp(whole, part, (size_t)PAST * row * sizeof *whole));
		for (int t = PAST; t < PAST + NEW; t++)
			CHECK(!memcmp(whole + (size_t)t * row, run(&one, all, &(struct span){ 0, t, 1 }, 1), row * sizeof *whole));
		pair = run(&beside, all, (struct span[]){ { 1, 0, 69 }, { 0, 0, PAST + 3 } }, 2);
		CHECK(!memcmp(whole, pair + 69 * row, (size_t)(PAST + 3) * row * sizeof *whole));
		pair = run(&beside, all, (struct span[]){ { 0, PAST + 3, 1 }, { 1, 69, 1 } }, 2);
		CHECK(!memcmp(whole + (size_t)(PAST + 3) * row, pair, row * sizeof *whole));
		pair = run(&beside, all, (struct span[]){ { 1, 40, 30 }, { 0, PAST + 4, 1 } }, 2);
		CHECK(!memcmp(whole + (size_t)(PAST + 4) * row, pair + 30 * row, row * sizeof *whole));
	}
}

/* Each key and value in its place, and nothing beside. */
static void
put_writes_the_new_tokens_alone(void)
{
	enum { G = 2, D = 16, PAST = 30, N = 5, ROW = G * D, AT = 8, STRIDE = 2 * KV_PAGE * ROW + 16, PAGES = 3 };
	float *k = noise16(N * ROW), *v = noise16(N * ROW), *was = noise16(PAGES * STRIDE);
	uint16_t *pages = dev16(was, PAGES * STRIDE);
	int table[] = { 2, 0 }, past = PAST, cu[] = { 0, N };
	struct gpu_kv kv = { pages, STRIDE, AT, device_copy(table, sizeof table), 2, device_copy(&past, sizeof past), device_copy(cu, sizeof cu), 1, N, N, PAST + N };

	CHECK_OK(gpu_kv_put(&gpu, &kv, dev16(k, N * ROW), dev16(v, N * ROW), ROW, G, D));
	for (int t = 0; t < N; t++)
		for (int i = 0; i < ROW; i++) {
			int at = table[(PAST + t) / KV_PAGE] * STRIDE + AT + (i / D * KV_PAGE + (PAST + t) % KV_PAGE) * D + i % D;

			was[at] = k[t * ROW + i];
			was[at + KV_PAGE * ROW] = v[t * ROW + i];
		}
	CHECK(!memcmp(back16(pages, PAGES * STRIDE), was, PAGES * STRIDE * sizeof *was));
}

static void
other_sizes_are_refused(void)
{
	struct gpu_kv kv = { NULL, gpu_kv_elements(1, 64), 0, NULL, 2, NULL, NULL, 1, 4, 4, 60 }, bad = kv;

	CHECK_INT(gpu_attend_cached(&gpu, NULL, NULL, 128, &kv, NULL, 2, 1, 96), -1);
	bad.at = 8;
	CHECK_INT(gpu_attend_cached(&gpu, NULL, NULL, 128, &bad, NULL, 2, 1, 64), -1);
	bad = kv;
	bad.longest = 65;	/* the table has room for 64 */
	CHECK_INT(gpu_kv_put(&gpu, &bad, NULL, NULL, 64, 1, 64), -1);
	bad = kv;
	bad.T = bad.most = 0;
	CHECK_INT(gpu_attend_cached(&gpu, NULL, NULL, 128, &bad, NULL, 2, 1, 64), 0);
}

int
main(void)
{
	device_begin();
	gpu.shared = 99 << 10;	/* as the smallest cards have it */
	RUN(prompts_and_tokens_equal_plain);
	RUN(pieces_are_merged);
	RUN(bits_do_not_depend_on_the_batch);
	RUN(put_writes_the_new_tokens_alone);
	RUN(other_sizes_are_refused);
	return device_done();
}
