/* http - requests against small servers that behave in every wrong way there is */

#include "http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "place.h"
#include "retry.h"
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

static void *
conn_main(void *arg)
{
	struct conn *c = arg;

	c->server->serve(c);
	shutdown(c->fd, SHUT_WR);
	return NULL;
}

static void *
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
static void
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

static void
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

static bool
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

static bool
says(struct conn *c, const char *s)
{
	return say(c, s, strlen(s));
}

/* Read the head of a request; what was read of the body is counted in *got, and its length is *length. */
static bool
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

static bool
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
static void
serve_text(struct conn *c)
{
	while (read_request(c) && say(c, c->server->text, c->server->n))
		;
}

static void
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

static void
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

static void
client_open(struct client *c, const char *base)
{
	memset(c, 0, sizeof *c);
	uv_loop_init(&c->loop);
	c->http = http_new(&c->loop, 64);
	c->target = (struct http_target){ .base = base, .key = KEY };
}

/* Nothing is left in the loop, or else it would not close. */
static void
client_close(struct client *c)
{
	http_free(c->http);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	CHECK_INT(uv_loop_close(&c->loop), 0);
}

static void
ask(struct client *c, const char *body, size_t n, double timeout, struct got *g)
{
	memset(g, 0, sizeof *g);
	http_post(c->http, &c->target, "/x", body, n, timeout, on_done, g);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	CHECK_INT(g->calls, 1);
}

static void
ask_one(const char *base, struct got *g)
{
	struct client c;

	client_open(&c, base);
	ask(&c, "{}", 2, 60, g);
	client_close(&c);
}

/* What became of one request to a server that runs `serve` over the text. */
static void
ask_server(void (*serve)(struct conn *), const char *text, size_t n, struct got *g)
{
	struct server s;

	server_start(&s, NULL, serve, text, n);
	ask_one(s.base, g);
	server_stop(&s);
}

static void
wait_for(atomic_int *flag, int value)
{
	for (int i = 0; i < 60000 && *flag < value; i++)
		poll(NULL, 0, 1);
	CHECK(*flag >= value);
}

/* ---- plain requests ---- */

static void
a_request_has_what_a_server_needs_and_asks_for_no_compression(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	c.target.org = "some-org";
	ask(&c, "{\"a\":1}", 7, 60, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 200);
	CHECK_STR(g.body, "hello");
	CHECK_STR(g.r.why, "");
	CHECK(g.r.sent);
	CHECK(g.r.retry_after < 0);
	client_close(&c);
	server_stop(&s);
	CHECK(strncmp(s.head, "POST /v1/x HTTP/1.1\r\n", 21) == 0);
	CHECK(strstr(s.head, "\r\nAuthorization: Bearer " KEY "\r\n"));
	CHECK(strstr(s.head, "\r\nContent-Type: application/json\r\n"));
	CHECK(strstr(s.head, "\r\nOpenAI-Organization: some-org\r\n"));
	CHECK(!strstr(s.head, "OpenAI-Project"));
	CHECK(!strstr(s.head, "Accept-Encoding"));
	CHECK(strstr(s.head, "\r\nUser-Agent: sa/"));
}

static void
connections_are_used_again_and_the_target_may_change(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	for (int i = 0; i < 20; i++)
		ask(&c, "{}", 2, 60, &g);
	CHECK_INT(s.connections, 1);
	CHECK_INT(s.requests, 20);
	c.target.key = "another";
	ask(&c, "{}", 2, 60, &g);
	CHECK_STR(g.body, "hello");
	pthread_mutex_lock(&s.lock);
	CHECK(strstr(s.head, "Bearer another\r\n"));
	pthread_mutex_unlock(&s.lock);
	c.target.key = NULL;
	ask(&c, "{}", 2, 60, &g);
	CHECK_STR(g.body, "hello");
	client_close(&c);
	server_stop(&s);
	CHECK(!strstr(s.head, "Authorization"));
}

