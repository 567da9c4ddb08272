/* request.c - see request.h */
#include "request.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "form.h"
#include "num.h"

enum rule {
	USED,		/* read below, or in prompts.c */
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
	{ "min_p", BOTH, USED }, { "presence_penalty", BOTH, USED }, { "frequency_penalty", BOTH, USED }, { "repetition_penalty", BOTH, USED },
	{ "logit_bias", BOTH, USED }, { "min_tokens", BOTH, USED },
	{ "stop", BOTH, USED }, { "stop_token_ids", BOTH, USED }, { "include_stop_str_in_output", BOTH, USED }, { "ignore_eos", BOTH, USED },
	{ "stream", BOTH, USED }, { "stream_options", BOTH, USED },
	{ "logprobs", BOTH, USED }, { "top_logprobs", CHAT, USED }, { "prompt_logprobs", BOTH, USED }, { "echo", COMPLETION, USED },
	{ "add_special_tokens", COMPLETION, USED }, { "add_generation_prompt", CHAT, USED }, { "continue_final_message", CHAT, USED },
	{ "chat_template_kwargs", CHAT, USED },
	{ "response_format", BOTH, USED }, { "structured_outputs", BOTH, USED }, { "guided_json", BOTH, USED }, { "guided_regex", BOTH, USED },
	{ "guided_choice", BOTH, USED }, { "guided_grammar", BOTH, EMPTY }, { "guided_decoding_backend", BOTH, IGNORED },
	{ "guided_whitespace_pattern", BOTH, EMPTY },
	{ "user", BOTH, IGNORED }, { "metadata", BOTH, IGNORED }, { "store", BOTH, IGNORED }, { "service_tier", BOTH, IGNORED },
	{ "safety_identifier", BOTH, IGNORED }, { "prompt_cache_key", BOTH, IGNORED }, { "prompt_cache_retention", BOTH, IGNORED },
	{ "parallel_tool_calls", CHAT, IGNORED }, { "request_id", BOTH, IGNORED }, { "priority", BOTH, IGNORED }, { "cache_salt", BOTH, IGNORED },
	{ "tools", CHAT, EMPTY }, { "functions", CHAT, EMPTY }, { "suffix", COMPLETION, EMPTY },
	{ "use_beam_search", BOTH, EMPTY }, { "truncate_prompt_tokens", BOTH, EMPTY }, { "add_special_tokens", CHAT, EMPTY },
	{ "chat_template", CHAT, EMPTY }, { "reasoning_effort", CHAT, EMPTY }, { "verbosity", CHAT, EMPTY }, { "audio", CHAT, EMPTY },
	{ "prediction", CHAT, EMPTY }, { "web_search_options", CHAT, EMPTY },
	{ "best_of", COMPLETION, ONE }, { "skip_special_tokens", BOTH, TRUE_ONLY },
	{ "tool_choice", CHAT, NO_TOOL }, { "function_call", CHAT, NO_TOOL },
	{ "modalities", CHAT, TEXT_ONLY },
};

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

static int
add_stop(struct stops *st, json_t *v, struct req_error *e)
{
	if (!json_is_string(v))
		return param_type_error(e, "stop", "a string or a list of strings");
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

	if (param_bool(root, "stream", &r->stream, e) < 0)
		return -1;
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return param_type_error(e, "stream_options", "an object");
	if (!r->stream)
		return req_fail(e, 400, "stream_options", "invalid_value", "'stream_options' is only allowed with 'stream': true");
	return param_bool(o, "include_usage", &r->usage, e);
}

static int
read_stop_ids(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	json_t *list = json_object_get(root, "stop_token_ids");

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return param_type_error(e, "stop_token_ids", "a list of token ids");
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);

		if (!json_is_integer(v))
			return param_type_error(e, "stop_token_ids", "a list of token ids");
		if (json_integer_value(v) < 0 || json_integer_value(v) >= s->vocab)
			return req_fail(e, 400, "stop_token_ids", "invalid_value", "token id %lld is not in the vocabulary (0 to %d)",
				(long long)json_integer_value(v), s->vocab - 1);
		if (i == STOP_MAX)
			return req_fail(e, 400, "stop_token_ids", "invalid_value", "'stop_token_ids' may hold at most %d ids", STOP_MAX);
		ids_add(&r->stop_ids, json_integer_value(v));
	}
	return 0;
}

