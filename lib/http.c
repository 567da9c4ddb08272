/* http.c - HTTP requests in flight on a libuv loop
 *
 * A request and its libcurl handle are made once and used again: only the body changes. multi.c runs the transfers; after each of its
 * actions finished ones are taken out of curl (drain) and then their `done` is called (report), so that `done` may start another.
 *
 * Attempts' time-outs are kept here, in one list in the order of their ends with one timer: curl's own would be two insertions into its tree of
 * times and a call back for every request. */

#include "http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "buf.h"
#include "head.h"
#include "multi.h"
#include "place.h"

#define BODY_MAX BUF_MAX_TEXT
#define BODY_KEPT ((size_t)16 << 10)	/* a reply's memory up to here is used again */
#define KEY_SHORTEST 8	/* bytes */
#define COMPRESSED "the reply is compressed, which was not asked for"

enum state { RUNNING, FINISHED, IDLE };

struct http_req {
	TAILQ_ENTRY(http_req) link;	/* in http.running, http.finished or route.idle */
	enum state state;
	struct http *http;
	struct route *route;
	CURL *easy;
	struct buf body;
	struct head head;
	const char *refused;	/* why we do not want the reply, or NULL */
	int refusal;		/* the CURLcode that stands for it */
	char why[CURL_ERROR_SIZE];
	struct http_result result;
	uint64_t start;		/* ns */
	uint64_t due;		/* ms of the loop's clock: the attempt ends */
	double timeout;		/* s */
	http_done *done;
	void *arg;
};

TAILQ_HEAD(req_list, http_req);

/* A place with the requests that can be used again for it. */
struct route {
	SLIST_ENTRY(route) link;
	struct place *place;
	struct req_list idle;
	int n;			/* of them */
};

struct http {
	uv_loop_t *loop;
	struct multi *multi;
	uv_timer_t timer;	/* the first attempt that is due */
	struct req_list running;	/* by `due` */
	struct req_list finished;	/* out of curl, `done` not yet called */
	SLIST_HEAD(, route) routes;
	int most_idle;		/* requests kept for each route */
};

/* ---- making and keeping ---- */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *r = arg;

	if (r->head.coded || buf_add(&r->body, p, size * n) == 0)
		return n;
	r->refusal = CURLE_FILESIZE_EXCEEDED;
	r->refused = "the reply is longer than 64 MiB";
	return 0;
}

/* What is wrong with a whole head. A failure's status says more than that its explanation is compressed. */
static void
judge_head(struct http_req *r)
{
	if (r->head.status == 200 && r->head.coded) {
		r->refusal = CURLE_BAD_CONTENT_ENCODING;
		r->refused = COMPRESSED;
	} else if (r->head.status >= 300 && r->head.status < 400 && *r->head.place) {
		r->refusal = CURLE_TOO_MANY_REDIRECTS;
		r->refused = "the server redirects";
	}
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *r = arg;
	bool ended = r->head.ended;

	if (head_line(&r->head, p, size * n, &r->refused) < 0)
		r->refusal = CURLE_WEIRD_SERVER_REPLY;
	else if (r->head.ended && !ended)
		judge_head(r);
	return r->refused ? 0 : size * n;
}

/* Connected, about to send. */
static int
on_send(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct http_req *r = arg;

	(void)to, (void)from, (void)to_port, (void)from_port;
	r->result.sent = true;
	return CURL_PREREQFUNC_OK;
}

static struct http_req *
req_new(struct http *h, struct route *route)
{
	struct http_req *r = xcalloc(1, sizeof *r);
	CURL *c = place_handle(route->place, r->why);

	r->http = h;
	r->route = route;
	r->easy = c;
	buf_init(&r->body, BODY_MAX);
	multi_prepare(h->multi, c);
	curl_easy_setopt(c, CURLOPT_PRIVATE, r);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_send);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, r);
	return r;
}

static void
req_free(struct http_req *r)
{
	curl_easy_cleanup(r->easy);
	buf_free(&r->body);
	free(r);
}

/* Used again soon, and the last one first: its memory is warm. */
static void
req_keep(struct http_req *r)
{
	struct route *route = r->route;

	if (route->n >= r->http->most_idle) {
		req_free(r);
		return;
	}
	if (r->body.cap > BODY_KEPT)
		buf_free(&r->body);
	r->state = IDLE;
	route->n++;
	TAILQ_INSERT_HEAD(&route->idle, r, link);
}