static void
a_large_body_is_sent_without_waiting_for_leave(void)
{
	struct server s;
	struct client c;
	struct got g;
	size_t n = (size_t)3 << 20;
	char *body = malloc(n);

	memset(body, 'x', n);
	server_start(&s, NULL, serve_text, OK(2) "ok", strlen(OK(2) "ok"));
	client_open(&c, s.base);
	ask(&c, body, n, 60, &g);
	CHECK_STR(g.body, "ok");
	pthread_mutex_lock(&s.lock);
	CHECK(strstr(s.head, "Content-Length: 3145728\r\n"));
	CHECK(!strstr(s.head, "Expect"));
	pthread_mutex_unlock(&s.lock);
	ask(&c, "{}", 2, 60, &g);	/* and a small one by the same handle */
	CHECK_STR(g.body, "ok");
	client_close(&c);
	server_stop(&s);
	CHECK(strstr(s.head, "Content-Length: 2\r\n"));
	free(body);
}

static void
a_unix_socket_does_as_well(void)
{
	char path[64];
	struct server s;
	struct client c;
	struct got g;

	snprintf(path, sizeof path, "/tmp/http-test-%ld", (long)getpid());
	server_start(&s, path, serve_text, OK(2) "ok", strlen(OK(2) "ok"));
	setenv("http_proxy", "http://127.0.0.1:1", 1);	/* not for this */
	client_open(&c, "http://localhost/v1");
	c.target.unix_path = path;
	for (int i = 0; i < 3; i++)
		ask(&c, "{}", 2, 60, &g);
	unsetenv("http_proxy");
	CHECK_STR(g.body, "ok");
	CHECK_INT(s.connections, 1);
	client_close(&c);
	server_stop(&s);
	unlink(path);
}

static void
retry_after_comes_with_the_reply(void)
{
	static const char text[] = "HTTP/1.1 429 No\r\nRetry-After: 7\r\nretry-after-ms: 250\r\nContent-Length: 2\r\n\r\n{}";
	struct got g;

	ask_server(serve_text, text, sizeof text - 1, &g);
	CHECK_INT(g.r.status, 429);
	CHECK_NUM(g.r.retry_after, 0.25, 1e-9);
}

static void
get_waits_for_the_answer(void)
{
	struct server s;
	struct buf out = BUF_INIT(1 << 16);
	struct err e;
	long status;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	CHECK_INT(http_get(&(struct http_target){ .base = s.base }, "/models", 60, &out, &status, &e), 0);
	CHECK_INT(status, 200);
	CHECK_STR(out.p, "hello");
	server_stop(&s);
	CHECK(strncmp(s.head, "GET /v1/models HTTP/1.1\r\n", 25) == 0);
	CHECK_INT(http_get(&(struct http_target){ .base = "http://127.0.0.1:1/v1" }, "/models", 60, &out, &status, &e), -1);
	CHECK_INT(status, 0);
	CHECK(strstr(e.msg, "127.0.0.1"));
	buf_free(&out);
}

/* ---- connections that end ---- */

/* Every connection answers one request and is closed. */
static void
serve_and_close(struct conn *c)
{
	if (!read_request(c))
		return;
	says(c, OK(2) "ok");
	shutdown(c->fd, SHUT_RDWR);
	c->server->flag++;
}

static void
a_kept_connection_that_was_closed_in_between_is_no_failed_attempt(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_and_close, NULL, 0);
	client_open(&c, s.base);
	for (int i = 1; i <= 5; i++) {
		ask(&c, "{}", 2, 60, &g);
		CHECK_INT(g.r.curl, 0);
		CHECK_STR(g.body, "ok");
		wait_for(&s.flag, i);
	}
	client_close(&c);
	server_stop(&s);
	CHECK_INT(s.connections, 5);
	CHECK_INT(s.requests, 5);
}

