/* summary.c - what the run did: a few sentences and the key figures, made of whatever parts there are */

#include <stdio.h>
#include <string.h>

#include "html.h"
#include "report.h"

static void
count(struct buf *page, long long n, const char *one, const char *many)
{
	char text[COUNT_TEXT];

	buf_addf(page, "%s %s", count_text(text, n), n == 1 ? one : many);
}

static void
data_words(const struct report *r, struct buf *page)
{
	long long in = stages_first(&r->stages, "sa-intent", "in"), made = stages_first(&r->stages, "sa-expand", "made");
	long long picked = stages_first(&r->stages, "sa-pick", "picked"), general = stages_first(&r->stages, "sa-pick", "general");
	long long seen = stages_first(&r->stages, "sa-pick", "in");

	if (in >= 0) {
		count(page, in, "prompt", "prompts");
		buf_adds(page, " went in");
		if (made >= 0) {
			buf_adds(page, "; diversity control wrote ");
			count(page, made, "more", "more");
		}
		buf_adds(page, ". ");
	}
	if (picked >= 0) {
		buf_adds(page, "Selection kept ");
		count(page, picked, "sample", "samples");
		if (seen >= 0) {
			buf_adds(page, " of ");
			count(page, seen, "record", "records");
		}
		if (general > 0) {
			buf_adds(page, " and mixed in ");
			count(page, general, "general sample", "general samples");
		}
		buf_adds(page, ". ");
	} else if (r->records.has_sft) {
		buf_adds(page, "The fine-tuning set holds ");
		count(page, (long long)r->records.sft, "sample", "samples");
		buf_adds(page, ". ");
	}
}

static void
training_words(const struct training *t, struct buf *page)
{
	if (t->step.n == 0)
		return;
	buf_adds(page, "Fine-tuning took ");
	count(page, (long long)t->step.n, "step", "steps");
	if (t->tokens > 0) {
		buf_adds(page, " over ");
		count(page, (long long)t->tokens, "token", "tokens");
	}
	buf_addf(page, "; the loss went from %.2f to %.2f (means of the first and the last tenth of the steps). ", training_first(t),
		training_last(t));
}

/* "58.2% (53.1–63.0)", or the range of an unsettled score. */
static void
figure_words(struct buf *page, const json_t *f)
{
	const json_t *range = json_object_get(f, "range");

	if (json_is_number(json_object_get(f, "score")))
		buf_addf(page, "%.1f%%", member_num(f, "score", 0));
	else
		buf_addf(page, "%.1f–%.1f%%", json_number_value(json_array_get(range, 0)), json_number_value(json_array_get(range, 1)));
	buf_addf(page, " (95%% interval %.1f–%.1f)", member_num(f, "low", 0), member_num(f, "high", 0));
}

static void
change_words(struct buf *page, const char *what, const json_t *before, const json_t *after)
{
	if (member_num(before, "n", 0) <= 0 || member_num(after, "n", 0) <= 0)
		return;
	buf_addf(page, "%s went from ", what);
	figure_words(page, before);
	buf_adds(page, " to ");
	figure_words(page, after);
	buf_adds(page, ". ");
}

static const char *
benchmark(const struct eval_pair *p)
{
	return member_text(p->after ? p->after : p->before, "benchmark");
}

static const char *
pair_name(const struct eval_pair *p)
{
	return *p->name ? p->name : benchmark(p);
}

/* Are its answers judged for safety, not right or wrong? */
static bool
is_open(const struct eval_pair *p)
{
	return strcmp(benchmark(p), "newsafety") == 0;
}

static void
eval_words(const struct evals *ev, struct buf *page)
{
	for (size_t i = 0; i < ev->n; i++) {
		const struct eval_pair *p = &ev->v[i];

		if (member_num(json_object_get(p->before, "micro"), "n", 0) <= 0 || member_num(json_object_get(p->after, "micro"), "n", 0) <= 0)
			continue;
		buf_adds(page, "On ");
		html_text(page, pair_name(p));
		buf_adds(page, ": ");
		change_words(page, is_open(p) ? "the share of safe answers" : "the share of right answers", json_object_get(p->before, "micro"),
			json_object_get(p->after, "micro"));
		change_words(page, "Refusals of harmless prompts", json_object_get(p->before, "over_refusal"), json_object_get(p->after,
			"over_refusal"));
	}
}

