/* request.c - see request.h */
#include "request.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

enum rule {
	USED,		/* read below */
	IGNORED,	/* changes nothing in the reply */
	EMPTY,		/* not supported: only null, false, 0, "", [] or {} */
	ONE,		/* not supported: only null or 1 */
	TRUE_ONLY,	/* not supported: only null or true */
	NO_TOOL,	/* not supported: only null, "none" or "auto" */
	TEXT_ONLY,	/* not supported: only null, {"type":"text"} or ["text"] */
};

#define CHAT (1 << REQ_CHAT)
#define COMPLETION (1 << REQ_COMPLETION)
#define BOTH (CHAT | COMPLETION)

static const struct param {
	const char *name;
	int kinds;
	enum rule rule;
} params[] = {
	{ "model", BOTH, USED }, { "messages", CHAT, USED }, { "prompt", COMPLETION, USED },
	{ "max_tokens", BOTH, USED }, { "max_completion_tokens", BOTH, USED }, { "n", BOTH, USED },
	{ "temperature", BOTH, USED }, { "top_p", BOTH, USED }, { "top_k", BOTH, USED }, { "seed", BOTH, USED },
	{ "stop", BOTH, USED }, { "stream", BOTH, USED }, { "stream_options", BOTH, USED },
	{ "logprobs", BOTH, USED }, { "top_logprobs", CHAT, USED }, { "echo", COMPLETION, USED },
	{ "user", BOTH, IGNORED }, { "metadata", BOTH, IGNORED }, { "store", BOTH, IGNORED }, { "service_tier", BOTH, IGNORED },
	{ "safety_identifier", BOTH, IGNORED }, { "prompt_cache_key", BOTH, IGNORED }, { "prompt_cache_retention", BOTH, IGNORED },
	{ "parallel_tool_calls", CHAT, IGNORED },
	{ "tools", CHAT, EMPTY }, { "functions", CHAT, EMPTY }, { "logit_bias", BOTH, EMPTY }, { "suffix", COMPLETION, EMPTY },
	{ "presence_penalty", BOTH, EMPTY }, { "frequency_penalty", BOTH, EMPTY }, { "min_p", BOTH, EMPTY },
	{ "min_tokens", BOTH, EMPTY }, { "ignore_eos", BOTH, EMPTY }, { "prompt_logprobs", BOTH, EMPTY },
	{ "stop_token_ids", BOTH, EMPTY }, { "include_stop_str_in_output", BOTH, EMPTY }, { "use_beam_search", BOTH, EMPTY },
	{ "continue_final_message", CHAT, EMPTY }, { "chat_template_kwargs", CHAT, EMPTY }, { "chat_template", CHAT, EMPTY },
	{ "reasoning_effort", CHAT, EMPTY }, { "verbosity", CHAT, EMPTY }, { "audio", CHAT, EMPTY }, { "prediction", CHAT, EMPTY },
	{ "web_search_options", CHAT, EMPTY }, { "best_of", COMPLETION, ONE }, { "repetition_penalty", BOTH, ONE },
	{ "add_generation_prompt", CHAT, TRUE_ONLY }, { "skip_special_tokens", BOTH, TRUE_ONLY },
	{ "tool_choice", CHAT, NO_TOOL }, { "function_call", CHAT, NO_TOOL },
	{ "response_format", BOTH, TEXT_ONLY }, { "modalities", CHAT, TEXT_ONLY },
};

int
req_fail(struct req_error *e, int status, const char *param, const char *code, const char *fmt, ...)
{
	va_list ap;

	e->status = status;
	e->type = status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
	e->code = code;
	snprintf(e->param, sizeof e->param, "%s", param);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof e->message, fmt, ap);
	va_end(ap);
	return -1;
}

static int
wrong_type(struct req_error *e, const char *param, const char *want)
{
	return req_fail(e, 400, param, "invalid_type", "'%s' must be %s", param, want);
}