static struct route *
route_to(struct http *h, const struct http_target *t, const char *path)
{
	struct route *route;

	SLIST_FOREACH(route, &h->routes, link)
		if (place_is(route->place, t, path))
			return route;
	route = xcalloc(1, sizeof *route);
	route->place = place_new(t, path);
	TAILQ_INIT(&route->idle);
	SLIST_INSERT_HEAD(&h->routes, route, link);
	return route;
}

static struct http_req *
req_get(struct http *h, struct route *route)
{
	struct http_req *r = TAILQ_FIRST(&route->idle);

	if (!r)
		return req_new(h, route);
	TAILQ_REMOVE(&route->idle, r, link);
	route->n--;
	return r;
}

static void
route_free(struct route *route)
{
	struct http_req *r;

	while ((r = TAILQ_FIRST(&route->idle))) {
		TAILQ_REMOVE(&route->idle, r, link);
		req_free(r);
	}
	place_free(route->place);
	free(route);
}

/* ---- the ends of requests ---- */

/* The transport is through with it (or it was cancelled): out of curl, into the list of those whose `done` is to be called. */
static void
finish(struct http_req *r, int code)
{
	struct http *h = r->http;

	multi_remove(h->multi, r->easy);
	if (code == CURLE_OUT_OF_MEMORY && !r->head.ended) {	/* libcurl's word for it; ours ends the program */
		r->refusal = CURLE_WEIRD_SERVER_REPLY;
		r->refused = "a line of the reply's header is longer than 100 KB";
	}
	if (code == CURLE_OK && !r->head.ended) {	/* libcurl takes that for a reply */
		r->refusal = CURLE_PARTIAL_FILE;
		r->refused = "the connection was closed within the reply's header";
	}
	r->result.curl = r->refused ? r->refusal : code;
	r->state = FINISHED;
	TAILQ_REMOVE(&h->running, r, link);
	TAILQ_INSERT_TAIL(&h->finished, r, link);
}

static void
describe(struct http_req *r)
{
	struct http_result *res = &r->result;
	char place[128];

	if (r->refusal == CURLE_TOO_MANY_REDIRECTS) {
		head_place(&r->head, place_key(r->route->place), place, sizeof place);
		snprintf(res->why, sizeof res->why, "the server redirects to %s (not followed)", place);
	} else if (r->refused) {
		snprintf(res->why, sizeof res->why, "%s", r->refused);
	} else if (res->curl) {
		place_explain(r->route->place, r->easy, (CURLcode)res->curl, r->why, res->why, sizeof res->why);
	} else if (r->head.coded) {
		snprintf(res->why, sizeof res->why, "%s", COMPRESSED);
	}
	if (!res->curl || r->refused)
		res->status = r->head.status;
	res->retry_after = r->head.retry_after;
	res->body = r->body.p ? r->body.p : "";
	res->n = r->body.n;
	res->seconds = (double)(uv_hrtime() - r->start) / 1e9;
}

/* Only those that are finished now: what their `done` cancels waits for the next turn. */
static void
report(struct http *h)
{
	struct req_list now = TAILQ_HEAD_INITIALIZER(now);
	struct http_req *r;

	TAILQ_CONCAT(&now, &h->finished, link);
	while ((r = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, r, link);
		describe(r);
		r->done(r->arg, &r->result);
		req_keep(r);
	}
}

static void
drain(void *arg)
{
	struct http *h = arg;
	struct http_req *r;
	CURLcode code;
	CURL *easy;

	while ((easy = multi_finished(h->multi, &code))) {
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
		finish(r, code);
	}
	report(h);
	if (TAILQ_EMPTY(&h->running))
		uv_timer_stop(&h->timer);
}

/* ---- time-outs ---- */

static void
time_out(struct http_req *r)
{
	snprintf(r->why, sizeof r->why, "time-out: no whole reply within %.4g seconds (%s)", r->timeout,
		 r->result.sent ? r->head.lines ? "it had begun" : "none had begun" : "not connected");
	finish(r, CURLE_OPERATION_TIMEDOUT);
}

/* The timer is left where it is when the request it was set for has ended: it then finds nothing due and is set again. */
static void
on_timer(uv_timer_t *timer)
{
	struct http *h = timer->data;
	uint64_t now = uv_now(h->loop);
	struct http_req *r;

	while ((r = TAILQ_FIRST(&h->running)) && r->due <= now)
		time_out(r);
	if (r)
		uv_timer_start(timer, on_timer, r->due - now, 0);
	report(h);
}

