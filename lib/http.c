/* http.c - HTTP requests in flight on a libuv loop: libcurl's multi interface driven by socket actions
 *
 * curl says which descriptors and which timer it wants (on_socket, on_timer_wish); libuv says what happened (on_poll, on_timer,
 * on_idle); after each of these finished transfers are drained, also when curl says that none is running. A finished request is taken out
 * of curl first and its `done` is called after the drain, so that `done` may start another. */

#include "http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "buf.h"
#include "retry.h"

#define CONNECT_TIMEOUT_MS 10000L
#define BODY_MAX BUF_MAX_TEXT

struct http_req {
	TAILQ_ENTRY(http_req) link;	/* in http.finished */
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	char why[CURL_ERROR_SIZE];
	bool too_long, finished;
	struct http_result result;
	uint64_t start;		/* ns */
	http_done *done;
	void *arg;
};

struct http {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	uv_idle_t idle;		/* something is to be done in the very next turn of the loop */
	bool due;		/* curl asked to be called at once */
	int open;		/* handles not yet closed */
	TAILQ_HEAD(, http_req) finished;
};

/* A descriptor that curl watches. Freed in its close callback. */
struct sock {
	uv_poll_t poll;
	struct http *http;
	curl_socket_t fd;
};

/* ---- the ends of requests ---- */

static void
req_free(struct http_req *r)
{
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	buf_free(&r->body);
	free(r);
}

/* The transport is through with it (or it was cancelled): out of curl, into the list of those whose `done` is to be called. */
static void
finish(struct http_req *r, int code)
{
	curl_multi_remove_handle(r->http->multi, r->easy);
	r->result.curl = r->too_long ? CURLE_FILESIZE_EXCEEDED : code;
	r->finished = true;
	TAILQ_INSERT_TAIL(&r->http->finished, r, link);
}

static void
drain(struct http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		struct http_req *r;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		finish(r, m->data.result);
	}
}

static void
describe(struct http_req *r)
{
	struct http_result *res = &r->result;
	const char *why = r->too_long ? "the reply is longer than 64 MiB" : *r->why ? r->why : curl_easy_strerror((CURLcode)res->curl);

	if (res->curl)
		snprintf(res->why, sizeof res->why, "%s", why);
	else
		curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &res->status);
	res->body = r->body.p ? r->body.p : "";
	res->n = r->body.n;
	res->seconds = (double)(uv_hrtime() - r->start) / 1e9;
}

/* Only those that are finished now: what their `done` cancels waits for the next turn. */
static void
report(struct http *h)
{
	TAILQ_HEAD(, http_req) now = TAILQ_HEAD_INITIALIZER(now);
	struct http_req *r;

	TAILQ_CONCAT(&now, &h->finished, link);
	while ((r = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, r, link);
		describe(r);
		r->done(r->arg, &r->result);
		req_free(r);
	}
}

static void
act(struct http *h, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(h->multi, fd, events, &running);
	drain(h);
	report(h);
}

/* ---- between curl and the loop ---- */

static void
on_idle(uv_idle_t *idle)
{
	struct http *h = idle->data;
	bool due = h->due;

	uv_idle_stop(idle);
	h->due = false;
	if (due)
		act(h, CURL_SOCKET_TIMEOUT, 0);
	else
		report(h);
}

static void
on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* A wish for 0 ms goes through an idle handle: through a timer it would cost a millisecond for every request. */
static int
on_timer_wish(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	uv_timer_stop(&h->timer);
	h->due = ms == 0;
	if (ms == 0)
		uv_idle_start(&h->idle, on_idle);
	else if (ms > 0)
		uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct sock *s = poll->data;
	int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

	act(s->http, s->fd, status < 0 ? CURL_CSELECT_ERR : what);
}

static void
on_sock_closed(uv_handle_t *handle)
{
	struct sock *s = handle->data;

	free(s);
}

static struct sock *
sock_new(struct http *h, curl_socket_t fd)
{
	struct sock *s = xcalloc(1, sizeof *s);

	s->http = h;
	s->fd = fd;
	if (uv_poll_init(h->loop, &s->poll, fd) < 0) {
		free(s);
		return NULL;
	}
	s->poll.data = s;
	curl_multi_assign(h->multi, fd, s);
	return s;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
	struct http *h = arg;
	struct sock *s = sockp;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			curl_multi_assign(h->multi, fd, NULL);
			uv_poll_stop(&s->poll);
			uv_close((uv_handle_t *)&s->poll, on_sock_closed);
		}
		return 0;
	}
	if (!s)
		s = sock_new(h, fd);
	if (!s)
		return -1;
	return uv_poll_start(&s->poll, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0), on_poll) < 0 ? -1 : 0;
}

/* ---- one transfer ---- */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *r = arg;

	if (buf_add(&r->body, p, size * n) == 0)
		return n;
	r->too_long = true;
	return 0;
}