/* ---- key figures ---- */

static void
key_count(struct buf *page, const char *name, long long n)
{
	char text[COUNT_TEXT];

	if (n >= 0)
		buf_addf(page, "<div><dt>%s</dt><dd>%s</dd></div>\n", name, count_text(text, n));
}

static void
key_value(struct buf *page, const json_t *f)
{
	const json_t *range = json_object_get(f, "range");

	if (json_is_number(json_object_get(f, "score")))
		buf_addf(page, "%.1f", member_num(f, "score", 0));
	else
		buf_addf(page, "%.0f–%.0f", json_number_value(json_array_get(range, 0)), json_number_value(json_array_get(range, 1)));
}

/* Of the benchmark `of`, which is named unless it is "". */
static void
key_change(struct buf *page, const char *name, const char *of, const json_t *before, const json_t *after)
{
	if (member_num(before, "n", 0) <= 0 || member_num(after, "n", 0) <= 0)
		return;
	buf_addf(page, "<div class=\"change\"><dt>%s%s", name, *of ? ", " : "");
	html_text(page, of);
	buf_adds(page, "</dt><dd>");
	key_value(page, before);
	buf_adds(page, " <span class=\"arrow\" aria-label=\"to\">→</span> ");
	key_value(page, after);
	buf_adds(page, "<span class=\"unit\">%</span></dd></div>\n");
}

static void
keys(const struct report *r, struct buf *page)
{
	buf_adds(page, "<dl class=\"keys\">\n");
	for (size_t i = 0; i < r->evals.n; i++) {
		const struct eval_pair *p = &r->evals.v[i];
		const char *of = r->evals.n > 1 ? pair_name(p) : "";

		key_change(page, is_open(p) ? "Safe answers" : "Right answers", of, json_object_get(p->before, "micro"),
			json_object_get(p->after, "micro"));
		key_change(page, "Over-refusal", of, json_object_get(p->before, "over_refusal"), json_object_get(p->after, "over_refusal"));
	}
	key_count(page, "Prompts in", stages_first(&r->stages, "sa-intent", "in"));
	key_count(page, "Prompts written", stages_first(&r->stages, "sa-expand", "made"));
	if (r->records.has_sft)
		key_count(page, "Training samples", (long long)r->records.sft);
	if (r->training.step.n)
		buf_addf(page,
			"<div class=\"change\"><dt>Training loss</dt><dd>%.2f <span class=\"arrow\" aria-label=\"to\">→</span> %.2f</dd></div>\n",
			training_first(&r->training), training_last(&r->training));
	buf_adds(page, "</dl>\n");
}

/* What the page leaves out, and the file that it would take. */
static void
left_out(const struct report *r, struct buf *page)
{
	const struct { bool there; const char *what, *file; } part[] = {
		{ r->stages.n > 0, "stages", "stats/*.json" }, { r->records.there, "prompts, responses and samples", "judged.ndjson" },
		{ r->records.has_sft, "size of the fine-tuning set", "sft.jsonl" }, { r->training.step.n > 0, "fine-tuning",
		"train/log.jsonl" },
		{ r->evals.n > 0, "evaluation", "eval/*/summary.json" },
	};
	const char *sep = "<p class=\"quiet\">Not in this report: ";
	bool some = false;

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		if (part[i].there)
			continue;
		buf_addf(page, "%s%s (no <code>%s</code>)", sep, part[i].what, part[i].file);
		sep = "; ";
		some = true;
	}
	if (some)
		buf_adds(page, ".</p>\n");
}

void
summary_write(const struct report *r, struct buf *page)
{
	section_open(page, "summary", "Summary");
	keys(r, page);
	buf_adds(page, "<p class=\"lead\">");
	data_words(r, page);
	training_words(&r->training, page);
	eval_words(&r->evals, page);
	buf_adds(page, "</p>\n");
	left_out(r, page);
	section_close(page);
}
