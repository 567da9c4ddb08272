/* attend.c - fast attention against the plain one, the plain backward against finite differences, and bits that depend on neither packing nor the
 * way a sequence was cut */
#include "oracle.h"

struct attend_case {
	int H, G, D, nseq, cu[8];
	float *q, *k, *v, *out, *lse, *by;
};

#define SHAPE(h, g, d, n, ...) { .H = h, .G = g, .D = d, .nseq = n, .cu = { 0, __VA_ARGS__ } }

static const struct attend_case shapes[] = {
	SHAPE(1, 1, 2, 1, 1), SHAPE(4, 2, 8, 3, 5, 6, 40), SHAPE(2, 2, 64, 2, 49, 200), SHAPE(6, 1, 10, 4, 33, 33, 97, 130), SHAPE(4, 2, 64, 1, 450),
};

static void
attend_setup(struct attend_case *c, const struct attend_case *shape)
{
	int T = shape->cu[shape->nseq];

	*c = *shape;
	c->q = noise(T * c->H * c->D);
	c->k = noise(T * c->G * c->D);
	c->v = noise(T * c->G * c->D);
	c->out = noise(T * c->H * c->D);
	c->by = noise(T * c->H * c->D);
	c->lse = noise(T * c->H);
}

static void
attend_teardown(struct attend_case *c)
{
	free(c->q); free(c->k); free(c->v); free(c->out); free(c->by); free(c->lse);
}

static void
attend_fast_equals_plain(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		struct attend_case c;
		int T = shapes[s].cu[shapes[s].nseq], nq = T * shapes[s].H * shapes[s].D, nk = T * shapes[s].G * shapes[s].D;
		float *out = noise(nq), *lse = noise(T * shapes[s].H), *d[6];

		attend_setup(&c, &shapes[s]);
		ops_plain.attend(one, c.out, c.lse, c.q, c.k, c.v, c.cu, c.nseq, c.H, c.G, c.D);
		ops_cpu.attend(three, out, lse, c.q, c.k, c.v, c.cu, c.nseq, c.H, c.G, c.D);
		CHECK_CLOSE(out, c.out, nq);
		CHECK_CLOSE(lse, c.lse, T * c.H);
		for (int i = 0; i < 6; i++)
			d[i] = noise(i % 3 ? nk : nq);
		ops_plain.attend_back(one, d[0], d[1], d[2], c.by, c.q, c.k, c.v, c.out, c.lse, c.cu, c.nseq, c.H, c.G, c.D);
		ops_cpu.attend_back(three, d[3], d[4], d[5], c.by, c.q, c.k, c.v, c.out, c.lse, c.cu, c.nseq, c.H, c.G, c.D);
		CHECK_NUM(off(d[3], d[0], nq), 0, 1e-5);
		CHECK_NUM(off(d[4], d[1], nk), 0, 1e-5);
		CHECK_NUM(off(d[5], d[2], nk), 0, 1e-5);
		for (int i = 0; i < 6; i++)
			free(d[i]);
		free(out);
		free(lse);
		attend_teardown(&c);
	}
}

static double
attend_loss(void *arg)
{
	struct attend_case *c = arg;

	ops_plain.attend(one, c->out, c->lse, c->q, c->k, c->v, c->cu, c->nseq, c->H, c->G, c->D);
	return weighed(c->out, c->by, c->cu[c->nseq] * c->H * c->D);
}

static void
attend_backward_is_the_slope_of_the_forward(void)
{
	static const struct attend_case shape = SHAPE(4, 2, 6, 2, 3, 9);
	enum { NQ = 9 * 4 * 6, NK = 9 * 2 * 6 };
	struct attend_case c;
	float dq[NQ], dk[NK], dv[NK];

	attend_setup(&c, &shape);
	attend_loss(&c);
	ops_plain.attend_back(one, dq, dk, dv, c.by, c.q, c.k, c.v, c.out, c.lse, c.cu, c.nseq, c.H, c.G, c.D);
	check_slope("q", c.q, dq, NQ, 1e-2f, attend_loss, &c);
	check_slope("k", c.k, dk, NK, 1e-2f, attend_loss, &c);
	check_slope("v", c.v, dv, NK, 1e-2f, attend_loss, &c);
	attend_teardown(&c);
}

static void (*pages_check)(const struct ops *ops, double most);

static void
both_pages(void)
{
	pages_check(&ops_cpu, TOL);
	pages_check(&ops_cpu_bf16, 0.01);
}

/* Attention over pages of floats and of bf16 numbers, on every instruction set; `most` it may be off. */
static void
each_pages(void (*check)(const struct ops *ops, double most))
{
	pages_check = check;
	each_isa(both_pages);
}

/* Pages for n tokens, each somewhere else; what is not written yet is no number. Their layer begins at AT. */
#define AT 16

static float **
pages_new(const struct ops *ops, int n, int G, int D)
{
	int pages = (n + KV_PAGE - 1) / KV_PAGE;
	float **page = malloc(pages * sizeof *page);
	size_t floats = (AT + ops->kv_floats(G, D) + 15) / 16 * 16;

	for (int i = 0; i < pages; i++) {
		page[i] = aligned_alloc(64, floats * sizeof(float));
		for (size_t k = 0; k < floats; k++)
			page[i][k] = NAN;
	}
	return page;
}

static void
pages_free(float **page, int n)
{
	for (int i = 0; i < (n + KV_PAGE - 1) / KV_PAGE; i++)
		free(page[i]);
	free(page);
}

