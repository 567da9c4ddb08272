/* turn.c - turns without a server: the bits of a choice alone and among others, whatever the pages and the budget; who is computed when */
#include "small.h"
#include "turn.h"

#define TEACHER "pipelines/nano/teacher"

static struct model *m;
static struct tok *tok;

/* ---- requests ---- */

static struct request
request(const int *ids, int n, int max_tokens, int seed)
{
	struct request r = { .kind = REQ_COMPLETION, .nprompts = 1, .n = 1, .how = { .temperature = 1, .top_p = 1 }, .adjust = { .repetition = 1 }, .seed = seed,
			     .max_tokens = max_tokens, .logprobs = 2, .prompt_logprobs = -1 };

	r.prompt = calloc(1, sizeof *r.prompt);
	r.prompt->ids.v = malloc((n + 1) * sizeof *ids);
	r.prompt->ids.n = n;
	memcpy(r.prompt->ids.v, ids, n * sizeof *ids);
	return r;
}

static void
request_free(struct request *r)
{
	free(r->prompt->ids.v);
	free(r->prompt);
}

/* Requests of all kinds: lengths from 1 on, some echoed, some that begin alike. */
static struct request
any_request(int i)
{
	int ids[400], n = 1 + i * 37 % 150;
	struct request r;

	fill_ids(ids, 400, m->c.vocab - 10, 100 + i);
	if (i % 3 == 0)
		fill_ids(ids, n < 70 ? n : 70, m->c.vocab - 10, 7);
	r = request(ids, n, i % 5 ? 20 + i % 4 * 15 : 0, i);
	r.echo = i % 4 == 1 || r.max_tokens == 0;
	return r;
}

/* ---- a queue without a server ---- */

struct crowd {
	struct turn t;
	struct request req[40];
	struct seq seq[40];
	int n, next;		/* all; the next that was never admitted */
	int active;
	TAILQ_HEAD(, seq) back;
	int first_turn[40], last_turn[40];	/* in which it drew something, and was done */
};

static void
crowd_init(struct crowd *c, int pages, int budget, int max)
{
	memset(c, 0, sizeof *c);
	c->t = (struct turn){ .model = m, .tok = tok, .mach = mach, .pool = pool_for(m, pages * KV_PAGE), .budget = budget, .max = max };
	turn_init(&c->t);
	TAILQ_INIT(&c->back);
}

static struct seq *
crowd_add(struct crowd *c, struct request r)
{
	struct seq *s = &c->seq[c->n];

	c->req[c->n] = r;
	seq_init(s, &c->req[c->n++], 0, 1000);
	s->peers = &c->active;
	return s;
}

static void
crowd_free(struct crowd *c)
{
	for (int i = 0; i < c->n; i++) {
		seq_free(&c->seq[i]);
		request_free(&c->req[i]);
	}
	CHECK_INT(kv_usage(c->t.pool).held, 0);
	CHECK_INT(c->active, 0);
	kv_pool_free(c->t.pool);
	turn_free(&c->t);
}

static void
fill_places(struct crowd *c)
{
	while (c->t.n < c->t.max) {
		struct seq *s = TAILQ_FIRST(&c->back);

		if (!s && c->next == c->n)
			return;
		if (!turn_admit(&c->t, s ? s : &c->seq[c->next]))
			return;
		if (s)
			TAILQ_REMOVE(&c->back, s, link);
		else
			c->next++;
	}
}

/* One turn; false when nothing is left to do. */
static bool
crowd_turn(struct crowd *c)
{
	struct err e;
	int n = 0;

	fill_places(c);
	if (c->t.n == 0)
		return false;
	if (!CHECK(turn_run(&c->t, &e) == 0))
		return false;
	for (int i = 0; i < c->t.nback; i++)
		TAILQ_INSERT_HEAD(&c->back, c->t.back[i], link);
	c->t.nback = 0;
	for (int i = 0; i < c->t.n; i++) {
		struct seq *s = c->t.active[i];
		int which = s - c->seq;

		if (s->fresh && c->first_turn[which] == 0)
			c->first_turn[which] = c->t.counts.turns;
		if (s->c.finish == FINISH_NONE) {
			c->t.active[n++] = s;
			continue;
		}
		c->last_turn[which] = c->t.counts.turns;
		seq_end(s);
	}
	c->t.n = n;
	return true;
}

static void
crowd_run(struct crowd *c)
{
	for (int i = 0; crowd_turn(c); i++)
		if (!CHECK(i < 20000))
			return;
}

static bool
same_choice(const struct choice *a, const struct choice *b)
{
	if (a->ntok != b->ntok || a->generated != b->generated || a->finish != b->finish || a->text.n != b->text.n || memcmp(a->text.p, b->text.p, a->text.n) != 0)
		return false;
	for (size_t i = 0; i < a->ntok; i++) {
		const struct scored *x = &a->tok[i], *y = &b->tok[i];

		if (x->id != y->id || memcmp(&x->logprob, &y->logprob, sizeof x->logprob) != 0 || x->ntop != y->ntop ||
		    memcmp(x->top_logprob, y->top_logprob, x->ntop * sizeof *x->top_logprob) != 0)
			return false;
	}
	return true;
}

