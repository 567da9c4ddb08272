/* server.c - see server.h */
#include "server.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "answer.h"

struct server {
	struct MHD_Daemon *mhd;
	struct engine *engine;
	const char *name;
	time_t created;
	int hangup;		/* epoll */
	atomic_bool draining;
	atomic_int busy;
};

/* One request on a connection, from its headers to the end of its reply. */
struct exchange {
	struct server *s;
	struct MHD_Connection *c;
	const struct route *route;	/* NULL: no such path */
	const char *rest;		/* of the path, behind the route's; valid while the handler runs */
	struct buf body;
	bool too_large;
	bool counted;			/* in s->busy */
	int fd;				/* in s->hangup, or -1 */
	struct job *job;
	bool suspended;			/* guarded by the engine's lock */
};

struct route {
	const char *path;
	bool prefix;
	const char *allow;
	enum MHD_Result (*handle)(struct exchange *x);
};

/* ---- replies ---- */

static enum MHD_Result
send_json(struct exchange *x, int status, struct buf *body)
{
	size_t n = body->n;
	struct MHD_Response *r = MHD_create_response_from_buffer(n, buf_take(body), MHD_RESPMEM_MUST_FREE);
	enum MHD_Result rc;

	MHD_add_response_header(r, "Content-Type", "application/json");
	if (status == 429 || status == 503)
		MHD_add_response_header(r, "Retry-After", "1");
	if (status == 405)
		MHD_add_response_header(r, "Allow", x->route->allow);
	if (atomic_load(&x->s->draining))
		MHD_add_response_header(r, "Connection", "close");
	rc = MHD_queue_response(x->c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result
send_error(struct exchange *x, const struct req_error *e)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	answer_error(&b, e);
	return send_json(x, e->status, &b);
}

#define REFUSE(x, ...) refuse(x, &(struct req_error){ 0 }, __VA_ARGS__)

static enum MHD_Result
refuse(struct exchange *x, struct req_error *e, int status, const char *code, const char *message)
{
	req_fail(e, status, "", code, "%s", message);
	return send_error(x, e);
}

static enum MHD_Result
not_ready(struct exchange *x)
{
	if (atomic_load(&x->s->draining))
		return REFUSE(x, 503, "shutting_down", "the server is shutting down");
	return REFUSE(x, 503, "loading", "the model is being loaded");
}

static bool
is_ready(const struct exchange *x)
{
	return engine_serving(x->s->engine) && !atomic_load(&x->s->draining);
}

/* ---- a job's way back: all of it under the engine's lock ---- */

static void
wake(struct job *j)
{
	struct exchange *x = j->arg;

	if (x && x->suspended) {
		x->suspended = false;
		MHD_resume_connection(x->c);
	}
}

static void
suspend(struct exchange *x)
{
	x->suspended = true;
	MHD_suspend_connection(x->c);
}

static ssize_t
read_stream(void *arg, uint64_t pos, char *to, size_t max)
{
	struct exchange *x = arg;
	struct job *j = x->job;
	ssize_t n = 0;

	(void)pos;
	engine_lock(x->s->engine);
	if (j->out.n > 0) {
		n = j->out.n - j->fetched < max ? j->out.n - j->fetched : max;
		memcpy(to, j->out.p + j->fetched, n);
		j->fetched += n;
		if (j->fetched == j->out.n) {
			j->out.n = 0;
			j->fetched = 0;
		}
	} else if (j->done) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		suspend(x);
	}
	engine_unlock(x->s->engine);
	return n;
}

static enum MHD_Result
start_stream(struct exchange *x)
{
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, read_stream, x, NULL);
	enum MHD_Result rc;

	MHD_add_response_header(r, "Content-Type", "text/event-stream");
	MHD_add_response_header(r, "Cache-Control", "no-cache");
	rc = MHD_queue_response(x->c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result
send_whole(struct exchange *x)
{
	struct buf body;
	int status;

	engine_lock(x->s->engine);
	body = x->job->out;
	status = x->job->status;
	buf_init(&x->job->out, body.max);
	engine_unlock(x->s->engine);
	return send_json(x, status, &body);
}

static void
watch_hangup(struct exchange *x)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = x };

	if (info && epoll_ctl(x->s->hangup, EPOLL_CTL_ADD, info->connect_fd, &ev) == 0)
		x->fd = info->connect_fd;
}

