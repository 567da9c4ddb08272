/* bench.c - see bench.h */

#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "scores.h"

/* ---- what is asked ---- */

static char *
line_of(const struct bench *b, const struct sample *s, const char *prompt)
{
	struct buf line = BUF_INIT(BUF_MAX_TEXT);
	const char *category = b->category(s);

	buf_adds(&line, "{\"id\":");
	buf_json(&line, s->id, strlen(s->id));
	buf_adds(&line, ",\"category\":");
	buf_json(&line, category, strlen(category));
	if (s->noptions)
		buf_addf(&line, ",\"options\":%zu", s->noptions);
	buf_adds(&line, ",\"prompt\":");
	buf_json(&line, prompt, strlen(prompt));
	buf_addc(&line, '}');
	return buf_take(&line);
}

/* Lines for the samples without a result; and the hash of all prompts. */
static void
feed_samples(struct bench *b, struct feed *f)
{
	XXH3_state_t *h = XXH3_createState();
	struct buf text = BUF_INIT(BUF_MAX_TEXT);

	XXH3_64bits_reset(h);
	for (size_t i = 0; i < b->list->n; i++) {
		const struct sample *s = &b->list->v[i];

		buf_clear(&text);
		b->prompt(s, &text);
		XXH3_64bits_update(h, text.p, text.n + 1);
		if (!results_get(&b->results, s->id))
			feed_add(f, line_of(b, s, text.p));
	}
	snprintf(b->prompt_hash, sizeof b->prompt_hash, "%016llx", (unsigned long long)XXH3_64bits_digest(h));
	XXH3_freeState(h);
	buf_free(&text);
}

/* ---- the run ---- */

static json_t *
all_settings(const struct bench *b, json_t *own)
{
	const struct run *r = &b->ev->run;
	json_t *all = json_pack("{s:s, s:s, s:s?, s:s?, s:f, s:f, s:I}", "benchmark", b->name, "data", b->data_hash,
		"endpoint", run_endpoint(r), "model", r->model, "temperature", r->temperature >= 0 ? r->temperature : 0.0,
		"top_p", r->top_p >= 0 ? r->top_p : 1.0, "max_tokens", (json_int_t)(r->max_tokens >= 0 ? r->max_tokens : b->filter.max_tokens));

	json_object_update(all, own);
	json_decref(own);
	return all;
}

static const char *
model_of(const struct bench *b)
{
	for (size_t i = 0; i < b->list->n; i++) {
		const char *by = json_string_value(json_object_get(results_get(&b->results, b->list->v[i].id), "by"));

		if (by)
			return by;
	}
	return "";
}

int
bench_run(struct bench *b, json_t *settings)
{
	struct feed feed = { 0 };
	struct err e = { "" };
	int status = STATUS_USAGE;

	b->filter.name = "sa-eval";
	b->filter.as_is = true;
	settings = all_settings(b, settings);
	if (results_open(&b->results, b->ev->out, "results.jsonl", &e) < 0 ||
		settings_check(b->ev->out, "results.jsonl", json_incref(settings), &e) < 0)
		goto out;
	feed_samples(b, &feed);
	status = results_run(&b->results, &b->filter, &b->ev->run, &feed);
	b->model = model_of(b);
	if (status <= STATUS_FAILED && b->report(b, &e) < 0)
		status = STATUS_IO;
out:
	if (e.msg[0])
		warn("%s", e.msg);
	json_decref(settings);
	feed_free(&feed);
	results_close(&b->results);
	return status;
}

/* ---- the summary ---- */

json_t *
bench_summary(const struct bench *b, const char *protocol)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "benchmark", b->name, "protocol", protocol, "model", b->model,
		"data", b->data, "data_hash", b->data_hash, "prompt_hash", b->prompt_hash, "limit", (json_int_t)b->ev->limit,
		"n", (json_int_t)b->list->n);
}

void
bench_title(const struct bench *b, const char *protocol, size_t missing, struct buf *out)
{
	buf_addf(out, "%s  %s  %zu questions%s\n", protocol, b->model, b->list->n, b->ev->limit ? " (limited)" : "");
	if (missing)
		buf_addf(out, "%zu of them have no answer yet and count as wrong\n", missing);
}

void
bench_cut(const struct results *results, const struct samples *list, json_t *summary, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		const char *finish = json_string_value(json_object_get(results_get(results, list->v[i].id), "finish"));

		n += finish && strcmp(finish, "length") == 0;
	}
	json_object_set_new(summary, "cut", json_integer((json_int_t)n));
	if (n)
		buf_addf(out, "%zu of the replies were cut at the token limit (--max-tokens), and scored as they are\n", n);
}

int
bench_write(const struct bench *b, const char *name, const json_t *v, struct err *e)
{
	char *text = json_dumps(v, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	int rc = write_file(b->ev->out, name, text, strlen(text), e);

	free(text);
	return rc;
}

int
bench_publish(const struct bench *b, struct buf *scores, const json_t *summary, const struct buf *out, struct err *e)
{
	int rc = scores_write(scores, b->ev->out, e);

	if (rc == 0)
		rc = bench_write(b, "summary.json", summary, e);
	if (rc == 0)
		fputs(out->p, stdout);
	return rc;
}

const char *
bench_response(const struct bench *b, const struct sample *s)
{
	return json_string_value(json_object_get(results_get(&b->results, s->id), "response"));
}

/* ---- one message, one reply ---- */

int
bench_ask_chat(struct rec *r, struct asks *q)
{
	ask_chat(q, &(struct msg){ "user", rec_text(r, "prompt") }, 1, NULL, 0);
	return DONE;
}

int
bench_take_text(struct rec *r, const struct reply *a, struct asks *more)
{
	const char *text = a->text ? a->text : a->refusal;

	(void)more;
	if (!text)
		return fail(r, a->finish && strcmp(a->finish, "content_filter") == 0 ? BLOCKED : UNPARSED, "the reply has no text");
	put_text(r, "response", text);
	put_text(r, "by", run_model());
	if (a->finish)
		put_text(r, "finish", a->finish);
	return DONE;
}
