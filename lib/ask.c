/* ask.c - conversations with the model: from ask_chat() to the filter's take(); what happens to a request in between is in send.c and store.c */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "loop.h"

#define BODY_MAX ((size_t)256 << 20)
#define TEMPLATE_TOKENS 64

/* ---- asking ---- */

void
asks_init(struct asks *q, struct rec *r, size_t at, size_t place)
{
	*q = (struct asks){ .rec = r, .at = at, .place = place };
	TAILQ_INIT(&q->list);
}

/* The seed depends on what is asked about, never on when: hash of --seed, the record's id and the number of the question. */
static long long
seed_of(const struct asks *q)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	long long seed;

	buf_addf(&b, "%lld%c%s%c%ld", run_seed(), 0, q->rec ? rec_id(q->rec) : "", 0, q->asked);
	seed = (long long)(XXH3_64bits(b.p, b.n) & 0x7fffffff);
	buf_free(&b);
	return seed;
}

static struct ask *
ask_new(struct asks *q, enum ask_kind kind, const struct msg *m, size_t n, const struct params *p, int tag)
{
	struct ask *a = xcalloc(1, sizeof *a);

	a->of = q;
	a->kind = kind;
	a->tag = tag;
	a->class = NET;
	a->params = p ? *p : run_params();
	if (a->params.seed < 0 && a->params.temperature != 0)	/* also when it is unset: the server's default samples */
		a->params.seed = seed_of(q);
	a->nmsg = n;
	a->msg = xcalloc(n, sizeof *a->msg);
	for (size_t i = 0; i < n; i++)
		a->msg[i] = (struct msg){ m[i].role ? xstrdup(m[i].role) : NULL, xstrdup(m[i].text) };
	buf_init(&a->body, BODY_MAX);
	q->asked++;
	TAILQ_INSERT_TAIL(&q->list, a, talk);
	TAILQ_INSERT_TAIL(&loop->ready, a, queue);
	loop->asks[READY]++;
	return a;
}

void
ask_chat(struct asks *q, const struct msg *m, size_t n, const struct params *p, int tag)
{
	ask_new(q, ASK_CHAT, m, n, p, tag);
}

void
ask_prompt(struct asks *q, const struct prompt *p, const struct value *values, int tag)
{
	size_t n;
	struct msg *m = prompt_fill(p, values, &n);

	ask_new(q, ASK_CHAT, m, n, NULL, tag);
	prompt_done(m, n);
}

void
ask_echo(struct asks *q, const char *text, int tag)
{
	struct params p = PARAMS_UNSET;

	p.temperature = 0;
	ask_new(q, ASK_ECHO, &(struct msg){ NULL, text }, 1, &p, tag);
}

void
ask_completion(struct asks *q, const char *text, const struct params *p, int top_logprobs, int tag)
{
	struct params with = p ? *p : run_params();

	with.logprobs = top_logprobs;
	ask_new(q, ASK_COMPLETION, &(struct msg){ NULL, text }, 1, &with, tag);
}

/* ---- the life of an ask ---- */

static void
question_free(struct ask *a)
{
	for (size_t i = 0; i < a->nmsg; i++) {
		free((char *)a->msg[i].role);
		free((char *)a->msg[i].text);
	}
	free(a->msg);
	a->msg = NULL;
	a->nmsg = 0;
}

void
ask_state(struct ask *a, enum ask_state s)
{
	loop->asks[a->state]--;
	loop->asks[s]++;
	a->state = s;
}

void
ask_free(struct ask *a)
{
	loop->asks[a->state]--;
	question_free(a);
	buf_free(&a->body);
	reply_free(&a->reply);
	free(a->raw);
	free(a->error);
	free(a);
}

static void
asks_free(struct asks *q)
{
	rec_free(q->rec);
	free(q->bodies);
	free(q);
}

/* Nobody wants its answer any more. */
static void
ask_drop(struct ask *a)
{
	TAILQ_REMOVE(&a->of->list, a, talk);
	a->of = NULL;
	if (a->state == READY)
		TAILQ_REMOVE(&loop->ready, a, queue);
	if (a->state == WAITING)
		TAILQ_REMOVE(&loop->waiting, a, queue);
	if (a->state == FLYING)
		http_cancel(a->req);
	else
		ask_free(a);
}

static void
drop_all(struct asks *q)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&q->list)))
		ask_drop(a);
}

void
asks_cancel(void)
{
	struct asks *q;

	drop_all(&loop->end);
	while ((q = TAILQ_FIRST(&loop->talks))) {
		drop_all(q);
		TAILQ_REMOVE(&loop->talks, q, link);
		asks_free(q);
	}
	free(loop->end.bodies);
}

void
asks_end(struct asks *q)
{
	TAILQ_REMOVE(&loop->talks, q, link);
	asks_free(q);
}

static void
take(struct asks *q, struct ask *a)
{
	a->reply.tag = a->tag;
	a->reply.error = a->error;
	q->attempts = a->attempts;
	loop->current = q;
	if (loop->f->take(q->rec, &a->reply, q) == TAKEN)
		q->taken = true;
	loop->current = NULL;
	q->attempts = 0;
	store_keep(q, a);
}

