/* reply.c - the replies of a fault server */

#include "reply.h"

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"

#define BLOCK ((size_t)64 << 10)	/* of a reply that is longer than we want to hold */
#define INTERIM "HTTP/1.1 102 Processing\r\n\r\n"

/* ---- bodies ---- */

/* usage as it should be, or as the action has it. */
static json_t *
with_usage(json_t *reply, const struct action *a, int prompt, int completion)
{
	if (!a->usage)
		json_object_set_new(reply, "usage", json_pack("{s:i, s:i}", "prompt_tokens", prompt, "completion_tokens", completion));
	else if (strcmp(a->usage, "none") != 0)
		json_object_set_new(reply, "usage", json_loads(a->usage, JSON_DECODE_ANY, NULL));
	return reply;
}

static json_t *
chat_reply(const struct action *a, json_t *content, const char *finish, const char *refusal)
{
	json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", content);

	if (refusal)
		json_object_set_new(message, "refusal", json_string(refusal));
	return with_usage(json_pack("{s:[{s:i, s:o, s:s}]}", "choices", "index", 0, "message", message, "finish_reason", finish), a, 7, 3);
}

/* The script's text as a JSON string, so that \n can be written in it. */
static json_t *
script_text(const char *s)
{
	struct buf b = BUF_INIT(1 << 22);
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
echo_tokens(const struct action *a, json_t *request)
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
	return with_usage(json_pack("{s:[{s:i, s:s, s:s, s:{s:o}}]}", "choices", "index", 0, "text", "", "finish_reason", "length", "logprobs",
				    "token_logprobs", logprobs), a, words, 1);
}

static json_t *
good_reply(const struct action *a, json_t *request)
{
	switch (a->kind) {
	case ECHO_PROMPT:
		return chat_reply(a, last_message(request), "stop", NULL);
	case SEED:
		return chat_reply(a, seed_text(request), "stop", NULL);
	case ECHO_TOKENS:
		return echo_tokens(a, request);
	case NULL_TEXT:
		return chat_reply(a, json_null(), "stop", NULL);
	case REFUSAL:
		return chat_reply(a, json_null(), "stop", a->text);
	default:
		return chat_reply(a, script_text(a->text), a->kind == LENGTH ? "length" : a->kind == FILTERED ? "content_filter" : "stop", NULL);
	}
}

static void
add_json(struct buf *b, json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT);

	buf_adds(b, text);
	free(text);
	json_decref(v);
}

static void
add_good_body(struct buf *b, const struct action *a, const char *body, size_t n)
{
	bool asks = a->kind == ECHO_PROMPT || a->kind == SEED || a->kind == ECHO_TOKENS;
	json_t *request = asks ? json_loadb(body, n, 0, NULL) : NULL;

	add_json(b, good_reply(a, request));
	json_decref(request);
}

static void
add_body(struct buf *b, const struct action *a, const char *body, size_t n)
{
	struct err e;

	switch (a->kind) {
	case STATUS:
		add_json(b, json_pack("{s:{s:s, s:s, s:s}}", "error", "message", "as the script says", "type", "script", "code", a->code ? a->code : "none"));
		break;
	case GARBAGE:
		buf_adds(b, "<html>not JSON");
		break;
	case JSON:
		buf_adds(b, a->text);
		break;
	case BODY_FILE:
		if (buf_read_file(b, a->text, &e) < 0)
			die(STATUS_USAGE, "%s", e.msg);
		break;
	case BIG:
	case ENDLESS:
	case ENDLESS_HEADERS:
	case ENDLESS_INTERIM:
		break;
	default:
		add_good_body(b, a, body, n);
	}
	if (a->kind == HALF)
		b->n /= 2;
}

/* ---- what is sent again and again ---- */

static const struct buf *
fill_of(enum kind kind)
{
	static struct buf made[DIE + 1];
	struct buf *b = &made[kind];

	if (b->n > 0)
		return b;
	buf_init(b, 2 * BLOCK);
	if (kind == ENDLESS)
		buf_addf(b, "%zx\r\n%*s\r\n", BLOCK, (int)BLOCK, "");
	else if (kind == BIG)
		buf_addf(b, "%*s", (int)BLOCK, "");
	else while (b->n < BLOCK)
		buf_adds(b, kind == ENDLESS_INTERIM ? INTERIM : "X-More: and one more of those that never end\r\n");
	return b;
}

