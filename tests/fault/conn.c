/* conn.c - the connections of a fault server
 *
 * Requests that came in one turn of the loop are answered together at the start of the next one (on_prepare), after the log was flushed. A
 * reply is then sent piece by piece: send_next() writes one and is called again when that is through, or after the pause of a drip. */

#include "conn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>
#include <xxhash.h>

#include "count.h"
#include "err.h"
#include "num.h"
#include "reply.h"
#include "tls.h"

#define MOST ((size_t)256 << 20)	/* bytes of a request */
#define SEEN_MS 30			/* for the client to read what came before a reset */

struct conn {
	union {
		uv_tcp_t tcp;
		uv_pipe_t pipe;
		uv_stream_t stream;
		uv_handle_t handle;
	} u;
	uv_timer_t timer;	/* of the request: its delay, its drip */
	uv_timer_t late;	/* of the reply that comes once more */
	int open;		/* handles not yet closed */
	bool closing, answering, due;
	LIST_ENTRY(conn) link;
	STAILQ_ENTRY(conn) next_due;
	struct tls *tls;
	struct buf in, cipher;
	uv_write_t write;
	struct buf again;	/* the reply that comes once more */
	/* the request that is being answered, at the start of `in`, and its reply */
	size_t header, body;	/* bytes */
	bool post;
	uint64_t hash;		/* of a POST's body */
	const struct action *action;	/* NULL: of a usual GET */
	struct limits *holds;
	struct wire wire;
	size_t sent;		/* of wire.out */
};

/* Bytes that go out beside the reply: of TLS itself, or a reply that nobody asked for. */
struct aside {
	uv_write_t write;
	char bytes[];
};

static uv_loop_t *loop;
static bool mute;
static uv_prepare_t prepare;
static LIST_HEAD(, conn) all = LIST_HEAD_INITIALIZER(all);
static STAILQ_HEAD(, conn) due = STAILQ_HEAD_INITIALIZER(due);

static void read_on(struct conn *c);
static void send_next(struct conn *c);

/* ---- the ends ---- */

static void
conn_free(struct conn *c)
{
	tls_free(c->tls);
	buf_free(&c->in);
	buf_free(&c->cipher);
	buf_free(&c->again);
	buf_free(&c->wire.out);
	free(c);
}

static void
on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->open == 0)
		conn_free(c);
}

/* The request is through, for better or worse. */
static void
leave(struct conn *c)
{
	if (!c->answering)
		return;
	c->answering = false;
	count_leave();
	script_release(c->holds);
	c->holds = NULL;
}

static void
conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	leave(c);
	LIST_REMOVE(c, link);
	if (c->due)
		STAILQ_REMOVE(&due, c, conn, next_due);
	uv_close(&c->u.handle, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
	uv_close((uv_handle_t *)&c->late, on_closed);
}

void
conn_close_all(void)
{
	while (!LIST_EMPTY(&all))
		conn_close(LIST_FIRST(&all));
}

static void
reset(struct conn *c)
{
	struct linger nothing = { 1, 0 };
	uv_os_fd_t fd;

	if (uv_fileno(&c->u.handle, &fd) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &nothing, sizeof nothing);
	conn_close(c);
}

static void
on_reset_timer(uv_timer_t *t)
{
	reset(t->data);
}

/* ---- writing ---- */

static void
on_aside_written(uv_write_t *w, int status)
{
	(void)status;
	free(w->data);
}

static void
write_aside(struct conn *c, const char *p, size_t n)
{
	struct aside *a;
	uv_buf_t b;

	if (n == 0)
		return;
	a = xmalloc(sizeof *a + n);
	memcpy(a->bytes, p, n);
	a->write.data = a;
	b = uv_buf_init(a->bytes, (unsigned)n);
	if (uv_write(&a->write, &c->u.stream, &b, 1, on_aside_written) < 0)
		free(a);
}

/* What TLS itself has to say. */
static void
write_tls(struct conn *c)
{
	struct buf wire = BUF_INIT(MOST);

	tls_take(c->tls, &wire);
	write_aside(c, wire.p, wire.n);
	buf_free(&wire);
}

static void
say_aside(struct conn *c, const char *p, size_t n)
{
	if (!c->tls) {
		write_aside(c, p, n);
		return;
	}
	tls_say(c->tls, p, n);
	write_tls(c);
}

static void
on_written(uv_write_t *w, int status)
{
	struct conn *c = w->data;

	if (c->closing)
		return;
	if (status < 0)
		conn_close(c);
	else
		send_next(c);
}

/* A part of the reply; the bytes stay where they are until send_next() is called again. Mostly the kernel takes it at once: what a client has
 * read is then counted before the client can ask for the counts. A fill always takes a turn of the loop, or a fast reader would hold it. */
