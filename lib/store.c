/* store.c - replies that need no request: from the cache, from batch results; and what goes into the cache and the batch file
 *
 * A reply goes into the cache when the filter has taken it: one that did not parse, was cut or was blocked is never kept, so it is asked for again. Its
 * record is written when the cache has it on disk, so that a process killed at any moment has written nothing that the next run would pay for again. */

#include <stdlib.h>
#include <string.h>

#include "loop.h"

/* ---- opening ---- */

static void
news_from_thread(void *arg)
{
	uv_async_send(arg);
}

static void
open_batches(const struct run *r)
{
	struct err e;

	if (r->batch_out && !(loop->batch_out = batch_out_open(r->batch_out, &e)))
		die(STATUS_USAGE, "%s", e.msg);
	loop->batch_in = xcalloc(r->batch_in.n + 1, sizeof *loop->batch_in);
	for (size_t i = 0; i < r->batch_in.n; i++)
		if (!(loop->batch_in[i] = batch_in_open(r->batch_in.v[i], &e)))
			die(STATUS_USAGE, "%s", e.msg);
}

void
store_open(void)
{
	const struct run *r = loop->run;
	size_t n = r->endpoints.n ? r->endpoints.n : 1;
	struct err e;

	open_batches(r);
	loop->identity = xcalloc(n + 1, sizeof *loop->identity);
	for (size_t i = 0; i < n; i++)
		loop->identity[i] = endpoint_identity(r->endpoints.n ? r->endpoints.v[i] : NULL);
	if (!r->cache)
		return;
	loop->cache = cache_open(r->cache, (size_t)r->cache_size << 20, r->cache_only ? NULL : news_from_thread, &loop->wake, &e);
	if (!loop->cache)
		die(STATUS_USAGE, "%s", e.msg);
}

/* ---- replies from elsewhere ---- */

/* A reply that was there: answered, or failed as it would have been when it came. */
static void
answer(struct ask *a, const char *body, size_t n)
{
	enum rec_class c;
	struct err why;

	TAILQ_REMOVE(&loop->ready, a, queue);
	if (ask_read(a, body, n, &c, &why) != VERDICT_GOOD) {
		ask_fail(a, c, why.msg, 0);
		return;
	}
	ask_state(a, ANSWERED);
	asks_go_on(a->of);
}

static void
give_up(struct ask *a, enum rec_class c, const char *why, int http)
{
	TAILQ_REMOVE(&loop->ready, a, queue);
	ask_fail(a, c, why, http);
}

/* A result that is no reply: the class that the same answer has over the wire. */
static void
batch_failed(struct ask *a, const struct batch_result *b)
{
	struct http_result r = { .status = b->status, .body = b->body ? b->body : "", .n = b->n };
	enum rec_class c = SERVER;
	char text[300];
	struct err why;

	if (b->status)
		retry_verdict(&r, &c);
	reply_error(r.body, r.n, text, sizeof text);
	if (b->error)
		err_set(&why, "batch: %s", b->error);
	else
		err_set(&why, "batch: HTTP %ld: %s", b->status, text);
	give_up(a, c, why.msg, (int)b->status);
}

static bool
from_batch(struct ask *a, const char *id)
{
	struct batch_result r;
	struct err e;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < loop->run->batch_in.n; i++)
		rc = batch_in_get(loop->batch_in[i], id, &r, &e);
	if (rc < 0) {
		loop_break(STATUS_IO, "%s", e.msg);
		return true;
	}
	if (rc == 0)
		return false;
	loop->stats.cached++;
	if (r.status == 200 && r.body && !r.error)
		answer(a, r.body, r.n);
	else
		batch_failed(a, &r);
	batch_result_free(&r);
	return true;
}

/* True: the batch files have had it. Where there are any, nothing is sent. */
static bool
by_batch(struct ask *a)
{
	char id[BATCH_ID];
	struct err e;

	if (!loop->batch_out && !loop->run->batch_in.n)
		return false;
	batch_id(id, ask_path(a), a->body.p, a->body.n, a->sample);
	if (from_batch(a, id))
		return true;
	if (!loop->batch_out) {
		give_up(a, SERVER, "the batch results have no line for it", 0);
		return true;
	}
	if (batch_out_add(loop->batch_out, id, ask_path(a), a->body.p, a->body.n, &e) < 0) {
		loop_break(STATUS_IO, "%s", e.msg);
		return true;
	}
	TAILQ_REMOVE(&loop->ready, a, queue);
	ask_pend(a);
	return true;
}

/* A cache that cannot be read is done without: asking again costs money, never a wrong answer. */
static int
look_up(struct ask *a, struct buf *reply)
{
	struct err e;
	int rc = 0;

	for (size_t i = 0; rc == 0 && loop->identity[i]; i++) {
		struct cache_key k = cache_key(loop->identity[i], ask_path(a), a->body.p, a->body.n, a->sample);

		rc = cache_get(loop->cache, &k, reply, &e);
	}
	if (rc < 0 && !loop->told_cache) {
		loop_note("%s", e.msg);
		loop->told_cache = true;
	}
	return rc;
}

static bool
by_cache(struct ask *a)
{
	struct buf reply = BUF_INIT(BUF_MAX_TEXT);
	int rc;

	if (!loop->cache || a->looked)
		return false;
	a->looked = true;
	rc = look_up(a, &reply);
	if (rc == 1) {
		loop->stats.cached++;
		answer(a, reply.p, reply.n);
	} else if (loop->run->cache_only) {
		give_up(a, NET, rc < 0 ? "the cache cannot be read" : "the cache has no reply for it (--cache-only)", 0);
	}
	buf_free(&reply);
	return rc == 1 || loop->run->cache_only;
}

bool
store_answers(struct ask *a)
{
	return by_cache(a) || by_batch(a);
}

/* ---- into the cache ---- */

void
store_keep(struct asks *q, struct ask *a)
{
	struct cache_key k;

	if (!a->raw || q->failed)
		return;
	k = cache_key(upstream_identity(a->on), ask_path(a), a->body.p, a->body.n, a->sample);
	cache_put(loop->cache, &k, a->raw, a->nraw, q);
	q->storing++;
}

void
store_news(void)
{
	struct err e;
	void *item;

	while (loop->cache && cache_stored(loop->cache, &item)) {
		struct asks *q = item;

		q->storing--;
		asks_go_on(q);
	}
	if (loop->cache && cache_failed(loop->cache, &e))
		loop_note("%s", e.msg);
}

void
store_close(void)
{
	struct err e;

	if (loop->cache)
		cache_close(loop->cache);
	loop->cache = NULL;
	for (size_t i = 0; i < loop->run->batch_in.n; i++)
		batch_in_close(loop->batch_in[i]);
	free(loop->batch_in);
	for (size_t i = 0; loop->identity[i]; i++)
		free(loop->identity[i]);
	free(loop->identity);
	if (loop->batch_out && batch_out_close(loop->batch_out, NULL, &e) < 0) {
		loop_note("%s", e.msg);
		if (loop->status == STATUS_OK)
			loop->status = STATUS_IO;
	}
	loop->batch_out = NULL;
}