/* The second request on a connection is read, and then the connection is closed or reset without a byte. */
static void
serve_one_and_break(struct conn *c)
{
	struct linger hard = { 1, 0 };

	if (!read_request(c) || !says(c, OK(2) "ok") || !read_request(c))
		return;
	if (c->number % 2)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	shutdown(c->fd, SHUT_RDWR);
}

static void
a_kept_connection_that_breaks_under_the_request_is_replaced(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_one_and_break, NULL, 0);
	client_open(&c, s.base);
	for (int i = 0; i < 6; i++) {
		ask(&c, "{}", 2, 60, &g);
		CHECK_INT(g.r.curl, 0);
		CHECK_STR(g.body, "ok");
	}
	client_close(&c);
	server_stop(&s);
	CHECK_INT(s.connections, 6);
	CHECK_INT(s.requests, 11);
}

/* The first reply is followed by what looks like another one. `text` says whether at once or a little later. */
static void
serve_too_much(struct conn *c)
{
	static const char more[] = OK(4) "evil";
	bool at_once = c->server->n > 0;

	if (!read_request(c))
		return;
	if (c->number > 1) {
		says(c, OK(4) "good");
	} else if (at_once) {
		says(c, OK(5) "first" OK(4) "evil");
	} else {
		says(c, OK(5) "first");
		poll(NULL, 0, 50);
		says(c, more);
	}
	c->server->flag++;
	read_request(c);
	says(c, OK(5) "worse");
}

static void
what_comes_after_a_reply_is_not_the_next_reply(void)
{
	for (size_t at_once = 0; at_once < 2; at_once++) {
		struct server s;
		struct client c;
		struct got g;

		server_start(&s, NULL, serve_too_much, "", at_once);
		client_open(&c, s.base);
		ask(&c, "{}", 2, 60, &g);
		CHECK_STR(g.body, "first");
		wait_for(&s.flag, 1);
		poll(NULL, 0, 20);
		ask(&c, "{}", 2, 60, &g);
		if (!CHECK_STR(g.body, "good"))
			printf("# at once: %zu\n", at_once);
		client_close(&c);
		server_stop(&s);
	}
}

/* ---- hostile replies ---- */

static void
wrong_replies_end_in_words_and_a_class(void)
{
	static const struct {
		const char *text;
		size_t n;
		int curl;
		const char *why;
		enum verdict verdict;
		enum rec_class class;
	} cases[] = {
#define TEXT(s) s, sizeof s - 1
		{ TEXT(OK(10) "abc"), CURLE_PARTIAL_FILE, "", VERDICT_AGAIN, NET },
		{ TEXT(""), CURLE_GOT_NOTHING, "", VERDICT_AGAIN, NET },
		{ TEXT("HTTP/1.1 200 OK\r\n"), CURLE_PARTIAL_FILE, "header", VERDICT_AGAIN, NET },
		{ TEXT("HTTP/1.1 100 Continue\r\n\r\n"), CURLE_GOT_NOTHING, "", VERDICT_AGAIN, NET },
		{ TEXT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), CURLE_PARTIAL_FILE, "", VERDICT_AGAIN, NET },
		{ TEXT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), CURLE_RECV_ERROR, "", VERDICT_AGAIN, NET },
		{ TEXT("what is this\r\n\r\n"), CURLE_UNSUPPORTED_PROTOCOL, "HTTP/0.9", VERDICT_AGAIN, SERVER },
		{ TEXT("\0\1\2\3\4\5\6\7\r\n\r\n"), CURLE_UNSUPPORTED_PROTOCOL, "", VERDICT_AGAIN, SERVER },
		{ TEXT("HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "two lengths", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2, 3\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "Content-Length", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: -1\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "Content-Length", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), CURLE_WEIRD_SERVER_REPLY,
			"both", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), CURLE_WEIRD_SERVER_REPLY, "coding", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"), CURLE_BAD_CONTENT_ENCODING,
			"the reply is compressed, which was not asked for", VERDICT_FINAL, SERVER },
		{ TEXT(OK_HEAD "content-encoding:br\r\n\r\nok"), CURLE_BAD_CONTENT_ENCODING, "compressed", VERDICT_FINAL, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 99999999999\r\n\r\nok"), CURLE_FILESIZE_EXCEEDED, "64 MiB", VERDICT_AGAIN, SERVER },
		{ TEXT("HTTP/1.1 301 Moved\r\nLocation: https://other.example/v1?k=1\r\nContent-Length: 0\r\n\r\n"), CURLE_TOO_MANY_REDIRECTS,
			"the server redirects to https://other.example/v1 (not followed)", VERDICT_FINAL, SERVER },
		{ TEXT("HTTP/1.1 307 Moved\r\nLocation: http://u:" KEY "@h/" KEY "\r\nContent-Length: 0\r\n\r\n"), CURLE_TOO_MANY_REDIRECTS,
			"redirects to another place", VERDICT_FINAL, SERVER },
	};
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		int bad = t_bad;

		ask_server(serve_text_once, cases[i].text, cases[i].n, &g);
		CHECK_INT(g.r.curl, cases[i].curl);
		CHECK(*g.r.why && strstr(g.r.why, cases[i].why));
		CHECK(!strstr(g.r.why, KEY));
		CHECK(g.r.sent);
		class = BUDGET;
		CHECK_INT(retry_verdict(&g.r, &class), cases[i].verdict);
		CHECK_INT(class, cases[i].class);
		if (t_bad != bad)
			printf("# case %zu: %s\n", i, g.r.why);
	}
}

