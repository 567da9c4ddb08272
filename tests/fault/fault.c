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

#include <jansson.h>

#define MOST ((size_t)256 << 20)	/* bytes of a request */

enum kind { OK, ECHO_PROMPT, SEED, ECHO_TOKENS, LENGTH, NULL_TEXT, REFUSAL, FILTERED, JSON, STATUS, GARBAGE, NOISE, BIG, CUT, CLOSE, RESET, HANG, DIE };
static const char *const kind_name[] = {
	"ok", "echo-prompt", "seed", "echo", "length", "null", "refusal", "filtered", "json", "status", "garbage", "noise", "big", "cut", "close",
	"reset", "hang", "die", NULL
};

struct action {
	enum kind kind;
	char *text;		/* behind the word */
	long long status, mib;
	char *retry_after, *code;
	long long times;
	long long wait_from, wait_to;	/* ms */
};

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

static struct action *script;
static size_t lines, at, done_of_line;	/* the script, its line in use, requests that it answered */
static int at_once;
static FILE *log_file;
static uv_loop_t *loop;
static union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t stream; } server;

/* ---- the script ---- */

static char *
word(char **s)
{
	char *w = *s + strspn(*s, " ");
	size_t n = strcspn(w, " ");

	*s = w + n;
	if (**s)
		*(*s)++ = 0;
	return w;
}

static long long
number(const char *s, const char *line)
{
	long long x;

	if (num_int(s, 0, 1000000000, &x, NULL) < 0)
		die(STATUS_USAGE, "script: no number: %s in: %s", s, line);
	return x;
}

static void
parse_wait(struct action *a, char *w, const char *line)
{
	char *dash = strchr(w, '-');

	if (dash)
		*dash = 0;
	a->wait_from = number(w, line);
	a->wait_to = dash ? number(dash + 1, line) : a->wait_from;
}

static void
parse_status(struct action *a, char *s, const char *line)
{
	a->status = number(word(&s), line);
	while (*s) {
		const char *w = word(&s);

		if (strcmp(w, "retry-after") == 0)
			a->retry_after = word(&s);
		else if (strcmp(w, "code") == 0)
			a->code = word(&s);
		else
			die(STATUS_USAGE, "script: unknown word: %s in: %s", w, line);
	}
}

static struct action
parse_line(char *s)
{
	struct action a = { .times = 1 };
	const char *line = xstrdup(s), *w;
	int k = 0;

	for (w = word(&s); strcmp(w, "times") == 0 || strcmp(w, "delay") == 0; w = word(&s)) {
		if (*w == 't')
			a.times = number(word(&s), line);
		else
			parse_wait(&a, word(&s), line);
	}
	while (kind_name[k] && strcmp(kind_name[k], w) != 0)
		k++;
	if (!kind_name[k])
		die(STATUS_USAGE, "script: unknown action: %s", line);
	a.kind = (enum kind)k;
	a.text = s;
	if (a.kind == STATUS)
		parse_status(&a, s, line);
	if (a.kind == BIG)
		a.mib = number(word(&s), line);
	free((char *)line);
	return a;
}

