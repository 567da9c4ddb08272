/* knowledge.c - MMLU, CMMLU and C-Eval: what a model knows, by the likeliest letter of A to D after five examples
 *
 * Two protocols. llamafactory: LLaMA-Factory's evaluator under its template "fewshot" (plain text), micro average. qwen: the scripts for base
 * models in Qwen's repository; they average MMLU over the questions and the Chinese two over the subjects. Both averages are printed, the
 * protocol's own is said. Subjects are folded into the groups of mapping.json.
 *
 * The interval of an average over the subjects is normal, from the sum of the subjects' binomial variances, cut to 0..100. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "letters.h"
#include "scores.h"
#include "subjects.h"

static const struct protocol {
	const char *name;
	bool macro;		/* its own average */
	struct wording wording;
} mmlu_protocol[] = {
	[PROTOCOL_LLAMAFACTORY] = { "llamafactory", false,
	{ "The following are multiple choice questions (with answers) about %s.\n\n", false, "", "\nAnswer:", "" } },
	[PROTOCOL_QWEN] = { "qwen", false,
	{ "The following are multiple choice questions (with answers) about %s.\n\n", true, "Question: ", "\nAnswer:", " " } },
}, chinese_protocol[] = {
	[PROTOCOL_LLAMAFACTORY] = { "llamafactory", false, { "以下是中国关于%s考试的单项选择题，请选出其中的正确答案。\n\n", false, "", "\n答案：", "" } },
	[PROTOCOL_QWEN] = { "qwen", true, { NULL, false, "问题：", "\n答案：", "" } },
};

static struct {
	const struct protocol *protocol;
	struct letters letters;
	struct exam exam;
	size_t shots;
} st;

/* ---- asking ---- */

static int
ask(struct rec *r, struct asks *q)
{
	letters_ask(&st.letters, r, q);
	return DONE;
}

static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	return letters_take(&st.letters, r, a, more);
}

static void
prompt(const struct sample *s, struct buf *out)
{
	exam_prompt(&st.exam, &st.protocol->wording, st.shots, s, out);
}

static const char *
category(const struct sample *s)
{
	return st.exam.subject[s->category].key;
}

/* ---- scoring ---- */

struct tally {
	size_t n, right, missing;
	/* over the subjects in it */
	size_t subjects;
	double share, variance;	/* sums of right/n, and of its variance */
};

static void
tally_add(struct tally *to, const struct tally *subject)
{
	double p = (double)subject->right / (double)subject->n;

	to->n += subject->n;
	to->right += subject->right;
	to->missing += subject->missing;
	to->subjects++;
	to->share += p;
	to->variance += p * (1 - p) / (double)subject->n;
}

static void
count(const struct bench *b, struct tally *by_subject, struct buf *scores)
{
	for (size_t i = 0; i < b->list->n; i++) {
		const struct sample *s = &b->list->v[i];
		const char *letter = bench_response(b, s);
		struct tally *t = &by_subject[s->category];

		t->n++;
		t->missing += !letter;
		t->right += letter && *letter - 'A' == s->answer;
		scores_add(scores, s->id, st.exam.group[st.exam.subject[s->category].group], !letter ? SCORE_OPEN :
			*letter - 'A' == s->answer ? SCORE_RIGHT : SCORE_WRONG);
	}
}

/* {"n" subjects,"score","low","high"}, in the form of a figure. */
static json_t *
macro_json(const struct tally *t)
{
	double n = (double)t->subjects, mean = 100 * t->share / n, half = 100 * 1.959964 * sqrt(t->variance) / n;

	return json_pack("{s:I, s:f, s:[f,f], s:f, s:f}", "n", (json_int_t)t->subjects, "score", mean, "range", mean, mean,
		"low", fmax(0, mean - half), "high", fmin(100, mean + half));
}

/* A group or all of them: micro average, and beside it that over the subjects. */
static json_t *
group_json(const char *code, const char *name, const struct tally *t, struct table *table)
{
	json_t *o = json_pack("{s:s, s:s}", "category", code, "name", name), *f = figure(t->right, t->right, t->n), *macro = macro_json(t);
	char n[32], subjects[32], score[32], interval[48], mean[32], mean_interval[48];

	snprintf(n, sizeof n, "%zu", t->n);
	snprintf(subjects, sizeof subjects, "%zu", t->subjects);
	figure_text(f, score, sizeof score);
	figure_interval(f, interval, sizeof interval);
	figure_text(macro, mean, sizeof mean);
	figure_interval(macro, mean_interval, sizeof mean_interval);
	table_row(table, *code ? code : name, n, score, interval, subjects, mean, mean_interval);
	json_object_update(o, f);
	json_object_set_new(o, "missing", json_integer((json_int_t)t->missing));
	json_object_set_new(o, "macro", macro);
	json_decref(f);
	return o;
}