static void
write_part(struct conn *c, char *p, size_t n)
{
	bool fill = c->sent == c->wire.out.n && p == (c->wire.fill ? c->wire.fill->p : NULL);
	uv_buf_t b;
	int done;

	if (c->tls) {
		tls_say(c->tls, p, n);
		tls_take(c->tls, &c->cipher);
		p = c->cipher.p;
		n = c->cipher.n;
	}
	b = uv_buf_init(p, (unsigned)n);
	done = fill ? 0 : uv_try_write(&c->u.stream, &b, 1);
	if (done > 0 && (size_t)done == n) {
		send_next(c);
		return;
	}
	if (done > 0)
		b = uv_buf_init(p + done, (unsigned)(n - (size_t)done));
	c->write.data = c;
	if (uv_write(&c->write, &c->u.stream, &b, 1, on_written) < 0)
		conn_close(c);
}

/* ---- replies ---- */

/* The value of a header among the first `n` bytes of the request, "" when it is not there. */
static void
header_value(const char *p, size_t n, const char *name, char *out, size_t max)
{
	size_t len = strlen(name);

	*out = 0;
	for (const char *line = p, *end; line < p + n && (end = memmem(line, (size_t)(p + n - line), "\r\n", 2)); line = end + 2) {
		size_t value = (size_t)(end - line);

		if (value <= len + 1 || strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		value -= len + 2;
		value = value < max ? value : max - 1;
		memcpy(out, line + len + 2, value);
		out[value] = 0;
	}
}

static void
on_late(uv_timer_t *t)
{
	struct conn *c = t->data;

	say_aside(c, c->again.p, c->again.n);
}

static void
say_again_later(struct conn *c)
{
	buf_clear(&c->again);
	buf_add(&c->again, c->wire.out.p, c->wire.out.n);
	uv_timer_start(&c->late, on_late, (uint64_t)c->action->twice, 0);
}

static void
next_request(struct conn *c)
{
	char wish[16];

	leave(c);
	header_value(c->in.p, c->header, "Connection", wish, sizeof wish);
	if (strcasecmp(wish, "close") == 0) {
		conn_close(c);
		return;
	}
	memmove(c->in.p, c->in.p + c->header + c->body, c->in.n - c->header - c->body);
	c->in.n -= c->header + c->body;
	read_on(c);
}

static void
sent_all(struct conn *c)
{
	const struct action *a = c->action;

	if (a && a->paid && c->post)
		count_paid(c->hash);
	if (a && a->then_reset) {
		uv_timer_start(&c->timer, on_reset_timer, SEEN_MS, 0);
		return;
	}
	if (a && a->then_close) {
		if (c->tls && a->kind != CUT) {
			tls_end(c->tls);
			write_tls(c);
		}
		conn_close(c);
		return;
	}
	if (a && a->twice > 0)
		say_again_later(c);
	next_request(c);
}

static void
on_drip(uv_timer_t *t)
{
	struct conn *c = t->data;

	write_part(c, c->wire.out.p + c->sent++, 1);
}

static void
send_next(struct conn *c)
{
	struct wire *w = &c->wire;
	size_t from = c->sent;

	if (from < w->out.n && from < w->drip_from) {
		c->sent = w->out.n < w->drip_from ? w->out.n : w->drip_from;
		write_part(c, w->out.p + from, c->sent - from);
	} else if (from < w->out.n) {
		uv_timer_start(&c->timer, on_drip, (uint64_t)(c->action->drip ? c->action->drip : c->action->drip_head), 0);
	} else if (w->fills > 0) {
		w->fills--;
		write_part(c, w->fill->p, w->fill->n);
	} else {
		sent_all(c);
	}
}

static void
answer(struct conn *c)
{
	switch (c->action ? c->action->kind : OK) {
	case HANG:
		return;
	case DIE:
		_exit(0);
	case DOWN:
		server_down(c->action->n);
		return;
	case CLOSE:
		conn_close(c);
		return;
	case RESET:
		reset(c);
		return;
	default:
		break;
	}
	if (c->action)
		reply_make(&c->wire, c->action, c->in.p + c->header, c->body);
	c->sent = 0;
	send_next(c);
}

static void
make_due(struct conn *c)
{
	c->due = true;
	STAILQ_INSERT_TAIL(&due, c, next_due);
}

static void
on_prepare(uv_prepare_t *p)
{
	struct conn *c;

	(void)p;
	count_flush();
	while ((c = STAILQ_FIRST(&due))) {
		STAILQ_REMOVE_HEAD(&due, next_due);
		c->due = false;
		answer(c);
	}
}

static void
on_delay(uv_timer_t *t)
{
	make_due(t->data);
}

/* ---- requests ---- */

static void
begin_get(struct conn *c, const char *path)
{
	bool models = strstr(path, "/models");
	char *counts = NULL;

	c->action = models ? script_models() : NULL;
	if (c->action)
		return;
	if (strcmp(path, "/count") == 0)
		counts = count_json();
	reply_plain(&c->wire, counts ? counts : models ? "{\"data\":[{\"id\":\"fault\"}]}" : "{\"status\":\"ok\"}");
	free(counts);
}

static void
begin_post(struct conn *c, const char *path)
{
	const char *body = c->in.p + c->header;
	struct action *a;
	struct asker who;
	long attempt;

	c->hash = XXH3_64bits(body, c->body);
	attempt = count_asked(c->hash);
	c->action = a = script_next(c->hash, attempt, &c->holds);
	header_value(c->in.p, c->header, "Authorization", who.auth, sizeof who.auth);
	header_value(c->in.p, c->header, "OpenAI-Organization", who.org, sizeof who.org);
	header_value(c->in.p, c->header, "OpenAI-Project", who.project, sizeof who.project);
	count_log(path, &who, a, attempt, body, c->body);
}

/* One request is whole: answer it now or later. */
static void
begin(struct conn *c)
{
	char *line = xstrndup(c->in.p, strcspn(c->in.p, "\r")), *rest = line;
	const char *method = script_word(&rest), *path = script_word(&rest);
	uint64_t wait = 0;

	c->answering = true;
	count_enter();
	c->post = strcmp(method, "GET") != 0;
	if (c->post)
		begin_post(c, path);
	else
		begin_get(c, path);
	free(line);
	if (c->action)
		wait = (uint64_t)c->action->wait_from;
	if (c->action && c->action->wait_to > c->action->wait_from)
		wait += c->hash % (uint64_t)(c->action->wait_to - c->action->wait_from);
	if (wait)
		uv_timer_start(&c->timer, on_delay, wait, 0);
	else
		make_due(c);
}

static void
read_on(struct conn *c)
{
	const char *end;
	char length[32];
	long long n = 0;

	if (c->answering || c->in.n == 0 || !(end = memmem(c->in.p, c->in.n, "\r\n\r\n", 4)))
		return;
	c->header = (size_t)(end - c->in.p) + 4;
	header_value(c->in.p, c->header, "Content-Length", length, sizeof length);
	if (*length && num_int(length, 0, (long long)MOST, &n, NULL) < 0) {
		conn_close(c);
		return;
	}
	c->body = (size_t)n;
	if (c->in.n >= c->header + c->body)
		begin(c);
}

/* ---- connections ---- */

static void
on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	static char block[65536];	/* one read at a time, each used up before the next */

	(void)h, (void)suggested;
	*b = uv_buf_init(block, sizeof block);
}