static void
odd_replies_that_are_right_are_taken(void)
{
	static const char *const cases[] = {
		OK_HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
		OK_HEAD "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Content-Encoding:\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Connection: close\r\n\r\nok",
		"HTTP/1.0 200 OK\r\n\r\nok",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" OK(2) "ok",
		"HTTP/1.1 103 Early\r\nContent-Length: 7\r\nContent-Encoding: gzip\r\n\r\n" OK(2) "ok",
	};
	struct got g;

	for (size_t i = 0; i < LEN(cases); i++) {
		ask_server(serve_text_once, cases[i], strlen(cases[i]), &g);
		if (!CHECK_INT(g.r.curl, 0) || !CHECK_INT(g.r.status, 200) || !CHECK_STR(g.body, "ok"))
			printf("# case %zu: %s\n", i, g.r.why);
	}
}

static void
a_status_counts_though_its_explanation_is_compressed(void)
{
	static const char text[] = "HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01";
	struct got g;
	enum rec_class class;

	ask_server(serve_text_once, text, sizeof text - 1, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 401);
	CHECK_INT(g.r.n, 0);
	CHECK(strstr(g.r.why, "compressed"));
	CHECK_INT(retry_verdict(&g.r, &class), VERDICT_FINAL);
	CHECK_INT(class, AUTH);
}

static void
serve_endless_lines(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD))
		while (says(c, "X: y\r\n"))
			;
}

static void
serve_endless_header_bytes(struct conn *c)
{
	char line[1024];

	memset(line, 'x', sizeof line);
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	if (read_request(c) && says(c, OK_HEAD))
		while (say(c, line, sizeof line))
			;
}

static void
serve_endless_interim(struct conn *c)
{
	if (read_request(c))
		while (says(c, "HTTP/1.1 100 Continue\r\n\r\n"))
			;
}

static void
serve_endless_trailers(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"))
		while (says(c, "X: y\r\n"))
			;
}

static void
headers_that_do_not_end_are_cut_off(void)
{
	static void (*const cases[])(struct conn *) = { serve_endless_lines, serve_endless_header_bytes, serve_endless_interim, serve_endless_trailers };
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		ask_server(cases[i], NULL, 0, &g);
		CHECK_INT(g.r.curl, CURLE_WEIRD_SERVER_REPLY);
		if (!CHECK(strstr(g.r.why, "1,000 lines or 256 KiB")))
			printf("# case %zu: %s\n", i, g.r.why);
		CHECK_INT(retry_verdict(&g.r, &class), VERDICT_AGAIN);
		CHECK_INT(class, SERVER);
	}
}