/* Whose requests these are, for the queue: who shows the same key, or else who comes from the same process (by a Unix socket) or address. */
static uint64_t
client_of(const struct exchange *x)
{
	const char *key = MHD_lookup_connection_value(x->c, MHD_HEADER_KIND, "Authorization");
	const struct sockaddr *a = MHD_get_connection_info(x->c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	int fd = MHD_get_connection_info(x->c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	struct ucred peer = { 0 };
	socklen_t n = sizeof peer;

	if (key)
		return XXH3_64bits(key, strlen(key));
	if (a && a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr;
	if (a && a->sa_family == AF_INET6)
		return XXH3_64bits(&((const struct sockaddr_in6 *)a)->sin6_addr, sizeof(struct in6_addr));
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 ? (uint64_t)peer.pid : 0;
}

static enum MHD_Result
start_job(struct exchange *x, struct request *r)
{
	struct engine *e = x->s->engine;
	struct job *j = job_new(r);
	struct req_error why;
	bool wait;

	j->wake = wake;
	j->arg = x;
	if (engine_submit(e, j, client_of(x), &why) < 0) {
		job_release(e, j);
		return send_error(x, &why);
	}
	x->job = j;
	watch_hangup(x);
	if (j->req.stream)
		return start_stream(x);
	engine_lock(e);
	wait = !j->done;
	if (wait)
		suspend(x);
	engine_unlock(e);
	return wait ? MHD_YES : send_whole(x);
}

/* ---- routes ---- */

static enum MHD_Result
get_health(struct exchange *x)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	if (!is_ready(x))
		return not_ready(x);
	buf_adds(&b, "{\"status\":\"ok\"}");
	return send_json(x, 200, &b);
}

static enum MHD_Result
get_models(struct exchange *x)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	if (!is_ready(x))
		return not_ready(x);
	answer_model(&b, x->s->name, x->s->created, true);
	return send_json(x, 200, &b);
}

static enum MHD_Result
get_model(struct exchange *x)
{
	const struct serving *s = engine_serving(x->s->engine);
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct req_error e;

	if (!is_ready(x))
		return not_ready(x);
	if (!req_names(s, x->rest)) {
		req_fail(&e, 404, "model", "model_not_found", "the model '%.200s' does not exist here; this server's is '%.200s'", x->rest, s->name);
		return send_error(x, &e);
	}
	answer_model(&b, x->s->name, x->s->created, false);
	return send_json(x, 200, &b);
}

static enum MHD_Result
post(struct exchange *x, enum req_kind kind)
{
	const struct serving *s = engine_serving(x->s->engine);
	struct request r;
	struct req_error e;

	if (!is_ready(x))
		return not_ready(x);
	if (req_parse(&r, kind, x->body.p ? x->body.p : "", x->body.n, s, &e) < 0)
		return send_error(x, &e);
	buf_free(&x->body);
	return start_job(x, &r);
}

static enum MHD_Result
post_chat(struct exchange *x)
{
	return post(x, REQ_CHAT);
}

static enum MHD_Result
post_completions(struct exchange *x)
{
	return post(x, REQ_COMPLETION);
}

static const struct route routes[] = {
	{ "/health", false, "GET, HEAD", get_health },
	{ "/v1/models", false, "GET, HEAD", get_models },
	{ "/v1/models/", true, "GET, HEAD", get_model },
	{ "/v1/chat/completions", false, "POST", post_chat },
	{ "/v1/completions", false, "POST", post_completions },
};

static const struct route *
find_route(const char *url)
{
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		const struct route *r = &routes[i];

		if (r->prefix ? strncmp(url, r->path, strlen(r->path)) == 0 : strcmp(url, r->path) == 0)
			return r;
	}
	return NULL;
}

