/* server - a fast OpenAI-like server on loopback, to measure its clients by
 *
 *     bench-server         serves until it is killed; its first line of output is http://127.0.0.1:PORT, the port of the kernel's choice
 *     bench-server URL     gets that URL and prints what came
 *
 * The path of a request says how it is answered:
 *
 *     POST /one/MS/...     a chat reply that is one score, as sa-judge wants it for one response or a prompt, after MS milliseconds (0: at once)
 *     POST /two/MS/...     the same with two scores, for two responses
 *     POST /answer/MS/...  a chat reply that is an answer, as sa-regen wants it
 *     GET /stats           {"requests","connections","first_reply"}: POST requests and connections since the last reset, and when the first
 *                          of those replies was sent (nanoseconds, CLOCK_MONOTONIC)
 *     GET /reset           the same, and they start again from nothing
 *     GET /last            the body of the last POST request
 *
 * One thread; a reply is written as soon as its request is there, mostly without a copy of either. Delays are kept to some microseconds by a
 * timerfd: libuv's timers are whole milliseconds, which is 2% of 50. */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "buf.h"
#include "err.h"
#include "http.h"

#define MOST ((size_t)16 << 20)	/* bytes of a request */
#define DELAY_MOST 60000ul	/* ms */

struct conn {
	uv_tcp_t tcp;
	TAILQ_ENTRY(conn) link;	/* in waiting, by due */
	struct buf in;		/* what came before its request was whole, or while another was being answered */
	bool waiting, closing;
	uint64_t due;		/* ns */
	const struct buf *reply;
};

static TAILQ_HEAD(conn_list, conn) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct buf last = BUF_INIT(MOST);
static struct {
	const char *path;
	struct buf http;
} replies[] = {
	{ "/one/", BUF_INIT(1 << 16) }, { "/two/", BUF_INIT(1 << 16) }, { "/answer/", BUF_INIT(1 << 16) },
};
static unsigned long long requests, connections, first_reply;
static int alarm_fd;
static uv_poll_t alarm_poll;
static uv_tcp_t server;

/* ---- replies ---- */

static void
add_http(struct buf *out, const char *body, size_t n)
{
	buf_addf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", n);
	buf_add(out, body, n);
}

static void
make_reply(struct buf *out, const char *content)
{
	struct buf b = BUF_INIT(1 << 16);

	buf_adds(&b, "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
		 "\"message\":{\"role\":\"assistant\",\"content\":");
	buf_json(&b, content, strlen(content));
	buf_adds(&b, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
		 "\"usage\":{\"prompt_tokens\":300,\"completion_tokens\":200,\"total_tokens\":500}}");
	add_http(out, b.p, b.n);
	buf_free(&b);
}

static void
make_replies(void)
{
	struct buf text = BUF_INIT(1 << 16);

	make_reply(&replies[0].http, "[0.9]");
	make_reply(&replies[1].http, "[0.9, 0.8]");
	buf_adds(&text, "Analysis: a plain question.\nExplanation: it may be answered as it stands.\nAnswer: ");
	for (int i = 0; i < 14; i++)
		buf_adds(&text, "The answer is given in some more words, one \"sentence\" at a time.\n");
	make_reply(&replies[2].http, text.p);
	buf_free(&text);
}

/* ---- connections ---- */

static void
on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	buf_free(&c->in);
	free(c);
}

static void
conn_close(struct conn *c)
{
	if (c->closing)
		return;
	if (c->waiting)
		TAILQ_REMOVE(&waiting, c, link);
	c->closing = true;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}

struct rest {	/* of a reply that did not fit into the socket's buffer */
	uv_write_t write;
	char bytes[];
};

static void
on_written(uv_write_t *w, int status)
{
	(void)status;
	free(w->data);
}