/* The value of `line` (n bytes) when it is that header, as a string in out; else false. */
static bool
header_value(const char *line, size_t n, const char *name, char *out, size_t max)
{
	size_t len = strlen(name);

	if (n <= len || strncasecmp(line, name, len) != 0 || line[len] != ':')
		return false;
	n -= len + 1;
	n = n < max ? n : max - 1;
	memcpy(out, line + len + 1, n);
	out[n] = 0;
	return true;
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *r = arg;
	char value[128];

	/* The finer header wins whichever comes first. */
	if (header_value(p, n, "retry-after-ms", value, sizeof value) && retry_after_ms(value) >= 0)
		r->result.retry_after = retry_after_ms(value);
	else if (header_value(p, n, "retry-after", value, sizeof value) && r->result.retry_after < 0)
		r->result.retry_after = retry_after(value, time(NULL));
	return size * n;
}

static struct curl_slist *
add_header(struct curl_slist *list, const char *name, const char *value)
{
	struct buf b = BUF_INIT(1 << 16);

	if (!value)
		return list;
	if (buf_addf(&b, "%s%s", name, value) == 0)
		list = curl_slist_append(list, b.p);
	explicit_bzero(b.p, b.n);
	buf_free(&b);
	return list;
}

static struct curl_slist *
headers(const struct http_target *t)
{
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");

	list = curl_slist_append(list, "Accept: application/json");
	list = curl_slist_append(list, "Expect:");
	list = add_header(list, "Authorization: Bearer ", t->key);
	list = add_header(list, "OpenAI-Organization: ", t->org);
	return add_header(list, "OpenAI-Project: ", t->project);
}

/* What every transfer has in common. */
static CURL *
transfer(const struct http_target *t, const char *path, double timeout, struct curl_slist *list, char *why)
{
	CURL *c = curl_easy_init();
	struct buf url = BUF_INIT(1 << 16);

	if (!c)
		die(STATUS_IO, "out of memory");
	buf_adds(&url, t->base);
	buf_adds(&url, path);
	curl_easy_setopt(c, CURLOPT_URL, url.p);
	buf_free(&url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout * 1000));
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "sa/" SA_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	if (t->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (t->unix_path) {
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, t->unix_path);
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	}
	return c;
}

struct http_req *
http_post(struct http *h, const struct http_target *t, const char *path, const char *body, size_t n, double timeout, http_done *done, void *arg)
{
	struct http_req *r = xcalloc(1, sizeof *r);
	CURL *c;

	r->http = h;
	r->done = done;
	r->arg = arg;
	r->start = uv_hrtime();
	r->result.retry_after = -1;
	buf_init(&r->body, BODY_MAX);
	r->headers = headers(t);
	r->easy = c = transfer(t, path, timeout, r->headers, r->why);
	curl_easy_setopt(c, CURLOPT_PRIVATE, r);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
	curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, body);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
	if (curl_multi_add_handle(h->multi, c) != CURLM_OK) {
		finish(r, CURLE_FAILED_INIT);
		uv_idle_start(&h->idle, on_idle);
	}
	return r;
}

void
http_cancel(struct http_req *r)
{
	r->result.cancelled = true;
	if (r->finished)
		return;
	finish(r, CURLE_ABORTED_BY_CALLBACK);
	uv_idle_start(&r->http->idle, on_idle);
}

static size_t
on_get_body(char *p, size_t size, size_t n, void *arg)
{
	return buf_add(arg, p, size * n) == 0 ? n : 0;
}

int
http_get(const struct http_target *t, const char *path, double timeout, struct buf *out, long *status, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	struct curl_slist *list = headers(t);
	CURL *c = transfer(t, path, timeout, list, why);
	CURLcode rc;

	*status = 0;
	buf_clear(out);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_get_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
	rc = curl_easy_perform(c);
	if (rc == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
	curl_easy_cleanup(c);
	curl_slist_free_all(list);
	return rc == CURLE_OK ? 0 : err_set(e, "%s", *why ? why : curl_easy_strerror(rc));
}

/* ---- the whole ---- */

struct http *
http_new(uv_loop_t *loop, int max_connections)
{
	struct http *h = xcalloc(1, sizeof *h);

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(h->multi = curl_multi_init()))
		die(STATUS_IO, "cannot start libcurl");
	h->loop = loop;
	TAILQ_INIT(&h->finished);
	uv_timer_init(loop, &h->timer);
	uv_idle_init(loop, &h->idle);
	h->timer.data = h->idle.data = h;
	h->open = 2;
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)max_connections);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return h;
}

static void
on_closed(uv_handle_t *handle)
{
	struct http *h = handle->data;

	if (--h->open == 0)
		free(h);
}

void
http_free(struct http *h)
{
	curl_multi_cleanup(h->multi);
	uv_close((uv_handle_t *)&h->timer, on_closed);
	uv_close((uv_handle_t *)&h->idle, on_closed);
}
