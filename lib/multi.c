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
	bool ours;		/* opened by on_open: it lives until on_close. Else (the resolver's wake-up) until curl's CURL_POLL_REMOVE */
};

struct multi {
	uv_loop_t *loop;
	CURLM *curl;
	uv_timer_t timer;
	uv_idle_t idle;		/* something is to be done in the very next turn of the loop */
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
	struct multi *m = idle->data;
	bool due = m->due;

	uv_idle_stop(idle);
	m->due = false;
	if (due)
		act(m, CURL_SOCKET_TIMEOUT, 0);
	else
		m->after(m->arg);
}

static void
on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* A wish for 0 ms goes through an idle handle: through a timer it would cost a millisecond for every request. */
static int
on_timer_wish(CURLM *curl, long ms, void *arg)
{
	struct multi *m = arg;

	(void)curl;
	uv_timer_stop(&m->timer);
	m->due = ms == 0;
	if (ms == 0)
		uv_idle_start(&m->idle, on_idle);
	else if (ms > 0)
		uv_timer_start(&m->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

void
multi_kick(struct multi *m)
{
	uv_idle_start(&m->idle, on_idle);
}

/* ---- descriptors ---- */

static struct sock *
sock_of(struct multi *m, curl_socket_t fd)
{
	return (size_t)fd < m->nsocks ? m->socks[fd] : NULL;
}

static struct sock *
sock_new(struct multi *m, curl_socket_t fd, bool ours)
{
	struct sock *s = xcalloc(1, sizeof *s);

	s->multi = m;
	s->fd = fd;
	s->ours = ours;
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

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct sock *s = poll->data;
	int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

	if (!s->wanted || status < 0) {	/* libuv has stopped it itself after an error */
		uv_poll_stop(poll);
		s->armed = 0;
	}
	if (s->wanted)
		act(s->multi, s->fd, status < 0 ? CURL_CSELECT_ERR : what);
}

static int
sock_arm(struct sock *s, int events)
{
	if (!s->wanted)
		uv_ref((uv_handle_t *)&s->poll);
	s->wanted = true;
	if (s->armed == events)
		return 0;
	s->armed = events;
	return uv_poll_start(&s->poll, events, on_poll) < 0 ? -1 : 0;
}

static int
on_wish(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	struct multi *m = arg;
	struct sock *s = sock_of(m, fd);

	(void)easy;
	(void)unused;
	if (what != CURL_POLL_REMOVE) {
		if (!s)
			s = sock_new(m, fd, false);
		return s ? sock_arm(s, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0)) : -1;
	}
	if (s && s->ours) {
		s->wanted = false;
		uv_unref((uv_handle_t *)&s->poll);
	} else if (s) {
		sock_free(s);
	}
	return 0;
}

static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct multi *m = arg;
	curl_socket_t fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	struct sock *s;

	(void)purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	s = sock_new(m, fd, true);
	if (!s) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	uv_unref((uv_handle_t *)&s->poll);
	return fd;
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
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, m);
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
	uv_idle_init(loop, &m->idle);
	m->timer.data = m->idle.data = m;
	m->open = 2;
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
	uv_close((uv_handle_t *)&m->idle, on_closed);
}
