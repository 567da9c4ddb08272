/* newsafety.c - New-Safety: open questions of 14 categories; the model answers, a judge says safe, unsafe or uncertain
 *
 * Two passes: the answers of the model under test (answers.jsonl), then the judge's verdicts (results.jsonl), each resumed by id.
 * Harmless prompts (category "none") are answered only: whether one was refused is told by the refusal patterns, not by the judge.
 * Method, section 4. */

#include "newsafety.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "bench.h"
#include "line.h"
#include "review.h"

EMBED(newsafety_judge_txt, "trainer/eval/newsafety-judge.txt");

static const char *const judge_names[] = { "prompt", "response", NULL };
static struct prompt *judge_prompt;

/* ---- the records ---- */

static int
add_record(struct samples *l, const struct taxonomy *t, const char *line, size_t n, struct err *e)
{
	struct rec *r = rec_parse(line, n, e);
	const char *word = r ? rec_text(r, "category") : NULL;
	int category, rc = -1;

	if (!r)
		return -1;
	category = word ? taxonomy_category(t, word) : -2;
	if (!rec_text(r, "prompt") || !*rec_text(r, "prompt")) {
		err_set(e, "no prompt");
	} else if (category == -2) {
		err_set(e, word ? "unknown category '%.60s'" : "no category%s", word ? word : "");
	} else {
		samples_add(l, &(struct sample){ .id = xstrdup(rec_id(r)), .prompt = xstrdup(rec_text(r, "prompt")),
			.category = category < 0 ? (int)taxonomy_size(t) : category });
		rc = 0;
	}
	rec_free(r);
	return rc;
}

int
newsafety_load(struct samples *l, const struct taxonomy *t, const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), got, too_long;
	struct lines *lines;
	struct err why;
	char *line;
	size_t n;

	if (fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	lines = lines_open(fd, path, LINE_MAX_DEFAULT);
	while ((got = lines_next(lines, &line, &n, &too_long, e)) > 0) {
		if (too_long)
			got = err_set(&why, "the line is too long");
		else if (add_record(l, t, line, n, &why) < 0)
			got = -1;
		if (got < 0) {
			err_set(e, "%s:%zu: %s", path, lines_at(lines), why.msg);
			break;
		}
	}
	lines_free(lines);
	close(fd);
	if (got == 0 && l->n == 0)
		return err_set(e, "%s: no records in it", path);
	return got < 0 ? -1 : samples_check_ids(l, path, e);
}

/* ---- the model's answers ---- */

static char *
answer_line(const struct newsafety *ns, const struct sample *s)
{
	bool none = (size_t)s->category == taxonomy_size(ns->taxonomy);
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", s->id, "category", taxonomy_code(ns->taxonomy, none ? -1 : s->category), "prompt",
		s->prompt);
	char *line = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return line;
}

static int
answer_all(struct newsafety *ns)
{
	static const struct filter filter = { .name = "sa-eval", .as_is = true, .ask = bench_ask_chat, .take = bench_take_text };
	struct feed feed = { 0 };
	int status;

	for (size_t i = 0; i < ns->list.n; i++)
		if (!results_get(&ns->answers, ns->list.v[i].id))
			feed_add(&feed, answer_line(ns, &ns->list.v[i]));
	status = results_run(&ns->answers, &filter, &ns->ev->run, &feed);
	feed_free(&feed);
	return status;
}

/* ---- the judge's verdicts ---- */

static int
ask_verdict(struct rec *r, struct asks *q)
{
	const struct value values[] = { { "prompt", rec_text(r, "prompt") }, { "response", rec_text(r, "response") }, { NULL, NULL } };
	struct msg *m;
	size_t n;

	if (strcmp(rec_text(r, "category"), "none") == 0)
		return DONE;
	m = prompt_fill(judge_prompt, values, &n);
	ask_chat(q, m, n, NULL, 0);
	prompt_done(m, n);
	return DONE;
}

static int
take_verdict(struct rec *r, const struct reply *a, struct asks *more)
{
	const char *words = a->text ? a->text : "";

	(void)more;
	put_text(r, "verdict", verdict_name(verdict_parse(words)));
	put_text(r, "judge", run_model());
	put_text(r, "judge_words", words);
	return DONE;
}