static void
read_script(const char *path)
{
	struct buf b = BUF_INIT(1 << 20);
	struct err e;
	char *rest;

	if (buf_read_file(&b, path, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	rest = b.p;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		script = xreallocarray(script, lines + 1, sizeof *script);
		script[lines++] = parse_line(line);
	}
	if (lines == 0)
		die(STATUS_USAGE, "%s: no actions", path);
}

static const struct action *
next_action(void)
{
	const struct action *a = &script[at];

	if (++done_of_line >= (size_t)a->times && at + 1 < lines) {
		at++;
		done_of_line = 0;
	}
	return a;
}

/* ---- replies ---- */

static void
add_reply(struct buf *out, long long status, const char *headers, const char *body, size_t n)
{
	buf_addf(out, "HTTP/1.1 %lld Status\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n", status, headers, n);
	buf_add(out, body, n);
}

static json_t *
chat_reply(json_t *content, const char *finish, const char *refusal)
{
	json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", content);

	if (refusal)
		json_object_set_new(message, "refusal", json_string(refusal));
	return json_pack("{s:[{s:i, s:o, s:s}], s:{s:i, s:i}}", "choices", "index", 0, "message", message, "finish_reason", finish,
			 "usage", "prompt_tokens", 7, "completion_tokens", 3);
}

/* The script's text as a JSON string, so that \n can be written in it. */
static json_t *
script_text(const char *s)
{
	struct buf b = BUF_INIT(1 << 20);
	json_t *v;

	buf_addf(&b, "\"%s\"", s);
	v = json_loadb(b.p, b.n, JSON_DECODE_ANY, NULL);
	buf_free(&b);
	return v ? v : json_string(s);
}

static json_t *
last_message(json_t *request)
{
	json_t *list = json_object_get(request, "messages");
	json_t *content = json_object_get(json_array_get(list, json_array_size(list) - 1), "content");

	return content ? json_incref(content) : json_string("");
}

static json_t *
seed_text(json_t *request)
{
	return json_sprintf("%lld", (long long)json_integer_value(json_object_get(request, "seed")));
}

static json_t *
echo_tokens(json_t *request)
{
	const char *s = json_string_value(json_object_get(request, "prompt"));
	json_t *logprobs = json_array();
	int words = 0;

	for (s = s ? s : ""; *(s += strspn(s, " ")); words++) {
		size_t n = strcspn(s, " ");

		json_array_append_new(logprobs, words ? json_real(-(double)n / 10) : json_null());
		s += n;
	}
	json_array_append_new(logprobs, json_real(-0.5));
	return json_pack("{s:[{s:i, s:s, s:s, s:{s:o}}], s:{s:i, s:i}}", "choices", "index", 0, "text", "", "finish_reason", "length",
			 "logprobs", "token_logprobs", logprobs, "usage", "prompt_tokens", words, "completion_tokens", 1);
}

static json_t *
good_reply(const struct action *a, json_t *request)
{
	switch (a->kind) {
	case ECHO_PROMPT:
		return chat_reply(last_message(request), "stop", NULL);
	case SEED:
		return chat_reply(seed_text(request), "stop", NULL);
	case ECHO_TOKENS:
		return echo_tokens(request);
	case NULL_TEXT:
		return chat_reply(json_null(), "stop", NULL);
	case REFUSAL:
		return chat_reply(json_null(), "stop", a->text);
	default:
		return chat_reply(script_text(a->text), a->kind == LENGTH ? "length" : a->kind == FILTERED ? "content_filter" : "stop", NULL);
	}
}

static void
add_good_reply(struct buf *out, const struct action *a, const char *body, size_t n)
{
	json_t *request = json_loadb(body, n, 0, NULL), *reply = good_reply(a, request);
	char *text = json_dumps(reply, JSON_COMPACT);

	add_reply(out, 200, "", text, strlen(text));
	free(text);
	json_decref(reply);
	json_decref(request);
}

static void
add_error_reply(struct buf *out, const struct action *a)
{
	struct buf headers = BUF_INIT(1 << 16);
	json_t *error = json_pack("{s:{s:s, s:s, s:s}}", "error", "message", "as the script says", "type", "script", "code", a->code ? a->code : "none");
	char *text = json_dumps(error, JSON_COMPACT);

	buf_adds(&headers, "");
	if (a->retry_after)
		buf_addf(&headers, "Retry-After: %s\r\n", a->retry_after);
	add_reply(out, a->status, headers.p, text, strlen(text));
	free(text);
	json_decref(error);
	buf_free(&headers);
}

static void
add_big_reply(struct buf *out, long long mib)
{
	size_t n = (size_t)mib << 20;
	char *body = xmalloc(n + 1);

	memset(body, ' ', n);
	add_reply(out, 200, "", body, n);
	free(body);
}

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
	case STATUS:
		add_error_reply(&c->out, a);
		break;
	case GARBAGE:
		add_reply(&c->out, 200, "", "<html>not JSON", 14);
		break;
	case JSON:
		add_reply(&c->out, 200, "", a->text, strlen(a->text));
		break;
	case NOISE:
		buf_adds(&c->out, "\001\002 this is not HTTP\n");
		break;
	case BIG:
		add_big_reply(&c->out, a->mib);
		break;
	default:
		add_good_reply(&c->out, a, c->in.p + c->header, c->body);
	}
	if (a->kind == CUT)
		c->out.n -= c->out.n / 4;
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

	add_reply(&c->out, 200, "", body, strlen(body));
	send_out(c, false);
}

/* One request is whole: answer it now or later. */
static void
begin(struct conn *c)
{
	char *line = xstrndup(c->in.p, strcspn(c->in.p, "\r")), *rest = line;
	const char *method = word(&rest), *path = word(&rest);
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
	c->action = a = next_action();
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
	struct buf where = BUF_INIT(4096);

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &(struct opt_usage){ "--script FILE --log FILE --ready FILE [--unix PATH]", "A server that does what a script says.", opts, NULL }) != 0
	    || !script_path || !log_path || !ready)
		die(STATUS_USAGE, "usage: fault --script FILE --log FILE --ready FILE [--unix PATH]");
	signal(SIGPIPE, SIG_IGN);
	read_script(script_path);
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
