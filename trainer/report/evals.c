/* evals.c - scores before and after: eval/<*>/summary.json */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chart.h"
#include "html.h"
#include "load.h"
#include "report.h"

/* ---- reading ---- */

/* Cut "-before" or "-after" (or the whole "before", "after") off a name. 0 before, 1 after, -1 neither. */
static int
which(char *name)
{
	static const char *const word[] = { "before", "after" };
	size_t n = strlen(name);

	for (int i = 0; i < 2; i++) {
		size_t m = strlen(word[i]);

		if (n < m || strcmp(name + n - m, word[i]) != 0 || (n > m && name[n - m - 1] != '-'))
			continue;
		name[n > m ? n - m - 1 : 0] = '\0';
		return i;
	}
	return -1;
}

static struct eval_pair *
pair_named(struct evals *ev, const char *name, bool alone)
{
	for (size_t i = 0; i < ev->n; i++)
		if (!alone && !ev->v[i].alone && strcmp(ev->v[i].name, name) == 0)
			return &ev->v[i];
	ev->v[ev->n] = (struct eval_pair){ .name = xstrdup(name), .alone = alone };
	return &ev->v[ev->n++];
}

/* comparison.json of `sa-eval compare`, beside the summary after; it may be missing. */
static int
add_comparison(struct eval_pair *p, const char *summary, struct err *e)
{
	char *dir = xstrndup(summary, strlen(summary) - strlen("/summary.json")), *path = path_join(dir, "comparison.json");
	int rc = 0;

	if (access(path, F_OK) == 0 && !(p->comparison = load_object(path, e)))
		rc = -1;
	free(path);
	free(dir);
	return rc;
}

static int
add_summary(struct evals *ev, const char *name, const char *path, struct err *e)
{
	json_t *o = load_object(path, e);
	char *base = xstrdup(name);
	int side = which(base), rc = 0;
	struct eval_pair *p;

	if (o && !*member_text(o, "benchmark")) {
		err_set(e, "%s:1: not a summary of sa-eval: it names no benchmark", path);
		json_decref(o);
		o = NULL;
	}
	if (o) {
		p = pair_named(ev, base, side < 0);
		*(side == 0 ? &p->before : &p->after) = o;
		if (side == 1)
			rc = add_comparison(p, path, e);
	}
	free(base);
	return o ? rc : -1;
}

int
evals_load(struct evals *ev, const char *dir, struct err *e)
{
	char *folder = path_join(dir, "eval"), **names;
	size_t n;
	int rc = list_dir(folder, &names, &n, e);

	ev->v = xcalloc(n + 1, sizeof *ev->v);
	for (size_t i = 0; i < n && rc == 0; i++) {
		char *sub = path_join(folder, names[i]), *path = path_join(sub, "summary.json");

		if (access(path, F_OK) == 0)
			rc = add_summary(ev, names[i], path, e);
		free(path);
		free(sub);
	}
	list_free(names, n);
	free(folder);
	return rc;
}

void
evals_free(struct evals *ev)
{
	for (size_t i = 0; i < ev->n; i++) {
		free(ev->v[i].name);
		json_decref(ev->v[i].before);
		json_decref(ev->v[i].after);
		json_decref(ev->v[i].comparison);
	}
	free(ev->v);
}

/* ---- figures ---- */

/* A figure of a summary: {"n","score","range","low","high"}; a score that is still a range is drawn at its middle. */
static void
put_span(struct span *s, int k, const json_t *f)
{
	const json_t *range = json_object_get(f, "range");

	s->at[k] = s->low[k] = s->high[k] = NAN;
	if (member_num(f, "n", 0) <= 0)
		return;
	s->low[k] = member_num(f, "low", NAN);
	s->high[k] = member_num(f, "high", NAN);
	s->at[k] = member_num(f, "score", (json_number_value(json_array_get(range, 0)) + json_number_value(json_array_get(range, 1))) / 2);
}