static int
judge_all(struct newsafety *ns)
{
	static const struct filter filter = { .name = "sa-eval", .ask = ask_verdict, .take = take_verdict };
	const struct eval *ev = ns->ev;
	struct run run = ev->run;	/* everything but the model and its sampling */
	const char *judge = ev->judge_endpoint;
	struct feed feed = { 0 };
	char stats[4096];
	int status;

	run.endpoints = judge ? (struct opt_list){ &judge, 1 } : (struct opt_list){ NULL, 0 };
	run.model = ev->judge_model;
	run.key_file = ev->judge_key_file;
	run.temperature = run.top_p = NAN;
	run.max_tokens = -1;
	run.stats = NULL;
	if (ev->run.stats && snprintf(stats, sizeof stats, "%s.judge", ev->run.stats) < (int)sizeof stats)
		run.stats = stats;
	for (size_t i = 0; i < ns->list.n; i++) {
		const char *id = ns->list.v[i].id;
		json_t *answer = results_get(&ns->answers, id);

		if (answer && !results_get(&ns->judged, id))
			feed_add(&feed, json_dumps(answer, JSON_COMPACT));
	}
	status = results_run(&ns->judged, &filter, &run, &feed);
	feed_free(&feed);
	return status;
}

/* ---- all of it ---- */

static int
prepare(struct newsafety *ns, struct err *e)
{
	const struct eval *ev = ns->ev;

	judge_prompt = ev->judge_prompt ? prompt_load(ev->judge_prompt, judge_names, e) :
		prompt_parse(newsafety_judge_txt, (size_t)(newsafety_judge_txt_end - newsafety_judge_txt), "newsafety-judge.txt",
			judge_names, e);
	if (!judge_prompt)
		return -1;
	if (!ev->judge_prompt)
		snprintf(ns->judge_hash, sizeof ns->judge_hash, "%016llx",
			(unsigned long long)XXH3_64bits(newsafety_judge_txt, (size_t)(newsafety_judge_txt_end - newsafety_judge_txt)));
	else if (hash_file(ev->judge_prompt, ns->judge_hash, e) < 0)
		return -1;
	ns->taxonomy = taxonomy_load(NULL, e);
	if (!ns->taxonomy || newsafety_load(&ns->list, ns->taxonomy, ev->data, e) < 0 || hash_file(ev->data, ns->data_hash, e) < 0)
		return -1;
	if (ev->review && !(ns->review = review_read(ev->review, review_safety, e)))
		return -1;
	samples_limit(&ns->list, (size_t)ev->limit);
	return 0;
}

static int
open_results(struct newsafety *ns, struct err *e)
{
	const struct eval *ev = ns->ev;
	const struct run *r = &ev->run;
	json_t *answers = json_pack("{s:s, s:s, s:s?, s:s?, s:f, s:f, s:I, s:I}", "benchmark", "newsafety", "data", ns->data_hash,
		"endpoint", run_endpoint(r), "model", r->model, "temperature", r->temperature >= 0 ? r->temperature : 0.0,
		"top_p", r->top_p >= 0 ? r->top_p : 1.0, "max_tokens", (json_int_t)r->max_tokens, "seed", (json_int_t)r->seed);
	json_t *judged = json_pack("{s:s?, s:s?, s:s}", "judge_endpoint", ev->judge_endpoint, "judge_model", ev->judge_model,
		"judge_prompt", ns->judge_hash);

	if (results_open(&ns->answers, ev->out, "answers.jsonl", e) < 0 || results_open(&ns->judged, ev->out, "results.jsonl", e) < 0 ||
		settings_check(ev->out, "answers.jsonl", json_incref(answers), e) < 0 ||
		settings_check(ev->out, "results.jsonl", json_incref(judged), e) < 0) {
		json_decref(answers);
		json_decref(judged);
		return -1;
	}
	json_decref(answers);
	json_decref(judged);
	return 0;
}

int
newsafety(struct eval *ev)
{
	struct newsafety ns = { .ev = ev, .answers.fd = -1, .judged.fd = -1 };
	int status = STATUS_USAGE, judged;
	struct err e = { "" };

	if (prepare(&ns, &e) < 0 || open_results(&ns, &e) < 0)
		goto out;
	status = answer_all(&ns);
	if (status > STATUS_FAILED)
		goto out;
	judged = judge_all(&ns);
	if (judged > status)
		status = judged;
	if (judged <= STATUS_FAILED && newsafety_report(&ns, &e) < 0)
		status = STATUS_IO;
out:
	if (e.msg[0])
		warn("%s", e.msg);
	results_close(&ns.answers);
	results_close(&ns.judged);
	samples_free(&ns.list);
	taxonomy_free(ns.taxonomy);
	prompt_free(judge_prompt);
	json_decref(ns.review);
	return status;
}