static bool
allowed(const struct route *r, const char *method)
{
	size_t n = strlen(method);

	for (const char *p = r->allow; *p; p += strcspn(p, ","), p += strspn(p, ", "))
		if (strcspn(p, ",") == n && memcmp(p, method, n) == 0)
			return true;
	return false;
}

static enum MHD_Result
dispatch(struct exchange *x, const char *url, const char *method)
{
	x->counted = true;
	atomic_fetch_add(&x->s->busy, 1);
	if (!x->route)
		return REFUSE(x, 404, "not_found", "no such path here; see /v1/models, /v1/chat/completions, /v1/completions, /health");
	if (!allowed(x->route, method))
		return REFUSE(x, 405, "method_not_allowed", "this path does not take that method");
	if (x->too_large)
		return REFUSE(x, 413, "request_too_large", "the body is larger than 16 MiB");
	x->rest = url + strlen(x->route->path);
	return x->route->handle(x);
}

/* ---- libmicrohttpd's callbacks ---- */

static struct exchange *
exchange_new(struct server *s, struct MHD_Connection *c, const char *url)
{
	struct exchange *x = xcalloc(1, sizeof *x);

	x->s = s;
	x->c = c;
	x->fd = -1;
	x->route = find_route(url);
	buf_init(&x->body, SERVER_BODY);
	return x;
}

/* A body that is too large is read to its end and dropped, so that the client gets to see why; one that is far too large is not. */
static enum MHD_Result
take_body(struct exchange *x, const char *p, size_t n)
{
	if (x->too_large) {
		x->body.n += n;
		return x->body.n > 4 * SERVER_BODY ? MHD_NO : MHD_YES;
	}
	if (x->route && buf_add(&x->body, p, n) < 0) {
		buf_free(&x->body);
		x->too_large = true;
	}
	return MHD_YES;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *n, void **state)
{
	struct exchange *x = *state;

	(void)version;
	if (!x) {
		*state = exchange_new(arg, c, url);
		return MHD_YES;
	}
	if (*n > 0) {
		size_t got = *n;

		*n = 0;
		return take_body(x, data, got);
	}
	return x->job ? send_whole(x) : dispatch(x, url, method);
}

static void
on_completed(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
	struct server *s = arg;
	struct exchange *x = *state;

	(void)c;
	(void)code;
	if (!x)
		return;
	engine_lock(s->engine);
	if (x->fd >= 0)
		epoll_ctl(s->hangup, EPOLL_CTL_DEL, x->fd, NULL);
	if (x->job) {
		x->job->arg = NULL;
		if (!x->job->done)
			engine_cancel(s->engine, x->job);
	}
	engine_unlock(s->engine);
	if (x->job)
		job_release(s->engine, x->job);
	if (x->counted)
		atomic_fetch_sub(&s->busy, 1);
	buf_free(&x->body);
	free(x);
	*state = NULL;
}

/* ---- */

struct server *
server_start(int listener, struct engine *e, const char *name, struct err *why)
{
	struct server *s = xcalloc(1, sizeof *s);

	s->engine = e;
	s->name = name;
	s->created = time(NULL);
	s->hangup = epoll_create1(EPOLL_CLOEXEC);
	s->mhd = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
		MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)SERVER_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, 300u, MHD_OPTION_END);
	if (s->hangup < 0 || !s->mhd) {
		err_set(why, "cannot start the HTTP server");
		free(s);
		return NULL;
	}
	return s;
}

int
server_hangup_fd(const struct server *s)
{
	return s->hangup;
}

void
server_hangups(struct server *s)
{
	struct epoll_event ev[64];
	int n;

	engine_lock(s->engine);
	n = epoll_wait(s->hangup, ev, 64, 0);
	for (int i = 0; i < n; i++) {
		struct exchange *x = ev[i].data.ptr;

		if (x->job && !x->job->done)
			engine_cancel(s->engine, x->job);
	}
	engine_unlock(s->engine);
}

void
server_drain(struct server *s)
{
	atomic_store(&s->draining, true);
}

int
server_busy(struct server *s)
{
	return atomic_load(&s->busy);
}

void
server_stop(struct server *s)
{
	MHD_stop_daemon(s->mhd);
	close(s->hangup);
	free(s);
}