static bool
is_text(json_t *v)
{
	json_t *type = json_is_object(v) ? json_object_get(v, "type") : json_array_get(v, 0);

	return json_is_string(type) && strcmp(json_string_value(type), "text") == 0 && json_array_size(v) <= 1;
}

/* True when the value asks for nothing that this server does not do. */
static bool
neutral(enum rule rule, json_t *v)
{
	const char *s = json_string_value(v);

	if (json_is_null(v))
		return true;
	switch (rule) {
	case EMPTY:
		return json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) || (s && !*s) ||
			(json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0);
	case ONE:
		return json_is_number(v) && json_number_value(v) == 1;
	case TRUE_ONLY:
		return json_is_true(v);
	case NO_TOOL:
		return s && (strcmp(s, "none") == 0 || strcmp(s, "auto") == 0);
	case TEXT_ONLY:
		return is_text(v);
	default:
		return true;
	}
}

static int
check_names(json_t *root, enum req_kind kind, struct req_error *e)
{
	const char *name;
	json_t *v;

	json_object_foreach(root, name, v) {
		const struct param *p = params, *end = params + sizeof params / sizeof *params;

		while (p < end && (!(p->kinds & 1 << kind) || strcmp(p->name, name) != 0))
			p++;
		if (p == end)
			return req_fail(e, 400, name, "unknown_parameter", "unknown parameter '%.60s'", name);
		if (!neutral(p->rule, v))
			return req_fail(e, 400, name, "unsupported_parameter", "parameter '%s' with this value is not supported by this server", name);
	}
	return 0;
}

/* The getters leave *out alone when the member is absent or null. */
static int
get_int(json_t *root, const char *name, long long lo, long long hi, long long *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return wrong_type(e, name, "an integer");
	if (json_integer_value(v) < lo || json_integer_value(v) > hi)
		return req_fail(e, 400, name, "invalid_value", "'%s' must be from %lld to %lld", name, lo, hi);
	*out = json_integer_value(v);
	return 0;
}

static int
get_num(json_t *root, const char *name, double lo, double hi, double *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_number(v))
		return wrong_type(e, name, "a number");
	if (!(json_number_value(v) >= lo && json_number_value(v) <= hi))
		return req_fail(e, 400, name, "invalid_value", "'%s' must be from %g to %g", name, lo, hi);
	*out = json_number_value(v);
	return 0;
}

static int
get_bool(json_t *root, const char *name, bool *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return wrong_type(e, name, "true or false");
	*out = json_is_true(v);
	return 0;
}

bool
req_names(const struct serving *s, const char *name)
{
	size_t n = strlen(s->path);

	while (n > 1 && s->path[n - 1] == '/')
		n--;
	if (strcmp(name, s->name) == 0 || strcmp(name, s->path) == 0)
		return true;
	return strncmp(name, s->path, n) == 0 && strspn(name + n, "/") == strlen(name + n);
}

static int
read_model(json_t *root, const struct serving *s, struct req_error *e)
{
	json_t *v = json_object_get(root, "model");

	if (!v || json_is_null(v))
		return req_fail(e, 400, "model", "missing_required_parameter", "'model' is required; this server's is '%.200s'", s->name);
	if (!json_is_string(v))
		return wrong_type(e, "model", "a string");
	if (!req_names(s, json_string_value(v)))
		return req_fail(e, 404, "model", "model_not_found", "the model '%.200s' does not exist here; this server's is '%.200s'",
			json_string_value(v), s->name);
	return 0;
}

static int
add_stop(struct stops *st, json_t *v, struct req_error *e)
{
	if (!json_is_string(v))
		return wrong_type(e, "stop", "a string or a list of strings");
	if (json_string_length(v) == 0 || json_string_length(v) > STOP_BYTES)
		return req_fail(e, 400, "stop", "invalid_value", "a 'stop' string must have from 1 to %d bytes", STOP_BYTES);
	if (st->n == STOP_MAX)
		return req_fail(e, 400, "stop", "invalid_value", "'stop' may hold at most %d strings", STOP_MAX);
	st->len[st->n] = json_string_length(v);
	st->s[st->n++] = xstrdup(json_string_value(v));
	return 0;
}

