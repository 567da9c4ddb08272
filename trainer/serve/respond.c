/* respond.c - what the HTTP side sends: whole replies, errors, and a job's way back from the engine */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <xxhash.h>

#include "answer.h"
#include "exchange.h"

/* Queue it; it is not the caller's any more. */
static enum MHD_Result
queue(struct exchange *x, int status, struct MHD_Response *r)
{
	enum MHD_Result rc;

	exchange_headers(x, status, r);
	rc = MHD_queue_response(x->c, status, r);
	MHD_destroy_response(r);
	x->status = status;
	return rc;
}

enum MHD_Result
respond(struct exchange *x, int status, const char *type, struct buf *body)
{
	size_t n = body->n;
	char after[16];
	struct MHD_Response *r = MHD_create_response_from_buffer(n, n > 0 ? buf_take(body) : NULL, MHD_RESPMEM_MUST_FREE);

	if (n > 0)
		MHD_add_response_header(r, "Content-Type", type);
	if (status == 429 || status == 503) {
		snprintf(after, sizeof after, "%d", x->retry_after ? x->retry_after : 1);
		MHD_add_response_header(r, "Retry-After", after);
	}
	if (status == 401)
		MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
	return queue(x, status, r);
}

enum MHD_Result
respond_json(struct exchange *x, int status, struct buf *body)
{
	return respond(x, status, "application/json", body);
}

enum MHD_Result
respond_error(struct exchange *x, const struct req_error *e)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	x->retry_after = e->retry_after;
	answer_error(&b, e);
	return respond_json(x, e->status, &b);
}

/* ---- a job's way back: all of it under the engine's lock ---- */

static void
job_wake(struct job *j)
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

	MHD_add_response_header(r, "Content-Type", "text/event-stream");
	MHD_add_response_header(r, "Cache-Control", "no-cache");
	return queue(x, MHD_HTTP_OK, r);
}

enum MHD_Result
respond_job(struct exchange *x)
{
	struct buf body;
	int status;

	engine_lock(x->s->engine);
	body = x->job->out;
	status = x->job->status;
	buf_init(&x->job->out, body.max);
	engine_unlock(x->s->engine);
	return respond_json(x, status, &body);
}

static void
watch_hangup(struct exchange *x)
{
	struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = x };

	if (epoll_ctl(x->s->hangup, EPOLL_CTL_ADD, x->connection->fd, &ev) == 0)
		x->fd = x->connection->fd;
}

/* Whose requests these are, for the queue: who shows the same key, or else who comes from the same process (by a Unix socket) or address. */
static uint64_t
client_of(const struct exchange *x)
{
	const char *key = MHD_lookup_connection_value(x->c, MHD_HEADER_KIND, "Authorization");
	const struct sockaddr *a = MHD_get_connection_info(x->c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	struct ucred peer = { 0 };
	socklen_t n = sizeof peer;

	if (key)
		return XXH3_64bits(key, strlen(key));
	if (a && a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr;
	if (a && a->sa_family == AF_INET6)
		return XXH3_64bits(&((const struct sockaddr_in6 *)a)->sin6_addr, sizeof(struct in6_addr));
	return getsockopt(x->connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 ? (uint64_t)peer.pid : 0;
}

enum MHD_Result
respond_request(struct exchange *x, struct request *r)
{
	struct engine *e = x->s->engine;
	struct job *j = job_new(r);
	struct req_error why;
	bool wait;

	j->wake = job_wake;
	j->arg = x;
	if (engine_submit(e, j, client_of(x), &why) < 0) {
		job_release(e, j);
		return respond_error(x, &why);
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
	return wait ? MHD_YES : respond_job(x);
}