static void
serve_endless_body(struct conn *c)
{
	static char block[1 << 16];

	if (read_request(c) && says(c, OK_HEAD "\r\n"))
		while (say(c, block, sizeof block))
			;
}

static void
a_body_that_does_not_end_is_cut_off(void)
{
	struct got g;

	ask_server(serve_endless_body, NULL, 0, &g);
	CHECK_INT(g.r.curl, CURLE_FILESIZE_EXCEEDED);
	CHECK_STR(g.r.why, "the reply is longer than 64 MiB");
}

static void
serve_early(struct conn *c)
{
	char rest[65536];
	size_t got, length;

	if (!read_head(c, &got, &length))
		return;
	says(c, "HTTP/1.1 413 Too long\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
	while (recv(c->fd, rest, sizeof rest, 0) > 0)
		;
}

static void
a_refusal_counts_that_comes_before_the_request_is_wholly_sent(void)
{
	struct server s;
	struct client c;
	struct got g;
	size_t n = (size_t)32 << 20;
	char *body = malloc(n);

	memset(body, ' ', n);
	server_start(&s, NULL, serve_early, NULL, 0);
	client_open(&c, s.base);
	ask(&c, body, n, 60, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 413);
	client_close(&c);
	server_stop(&s);
	free(body);
}

/* ---- time ---- */

static void
serve_slowly(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD "\r\n"))
		while (says(c, "x"))
			poll(NULL, 0, 10);
}

static void
serve_nothing(struct conn *c)
{
	read_request(c);
	read_request(c);
}

static void
an_attempt_ends_at_its_time_out(void)
{
	static const struct {
		void (*serve)(struct conn *);
		const char *why;
	} cases[] = { { serve_slowly, "it had begun" }, { serve_nothing, "none had begun" } };
	struct server s;
	struct client c;
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		server_start(&s, NULL, cases[i].serve, NULL, 0);
		client_open(&c, s.base);
		ask(&c, "{}", 2, 0.3, &g);
		CHECK_INT(g.r.curl, CURLE_OPERATION_TIMEDOUT);
		CHECK(g.r.seconds >= 0.29);
		CHECK(strstr(g.r.why, "0.3 seconds") && strstr(g.r.why, cases[i].why));
		CHECK(g.r.sent);
		CHECK_INT(retry_verdict(&g.r, &class), VERDICT_AGAIN);
		CHECK_INT(class, NET);
		client_close(&c);
		server_stop(&s);
	}
}

static void
time_outs_of_all_lengths_end_in_their_order(void)
{
	static const double seconds[] = { 0.4, 0.1, 60, 0.2, 0.3, 0.1 };
	struct server s;
	struct client c;
	struct got g[LEN(seconds)];
	struct http_req *r[LEN(seconds)];

	memset(g, 0, sizeof g);
	server_start(&s, NULL, serve_nothing, NULL, 0);
	client_open(&c, s.base);
	for (size_t i = 0; i < LEN(seconds); i++)
		r[i] = http_post(c.http, &c.target, "/x", "{}", 2, seconds[i], on_done, &g[i]);
	while (!g[0].calls)
		uv_run(&c.loop, UV_RUN_ONCE);
	for (size_t i = 0; i < LEN(seconds); i++)
		if (seconds[i] < 1) {
			CHECK_INT(g[i].calls, 1);
			CHECK_INT(g[i].r.curl, CURLE_OPERATION_TIMEDOUT);
			CHECK(g[i].r.seconds >= seconds[i] - 0.01);
		}
	CHECK_INT(g[2].calls, 0);
	http_cancel(r[2]);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g[2].calls, 1);
	client_close(&c);
	server_stop(&s);
}