static int
read_stop(struct request *r, json_t *v, struct req_error *e)
{
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return add_stop(&r->stop, v, e);
	for (size_t i = 0; i < json_array_size(v); i++)
		if (add_stop(&r->stop, json_array_get(v, i), e) < 0)
			return -1;
	return 0;
}

static int
read_stream(struct request *r, json_t *root, struct req_error *e)
{
	json_t *o = json_object_get(root, "stream_options");

	if (get_bool(root, "stream", &r->stream, e) < 0)
		return -1;
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return wrong_type(e, "stream_options", "an object");
	if (!r->stream)
		return req_fail(e, 400, "stream_options", "invalid_value", "'stream_options' is only allowed with 'stream': true");
	return get_bool(o, "include_usage", &r->usage, e);
}

/* Chat: a flag and a count; completions: a count. */
static int
read_logprobs(struct request *r, json_t *root, struct req_error *e)
{
	long long top = -1;
	bool on = false;

	if (r->kind == REQ_COMPLETION) {
		if (get_int(root, "logprobs", 0, REQ_TOP, &top, e) < 0)
			return -1;
	} else {
		if (get_bool(root, "logprobs", &on, e) < 0 || get_int(root, "top_logprobs", 0, REQ_TOP, &top, e) < 0)
			return -1;
		if (top > 0 && !on)
			return req_fail(e, 400, "top_logprobs", "invalid_value", "'top_logprobs' is only allowed with 'logprobs': true");
		top = !on ? -1 : top < 0 ? 0 : top;
	}
	r->logprobs = top;
	return 0;
}

static int
read_seed(struct request *r, json_t *root, struct req_error *e)
{
	long long seed = 0;

	if (get_int(root, "seed", INT64_MIN, INT64_MAX, &seed, e) < 0)
		return -1;
	if (json_is_integer(json_object_get(root, "seed")))
		r->seed = seed;
	else
		getentropy(&r->seed, sizeof r->seed);
	return 0;
}

static int
read_settings(struct request *r, json_t *root, struct req_error *e)
{
	long long n = 1, max = r->kind == REQ_CHAT ? -1 : 16, top_k = 0;

	r->how = (struct sampling){ 1, 1, 0 };
	if (get_num(root, "temperature", 0, 2, &r->how.temperature, e) < 0 || get_num(root, "top_p", 0, 1, &r->how.top_p, e) < 0 ||
	    get_int(root, "top_k", -1, INT32_MAX, &top_k, e) < 0 || get_int(root, "n", 1, REQ_CHOICES, &n, e) < 0 ||
	    get_bool(root, "echo", &r->echo, e) < 0)
		return -1;
	if (get_int(root, "max_tokens", 0, INT32_MAX, &max, e) < 0 || get_int(root, "max_completion_tokens", 0, INT32_MAX, &max, e) < 0)
		return -1;
	if (max == 0 && !r->echo)
		return req_fail(e, 400, "max_tokens", "invalid_value", "'max_tokens' must be at least 1%s",
			r->kind == REQ_COMPLETION ? " unless 'echo' is true" : "");
	r->n = n;
	r->max_tokens = max;
	r->how.top_k = top_k < 0 ? 0 : top_k;
	if (read_seed(r, root, e) < 0 || read_stream(r, root, e) < 0 || read_logprobs(r, root, e) < 0)
		return -1;
	return read_stop(r, json_object_get(root, "stop"), e);
}

/* ---- prompts ---- */

static void
encode_text(struct req_prompt *p, const char *s, size_t n, const struct tok *t)
{
	int bos = tok_bos(t);

	if (bos >= 0)
		ids_add(&p->ids, bos);
	tok_encode(t, s, n, true, &p->ids);
	p->hidden = bos >= 0;
	if (bos >= 0 && p->ids.n > 1 && p->ids.v[1] == bos) {	/* the text has its own */
		memmove(p->ids.v, p->ids.v + 1, (p->ids.n - 1) * sizeof *p->ids.v);
		p->ids.n--;
		p->hidden = 0;
	}
}