static void
send_out(struct conn *c, const struct buf *reply)
{
	uv_buf_t b = uv_buf_init(reply->p, (unsigned)reply->n);
	int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	struct rest *rest;

	n = n == UV_EAGAIN ? 0 : n;
	if (n < 0) {
		conn_close(c);
	} else if ((size_t)n < reply->n) {
		b.len -= (size_t)n;
		rest = xmalloc(sizeof *rest + b.len);
		b.base = memcpy(rest->bytes, reply->p + n, b.len);
		rest->write.data = rest;
		uv_write(&rest->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
	}
}

static void
answer(struct conn *c)
{
	if (!first_reply)	/* before: whoever reads it may be the next to run */
		first_reply = uv_hrtime();
	send_out(c, c->reply);
}

/* ---- delays ---- */

static void
set_alarm(void)
{
	const struct conn *c = TAILQ_FIRST(&waiting);
	struct itimerspec t = { 0 };

	if (!c)
		return;
	t.it_value.tv_sec = (time_t)(c->due / 1000000000);
	t.it_value.tv_nsec = (long)(c->due % 1000000000);
	timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void
wait_for(struct conn *c, unsigned long ms)
{
	struct conn *before = TAILQ_LAST(&waiting, conn_list), *head = TAILQ_FIRST(&waiting);

	c->waiting = true;
	c->due = uv_hrtime() + ms * 1000000;
	while (before && before->due > c->due)
		before = TAILQ_PREV(before, conn_list, link);
	if (before)
		TAILQ_INSERT_AFTER(&waiting, before, c, link);
	else
		TAILQ_INSERT_HEAD(&waiting, c, link);
	if (TAILQ_FIRST(&waiting) != head)
		set_alarm();
}

static size_t take_requests(struct conn *c, const char *p, size_t n);

static void
go_on(struct conn *c)
{
	size_t used = take_requests(c, c->in.p, c->in.n);

	memmove(c->in.p, c->in.p + used, c->in.n - used);
	c->in.n -= used;
}

static void
on_alarm(uv_poll_t *poll, int status, int events)
{
	uint64_t now = uv_hrtime(), times;
	struct conn *c;

	(void)poll, (void)status, (void)events;
	if (read(alarm_fd, &times, sizeof times) < 0 && errno != EAGAIN)
		die(STATUS_IO, "timerfd: %s", strerror(errno));
	while ((c = TAILQ_FIRST(&waiting)) && c->due <= now) {
		TAILQ_REMOVE(&waiting, c, link);
		c->waiting = false;
		answer(c);
		if (!c->closing && c->in.n)
			go_on(c);
	}
	set_alarm();
}

/* ---- requests ---- */

static void
reset(void)
{
	requests = connections = first_reply = 0;
}

static void
answer_get(struct conn *c, const char *path)
{
	struct buf body = BUF_INIT(MOST), out = BUF_INIT(2 * MOST);

	if (strncmp(path, "/last ", 6) == 0)
		buf_add(&body, last.p ? last.p : "", last.n);
	else if (strncmp(path, "/stats ", 7) == 0 || strncmp(path, "/reset ", 7) == 0)
		buf_addf(&body, "{\"requests\":%llu,\"connections\":%llu,\"first_reply\":%llu}", requests, connections, first_reply);
	else
		buf_adds(&body, "{\"data\":[{\"id\":\"bench\"}]}");
	if (strncmp(path, "/reset ", 7) == 0)
		reset();
	add_http(&out, body.p ? body.p : "", body.n);
	send_out(c, &out);
	buf_free(&body);
	buf_free(&out);
}

static void
answer_post(struct conn *c, const char *path, const char *body, size_t n)
{
	unsigned long ms = 0;

	requests++;
	buf_clear(&last);
	buf_add(&last, body, n);
	c->reply = &replies[0].http;
	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
		if (strncmp(path, replies[i].path, strlen(replies[i].path)) == 0) {
			c->reply = &replies[i].http;
			ms = strtoul(path + strlen(replies[i].path), NULL, 10);
		}
	if (ms)
		wait_for(c, ms < DELAY_MOST ? ms : DELAY_MOST);
	else
		answer(c);
}

/* The length of the body that a header of `n` bytes announces; more than MOST when it cannot be read. */
static size_t
body_length(const char *p, size_t n)
{
	const char *end = p + n;

	while ((p = memchr(p, '\n', (size_t)(end - p))) && ++p < end) {
		if (strncasecmp(p, "content-length:", 15) == 0)
			return strtoul(p + 15, NULL, 10);
		if (strncasecmp(p, "transfer-encoding:", 18) == 0)
			return warn("a client sends its request in chunks: closed"), MOST + 1;
	}
	return 0;
}

/* The bytes of the whole requests at `p`, each of them answered or put to wait; a connection that waits takes no further one. */
static size_t
take_requests(struct conn *c, const char *p, size_t n)
{
	size_t used = 0;

	while (used < n && !c->waiting && !c->closing) {
		const char *at = p + used, *end = memmem(at, n - used, "\r\n\r\n", 4);
		size_t head = end ? (size_t)(end - at) + 4 : 0, body = end ? body_length(at, head) : 0;

		if (body > MOST)
			conn_close(c);
		if (!end || n - used < head + body)
			break;
		if (strncmp(at, "POST ", 5) == 0)
			answer_post(c, at + 5, at + head, body);
		else
			answer_get(c, at + 4);
		used += head + body;
	}
	return used;
}

static void
on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	static char shared[1 << 18];

	(void)h, (void)suggested;
	*b = uv_buf_init(shared, sizeof shared);
}

static void
on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct conn *c = s->data;
	size_t used = 0;

	if (n < 0) {
		conn_close(c);
		return;
	}
	if (!c->in.n)
		used = take_requests(c, b->base, (size_t)n);
	if (used == (size_t)n || c->closing)
		return;
	if (buf_add(&c->in, b->base + used, (size_t)n - used) < 0)
		conn_close(c);
	else
		go_on(c);
}