/* Put the keys and values of rows from.. of the case into pages, and let the queries attend. */
static void
attend_pages(const struct ops *ops, struct mach *m, float *out, const struct attend_case *c, int from, const struct kv_span *s, int nspans)
{
	int Q = c->H * c->D, K = c->G * c->D;

	ops->kv_put(m, s, nspans, AT, c->k + from * K, c->v + from * K, c->G, c->D);
	ops->attend_cached(m, out + from * Q, c->q + from * Q, s, nspans, AT, c->H, c->G, c->D);
}

static void
check_pages(const struct ops *ops, double most)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		struct attend_case c;
		int nseq = shapes[s].nseq, T = shapes[s].cu[nseq], n = T * shapes[s].H * shapes[s].D;
		float *plain = noise(n), *fast = noise(n);
		struct kv_span a[8], b[8];

		attend_setup(&c, &shapes[s]);
		for (int i = 0; i < nseq; i++) {
			int length = c.cu[i + 1] - c.cu[i];

			a[i] = (struct kv_span){ pages_new(&ops_plain, length, c.G, c.D), 0, length };
			b[i] = (struct kv_span){ pages_new(ops, length, c.G, c.D), 0, length };
		}
		ops_plain.attend(one, c.out, c.lse, c.q, c.k, c.v, c.cu, nseq, c.H, c.G, c.D);
		attend_pages(&ops_plain, one, plain, &c, 0, a, nseq);
		CHECK_SAME(plain, c.out, n);
		attend_pages(ops, three, fast, &c, 0, b, nseq);
		CHECK_NUM(off(fast, c.out, n), 0, most);
		for (int i = 0; i < nseq; i++) {
			pages_free((float **)a[i].page, a[i].n);
			pages_free((float **)b[i].page, b[i].n);
		}
		free(plain);
		free(fast);
		attend_teardown(&c);
	}
}

static void
attention_over_pages_is_attention_over_rows(void)
{
	each_pages(check_pages);
}

/* A sequence by itself, in one go, against plain; then in pieces of any size, odd ones too, and packed among others: the same bits. */
static void
check_cuts(const struct ops *ops, double most)
{
	static const struct attend_case shape = SHAPE(4, 2, 64, 1, 450);
	static const int cuts[] = { 1, 1, 2, 44, 1, 60, 1, 200, 140 };
	struct attend_case c;
	int T = 450, Q = 4 * 64, K = 2 * 64, past = 0;
	float *want = noise(T * Q), *got = noise(T * Q), *lse = noise(T * 4), **whole = pages_new(ops, T, 2, 64), **pieces = pages_new(ops, T, 2, 64);

	attend_setup(&c, &shape);
	ops_plain.attend(one, want, c.lse, c.q, c.k, c.v, c.cu, 1, c.H, c.G, c.D);
	attend_pages(ops, three, c.out, &c, 0, &(struct kv_span){ whole, 0, T }, 1);
	CHECK_NUM(off(c.out, want, T * Q), 0, most);
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; past += cuts[i++])
		attend_pages(ops, i % 2 ? one : three, got, &c, past, &(struct kv_span){ pieces, past, cuts[i] }, 1);
	CHECK_INT(past, T);
	CHECK_SAME(got, c.out, T * Q);
	ops->attend(three, c.out, c.lse, c.q, c.k, c.v, (int[]){ 0, 100, 223, 450 }, 3, c.H, c.G, c.D);
	ops->attend(one, got, lse, c.q + 100 * Q, c.k + 100 * K, c.v + 100 * K, (int[]){ 0, 123 }, 1, c.H, c.G, c.D);
	CHECK_SAME(got, c.out + 100 * Q, 123 * Q);
	CHECK_SAME(lse, c.lse + 100 * 4, 123 * 4);
	pages_free(whole, T);
	pages_free(pieces, T);
	free(want); free(got); free(lse);
	attend_teardown(&c);
}

static void
attend_has_the_same_bits_however_a_sequence_is_cut_or_packed(void)
{
	each_pages(check_cuts);
}

/* New tokens of many sequences at once, kv heads side by side: the bits of one long span. */
static void
check_single(const struct ops *ops, double most)
{
	static const struct attend_case shape = SHAPE(10, 5, 64, 1, 70);
	struct attend_case c;
	int T = 70, Q = 10 * 64;
	float *got = noise(T * Q), **page = pages_new(ops, T, 5, 64);
	struct kv_span one_each[70];

	(void)most;
	attend_setup(&c, &shape);
	attend_pages(ops, three, c.out, &c, 0, &(struct kv_span){ page, 0, T }, 1);
	for (int t = 0; t < T; t++)
		one_each[t] = (struct kv_span){ page, t, 1 };
	ops->attend_cached(three, got, c.q, one_each, T, AT, c.H, c.G, c.D);
	CHECK_SAME(got, c.out, T * Q);
	for (int t = 0; t < T; t++)
		got[t * Q] = NAN;
	for (int t = 0; t < T; t += 7)	/* few of them: not all heads side by side */
		ops->attend_cached(three, got + t * Q, c.q + t * Q, one_each + t, 7, AT, c.H, c.G, c.D);
	CHECK_SAME(got, c.out, T * Q);
	pages_free(page, T);
	free(got);
	attend_teardown(&c);
}

static void
single_tokens_of_many_sequences_have_the_bits_of_a_prompt(void)
{
	each_pages(check_single);
}

static void
tests(void)
{
	RUN(attend_fast_equals_plain);
	RUN(attention_over_pages_is_attention_over_rows);
	RUN(attend_backward_is_the_slope_of_the_forward);
	RUN(attend_has_the_same_bits_however_a_sequence_is_cut_or_packed);
	RUN(single_tokens_of_many_sequences_have_the_bits_of_a_prompt);
}

int
main(void)
{
	return oracle_main(tests);
}