/* What ends the text. */
static int
read_end(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	if (param_bool(root, "include_stop_str_in_output", &r->stop_shown, e) < 0 || param_bool(root, "ignore_eos", &r->ignore_eos, e) < 0)
		return -1;
	return read_stop_ids(r, root, s, e) < 0 ? -1 : read_stop(r, json_object_get(root, "stop"), e);
}

/* Chat: a flag and a count; completions: a count. */
static int
read_logprobs(struct request *r, json_t *root, struct req_error *e)
{
	long long top = -1, prompt = -1;
	bool on = false;

	if (param_int(root, "prompt_logprobs", 0, REQ_TOP, &prompt, e) < 0)
		return -1;
	if (prompt >= 0 && r->stream)
		return req_fail(e, 400, "prompt_logprobs", "invalid_value", "'prompt_logprobs' is not available with 'stream': true");
	r->prompt_logprobs = prompt;
	if (r->kind == REQ_COMPLETION) {
		if (param_int(root, "logprobs", 0, REQ_TOP, &top, e) < 0)
			return -1;
	} else {
		if (param_bool(root, "logprobs", &on, e) < 0 || param_int(root, "top_logprobs", 0, REQ_TOP, &top, e) < 0)
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

	if (param_int(root, "seed", INT64_MIN, INT64_MAX, &seed, e) < 0)
		return -1;
	if (json_is_integer(json_object_get(root, "seed")))
		r->seed = seed;
	else
		getentropy(&r->seed, sizeof r->seed);
	return 0;
}

static int
read_bias(struct request *r, json_t *o, const struct serving *s, struct req_error *e)
{
	const char *name;
	json_t *v;

	if (!o || json_is_null(o) || (json_is_array(o) && json_array_size(o) == 0))
		return 0;
	if (!json_is_object(o) || json_object_size(o) > ADJUST_BIASES)
		return req_fail(e, 400, "logit_bias", "invalid_type", "'logit_bias' must be an object of at most %d token ids", ADJUST_BIASES);
	r->adjust.bias = xcalloc(json_object_size(o) + 1, sizeof *r->adjust.bias);
	json_object_foreach(o, name, v) {
		long long id;

		if (num_int(name, 0, s->vocab - 1, &id, NULL) < 0)
			return req_fail(e, 400, "logit_bias", "invalid_value", "'logit_bias': '%.40s' is no token id of the vocabulary (0 to %d)", name, s->vocab - 1);
		if (!json_is_number(v) || !(fabs(json_number_value(v)) <= 100))
			return req_fail(e, 400, "logit_bias", "invalid_value", "'logit_bias': a bias must be a number from -100 to 100");
		r->adjust.bias[r->adjust.nbias++] = (struct bias){ id, json_number_value(v) };
	}
	return 0;
}

static int
read_adjust(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	struct adjust *a = &r->adjust;
	long long min_tokens = 0;

	a->repetition = 1;
	if (param_num(root, "repetition_penalty", 0.01, 100, &a->repetition, e) < 0 || param_num(root, "presence_penalty", -2, 2, &a->presence, e) < 0 ||
	    param_num(root, "frequency_penalty", -2, 2, &a->frequency, e) < 0 || param_num(root, "min_p", 0, 1, &r->how.min_p, e) < 0 ||
	    param_int(root, "min_tokens", 0, INT32_MAX, &min_tokens, e) < 0)
		return -1;
	if (r->max_tokens >= 0 && min_tokens > r->max_tokens)
		return req_fail(e, 400, "min_tokens", "invalid_value", "'min_tokens' must not be more than 'max_tokens'");
	a->min_tokens = min_tokens;
	return read_bias(r, json_object_get(root, "logit_bias"), s, e);
}

static int
read_settings(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	long long n = 1, max = r->kind == REQ_CHAT ? -1 : 16, top_k = 0;

	r->how = (struct sampling){ .temperature = 1, .top_p = 1 };
	if (param_num(root, "temperature", 0, 2, &r->how.temperature, e) < 0 || param_num(root, "top_p", 0, 1, &r->how.top_p, e) < 0 ||
	    param_int(root, "top_k", -1, INT32_MAX, &top_k, e) < 0 || param_int(root, "n", 1, REQ_CHOICES, &n, e) < 0 ||
	    param_bool(root, "echo", &r->echo, e) < 0)
		return -1;
	if (param_int(root, "max_tokens", 0, INT32_MAX, &max, e) < 0 || param_int(root, "max_completion_tokens", 0, INT32_MAX, &max, e) < 0)
		return -1;
	if (max == 0 && !r->echo)
		return req_fail(e, 400, "max_tokens", "invalid_value", "'max_tokens' must be at least 1%s",
			r->kind == REQ_COMPLETION ? " unless 'echo' is true" : "");
	r->n = n;
	r->max_tokens = max;
	r->how.top_k = top_k < 0 ? 0 : top_k;
	if (read_adjust(r, root, s, e) < 0 || read_seed(r, root, e) < 0 || read_stream(r, root, e) < 0 || read_logprobs(r, root, e) < 0)
		return -1;
	return read_end(r, root, s, e);
}

/* What the prompts' log-probabilities would hold; the reply is built in memory. */
static int
check_scores(const struct request *r, struct req_error *e)
{
	int top = r->echo && r->logprobs > r->prompt_logprobs ? r->logprobs : r->prompt_logprobs;
	const char *param = r->prompt_logprobs >= 0 ? "prompt_logprobs" : "logprobs";
	size_t tokens = 0;

	if (top < 0)
		return 0;
	for (size_t i = 0; i < r->nprompts; i++)
		tokens += r->prompt[i].ids.n;
	if (tokens * r->n > (size_t)REQ_ECHO / (top + 2))
		return req_fail(e, 400, param, "invalid_value", "log-probabilities of prompts, %d a token, are limited to %ld tokens a request, these are %zu",
			top, REQ_ECHO / (top + 2), tokens * r->n);
	return 0;
}

static int
read_prompts(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	const char *param = r->kind == REQ_CHAT ? "messages" : "prompt";

	if (r->kind == REQ_CHAT) {
		r->prompt = xcalloc(1, sizeof *r->prompt);
		r->nprompts = 1;
		if (prompts_chat(root, s, &r->prompt->ids, e) < 0)
			return -1;
	} else if (prompts_text(root, REQ_PROMPTS / r->n, s, &r->prompt, &r->nprompts, e) < 0) {
		return -1;
	}
	for (size_t i = 0; i < r->nprompts; i++)
		if (prompts_fit(&r->prompt[i].ids, param, s, e) < 0)
			return -1;
	return 0;
}

static int
read_all(struct request *r, json_t *root, const struct serving *s, struct req_error *e)
{
	json_t *model = json_object_get(root, "model");

	if (check_names(root, r->kind, e) < 0)
		return -1;
	if (!model || json_is_null(model))
		return req_fail(e, 400, "model", "missing_required_parameter", "'model' is required; this server's is '%.200s'", s->name);
	if (prompts_model(root, s, e) < 0 || read_settings(r, root, s, e) < 0 || read_prompts(r, root, s, e) < 0)
		return -1;
	return check_scores(r, e) < 0 ? -1 : form_read(&r->guide, root, s->guides, e);
}

int
req_parse(struct request *r, enum req_kind kind, const char *body, size_t n, const struct serving *s, struct req_error *e)
{
	json_t *root = param_body(body, n, e);
	int rc;

	*r = (struct request){ .kind = kind };
	rc = root ? read_all(r, root, s, e) : -1;
	json_decref(root);
	if (rc < 0)
		req_free(r);
	return rc;
}

void
req_free(struct request *r)
{
	prompts_free(r->prompt, r->nprompts);
	ids_free(&r->stop_ids);
	stops_free(&r->stop);
	guide_release(r->guide);
	free(r->adjust.bias);
	r->adjust.bias = NULL;
	r->guide = NULL;
	r->prompt = NULL;
	r->nprompts = 0;
}