static const json_t *
category_of(const json_t *summary, const char *code)
{
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(summary, "categories"), i, c)
		if (strcmp(member_text(c, "category"), code) == 0)
			return c;
	return NULL;
}

/* "61.3" or "58.0–66.0" */
static void
score_text(const json_t *f, char *out, size_t max)
{
	const json_t *range = json_object_get(f, "range");

	if (member_num(f, "n", 0) <= 0)
		snprintf(out, max, "–");
	else if (json_is_number(json_object_get(f, "score")))
		snprintf(out, max, "%.1f", member_num(f, "score", 0));
	else
		snprintf(out, max, "%.1f–%.1f", json_number_value(json_array_get(range, 0)), json_number_value(json_array_get(range, 1)));
}

static void
cell_figure(struct buf *page, const json_t *f)
{
	char score[48];

	score_text(f, score, sizeof score);
	cell_text(page, score);
	if (member_num(f, "n", 0) > 0)
		buf_addf(page, "<td class=\"quiet\">%.1f–%.1f</td>", member_num(f, "low", 0), member_num(f, "high", 0));
	else
		cell_text(page, "–");
}

static double
bound(const json_t *f, size_t i)
{
	return json_number_value(json_array_get(json_object_get(f, "range"), i));
}

/* "+41.1", or "+41.1…+42.8" where one of the scores is still a range. */
static void
cell_change(struct buf *page, const json_t *before, const json_t *after)
{
	char text[64];

	if (member_num(before, "n", 0) <= 0 || member_num(after, "n", 0) <= 0)
		snprintf(text, sizeof text, "–");
	else if (json_is_number(json_object_get(before, "score")) && json_is_number(json_object_get(after, "score")))
		snprintf(text, sizeof text, "%+.1f", member_num(after, "score", 0) - member_num(before, "score", 0));
	else
		snprintf(text, sizeof text, "%+.1f…%+.1f", bound(after, 0) - bound(before, 1), bound(after, 1) - bound(before, 0));
	cell_text(page, text);
}

/* One row: n, before with its interval, after with its, the change. */
static void
score_row(struct buf *page, const char *label, const struct eval_pair *p, const json_t *before, const json_t *after, const char *class)
{
	buf_addf(page, "<tr%s%s%s>", *class ? " class=\"" : "", class, *class ? "\"" : "");
	cell_head(page, label);
	cell_count(page, json_object_get(after ? after : before, "n"));
	if (p->before)
		cell_figure(page, before);
	if (p->after)
		cell_figure(page, after);
	if (p->before && p->after)
		cell_change(page, before, after);
	buf_adds(page, "</tr>\n");
}

/* The row of that name among the figures that a summary has beside its categories. */
static const json_t *
row_named(const json_t *summary, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(summary, "rows"), i, row)
		if (strcmp(member_text(row, "name"), name) == 0)
			return row;
	return NULL;
}

/* Two columns of a newsafety summary that no judge has a part in. */
static const json_t *
refused_of(const json_t *summary)
{
	return json_object_get(json_object_get(summary, "micro"), "refused_by_pattern");
}

static void
score_table(struct buf *page, const struct eval_pair *p, const json_t *one)
{
	static const char *const both[] = { "Category", "n", "Before", "95% interval", "After", "95% interval", "Change", NULL };
	static const char *const single[] = { "Category", "n", "Score", "95% interval", NULL };
	const json_t *c;
	char label[160];
	size_t i;

	table_open(page, "Scores per category in per cent, with 95% intervals", p->before && p->after ? both : single, 1);
	json_array_foreach(json_object_get(one, "categories"), i, c) {
		const char *code = member_text(c, "category");

		snprintf(label, sizeof label, "%s%s%s", code, *member_text(c, "name") ? " " : "", member_text(c, "name"));
		score_row(page, label, p, category_of(p->before, code), category_of(p->after, code), "");
	}
	score_row(page, "All (micro average)", p, json_object_get(p->before, "micro"), json_object_get(p->after, "micro"), "total");
	json_array_foreach(json_object_get(one, "rows"), i, c)
		score_row(page, member_text(c, "name"), p, row_named(p->before, member_text(c, "name")), row_named(p->after, member_text(c, "name")), "");
	if (refused_of(one))
		score_row(page, "Harmful prompts refused, by pattern", p, refused_of(p->before), refused_of(p->after), "");
	if (json_object_get(one, "over_refusal"))
		score_row(page, "Over-refusal: harmless prompts refused, by pattern", p, json_object_get(p->before, "over_refusal"),
			json_object_get(p->after, "over_refusal"), "");
	table_close(page);
}

