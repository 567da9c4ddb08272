/* server.c - see server.h */
#include "server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "clock.h"
#include "exchange.h"

#define LATER 2			/* seconds: libmicrohttpd closes what stands still so much later than we do, because it does not say why */
#define POOL (4 * SERVER_HEADER)	/* memory of a connection: a header that is too large for us is still read, to say so */

/* ---- connections ---- */

static struct connection *
connection_of(struct MHD_Connection *c)
{
	return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void
set_reading(struct server *s, struct connection *k, bool reading, double deadline)
{
	pthread_mutex_lock(&s->lock);
	k->reading = reading;
	k->deadline = deadline;
	pthread_mutex_unlock(&s->lock);
}

static void
on_connection(void *arg, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct server *s = arg;
	struct connection *k = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		k = *context = xcalloc(1, sizeof *k);
		k->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		k->reading = true;
		k->deadline = clock_seconds() + s->o.timeout;
	}
	pthread_mutex_lock(&s->lock);
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		LIST_INSERT_HEAD(&s->connections, k, link);
	else
		LIST_REMOVE(k, link);
	s->nconnections += code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1;
	pthread_mutex_unlock(&s->lock);
	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
		free(k);
}

/* libmicrohttpd only sees that nothing comes, not that something comes too slowly. Nobody else writes to a connection whose request is being read; its
 * thread closes it when it finds it shut down, and takes it off the list before that. */
void
server_expire(struct server *s)
{
	struct buf b = BUF_INIT(4096), body = BUF_INIT(4096);
	double now = clock_seconds();
	struct req_error e;
	struct connection *k;

	req_fail(&e, 408, "", "request_timeout", "the request did not come whole within %d seconds", s->o.timeout);
	answer_error(&body, &e);
	buf_addf(&b, "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", body.n, body.p);
	pthread_mutex_lock(&s->lock);
	LIST_FOREACH(k, &s->connections, link) {
		if (!k->reading || now < k->deadline)
			continue;
		k->reading = false;
		if (send(k->fd, b.p, b.n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			shutdown(k->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&s->lock);
	buf_free(&body);
	buf_free(&b);
}

/* ---- requests ---- */

/* The request's header is there. */
static struct exchange *
exchange_new(struct server *s, struct MHD_Connection *c, const char *url, const char *method)
{
	struct exchange *x = xcalloc(1, sizeof *x);

	x->s = s;
	x->c = c;
	x->connection = connection_of(c);
	x->fd = -1;
	x->began = clock_seconds();
	buf_init(&x->body, SERVER_BODY);
	set_reading(s, x->connection, true, x->began + s->o.timeout);
	exchange_begin(x, url, method);
	return x;
}

/* The body of a request that is refused is read to its end and dropped, so that the client gets to see why; one that is far too large is not. */
static enum MHD_Result
take_body(struct exchange *x, const char *p, size_t n)
{
	if (x->why.status) {
		x->body.n += n;
		return x->body.n > 4 * SERVER_BODY ? MHD_NO : MHD_YES;
	}
	if (buf_add(&x->body, p, n) < 0) {
		buf_free(&x->body);
		req_fail(&x->why, 413, "", "request_too_large", "the body is larger than %zu MiB", SERVER_BODY >> 20);
	}
	return MHD_YES;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *n, void **state)
{
	struct exchange *x = *state;

	(void)version;
	if (!x) {
		*state = exchange_new(arg, c, url, method);
		return MHD_YES;
	}
	if (*n > 0) {
		size_t got = *n;

		*n = 0;
		return take_body(x, data, got);
	}
	if (x->job)
		return respond_job(x);
	x->counted = true;
	atomic_fetch_add(&x->s->busy, 1);
	set_reading(x->s, x->connection, false, 0);
	return exchange_run(x, url, method);
}

static void
on_completed(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
	struct server *s = arg;
	struct exchange *x = *state;

	(void)c;
	if (!x)
		return;
	exchange_count(x, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
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
	set_reading(s, x->connection, true, clock_seconds() + 2 * (s->o.timeout + LATER));	/* idle, which libmicrohttpd ends, then the next one */
	buf_free(&x->body);
	free(x);
	*state = NULL;
}

/* ---- */

struct server *
server_start(int listener, struct engine *e, const struct server_options *o, struct err *why)
{
	struct server *s = xcalloc(1, sizeof *s);

	s->engine = e;
	s->o = *o;
	s->created = time(NULL);
	s->hangup = epoll_create1(EPOLL_CLOEXEC);
	pthread_mutex_init(&s->lock, NULL);
	s->mhd = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
		MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)SERVER_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)o->timeout + LATER,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL, MHD_OPTION_END);
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
	pthread_mutex_destroy(&s->lock);
	free(s);
}
