/* reply.c - replies of a server, which may be anything
 *
 * reply_parse() takes an object or refuses; what it finds is owned by the reply, and token counts are -1 or counts. The sum of
 * log-probabilities is finite and >= 0. Messages of error bodies are one printable line that fits, and UTF-8 when the body is. */
#include "fuzz.h"

#include <math.h>

#include "chat.h"

static void
log_probabilities(const struct reply *r)
{
	struct nll nll;
	double x;

	if (reply_nll(r, &nll) == 0)
		MUST(isfinite(nll.sum) && nll.sum >= 0 && nll.tokens >= 0);
	for (long at = -1; at < 3; at++)
		if (reply_top_logprob(r, at, "A", &x) == 0)
			MUST(at >= 0 && !isnan(x));
}

static bool
same(const char *got, const json_t *v)
{
	const char *want = json_string_value(v);

	return got && want ? strcmp(got, want) == 0 : !got && !want;
}

static long
count(const json_t *v)
{
	double x = json_number_value(v);

	return json_is_number(v) && x >= 0 && x < 0x1p53 ? (long)x : -1;
}

/* What was read is what jansson finds, where it can read the whole at all (no 1e400, no NUL). */
static void
as_jansson(const struct reply *r, const char *body, size_t n)
{
	json_t *root = json_loadb(body, n, JSON_DECODE_INT_AS_REAL, NULL), *choice = json_array_get(json_object_get(root, "choices"), 0);
	json_t *message = json_object_get(choice, "message"), *usage = json_object_get(root, "usage");

	if (root) {
		MUST(json_is_object(choice));
		MUST(same(r->text, json_object_get(message ? message : choice, message ? "content" : "text")));
		MUST(same(r->refusal, json_object_get(message, "refusal")));
		MUST(same(r->finish, json_object_get(choice, "finish_reason")));
		MUST(r->prompt_tokens == count(json_object_get(usage, "prompt_tokens")));
		MUST(r->completion_tokens == count(json_object_get(usage, "completion_tokens")));
	}
	json_decref(root);
}

static void
one_line_of(const char *text, size_t max, bool utf8)
{
	size_t n = strnlen(text, max);

	MUST(n < max);
	MUST(!utf8 || fuzz_utf8(text, n));
	MUST(n == 0 || (text[0] != ' ' && text[n - 1] != ' '));
	for (size_t i = 0; i < n; i++)
		MUST((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const size_t max[] = { 1, 2, 8, 64, 200 };
	const char *body = (const char *)data;
	bool utf8 = fuzz_utf8(body, n);
	struct reply r;
	struct err e;

	if (reply_parse(&r, body, n, &e) == 0) {
		MUST(r.root);
		MUST(r.prompt_tokens >= -1 && r.completion_tokens >= -1);
		MUST(!r.text || fuzz_utf8(r.text, strlen(r.text)));
		as_jansson(&r, body, n);
		log_probabilities(&r);
		reply_free(&r);
	} else {
		MUST(!r.root && e.msg[0]);
	}
	for (size_t i = 0; i < sizeof max / sizeof *max; i++) {
		char *text = xmalloc(max[i]);

		reply_error(body, n, text, max[i]);
		one_line_of(text, max[i], utf8);
		reply_error_code(body, n, text, max[i]);
		one_line_of(text, max[i], utf8);
		free(text);
	}
	return 0;
}