static void
what_was_never_connected_was_never_sent(void)
{
	struct got g;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	char base[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct http_result *r = &g.r;

	if (!CHECK(bind(fd, (void *)&in, sizeof in) == 0 && getsockname(fd, (void *)&in, &len) == 0))
		return;
	snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(in.sin_port));	/* bound, and nobody listens: refused */
	ask_one(base, &g);
	close(fd);
	CHECK_INT(r->curl, CURLE_COULDNT_CONNECT);
	CHECK(!r->sent);
	CHECK(retry_unreached(r));
	ask_one("http://127.0.0.1:99999/v1", &g);
	CHECK_INT(r->curl, CURLE_URL_MALFORMAT);
	CHECK(!r->sent);
	ask_one("ftp://127.0.0.1/v1", &g);
	CHECK_INT(r->curl, CURLE_UNSUPPORTED_PROTOCOL);
	CHECK(!r->sent);
}

/* A listener whose queue is full lets nobody in. */
static void
a_time_out_before_the_connection_says_so(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	struct client c;
	struct got g;
	char base[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0), queue[8];

	if (!CHECK(bind(fd, (void *)&in, sizeof in) == 0 && listen(fd, 0) == 0 && getsockname(fd, (void *)&in, &len) == 0))
		return;
	for (size_t i = 0; i < LEN(queue); i++) {
		queue[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(queue[i], (void *)&in, sizeof in);
	}
	snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(in.sin_port));
	client_open(&c, base);
	ask(&c, "{}", 2, 0.3, &g);
	CHECK_INT(g.r.curl, CURLE_OPERATION_TIMEDOUT);
	CHECK(!g.r.sent);
	CHECK(strstr(g.r.why, "not connected"));
	client_close(&c);
	for (size_t i = 0; i < LEN(queue); i++)
		close(queue[i]);
	close(fd);
}

/* ---- cancelling ---- */

static void
a_cancelled_request_ends_once_and_later(void)
{
	struct server s;
	struct client c;
	struct got g = { 0 };
	struct http_req *r;

	server_start(&s, NULL, serve_nothing, NULL, 0);
	client_open(&c, s.base);
	r = http_post(c.http, &c.target, "/x", "{}", 2, 60, on_done, &g);
	http_cancel(r);
	CHECK_INT(g.calls, 0);
	http_cancel(r);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g.calls, 1);
	CHECK(g.r.cancelled);
	CHECK(!g.r.sent);
	r = http_post(c.http, &c.target, "/x", "{}", 2, 60, on_done, &g);
	while (s.requests == 0)
		uv_run(&c.loop, UV_RUN_NOWAIT);
	http_cancel(r);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g.calls, 2);
	CHECK(g.r.cancelled);
	CHECK(g.r.sent);
	client_close(&c);
	server_stop(&s);
}

static int
open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 3;	/* ., .. and the directory */
}

/* Many requests with random ends: a storm of them, each with a place of its own in `slots`. */
#define SLOTS 64
struct storm {
	struct client *client;
	int left, good, cancelled, other;
	unsigned seed;
	struct slot {
		struct storm *storm;
		struct http_req *req;
		char *body;	/* borrowed until done: freed there, at once */
	} slots[SLOTS];
};

static void storm_next(struct slot *s);

static void
on_storm_done(void *arg, const struct http_result *r)
{
	struct slot *s = arg;
	struct storm *m = s->storm;
	struct slot *victim = &m->slots[rand_r(&m->seed) % SLOTS];

	s->req = NULL;
	memset(s->body, 'z', strlen(s->body));
	free(s->body);
	if (r->cancelled)
		m->cancelled++;
	else if (r->curl == 0 && r->status == 200 && strcmp(r->body, "hello") == 0)
		m->good++;
	else
		m->other++;
	if (victim->req && rand_r(&m->seed) % 4 == 0)
		http_cancel(victim->req);
	storm_next(s);
}