void
asks_go_on(struct asks *q)
{
	struct ask *a;

	while (!q->failed && !q->pending && (a = TAILQ_FIRST(&q->list)) && a->state == ANSWERED) {
		TAILQ_REMOVE(&q->list, a, talk);
		take(q, a);
		ask_free(a);
	}
	if (q->failed || q->pending)
		drop_all(q);
	if (q->rec && TAILQ_EMPTY(&q->list) && q->storing == 0)
		loop_finished(q);
}

/* For good. In the end phase the filter is told; a record fails. */
void
ask_fail(struct ask *a, enum rec_class c, const char *why, int http)
{
	struct asks *q = a->of;

	ask_state(a, ANSWERED);
	if (q->rec) {
		loop_fail(q, c, why, a->attempts, http);
	} else {
		a->error = xstrdup(why);
		if (c != TRUNCATED && c != BLOCKED)	/* those are answers of a kind, which the filter may well expect */
			loop->end_failed = true;
	}
	asks_go_on(q);
}

/* The record comes out as it came in: it is asked about again when the results are there. What else was asked about it goes into the file as well. */
void
ask_pend(struct ask *a)
{
	struct asks *q = a->of;

	ask_state(a, ANSWERED);
	TAILQ_REMOVE(&q->list, a, talk);
	ask_free(a);
	q->pending = true;
	for (a = TAILQ_FIRST(&q->list); a; a = TAILQ_NEXT(a, talk))
		if (a->state == READY)
			return;	/* its turn comes */
	asks_go_on(q);
}

void
asks_expire(void)
{
	uint64_t now = uv_now(&loop->uv), most = (uint64_t)(loop->run->deadline * 1000);
	struct asks *q;

	while (loop->run->deadline > 0 && (q = TAILQ_FIRST(&loop->talks)) && now - q->since >= most) {
		struct ask *a = TAILQ_FIRST(&q->list);
		char why[80];

		if (!a)
			break;	/* it only waits for the cache */
		snprintf(why, sizeof why, "not done within %g seconds (--deadline)", loop->run->deadline);
		loop_fail(q, a->class, why, a->attempts, a->http);
		asks_go_on(q);
	}
}

/* ---- bodies and replies ---- */

const char *
ask_path(const struct ask *a)
{
	return a->kind == ASK_CHAT ? "/chat/completions" : "/completions";
}

/* Without a seed the same body may be asked again on purpose: it is another sample. */
static void
count_sample(struct ask *a)
{
	struct asks *q = a->of;
	uint64_t hash;

	if (a->params.seed >= 0)
		return;
	hash = XXH3_64bits(a->body.p, a->body.n);
	for (size_t i = 0; i < q->nbodies; i++)
		a->sample += q->bodies[i] == hash;
	q->bodies = xreallocarray(q->bodies, q->nbodies + 1, sizeof *q->bodies);
	q->bodies[q->nbodies++] = hash;
}

int
ask_body(struct ask *a, const char *model)
{
	int rc;

	if (a->body.n)
		return 0;
	if (a->kind == ASK_CHAT)
		rc = chat_body(&a->body, model, a->msg, a->nmsg, &a->params);
	else if (a->kind == ASK_ECHO)
		rc = echo_body(&a->body, model, a->msg->text, 1);
	else
		rc = completion_body(&a->body, model, a->msg->text, &a->params);
	question_free(a);
	if (rc < 0)
		return -1;
	/* A token is a byte at least; each message and the template around them cost a few more. */
	a->most_in = (long long)a->body.n + TEMPLATE_TOKENS;
	a->most_out = a->kind == ASK_ECHO ? 1 : a->params.max_tokens >= 0 ? a->params.max_tokens : 0;
	count_sample(a);
	return 0;
}

static bool
cut_on_purpose(const struct ask *a)
{
	return a->params.max_tokens == 0 || a->params.max_tokens == 1;
}

enum verdict
ask_read(struct ask *a, const char *body, size_t n, enum rec_class *c, struct err *why)
{
	struct reply *reply = &a->reply;

	*c = SERVER;
	if (reply_parse(reply, body, n, why) < 0)
		return VERDICT_AGAIN;
	if (a->kind != ASK_CHAT || loop->f->as_is)
		return VERDICT_GOOD;
	if (reply->refusal || !reply->text || (reply->finish && strcmp(reply->finish, "content_filter") == 0)) {
		*c = BLOCKED;
		err_set(why, "%s%.200s", reply->refusal ? "refused: " : reply->text ? "cut by a content filter" : "the reply has no text",
			reply->refusal ? reply->refusal : "");
		return VERDICT_FINAL;
	}
	if (reply->finish && strcmp(reply->finish, "length") == 0 && !cut_on_purpose(a)) {
		*c = TRUNCATED;
		err_set(why, "the reply was cut at %ld tokens", a->params.max_tokens >= 0 ? a->params.max_tokens : reply->completion_tokens);
		return VERDICT_FINAL;
	}
	return VERDICT_GOOD;
}