static void
set_fill(struct wire *w, const struct action *a)
{
	bool endless = a->kind == ENDLESS || a->kind == ENDLESS_HEADERS || a->kind == ENDLESS_INTERIM;

	w->fills = endless ? LLONG_MAX : a->kind == BIG ? a->n * (long long)((1 << 20) / BLOCK) : 0;
	w->fill = w->fills ? fill_of(a->kind) : NULL;
}

/* ---- heads ---- */

static void
add_more_headers(struct buf *out, const struct action *a)
{
	struct buf value = BUF_INIT(256 << 20);

	for (long long i = 0; i < a->header_size; i++)
		buf_addc(&value, 'x');
	for (long long i = 0; i < a->headers; i++)
		buf_addf(out, "X-%lld: %s\r\n", i, value.p ? value.p : "");
	buf_free(&value);
}

static void
add_retry_after(struct buf *out, const struct action *a)
{
	long long ms = script_wait_ms(a->over);
	char date[64];
	time_t then = time(NULL) + a->retry_after_date;

	if (a->retry_after_ms)
		buf_addf(out, "retry-after-ms: %s\r\n", a->retry_after_ms);
	if (a->retry_after)
		buf_addf(out, "Retry-After: %s\r\n", a->retry_after);
	if (a->retry_after_date >= 0) {
		strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
		buf_addf(out, "Retry-After: %s\r\n", date);
	}
	if (ms >= 0)
		buf_addf(out, "Retry-After: %lld\r\nretry-after-ms: %lld\r\n", (ms + 999) / 1000, ms);
}

static void
add_head(struct buf *out, const struct action *a, size_t n)
{
	long long length = (long long)n + a->claim;

	if (a->kind == BIG)
		length += a->n << 20;
	for (long long i = 0; i < a->interim; i++)
		buf_adds(out, INTERIM);
	buf_addf(out, "HTTP/1.%c %lld Status\r\nContent-Type: application/json\r\n", a->http10 ? '0' : '1', a->kind == STATUS ? a->n : 200);
	if (a->header)
		buf_adds(out, a->header);
	if (a->kind == STATUS)
		add_retry_after(out, a);
	if (a->headers)
		add_more_headers(out, a);
	if (a->kind == ENDLESS_HEADERS)
		return;
	if (a->chunked || a->bad_chunks || a->kind == ENDLESS)
		buf_adds(out, "Transfer-Encoding: chunked\r\n\r\n");
	else if (a->http10)
		buf_adds(out, "\r\n");
	else
		buf_addf(out, "Content-Length: %lld\r\n\r\n", length < 0 ? 0 : length);
}

/* In three chunks, cut anywhere; when they are to be bad, the second has no size. */
static void
add_chunks(struct buf *out, const struct action *a, const struct buf *body)
{
	size_t third = body->n / 3 ? body->n / 3 : 1;

	for (size_t i = 0, n; i < body->n; i += n) {
		n = body->n - i < 2 * third ? body->n - i : third;
		if (i > 0 && a->bad_chunks)
			buf_adds(out, "no size\r\n");
		else
			buf_addf(out, "%zx\r\n", n);
		buf_add(out, body->p + i, n);
		buf_adds(out, "\r\n");
	}
	buf_adds(out, "0\r\n\r\n");
}

/* ---- the whole ---- */

static void
add_again(struct buf *b)
{
	char *copy = xstrndup(b->p, b->n);

	buf_add(b, copy, strlen(copy));
	free(copy);
}

void
reply_make(struct wire *w, const struct action *a, const char *body, size_t n)
{
	struct buf text = BUF_INIT(256 << 20);
	size_t head;

	buf_clear(&w->out);
	set_fill(w, a);
	w->drip_from = SIZE_MAX;
	if (a->kind == NOISE) {
		buf_adds(&w->out, "\001\002 this is not HTTP\n");
		return;
	}
	if (a->kind == ENDLESS_INTERIM)
		return;
	buf_clear(&text);
	add_body(&text, a, body, n);
	add_head(&w->out, a, text.n);
	head = w->out.n;
	if (a->chunked || a->bad_chunks)
		add_chunks(&w->out, a, &text);
	else
		buf_add(&w->out, text.p, text.n);
	if (a->kind == CUT || a->kind == CUT_RESET)
		w->out.n = head + text.n / 2;
	if (a->twice == 0)
		add_again(&w->out);
	if (a->drip || a->drip_head)
		w->drip_from = a->drip_head ? 0 : head;
	buf_free(&text);
}

void
reply_plain(struct wire *w, const char *body)
{
	static const struct action plain = { .kind = JSON, .twice = -1 };
	struct action a = plain;

	a.text = (char *)body;
	reply_make(w, &a, "", 0);
}