static int
take_in(struct conn *c, const char *p, size_t n)
{
	int rc;

	if (!c->tls)
		return buf_add(&c->in, p, n);
	rc = tls_feed(c->tls, p, n, &c->in);
	write_tls(c);
	return rc;
}

static void
on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct conn *c = s->data;

	if (n < 0 || (n > 0 && take_in(c, b->base, (size_t)n) < 0))
		conn_close(c);
	else
		read_on(c);
}

void
conn_accept(uv_stream_t *server, int status)
{
	struct conn *c = xcalloc(1, sizeof *c);

	if (status < 0)
		die(STATUS_IO, "listen: %s", uv_strerror(status));
	if (server->type == UV_TCP)
		uv_tcp_init(loop, &c->u.tcp);
	else
		uv_pipe_init(loop, &c->u.pipe, 0);
	uv_timer_init(loop, &c->timer);
	uv_timer_init(loop, &c->late);
	c->u.handle.data = c->timer.data = c->late.data = c;
	c->open = 3;
	buf_init(&c->in, MOST + (1 << 20));
	buf_init(&c->cipher, 2 * MOST);
	buf_init(&c->again, 2 * MOST);
	buf_init(&c->wire.out, 2 * MOST);
	c->tls = tls_new();
	LIST_INSERT_HEAD(&all, c, link);
	count_connection();
	if (uv_accept(server, &c->u.stream) < 0 || (!mute && uv_read_start(&c->u.stream, on_alloc, on_read) < 0))
		conn_close(c);
}

void
conn_init(uv_loop_t *l, bool is_mute)
{
	loop = l;
	mute = is_mute;
	uv_prepare_init(l, &prepare);
	uv_prepare_start(&prepare, on_prepare);
}
