/* reply.c - the replies of a fault server */

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "script.h"

void
script_add_reply(struct buf *out, long long status, const char *headers, const char *body, size_t n)
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

	script_add_reply(out, 200, "", text, strlen(text));
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
	script_add_reply(out, a->status, headers.p, text, strlen(text));
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
	script_add_reply(out, 200, "", body, n);
	free(body);
}

void
script_reply(struct buf *out, const struct action *a, const char *body, size_t n)
{
	switch (a->kind) {
	case STATUS:
		add_error_reply(out, a);
		break;
	case GARBAGE:
		script_add_reply(out, 200, "", "<html>not JSON", 14);
		break;
	case JSON:
		script_add_reply(out, 200, "", a->text, strlen(a->text));
		break;
	case NOISE:
		buf_adds(out, "\001\002 this is not HTTP\n");
		break;
	case BIG:
		add_big_reply(out, a->mib);
		break;
	default:
		add_good_reply(out, a, body, n);
	}
	if (a->kind == CUT)
		out->n -= out->n / 4;
}