static void
time_it(struct http_req *r, double seconds)
{
	struct http *h = r->http;
	struct http_req *before = TAILQ_LAST(&h->running, req_list);

	r->timeout = seconds;
	r->due = uv_now(h->loop) + (uint64_t)(seconds * 1000) + 1;	/* the loop's clock may be a little old: never too early */
	while (before && before->due > r->due)
		before = TAILQ_PREV(before, req_list, link);
	if (before) {
		TAILQ_INSERT_AFTER(&h->running, before, r, link);
		if (uv_is_active((uv_handle_t *)&h->timer))
			return;
	} else {
		TAILQ_INSERT_HEAD(&h->running, r, link);
	}
	r = TAILQ_FIRST(&h->running);
	uv_timer_start(&h->timer, on_timer, r->due - uv_now(h->loop), 0);
}

/* ---- requests ---- */

struct http_req *
http_post(struct http *h, const struct http_target *t, const char *path, const char *body, size_t n, double timeout, http_done *done, void *arg)
{
	struct http_req *r = req_get(h, route_to(h, t, path));

	r->state = RUNNING;
	r->done = done;
	r->arg = arg;
	r->start = uv_hrtime();
	r->result = (struct http_result){ .retry_after = -1 };
	r->refused = NULL;
	r->refusal = 0;
	*r->why = 0;
	head_init(&r->head);
	buf_clear(&r->body);
	place_body(r->route->place, r->easy, body, n);
	time_it(r, timeout);
	if (multi_add(h->multi, r->easy) < 0) {
		finish(r, CURLE_FAILED_INIT);
		multi_kick(h->multi);
	}
	return r;
}

void
http_cancel(struct http_req *r)
{
	r->result.cancelled = true;
	if (r->state != RUNNING)
		return;
	finish(r, CURLE_ABORTED_BY_CALLBACK);
	multi_kick(r->http->multi);
}

/* ---- one request without a loop ---- */

static size_t
on_get_body(char *p, size_t size, size_t n, void *arg)
{
	return buf_add(arg, p, size * n) == 0 ? n : 0;
}

int
http_get(const struct http_target *t, const char *path, double timeout, struct buf *out, long *status, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "", words[256];
	struct place *p = place_new(t, path);
	CURL *c = place_handle(p, why);
	CURLcode rc;

	*status = 0;
	buf_clear(out);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout * 1000));
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_get_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
	rc = curl_easy_perform(c);
	if (rc == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
	else
		place_explain(p, c, rc, why, words, sizeof words);
	curl_easy_cleanup(c);
	place_free(p);
	return rc == CURLE_OK ? 0 : err_set(e, "%s", words);
}

/* Also the beginning of it, where the text was cut within. A shorter word is no secret ("EMPTY", "none"), and would stand in other words too. */
void
http_hide_key(const struct http_target *t, char *text)
{
	size_t key = t->key ? strlen(t->key) : 0, n = strlen(text);

	if (key < KEY_SHORTEST)
		return;
	for (char *at = text; (at = strstr(at, t->key)); at += key)
		memset(at, '*', key);
	for (size_t part = key - 1; part >= KEY_SHORTEST; part--)
		if (part <= n && strncmp(text + n - part, t->key, part) == 0)
			memset(text + n - part, '*', part);
}

/* ---- the whole ---- */

void
http_init(void)
{
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, xmalloc, free, xrealloc, xstrdup, xcalloc) != CURLE_OK)
		die(STATUS_IO, "cannot start libcurl");
}

struct http *
http_new(uv_loop_t *loop, int max_connections)
{
	struct http *h = xcalloc(1, sizeof *h);

	h->loop = loop;
	h->most_idle = max_connections;
	h->multi = multi_new(loop, max_connections, drain, h);
	TAILQ_INIT(&h->running);
	TAILQ_INIT(&h->finished);
	uv_timer_init(loop, &h->timer);
	h->timer.data = h;
	return h;
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
http_free(struct http *h)
{
	struct route *route;

	while ((route = SLIST_FIRST(&h->routes))) {
		SLIST_REMOVE_HEAD(&h->routes, link);
		route_free(route);
	}
	multi_free(h->multi);
	uv_close((uv_handle_t *)&h->timer, on_closed);
}