static void
on_connection(uv_stream_t *s, int status)
{
	struct conn *c = xcalloc(1, sizeof *c);

	if (status < 0)
		die(STATUS_IO, "listen: %s", uv_strerror(status));
	connections++;
	uv_tcp_init(s->loop, &c->tcp);
	c->tcp.data = c;
	buf_init(&c->in, MOST + (1 << 20));
	if (uv_accept(s, (uv_stream_t *)&c->tcp) < 0 || uv_tcp_nodelay(&c->tcp, 1) < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		conn_close(c);
}

/* ---- main ---- */

static int
get(const char *url)
{
	struct http_target t = { .base = url };
	struct buf body = BUF_INIT(MOST);
	struct err e;
	long status;

	if (http_get(&t, "", 10, &body, &status, &e) < 0)
		die(STATUS_ENDPOINT, "%s: %s", url, e.msg);
	printf("%s\n", body.p ? body.p : "");
	buf_free(&body);
	return fclose(stdout) == EOF || status != 200 ? STATUS_IO : STATUS_OK;
}

static void
serve(uv_loop_t *loop)
{
	struct sockaddr_in in;
	int n = sizeof in;

	make_replies();
	alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (alarm_fd < 0 || uv_poll_init(loop, &alarm_poll, alarm_fd) < 0 || uv_poll_start(&alarm_poll, UV_READABLE, on_alarm) < 0)
		die(STATUS_IO, "timerfd: %s", strerror(errno));
	uv_ip4_addr("127.0.0.1", 0, &in);
	uv_tcp_init(loop, &server);
	if (uv_tcp_bind(&server, (struct sockaddr *)&in, 0) < 0 || uv_listen((uv_stream_t *)&server, 4096, on_connection) < 0 ||
	    uv_tcp_getsockname(&server, (struct sockaddr *)&in, &n) < 0)
		die(STATUS_IO, "cannot listen");
	printf("http://127.0.0.1:%d\n", ntohs(in.sin_port));
	fflush(stdout);
	uv_run(loop, UV_RUN_DEFAULT);
}

int
main(int argc, char **argv)
{
	prog_init(argv[0]);
	if (argc > 2)
		die(STATUS_USAGE, "usage: bench-server [URL]");
	if (argc == 2)
		return get(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	serve(uv_default_loop());
	return STATUS_OK;
}
