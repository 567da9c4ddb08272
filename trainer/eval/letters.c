/* letters.c - see letters.h */

#include "letters.h"

#include <stdio.h>
#include <string.h>

#include "extract.h"

/* Log-probabilities asked for: the most that OpenAI gives. */
#define TOP 5

static char
letter(int i)
{
	return (char)('A' + i);
}

static int
options_of(struct rec *r)
{
	double n = 0;

	rec_num(r, "options", &n);
	return n < OPTIONS_MAX ? (int)n : OPTIONS_MAX;
}

static const char *
token_of(const struct letters *l, int i, char out[16])
{
	snprintf(out, 16, "%s%c", l->space, letter(i));
	return out;
}

void
letters_ask(const struct letters *l, struct rec *r, struct asks *q)
{
	struct params p = run_params();
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	p.max_tokens = 1;
	p.temperature = 0;
	buf_addf(&b, "%s%s", rec_text(r, "prompt"), l->before);
	ask_completion(q, b.p, &p, TOP, 0);
	buf_free(&b);
}

static int
decide(const struct letters *l, struct rec *r, json_t *logprobs)
{
	const json_t *best = NULL;
	char text[16] = "";

	for (int i = 0; i < OPTIONS_MAX; i++) {
		const json_t *x = json_object_get(logprobs, (char[2]){ letter(i) });

		if (x && (!best || json_real_value(x) > json_real_value(best))) {
			best = x;
			snprintf(text, sizeof text, l->brackets ? "(%c)" : "%c", letter(i));
		}
	}
	put_json(r, "logprobs", logprobs);
	put_text(r, "response", text);
	put_text(r, "by", run_model());
	return DONE;
}

/* ---- by echo ---- */

static void
ask_echoes(const struct letters *l, struct rec *r, struct asks *q)
{
	for (int i = 0; i < options_of(r); i++) {
		struct buf b = BUF_INIT(BUF_MAX_TEXT);
		char token[16];

		buf_addf(&b, "%s%s%s", rec_text(r, "prompt"), l->before, token_of(l, i, token));
		ask_echo(q, b.p, 1 + i);
		buf_free(&b);
	}
}

static int
take_echo(const struct letters *l, struct rec *r, const struct reply *a)
{
	json_t *logprobs = json_deep_copy(rec_get(r, "logprobs"));
	struct nll nll;

	if (!logprobs)
		logprobs = json_object();
	if (reply_nll(a, &nll) < 0) {
		json_decref(logprobs);
		return fail(r, UNPARSED, "no token log-probabilities in the reply");
	}
	json_object_set_new(logprobs, (char[2]){ letter(a->tag - 1) }, json_real(-nll.sum));
	if (json_object_size(logprobs) < (size_t)options_of(r)) {
		put_json(r, "logprobs", logprobs);
		return DONE;
	}
	put_text(r, "decided_by", "echo");
	return decide(l, r, logprobs);
}

/* ---- by the likeliest tokens ---- */

int
letters_take(const struct letters *l, struct rec *r, const struct reply *a, struct asks *more)
{
	json_t *logprobs;
	char token[16];
	double x;

	if (a->tag > 0)
		return take_echo(l, r, a);
	if (!json_object_get(json_array_get(json_object_get(a->root, "choices"), 0), "logprobs"))
		return fail(r, UNPARSED, "no log-probabilities in the reply");
	logprobs = json_object();
	for (int i = 0; i < options_of(r); i++)
		if (reply_top_logprob(a, 0, token_of(l, i, token), &x) == 0)
			json_object_set_new(logprobs, (char[2]){ letter(i) }, json_real(x));
	if (json_object_size(logprobs) > 0)
		return decide(l, r, logprobs);
	json_decref(logprobs);
	ask_echoes(l, r, more);
	return DONE;
}

void
letters_report(const struct bench *b, json_t *summary, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < b->list->n; i++)
		n += json_object_get(results_get(&b->results, b->list->v[i].id), "decided_by") != NULL;
	json_object_set_new(summary, "by_echo", json_integer((json_int_t)n));
	if (n)
		buf_addf(out, "%zu had no letter among the %d likeliest tokens and were decided by echo\n", n, TOP);
}