/* ---- */

/* All of them alone, then n at once, with few pages and with many, with small and with large turns. */
static void
a_choice_has_the_same_bits_alone_and_among_others_with_and_without_pages(void)
{
	enum { N = 32 };
	static struct crowd alone[N], crowd;
	static const int at_once[] = { 1, 8, 32 }, pages[] = { 7, 12, 400 }, budget[] = { 16, 64, 512 };

	for (int i = 0; i < N; i++) {
		crowd_init(&alone[i], 100, 256, 1);
		crowd_add(&alone[i], any_request(i));
		crowd_run(&alone[i]);
	}
	for (int k = 0; k < 3; k++)
		for (int p = 0; p < 3; p++) {
			crowd_init(&crowd, pages[p], budget[(k + p) % 3], at_once[k]);
			for (int i = 0; i < N; i++)
				crowd_add(&crowd, any_request(i));
			crowd_run(&crowd);
			for (int i = 0; i < N; i++)
				if (!CHECK(same_choice(&crowd.seq[i].c, &alone[i].seq[0].c)))
					printf("#   choice %d, %d at once, %d pages, turns of %d\n", i, at_once[k], pages[p], crowd.t.budget);
			CHECK(at_once[k] > 1 && pages[p] < 20 ? crowd.t.counts.put_back > 0 : crowd.t.counts.put_back == 0);
			CHECK(crowd.t.counts.found > 0);
			crowd_free(&crowd);
		}
	for (int i = 0; i < N; i++)
		crowd_free(&alone[i]);
}

static void
a_common_beginning_is_computed_once_also_by_those_that_come_together(void)
{
	enum { N = 6, COMMON = 320, OWN = 10 };
	static struct crowd c;
	int ids[COMMON + OWN];

	crowd_init(&c, 100, 128, 8);
	for (int i = 0; i < N; i++) {
		fill_ids(ids, COMMON, m->c.vocab - 10, 1);
		fill_ids(ids + COMMON, OWN, m->c.vocab - 10, 10 + i);
		crowd_add(&c, request(ids, COMMON + OWN, 5, i));
	}
	crowd_run(&c);
	CHECK_INT(c.t.counts.prompt, COMMON + N * OWN);
	CHECK_INT(c.t.counts.found, (N - 1) * COMMON);
	crowd_free(&c);
}

static void
log_probabilities_of_a_prompt_are_computed_even_where_its_pages_are_there(void)
{
	static struct crowd c;
	struct request r;
	int ids[200];

	fill_ids(ids, 200, m->c.vocab - 10, 1);
	crowd_init(&c, 100, 128, 8);
	for (int i = 0; i < 2; i++) {
		r = request(ids, 200, 0, 0);
		r.echo = true;
		crowd_add(&c, r);
		crowd_run(&c);
	}
	CHECK_INT(c.t.counts.prompt, 400);
	CHECK_INT(c.t.counts.found, 0);
	CHECK_INT(c.seq[1].c.ntok, 200);
	CHECK(same_choice(&c.seq[0].c, &c.seq[1].c));
	crowd_free(&c);
}

static void
a_long_prompt_neither_stalls_what_generates_nor_waits_for_ever(void)
{
	static struct crowd c;
	int ids[960], generated;

	fill_ids(ids, 960, m->c.vocab - 10, 1);
	crowd_init(&c, 200, 64, 8);
	crowd_add(&c, request(ids, 3, 60, 1));
	crowd_turn(&c);
	generated = c.seq[0].c.generated;
	CHECK_INT(generated, 1);
	crowd_add(&c, request(ids, 960, 3, 2));
	crowd_add(&c, request(ids + 500, 20, 3, 3));	/* comes later, is short */
	for (int i = 0; i < 10; i++)
		crowd_turn(&c);
	CHECK(c.seq[0].c.generated == generated + 10 || c.seq[0].c.finish != FINISH_NONE);
	CHECK(c.first_turn[2] > 0 && c.first_turn[2] <= 4);
	crowd_run(&c);
	CHECK(c.first_turn[1] > 960 / 64 && c.first_turn[1] <= 960 / 32 + 2);
	crowd_free(&c);
}

int
main(void)
{
	struct err e;

	mach = mach_new(2);
	m = model_load(TEACHER, &ops_cpu, mach, &e);
	tok = tok_load(TEACHER, &e);
	if (!m || !tok) {
		printf("# %s\n", e.msg);
		return 1;
	}
	RUN(a_choice_has_the_same_bits_alone_and_among_others_with_and_without_pages);
	RUN(a_common_beginning_is_computed_once_also_by_those_that_come_together);
	RUN(log_probabilities_of_a_prompt_are_computed_even_where_its_pages_are_there);
	RUN(a_long_prompt_neither_stalls_what_generates_nor_waits_for_ever);
	model_free(m);
	tok_free(tok);
	mach_free(mach);
	return t_done();
}