static int
copy_ids(struct req_prompt *p, json_t *list, const struct serving *s, struct req_error *e)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);

		if (!json_is_integer(v))
			return wrong_type(e, "prompt", "a string, a list of strings, a list of token ids or a list of lists of token ids");
		if (json_integer_value(v) < 0 || json_integer_value(v) >= s->vocab)
			return req_fail(e, 400, "prompt", "invalid_value", "token id %lld is not in the vocabulary (0 to %d)",
				(long long)json_integer_value(v), s->vocab - 1);
		ids_add(&p->ids, json_integer_value(v));
	}
	p->hidden = p->ids.n > 0 && p->ids.v[0] == tok_bos(s->tok);
	return 0;
}

static int
check_length(const struct request *r, const struct req_prompt *p, const struct serving *s, struct req_error *e)
{
	const char *param = r->kind == REQ_CHAT ? "messages" : "prompt";

	if (p->ids.n == 0)
		return req_fail(e, 400, param, "invalid_value", "'%s' has no tokens", param);
	if (p->ids.n > (size_t)s->max_context)
		return req_fail(e, 400, param, "context_length_exceeded", "this model's maximum context length is %d tokens, but '%s' has %zu",
			s->max_context, param, p->ids.n);
	return 0;
}

static int
read_one(struct request *r, json_t *v, const struct serving *s, struct req_error *e)
{
	struct req_prompt *p = &r->prompt[r->nprompts++];

	if (json_is_string(v))
		encode_text(p, json_string_value(v), json_string_length(v), s->tok);
	else if (copy_ids(p, v, s, e) < 0)
		return -1;
	return check_length(r, p, s, e);
}

