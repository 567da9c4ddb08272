/* fault - an OpenAI-like server that does what a script says, to see what the filters do about it
 *
 *     fault --script FILE --log FILE --ready FILE [--unix PATH]
 *
 * Listens on 127.0.0.1 (a port of the kernel's choice) or on a Unix socket, then writes the endpoint that a client is to use ("http://...",
 * "unix:...") to the ready file. Line n of the script answers POST request n; the last line answers all further ones. A line is
 *
 *     ok TEXT              a chat reply with that content; \n and other JSON escapes are allowed
 *     echo-prompt          a chat reply whose content is the last message of the request
 *     seed                 a chat reply whose content is the request's seed
 *     echo                 a completions reply with the log-probability -LENGTH/10 for each word of the prompt, LENGTH its bytes, and one more
 *     length TEXT          a chat reply with finish_reason "length"
 *     null                 a chat reply with the content null
 *     refusal TEXT         a chat reply with a refusal
 *     filtered TEXT        a chat reply with finish_reason "content_filter"
 *     json TEXT            status 200 with that body
 *     status N [retry-after VALUE | code WORD]...       an error of that status; N may be any
 *     garbage              status 200 with a body that is no JSON
 *     noise                bytes that are no HTTP
 *     big N                status 200 with a body of N MiB
 *     cut                  the first half of a good reply, then the connection is closed
 *     close, reset         the connection is closed, or reset, without a reply
 *     hang                 nothing, ever
 *     die                  the server ends, at once
 *
 * and before any of them may stand `times N` (that many requests) and `delay MS` or `delay MS-MS` (wait so long, the second form a time that is a
 * hash of the request). GET /health says ok and GET /v1/models names one model, "fault".
 *
 * Each POST request is logged as one line {"path","auth","at_once","body"}: at_once is how many were being answered, this one included. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>
#include <xxhash.h>

#include "buf.h"
#include "err.h"
#include "num.h"
#include "opt.h"
#include "script.h"

#define MOST ((size_t)256 << 20)	/* bytes of a request */

struct conn {
	union {
		uv_tcp_t tcp;
		uv_pipe_t pipe;
		uv_stream_t stream;
		uv_handle_t handle;
	} u;
	uv_timer_t timer;
	int open;		/* handles not yet closed */
	bool closing, answering;
	struct buf in, out;
	uv_write_t write;
	bool close_after;	/* the reply that is being written is the last */
	size_t header, body;	/* bytes of the request that is being answered */
	const struct action *action;
};

static int at_once;
static FILE *log_file;
static uv_loop_t *loop;
static union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t stream; } server;

/* ---- connections ---- */

static void read_on(struct conn *c);

static void
on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->open > 0)
		return;
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

