/* server.h - small servers in threads, and a client: what the tests of http share
 *
 * A server runs `serve` for each connection, in a thread of the connection's own. */
#ifndef SERVER_H
#define SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http.h"
#include "t.h"

#define LEN(a) (sizeof (a) / sizeof *(a))
#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define OK(text) OK_HEAD "Content-Length: " #text "\r\n\r\n"
#define KEY "sk-0123456789abcdefghij"

/* ---- servers: a thread that accepts, and one for each connection, which runs `serve` ---- */

struct conn {
	struct server *server;
	int fd;
	int number;		/* from 1 */
	pthread_t thread;
	struct conn *next;
};

struct server {
	int fd;
	char base[64];
	void (*serve)(struct conn *);
	const char *text;	/* for `serve` */
	size_t n;
	pthread_t thread;
	struct conn *conns;
	pthread_mutex_t lock;
	atomic_bool stopping;
	atomic_int connections, requests, flag;
	char head[8192];	/* of the last request, under lock */
};

static inline void *
conn_main(void *arg)
{
	struct conn *c = arg;

	c->server->serve(c);
	shutdown(c->fd, SHUT_WR);
	return NULL;
}

static inline void *
accept_main(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 && !s->stopping) {
		struct conn *c = calloc(1, sizeof *c);

		c->server = s;
		c->fd = fd;
		c->number = ++s->connections;
		c->next = s->conns;
		s->conns = c;
		pthread_create(&c->thread, NULL, conn_main, c);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* On loopback, or on a socket of that path. */
static inline void
server_start(struct server *s, const char *path, void (*serve)(struct conn *), const char *text, size_t n)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof in;

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	s->serve = serve;
	s->text = text;
	s->n = n;
	s->fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (path)
		snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	if (bind(s->fd, path ? (void *)&un : (void *)&in, path ? sizeof un : sizeof in) < 0 || listen(s->fd, 1024) < 0)
		perror("server"), exit(1);
	if (!path)
		getsockname(s->fd, (void *)&in, &len);
	snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d/v1", ntohs(in.sin_port));
	pthread_create(&s->thread, NULL, accept_main, s);
}

static inline void
server_stop(struct server *s)
{
	struct conn *c;

	s->stopping = true;
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	while ((c = s->conns)) {
		s->conns = c->next;
		shutdown(c->fd, SHUT_RDWR);
		pthread_join(c->thread, NULL);
		close(c->fd);
		free(c);
	}
	pthread_mutex_destroy(&s->lock);
}

static inline bool
say(struct conn *c, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static inline bool
says(struct conn *c, const char *s)
{
	return say(c, s, strlen(s));
}

/* Read the head of a request; what was read of the body is counted in *got, and its length is *length. */
static inline bool
read_head(struct conn *c, size_t *got, size_t *length)
{
	char head[8192];
	size_t n = 0;
	char *end = NULL;

	while (!end) {
		ssize_t k = n < sizeof head - 1 ? recv(c->fd, head + n, sizeof head - 1 - n, 0) : 0;

		if (k <= 0)
			return false;
		n += (size_t)k;
		head[n] = 0;
		end = strstr(head, "\r\n\r\n");
	}
	*got = n - (size_t)(end + 4 - head);
	end[4] = 0;
	end = strstr(head, "Content-Length: ");
	*length = end ? strtoul(end + 16, NULL, 10) : 0;
	pthread_mutex_lock(&c->server->lock);
	memcpy(c->server->head, head, sizeof head);
	pthread_mutex_unlock(&c->server->lock);
	c->server->requests++;
	return true;
}

static inline bool
read_request(struct conn *c)
{
	char rest[65536];
	size_t got, length;

	if (!read_head(c, &got, &length))
		return false;
	while (got < length) {
		ssize_t k = recv(c->fd, rest, length - got < sizeof rest ? length - got : sizeof rest, 0);

		if (k <= 0)
			return false;
		got += (size_t)k;
	}
	return true;
}

/* The text to every request, then the end of the connection where nothing says how long the text is. */
static inline void
serve_text(struct conn *c)
{
	while (read_request(c) && say(c, c->server->text, c->server->n))
		;
}

static inline void
serve_text_once(struct conn *c)
{
	if (read_request(c))
		say(c, c->server->text, c->server->n);
}

/* ---- the client ---- */

struct got {
	int calls;
	struct http_result r;
	char body[256];
};

static inline void
on_done(void *arg, const struct http_result *r)
{
	struct got *g = arg;

	g->calls++;
	g->r = *r;
	snprintf(g->body, sizeof g->body, "%s", r->body);
}

struct client {
	uv_loop_t loop;
	struct http *http;
	struct http_target target;
};

static inline void
client_open(struct client *c, const char *base)
{
	memset(c, 0, sizeof *c);
	uv_loop_init(&c->loop);
	c->http = http_new(&c->loop, 64);
	c->target = (struct http_target){ .base = base, .key = KEY };
}

/* Nothing is left in the loop, or else it would not close. */
static inline void
client_close(struct client *c)
{
	http_free(c->http);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	CHECK_INT(uv_loop_close(&c->loop), 0);
}

static inline void
ask(struct client *c, const char *body, size_t n, double timeout, struct got *g)
{
	memset(g, 0, sizeof *g);
	http_post(c->http, &c->target, "/x", body, n, timeout, on_done, g);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	CHECK_INT(g->calls, 1);
}

static inline void
ask_one(const char *base, struct got *g)
{
	struct client c;

	client_open(&c, base);
	ask(&c, "{}", 2, 60, g);
	client_close(&c);
}

/* What became of one request to a server that runs `serve` over the text. */
static inline void
ask_server(void (*serve)(struct conn *), const char *text, size_t n, struct got *g)
{
	struct server s;

	server_start(&s, NULL, serve, text, n);
	ask_one(s.base, g);
	server_stop(&s);
}

static inline void
wait_for(atomic_int *flag, int value)
{
	for (int i = 0; i < 60000 && *flag < value; i++)
		poll(NULL, 0, 1);
	CHECK(*flag >= value);
}

/* Nothing of the user's proxies. */
static inline void
tests_start(void)
{
	static const char *const unset[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

	for (size_t i = 0; i < LEN(unset); i++)
		unsetenv(unset[i]);
	signal(SIGPIPE, SIG_IGN);
}

#endif