static void
storm_next(struct slot *s)
{
	struct storm *m = s->storm;

	if (m->left == 0)
		return;
	m->left--;
	s->body = strdup("{\"some\":\"body\"}");
	s->req = http_post(m->client->http, &m->client->target, rand_r(&m->seed) % 8 ? "/a" : "/b", s->body, strlen(s->body), 60, on_storm_done, s);
	if (rand_r(&m->seed) % 32 == 0)
		http_cancel(s->req);
}

static void
ten_thousand_requests_with_random_cancels_leave_nothing(void)
{
	int before = open_files();
	struct server s;
	struct client c;
	struct storm m = { .client = &c, .left = 10000, .seed = 7 };

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	for (size_t i = 0; i < SLOTS; i++) {
		m.slots[i].storm = &m;
		storm_next(&m.slots[i]);
	}
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(m.good + m.cancelled + m.other, 10000);
	CHECK_INT(m.other, 0);
	CHECK(m.cancelled > 500);
	CHECK(m.good > 5000);
	client_close(&c);
	server_stop(&s);
	CHECK_INT(open_files(), before);
}

/* ---- keys ---- */

/* libcurl's allocator, looking at what is freed. */
static bool watching;
static int freed_with_key;

static void
watch_free(void *p)
{
	if (watching && p && strncmp(p, "Authorization: Bearer ", 22) == 0)
		freed_with_key++;
	free(p);
}

static void
a_header_with_a_key_is_wiped_before_it_is_freed(void)
{
	struct http_target t = { .base = "http://127.0.0.1/v1", .key = KEY };
	struct curl_slist *plain = curl_slist_append(NULL, "Authorization: Bearer x");

	watching = true;
	curl_slist_free_all(plain);
	CHECK_INT(freed_with_key, 1);	/* the watch works */
	place_free(place_new(&t, "/x"));
	CHECK_INT(freed_with_key, 1);
	watching = false;
}

static void
a_guarded_process_leaves_no_core(void)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
		if (prctl(PR_GET_DUMPABLE) != 1 || http_guard_key() != 0 || prctl(PR_GET_DUMPABLE) != 0)
			_exit(1);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (!CHECK(child > 0 && waitpid(child, &status, 0) == child))
		return;
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(!WCOREDUMP(status));
}

int
main(void)
{
	static const char *const unset[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

	for (size_t i = 0; i < LEN(unset); i++)
		unsetenv(unset[i]);
	signal(SIGPIPE, SIG_IGN);
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, watch_free, realloc, strdup, calloc);
	RUN(a_guarded_process_leaves_no_core);	/* first: it forks, and there are no threads yet */
	RUN(a_header_with_a_key_is_wiped_before_it_is_freed);
	RUN(a_request_has_what_a_server_needs_and_asks_for_no_compression);
	RUN(connections_are_used_again_and_the_target_may_change);
	RUN(a_large_body_is_sent_without_waiting_for_leave);
	RUN(a_unix_socket_does_as_well);
	RUN(retry_after_comes_with_the_reply);
	RUN(get_waits_for_the_answer);
	RUN(a_kept_connection_that_was_closed_in_between_is_no_failed_attempt);
	RUN(a_kept_connection_that_breaks_under_the_request_is_replaced);
	RUN(what_comes_after_a_reply_is_not_the_next_reply);
	RUN(wrong_replies_end_in_words_and_a_class);
	RUN(odd_replies_that_are_right_are_taken);
	RUN(a_status_counts_though_its_explanation_is_compressed);
	RUN(headers_that_do_not_end_are_cut_off);
	RUN(a_body_that_does_not_end_is_cut_off);
	RUN(a_refusal_counts_that_comes_before_the_request_is_wholly_sent);
	RUN(an_attempt_ends_at_its_time_out);
	RUN(time_outs_of_all_lengths_end_in_their_order);
	RUN(what_was_never_connected_was_never_sent);
	RUN(a_time_out_before_the_connection_says_so);
	RUN(a_cancelled_request_ends_once_and_later);
	RUN(ten_thousand_requests_with_random_cancels_leave_nothing);
	return t_done();
}