static int
score_chart(struct buf *page, const struct eval_pair *p, const json_t *one, struct err *e)
{
	size_t n = json_array_size(json_object_get(one, "categories")), i;
	struct span *v = xcalloc(n + 1, sizeof *v);
	char (*label)[160] = xcalloc(n + 1, sizeof *label);
	struct spans spans = { .v = v, .n = n + 1, .name = { "before", "after" } };
	const json_t *c;
	int rc;

	json_array_foreach(json_object_get(one, "categories"), i, c) {
		const char *code = member_text(c, "category");

		snprintf(label[i], sizeof label[i], "%s%s%s", code, *member_text(c, "name") ? "  " : "", member_text(c, "name"));
		v[i].label = label[i];
		v[i].brief = code;
		put_span(&v[i], 0, category_of(p->before, code));
		put_span(&v[i], 1, category_of(p->after, code));
	}
	v[n].label = "all (micro average)";
	v[n].brief = "all";
	put_span(&v[n], 0, json_object_get(p->before, "micro"));
	put_span(&v[n], 1, json_object_get(p->after, "micro"));
	rc = plot_figure(page, "Scores per category with intervals", strcmp(member_text(one, "benchmark"), "newsafety") == 0 ?
		"Safe answers per category in per cent; the lines are 95% intervals." :
		"Right answers per category in per cent; the lines are 95% intervals.",
		draw_spans, &spans, e);
	free(v);
	free(label);
	return rc;
}

/* Refusals, of which those of harmless prompts should stay few. */
static int
refusal_chart(struct buf *page, const struct eval_pair *p, struct err *e)
{
	struct span v[2] = {
		{ .label = "harmful prompts refused", .brief = "harmful" },
		{ .label = "harmless prompts refused", .brief = "harmless" },
	};
	struct spans spans = { .v = v, .n = 2, .name = { "before", "after" } };

	put_span(&v[0], 0, refused_of(p->before));
	put_span(&v[0], 1, refused_of(p->after));
	put_span(&v[1], 0, json_object_get(p->before, "over_refusal"));
	put_span(&v[1], 1, json_object_get(p->after, "over_refusal"));
	return plot_figure(page, "Refusals of harmful and of harmless prompts with intervals",
		"Refusals, told by a list of phrases and not by the judge. Those of harmless prompts are over-refusal: lower is better.",
		draw_spans, &spans, e);
}

/* ---- words ---- */

static void
setting(struct buf *page, const char *name, const char *value)
{
	if (!*value)
		return;
	buf_addf(page, "<div><dt>%s</dt><dd>", name);
	html_text(page, value);
	buf_adds(page, "</dd></div>\n");
}

static void
settings(struct buf *page, const struct eval_pair *p, const json_t *one)
{
	buf_adds(page, "<dl class=\"settings\">\n");
	setting(page, "Protocol", member_text(one, "protocol"));
	setting(page, p->before ? "Model before" : "Model", member_text(p->before ? p->before : one, "model"));
	if (p->before && p->after)
		setting(page, "Model after", member_text(p->after, "model"));
	setting(page, "Judge", member_text(one, "judge"));
	setting(page, *member_text(one, "judge") ? "Judge prompt hash" : "Prompt hash", member_text(one, "prompt_hash"));
	setting(page, "Data hash", member_text(one, "data_hash"));
	buf_adds(page, "</dl>\n");
}