static void
conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	at_once -= c->answering;
	uv_close(&c->u.handle, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void
on_written(uv_write_t *w, int status)
{
	struct conn *c = w->data;

	if (c->closing)
		return;
	at_once--;
	c->answering = false;
	if (status < 0 || c->close_after) {
		conn_close(c);
		return;
	}
	memmove(c->in.p, c->in.p + c->header + c->body, c->in.n - c->header - c->body);
	c->in.n -= c->header + c->body;
	buf_clear(&c->out);
	read_on(c);
}

static void
send_out(struct conn *c, bool then_close)
{
	uv_buf_t b = uv_buf_init(c->out.p, (unsigned)c->out.n);

	c->close_after = then_close;
	c->write.data = c;
	if (uv_write(&c->write, &c->u.stream, &b, 1, on_written) < 0)
		conn_close(c);
}

static void
reset(struct conn *c)
{
	struct linger at_once_reset = { 1, 0 };
	uv_os_fd_t fd;

	if (uv_fileno(&c->u.handle, &fd) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once_reset, sizeof at_once_reset);
	conn_close(c);
}

static void
answer(struct conn *c)
{
	const struct action *a = c->action;

	switch (a->kind) {
	case HANG:
		return;
	case DIE:
		_exit(0);
	case CLOSE:
		conn_close(c);
		return;
	case RESET:
		reset(c);
		return;
	default:
		script_reply(&c->out, a, c->in.p + c->header, c->body);
	}
	send_out(c, a->kind == CUT || a->kind == NOISE);
}

static void
on_timer(uv_timer_t *t)
{
	answer(t->data);
}

/* ---- requests ---- */

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
log_request(const struct conn *c, const char *path)
{
	char auth[256];

	header_value(c->in.p, c->header, "Authorization", auth, sizeof auth);
	fprintf(log_file, "{\"path\":\"%s\",\"auth\":\"%s\",\"at_once\":%d,\"body\":%.*s}\n", path, auth, at_once, (int)c->body, c->in.p + c->header);
	fflush(log_file);
}

static void
answer_get(struct conn *c, const char *path)
{
	const char *body = strstr(path, "/models") ? "{\"data\":[{\"id\":\"fault\"}]}" : "{\"status\":\"ok\"}";

	script_add_reply(&c->out, 200, "", body, strlen(body));
	send_out(c, false);
}

/* One request is whole: answer it now or later. */
static void
begin(struct conn *c)
{
	char *line = xstrndup(c->in.p, strcspn(c->in.p, "\r")), *rest = line;
	const char *method = script_word(&rest), *path = script_word(&rest);
	const struct action *a;
	uint64_t wait;

	c->answering = true;
	at_once++;
	if (strcmp(method, "GET") == 0) {
		answer_get(c, path);
		free(line);
		return;
	}
	log_request(c, path);
	free(line);
	c->action = a = script_next();
	wait = (uint64_t)a->wait_from;
	if (a->wait_to > a->wait_from)
		wait += XXH3_64bits(c->in.p + c->header, c->body) % (uint64_t)(a->wait_to - a->wait_from);
	if (wait)
		uv_timer_start(&c->timer, on_timer, wait, 0);
	else
		answer(c);
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

static void
on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	(void)h;
	*b = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

static void
on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct conn *c = s->data;

	if (n > 0 && buf_add(&c->in, b->base, (size_t)n) == 0)
		read_on(c);
	else if (n != 0)
		conn_close(c);
	free(b->base);
}

static void
on_connection(uv_stream_t *s, int status)
{
	struct conn *c = xcalloc(1, sizeof *c);

	if (status < 0)
		die(STATUS_IO, "listen: %s", uv_strerror(status));
	if (s->type == UV_TCP)
		uv_tcp_init(loop, &c->u.tcp);
	else
		uv_pipe_init(loop, &c->u.pipe, 0);
	uv_timer_init(loop, &c->timer);
	c->u.handle.data = c->timer.data = c;
	c->open = 2;
	buf_init(&c->in, MOST + (1 << 20));
	buf_init(&c->out, MOST);
	if (uv_accept(s, &c->u.stream) < 0 || uv_read_start(&c->u.stream, on_alloc, on_read) < 0)
		conn_close(c);
}

/* ---- main ---- */

static int
listen_on(const char *path, struct buf *where)
{
	struct sockaddr_in in;
	int n = sizeof in;

	if (path) {
		uv_pipe_init(loop, &server.pipe, 0);
		buf_addf(where, "unix:%s\n", path);
		return uv_pipe_bind(&server.pipe, path);
	}
	uv_ip4_addr("127.0.0.1", 0, &in);
	uv_tcp_init(loop, &server.tcp);
	if (uv_tcp_bind(&server.tcp, (struct sockaddr *)&in, 0) < 0 || uv_tcp_getsockname(&server.tcp, (struct sockaddr *)&in, &n) < 0)
		return -1;
	buf_addf(where, "http://127.0.0.1:%d/v1\n", ntohs(in.sin_port));
	return 0;
}

/* By another name first, so that whoever waits for the file finds it whole. */
static void
tell(const char *ready, const struct buf *where)
{
	struct buf part = BUF_INIT(4096);
	FILE *f;

	buf_addf(&part, "%s.part", ready);
	f = fopen(part.p, "w");
	if (!f || fwrite(where->p, 1, where->n, f) != where->n || fclose(f) == EOF || rename(part.p, ready) < 0)
		die(STATUS_IO, "%s: %s", ready, strerror(errno));
	buf_free(&part);
}

int
main(int argc, char **argv)
{
	const char *script_path = NULL, *log_path = NULL, *ready = NULL, *unix_path = NULL;
	const struct opt opts[] = {
		{ "script", 0, OPT_STR, &script_path, "FILE", "what to answer", 0, 0 },
		{ "log", 0, OPT_STR, &log_path, "FILE", "where each request goes", 0, 0 },
		{ "ready", 0, OPT_STR, &ready, "FILE", "where the endpoint is written once it listens", 0, 0 },
		{ "unix", 0, OPT_STR, &unix_path, "PATH", "listen on this socket instead of 127.0.0.1", 0, 0 },
		{ 0 },
	};
	const struct opt_usage usage = { "--script FILE --log FILE --ready FILE [--unix PATH]", "A server that does what a script says.", opts, NULL };
	struct buf where = BUF_INIT(4096);

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &usage) != 0 || !script_path || !log_path || !ready)
		die(STATUS_USAGE, "usage: fault %s", usage.synopsis);
	signal(SIGPIPE, SIG_IGN);
	script_read(script_path);
	log_file = fopen(log_path, "ae");
	if (!log_file)
		die(STATUS_IO, "%s: %s", log_path, strerror(errno));
	loop = uv_default_loop();
	if (listen_on(unix_path, &where) < 0 || uv_listen(&server.stream, 1024, on_connection) < 0)
		die(STATUS_IO, "cannot listen");
	tell(ready, &where);
	buf_free(&where);
	return uv_run(loop, UV_RUN_DEFAULT);
}