static json_t *
subjects_json(const struct tally *by_subject)
{
	json_t *list = json_array();

	for (size_t i = 0; i < st.exam.subjects; i++) {
		const struct subject *s = &st.exam.subject[i];
		json_t *o = json_pack("{s:s, s:s, s:s}", "subject", s->key, "name", s->name, "category", st.exam.group[s->group]);
		json_t *f = figure(by_subject[i].right, by_subject[i].right, by_subject[i].n);

		json_object_update(o, f);
		json_decref(f);
		if (by_subject[i].n)
			json_array_append(list, o);
		json_decref(o);
	}
	return list;
}

/* Fill the summary and the table. How many have no answer. */
static size_t
tables(const struct bench *b, json_t *summary, struct table *t, struct buf *scores)
{
	struct tally *by_subject = xcalloc(st.exam.subjects, sizeof *by_subject), all = { 0 };
	json_t *list = json_array();

	count(b, by_subject, scores);
	for (size_t g = 0; g < st.exam.groups; g++) {
		struct tally group = { 0 };

		for (size_t i = 0; i < st.exam.subjects; i++)
			if (st.exam.subject[i].group == (int)g && by_subject[i].n)
				tally_add(&group, &by_subject[i]);
		if (group.n)
			json_array_append_new(list, group_json(st.exam.group[g], "", &group, t));
	}
	for (size_t i = 0; i < st.exam.subjects; i++)
		if (by_subject[i].n)
			tally_add(&all, &by_subject[i]);
	json_object_set_new(summary, "categories", list);
	json_object_set_new(summary, "micro", group_json("", "all", &all, t));
	json_object_set(summary, "macro", json_object_get(json_object_get(summary, "micro"), "macro"));
	json_object_set_new(summary, "average", json_string(st.protocol->macro ? "macro" : "micro"));
	json_object_set_new(summary, "subjects", subjects_json(by_subject));
	free(by_subject);
	return all.missing;
}

static int
report(struct bench *b, struct err *e)
{
	struct table *t = xcalloc(1, sizeof *t);
	struct buf out = BUF_INIT(1 << 20), scores = SCORES_INIT;
	json_t *summary;
	char protocol[80];
	size_t missing;
	int rc;

	snprintf(protocol, sizeof protocol, "%s-%s-%zushot-logprob", b->name, st.protocol->name, st.shots);
	summary = bench_summary(b, protocol);
	t->columns = 7;
	t->left = 1;
	table_row(t, "group", "n", "score", "95% interval", "subjects", "their mean", "95% interval");
	missing = tables(b, summary, t, &scores);
	bench_title(b, protocol, missing, &out);
	letters_report(b, summary, &out);
	table_print(t, &out);
	buf_addf(&out, "the protocol's average: %s\n", st.protocol->macro ? "the mean of the subjects (macro)" : "over all questions (micro)");
	rc = bench_publish(b, &scores, summary, &out, e);
	json_decref(summary);
	buf_free(&out);
	table_free(t);
	free(t);
	return rc;
}

/* ---- the three ---- */

static int
run(struct eval *ev, const char *name, const char *split, const struct protocol *protocols)
{
	struct bench b = { .ev = ev, .name = name, .data = ev->data, .filter = { .max_tokens = 1, .ask = ask, .take = take },
		.prompt = prompt, .category = category, .report = report };
	int status = STATUS_USAGE;
	struct err e = { "" };

	st.protocol = &protocols[ev->protocol < 0 ? PROTOCOL_LLAMAFACTORY : ev->protocol];
	st.letters = (struct letters){ .before = "", .space = st.protocol->wording.letter };
	st.shots = ev->shots < 0 ? EXAM_SHOTS : (size_t)ev->shots;
	if (st.shots > EXAM_SHOTS)
		err_set(&e, "%s: --shots is 0 to %d, not %zu", name, EXAM_SHOTS, st.shots);
	else if (exam_load(&st.exam, ev->data, split, st.shots, &e) == 0) {
		samples_limit(&st.exam.list, (size_t)ev->limit);
		b.list = &st.exam.list;
		memcpy(b.data_hash, st.exam.data_hash, sizeof b.data_hash);
		status = bench_run(&b, json_pack("{s:s, s:I}", "protocol", st.protocol->name, "shots", (json_int_t)st.shots));
	}
	if (e.msg[0])
		warn("%s", e.msg);
	exam_free(&st.exam);
	return status;
}

int
mmlu(struct eval *ev)
{
	return run(ev, "mmlu", "test", mmlu_protocol);
}

int
cmmlu(struct eval *ev)
{
	return run(ev, "cmmlu", "test", chinese_protocol);
}

int
ceval(struct eval *ev)
{
	return run(ev, "ceval", "val", chinese_protocol);
}
