/* multi.c - libcurl's multi interface on a libuv loop, by socket actions */

#include "multi.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"

/* A descriptor that curl watches. Freed in its close callback. */
struct sock {
	uv_poll_t poll;
	struct multi *multi;
	curl_socket_t fd;
	int armed;		/* UV_ events that libuv watches for */
	bool wanted;		/* curl waits for one of them */
	bool kept;		/* until on_close; else until CURL_POLL_REMOVE */
	bool http2;
};

struct multi {
	uv_loop_t *loop;
	CURLM *curl;
	uv_timer_t timer;
	uv_check_t check;	/* something is to be done as soon as the loop has polled */
	uv_idle_t idle;		/* active beside it: the loop polls without waiting */
	bool due;		/* curl asked to be called at once */
	int open;		/* handles of ours not yet closed */
	struct sock **socks;	/* by descriptor */
	size_t nsocks;
	void (*after)(void *arg);
	void *arg;
};

static void
act(struct multi *m, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(m->curl, fd, events, &running);
	m->after(m->arg);
}

/* ---- time ---- */

static void
on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static void
on_check(uv_check_t *check)
{
	struct multi *m = check->data;
	bool due = m->due;

	uv_check_stop(check);
	uv_idle_stop(&m->idle);
	m->due = false;
	if (due)
		act(m, CURL_SOCKET_TIMEOUT, 0);
	else
		m->after(m->arg);
}

/* After the poll, so that what has happened to idle connections is known before one is used again (on_poll). */
void
multi_kick(struct multi *m)
{
	uv_check_start(&m->check, on_check);
	uv_idle_start(&m->idle, on_idle);
}

static void
on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* A wish for 0 ms does not go through the timer: that would cost a millisecond for every request. */
static int
on_timer_wish(CURLM *curl, long ms, void *arg)
{
	struct multi *m = arg;

	(void)curl;
	uv_timer_stop(&m->timer);
	m->due = ms == 0;
	if (ms == 0)
		multi_kick(m);
	else if (ms > 0)
		uv_timer_start(&m->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

/* ---- descriptors ---- */

static struct sock *
sock_of(struct multi *m, curl_socket_t fd)
{
	return (size_t)fd < m->nsocks ? m->socks[fd] : NULL;
}

static struct sock *
sock_new(struct multi *m, curl_socket_t fd)
{
	struct sock *s = xcalloc(1, sizeof *s);

	s->multi = m;
	s->fd = fd;
	if (uv_poll_init(m->loop, &s->poll, fd) < 0) {
		free(s);
		return NULL;
	}
	s->poll.data = s;
	if ((size_t)fd >= m->nsocks) {
		size_t n = (size_t)fd * 2 + 64;

		m->socks = xreallocarray(m->socks, n, sizeof *m->socks);
		memset(m->socks + m->nsocks, 0, (n - m->nsocks) * sizeof *m->socks);
		m->nsocks = n;
	}
	return m->socks[fd] = s;
}

static void
on_sock_closed(uv_handle_t *handle)
{
	struct sock *s = handle->data;

	free(s);
}

/* Must come before the descriptor is closed: its number may be another file's right after. */
static void
sock_free(struct sock *s)
{
	s->multi->socks[s->fd] = NULL;
	uv_poll_stop(&s->poll);
	uv_close((uv_handle_t *)&s->poll, on_sock_closed);
}

/* An idle connection has something to read: its end, or bytes that belong to no request and would be taken for the next one's reply. libcurl
 * looks for the former only, so both are made the former. An HTTP/2 connection has a life of its own. */
static void
on_unwanted(struct sock *s)
{
	uv_poll_stop(&s->poll);
	s->armed = 0;
	if (!s->http2)
		shutdown(s->fd, SHUT_RDWR);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct sock *s = poll->data;
	int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

	if (!s->wanted) {
		on_unwanted(s);
		return;
	}
	if (status < 0)	/* libuv has stopped it */
		s->armed = 0;
	/* Of CURL_CSELECT_ERR libcurl says only that there was one; reading, it finds out which, and sends again what met a connection that was gone. */
	act(s->multi, s->fd, status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : what);
}

static int
sock_arm(struct sock *s, int events)
{
	uv_ref((uv_handle_t *)&s->poll);
	s->wanted = true;
	if (s->armed == events)
		return 0;
	s->armed = events;
	return uv_poll_start(&s->poll, events, on_poll) < 0 ? -1 : 0;
}

/* Only of an established connection does libcurl tell when it closes it: not of one that is still being made, nor of the resolver's. */
static bool
established(CURL *easy, curl_socket_t fd)
{
	curl_socket_t active = CURL_SOCKET_BAD;

	curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &active);
	return active == fd;
}

static int
on_wish(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	struct multi *m = arg;
	struct sock *s = sock_of(m, fd);
	long version = 0;

	(void)unused;
	if (what != CURL_POLL_REMOVE) {
		if (!s)
			s = sock_new(m, fd);
		return s ? sock_arm(s, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0)) : -1;
	}
	if (!s)
		return 0;
	if (!s->kept && established(easy, fd)) {
		curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
		s->http2 = version >= CURL_HTTP_VERSION_2_0;
		s->kept = true;
	}
	if (!s->kept) {
		sock_free(s);
	} else {
		s->wanted = false;
		uv_unref((uv_handle_t *)&s->poll);
	}
	return 0;
}

static int
on_close(void *arg, curl_socket_t fd)
{
	struct multi *m = arg;
	struct sock *s = sock_of(m, fd);

	if (s)
		sock_free(s);
	return close(fd);
}

/* ---- the whole ---- */

void
multi_prepare(struct multi *m, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, m);
}

int
multi_add(struct multi *m, CURL *easy)
{
	return curl_multi_add_handle(m->curl, easy) == CURLM_OK ? 0 : -1;
}

void
multi_remove(struct multi *m, CURL *easy)
{
	curl_multi_remove_handle(m->curl, easy);
}

CURL *
multi_finished(struct multi *m, CURLcode *result)
{
	CURLMsg *msg;
	int left;

	do
		msg = curl_multi_info_read(m->curl, &left);
	while (msg && msg->msg != CURLMSG_DONE);
	if (!msg)
		return NULL;
	*result = msg->data.result;
	return msg->easy_handle;
}

struct multi *
multi_new(uv_loop_t *loop, int max_connections, void (*after)(void *arg), void *arg)
{
	struct multi *m = xcalloc(1, sizeof *m);

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(m->curl = curl_multi_init()))
		die(STATUS_IO, "cannot start libcurl");
	m->loop = loop;
	m->after = after;
	m->arg = arg;
	uv_timer_init(loop, &m->timer);
	uv_check_init(loop, &m->check);
	uv_idle_init(loop, &m->idle);
	m->timer.data = m->check.data = m->idle.data = m;
	m->open = 3;
	curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)max_connections);
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_wish);
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer_wish);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
	return m;
}

static void
on_closed(uv_handle_t *handle)
{
	struct multi *m = handle->data;

	if (--m->open == 0)
		free(m);
}

void
multi_free(struct multi *m)
{
	curl_multi_cleanup(m->curl);	/* closes the connections: on_close */
	free(m->socks);
	uv_close((uv_handle_t *)&m->timer, on_closed);
	uv_close((uv_handle_t *)&m->check, on_closed);
	uv_close((uv_handle_t *)&m->idle, on_closed);
}