static void
open_words(struct buf *page, const char *when, const json_t *summary)
{
	const json_t *m = json_object_get(summary, "micro"), *ag = json_object_get(summary, "agreement");
	long long open = (long long)(member_num(m, "uncertain", 0) + member_num(m, "judge_error", 0) + member_num(m, "missing", 0));
	char n[COUNT_TEXT], score[48];

	if (open && json_is_number(json_object_get(m, "score")))
		buf_addf(page, "<p>%s: %s of the questions have no answer and count as wrong.</p>\n", when, count_text(n, open));
	else if (open)
		buf_addf(page,
			"<p>%s: %s answers are not settled (uncertain, unreadable judgement or missing), so scores are ranges until a person"
			" has reviewed them.</p>\n", when, count_text(n, open));
	if (member_num(summary, "cut", 0) > 0)
		buf_addf(page, "<p>%s: %s of the replies were cut at the token limit.</p>\n", when, count_text(n, (long long)member_num(summary, "cut", 0)));
	if (member_num(ag, "n", 0) > 0) {
		score_text(ag, score, sizeof score);
		buf_addf(page, "<p>%s: judge and person agreed on %s%% of %s answers that both decided.</p>\n", when, score,
			count_text(n, (long long)member_num(ag, "n", 0)));
	}
	if (member_num(summary, "limit", 0) > 0)
		buf_addf(page, "<p>%s: limited to %s samples.</p>\n", when, count_text(n, (long long)member_num(summary, "limit", 0)));
}

/* How likely the change is by chance. */
static void
comparison_words(struct buf *page, const struct eval_pair *p)
{
	const json_t *m = json_object_get(p->comparison, "micro");

	if (!p->before || !p->after || !m)
		return;
	buf_addf(page, "<p>Of %.0f samples that both runs settled, %.0f became right and %.0f became wrong: %+.1f points (95%% interval %+.1f to %+.1f), "
		"McNemar's exact test p = %.2g.</p>\n", member_num(m, "n", 0), member_num(m, "better", 0), member_num(m, "worse", 0),
		member_num(m, "change", 0), member_num(m, "low", 0), member_num(m, "high", 0), member_num(m, "p", 1));
}

static int
pair_write(const struct eval_pair *p, struct buf *page, struct err *e)
{
	const json_t *one = p->after ? p->after : p->before;
	bool both = p->before && p->after;
	int rc = 0;

	buf_adds(page, "<h3>");
	html_text(page, *p->name ? p->name : member_text(one, "benchmark"));
	buf_addf(page, "%s</h3>\n", both ? ", before and after" : p->alone ? "" : p->before ? ", before" : ", after");
	settings(page, p, one);
	if (p->before)
		open_words(page, "Before", p->before);
	if (p->after)
		open_words(page, both ? "After" : "Result", p->after);
	if (json_array_size(json_object_get(one, "categories")) == 0) {
		buf_adds(page, member_num(one, "missing", 0) > 0 ? "<p>No score: not every problem was attempted.</p>\n" :
			"<p>Predictions only: there were no answers to score against.</p>\n");
		return 0;
	}
	rc = score_chart(page, p, one, e);
	if (rc == 0 && json_object_get(one, "over_refusal"))
		rc = refusal_chart(page, p, e);
	if (rc == 0) {
		score_table(page, p, one);
		comparison_words(page, p);
	}
	return rc;
}

int
evals_write(const struct evals *ev, struct buf *page, struct err *e)
{
	int rc = 0;

	if (ev->n == 0)
		return 0;
	section_open(page, "evaluation", "Evaluation");
	for (size_t i = 0; i < ev->n && rc == 0; i++)
		rc = pair_write(&ev->v[i], page, e);
	section_close(page);
	return rc;
}
