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