static int
read_prompt(struct request *r, json_t *v, const struct serving *s, struct req_error *e)
{
	size_t n = json_array_size(v);
	bool one = json_is_string(v) || (n > 0 && json_is_integer(json_array_get(v, 0)));

	if (!v || json_is_null(v))
		return req_fail(e, 400, "prompt", "missing_required_parameter", "'prompt' is required");
	if (!json_is_string(v) && !json_is_array(v))
		return wrong_type(e, "prompt", "a string, a list of strings, a list of token ids or a list of lists of token ids");
	if (!one && (n == 0 || n * r->n > REQ_PROMPTS))
		return req_fail(e, 400, "prompt", "invalid_value", "'prompt' must hold from 1 to %d prompts", REQ_PROMPTS / r->n);
	r->prompt = xcalloc(one ? 1 : n, sizeof *r->prompt);
	if (one)
		return read_one(r, v, s, e);
	for (size_t i = 0; i < n; i++) {
		json_t *p = json_array_get(v, i);

		if (!json_is_string(p) && !json_is_array(p))
			return wrong_type(e, "prompt", "a string, a list of strings, a list of token ids or a list of lists of token ids");
		if (read_one(r, p, s, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- messages ---- */

/* Text parts, one after the other. */
static int
join_parts(struct buf *out, json_t *parts, struct req_error *e)
{
	for (size_t i = 0; i < json_array_size(parts); i++) {
		json_t *part = json_array_get(parts, i), *text = json_object_get(part, "text");
		const char *type = json_string_value(json_object_get(part, "type"));

		if (!type || strcmp(type, "text") != 0)
			return req_fail(e, 400, "messages", "unsupported_content", "content of type '%.40s' is not supported, only 'text'", type ? type : "");
		if (!json_is_string(text))
			return wrong_type(e, "messages", "made of parts with a string 'text'");
		buf_add(out, json_string_value(text), json_string_length(text));
	}
	return 0;
}

/* m->text is malloc'd. */
static int
read_message(struct msg *m, json_t *v, size_t at, struct req_error *e)
{
	json_t *content = json_object_get(v, "content");
	const char *role = json_string_value(json_object_get(v, "role"));
	struct buf text = BUF_INIT(BUF_MAX_TEXT);

	if (!role)
		return req_fail(e, 400, "messages", "invalid_value", "message %zu has no 'role'", at);
	if (strcmp(role, "developer") == 0)
		role = "system";
	if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
		return req_fail(e, 400, "messages", "invalid_value", "message %zu: the role '%.40s' is not supported (system, user, assistant)", at, role);
	if (!json_is_string(content) && !json_is_array(content))
		return req_fail(e, 400, "messages", "invalid_type", "message %zu: 'content' must be a string or a list of text parts", at);
	if (json_is_string(content))
		buf_add(&text, json_string_value(content), json_string_length(content));
	else if (join_parts(&text, content, e) < 0) {
		buf_free(&text);
		return -1;
	}
	*m = (struct msg){ role, buf_take(&text) };
	return 0;
}

static int
read_messages(struct request *r, json_t *list, const struct serving *s, struct req_error *e)
{
	size_t n = json_array_size(list);
	struct render how = { .add_generation = true, .date = s->date };
	struct msg *m;
	struct err why;
	int rc = -1;

	if (!list || json_is_null(list))
		return req_fail(e, 400, "messages", "missing_required_parameter", "'messages' is required");
	if (!json_is_array(list) || n == 0)
		return wrong_type(e, "messages", "a list of at least one message");
	m = xcalloc(n, sizeof *m);
	for (size_t i = 0; i < n; i++)
		if (read_message(&m[i], json_array_get(list, i), i, e) < 0)
			goto out;
	r->prompt = xcalloc(1, sizeof *r->prompt);
	r->nprompts = 1;
	if (template_ids(s->tok, s->template, m, n, &how, &r->prompt->ids, NULL, &why) < 0)
		rc = req_fail(e, 400, "messages", "invalid_value", "%s", why.msg);
	else
		rc = check_length(r, r->prompt, s, e);
out:
	for (size_t i = 0; i < n; i++)
		free((char *)m[i].text);
	free(m);
	return rc;
}

/* What an echo with log-probabilities would hold; the reply is built in memory. */
static int
check_echo(const struct request *r, struct req_error *e)
{
	size_t tokens = 0;

	if (!r->echo || r->logprobs < 0)
		return 0;
	for (size_t i = 0; i < r->nprompts; i++)
		tokens += r->prompt[i].ids.n;
	if (tokens * r->n > (size_t)REQ_ECHO / (r->logprobs + 2))
		return req_fail(e, 400, "prompt", "invalid_value", "'echo' with 'logprobs' %d is limited to %ld tokens a request, these are %zu",
			r->logprobs, REQ_ECHO / (r->logprobs + 2), tokens * r->n);
	return 0;
}

int
req_parse(struct request *r, enum req_kind kind, const char *body, size_t n, const struct serving *s, struct req_error *e)
{
	json_error_t why;
	json_t *root = json_loadb(body, n, 0, &why);
	int rc = -1;

	*r = (struct request){ .kind = kind };
	if (!root) {
		req_fail(e, 400, "", "invalid_json", "the body is no valid JSON: %s (line %d, column %d)", why.text, why.line, why.column);
	} else if (!json_is_object(root)) {
		req_fail(e, 400, "", "invalid_json", "the body is no JSON object");
	} else if (check_names(root, kind, e) == 0 && read_model(root, s, e) == 0 && read_settings(r, root, e) == 0) {
		if (kind == REQ_CHAT)
			rc = read_messages(r, json_object_get(root, "messages"), s, e);
		else
			rc = read_prompt(r, json_object_get(root, "prompt"), s, e);
		if (rc == 0)
			rc = check_echo(r, e);
	}
	json_decref(root);
	if (rc < 0)
		req_free(r);
	return rc;
}

void
req_free(struct request *r)
{
	for (size_t i = 0; i < r->nprompts; i++)
		ids_free(&r->prompt[i].ids);
	free(r->prompt);
	stops_free(&r->stop);
	r->prompt = NULL;
	r->nprompts = 0;
}
