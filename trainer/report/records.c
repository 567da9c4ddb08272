/* records.c - the records before selection: intents, categories, perplexity and safety scores of judged.ndjson */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "html.h"
#include "load.h"
#include "report.h"
#include "text.h"

#define TOP_INTENTS 20
#define SAMPLE_SEED 2024	/* of the ten records: the same file shows the same ones */

/* ---- reading ---- */

static void
count_label(json_t *counts, const char *label)
{
	json_t *x = json_object_get(counts, label);

	if (x)
		json_integer_set(x, json_integer_value(x) + 1);
	else
		json_object_set_new(counts, label, json_integer(1));
}

/* Reservoir sampling (Vitter 1985, algorithm R). */
static void
maybe_sample(struct records *r, json_t *o, size_t at, uint64_t *state)
{
	size_t k = r->sampled_from++;

	if (k >= SAMPLES) {
		k = (size_t)(text_random(state) % r->sampled_from);
		if (k >= SAMPLES)
			return;
		json_decref(r->sample[k]);
	} else {
		r->samples++;
	}
	r->sample[k] = json_incref(o);
	r->sample_at[k] = at;
}

static void
add_responses(struct records *r, const json_t *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(o, "responses"), i, one) {
		const json_t *safety = json_object_get(one, "safety");

		if (json_is_number(safety))
			numbers_add(strcmp(member_text(one, "by"), "original") == 0 ? &r->original : &r->regenerated,
				json_number_value(safety));
	}
}

struct reading {
	struct records *r;
	uint64_t state;
};

static int
take_record(void *arg, json_t *o, size_t at, struct err *e)
{
	struct reading *rd = arg;
	struct records *r = rd->r;
	const json_t *label;
	double ppl = member_num(o, "ppl", 0), prompt_safety = member_num(o, "prompt_safety", -1);
	size_t i;

	(void)e;
	r->n++;
	if (json_object_get(o, "sa_error")) {
		r->failed++;
		return 0;
	}
	json_array_foreach(json_object_get(o, "intents"), i, label)
		if (json_is_string(label))
			count_label(r->intents, json_string_value(label));
	if (*member_text(o, "category"))
		count_label(r->categories, member_text(o, "category"));
	if (ppl > 0 && isfinite(ppl))
		numbers_add(&r->ppl, ppl);
	if (prompt_safety >= 0)
		numbers_add(&r->prompt_safety, prompt_safety);
	add_responses(r, o);
	if (*member_text(o, "prompt"))
		maybe_sample(r, o, at, &rd->state);
	return 0;
}

static int
take_sample(void *arg, json_t *o, size_t at, struct err *e)
{
	(void)o;
	(void)at;
	(void)e;
	((struct records *)arg)->sft++;
	return 0;
}

/* The samples in input order. */
static void
sort_samples(struct records *r)
{
	for (size_t i = 1; i < r->samples; i++)
		for (size_t k = i; k > 0 && r->sample_at[k - 1] > r->sample_at[k]; k--) {
			size_t at = r->sample_at[k];
			json_t *o = r->sample[k];

			r->sample_at[k] = r->sample_at[k - 1];
			r->sample[k] = r->sample[k - 1];
			r->sample_at[k - 1] = at;
			r->sample[k - 1] = o;
		}
}

int
records_load(struct records *r, const char *dir, struct err *e)
{
	char *judged = path_join(dir, "judged.ndjson"), *sft = path_join(dir, "sft.jsonl");
	struct reading rd = { r, SAMPLE_SEED };
	int rc, got;

	r->intents = json_object();
	r->categories = json_object();
	rc = load_lines(judged, take_record, &rd, e);
	r->there = rc > 0;
	got = rc < 0 ? -1 : load_lines(sft, take_sample, r, e);
	r->has_sft = got > 0;
	sort_samples(r);
	numbers_sort(&r->ppl);
	numbers_sort(&r->original);
	numbers_sort(&r->regenerated);
	numbers_sort(&r->prompt_safety);
	free(judged);
	free(sft);
	return got < 0 ? -1 : 0;
}

void
records_free(struct records *r)
{
	for (size_t i = 0; i < r->samples; i++)
		json_decref(r->sample[i]);
	json_decref(r->intents);
	json_decref(r->categories);
	free(r->ppl.v);
	free(r->original.v);
	free(r->regenerated.v);
	free(r->prompt_safety.v);
}

/* ---- intents and categories ---- */

struct label {
	const char *name;
	double count;
};

static int
by_count(const void *a, const void *b)
{
	const struct label *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

static int
intents_write(const struct records *r, struct buf *page, struct err *e)
{
	size_t n = json_object_size(r->intents), i = 0, shown = n < TOP_INTENTS ? n : TOP_INTENTS;
	struct label *all = xcalloc(n + 1, sizeof *all);
	struct bars bars = { .label = xcalloc(shown, sizeof *bars.label), .value = xcalloc(shown, sizeof *bars.value), .n = shown };
	char caption[200], text[COUNT_TEXT];
	const char *name;
	json_t *x;
	int rc;

	json_object_foreach(r->intents, name, x)
		all[i++] = (struct label){ name, json_number_value(x) };
	qsort(all, n, sizeof *all, by_count);
	for (i = 0; i < shown; i++) {
		bars.label[i] = all[i].name;
		bars.value[i] = all[i].count;
	}
	if (shown < n)
		snprintf(caption, sizeof caption, "Intent labels by number of records, the %zu most frequent of %s.", shown,
			count_text(text, (long long)n));
	else
		snprintf(caption, sizeof caption, "All intent labels by number of records.");
	rc = plot_figure(page, "Bar chart of the most frequent intent labels", caption, draw_bars, &bars, e);
	free(all);
	free(bars.label);
	free(bars.value);
	return rc;
}

static int
categories_write(const struct records *r, const struct taxonomy *t, struct buf *page, struct err *e)
{
	size_t n = taxonomy_size(t), k = 0;
	struct bars bars = { .label = xcalloc(n + 1, sizeof *bars.label), .brief = xcalloc(n + 1, sizeof *bars.brief),
		.value = xcalloc(n + 1, sizeof *bars.value) };
	char (*full)[96] = xcalloc(n + 1, sizeof *full);
	int rc;

	for (size_t i = 0; i < n; i++) {
		const struct category *c = taxonomy_at(t, i);

		snprintf(full[k], sizeof full[k], "%s  %s", c->code, c->name);
		bars.label[k] = full[k];
		bars.brief[k] = c->code;
		bars.value[k++] = member_num(r->categories, c->code, 0);
	}
	bars.label[k] = "harmless";
	bars.brief[k] = "harmless";
	bars.value[k++] = member_num(r->categories, "none", 0);
	bars.n = k;
	rc = plot_figure(page, "Bar chart of the security categories",
		"Records in each security category that the labels fold into; prompts without a risk are harmless.",
		draw_bars, &bars, e);
	free(bars.label);
	free(bars.brief);
	free(bars.value);
	free(full);
	return rc;
}

/* ---- scores ---- */

static int
ppl_write(const struct records *r, struct buf *page, struct err *e)
{
	struct histogram h = { .x = { &r->ppl }, .bins = 30, .log = true, .xlabel = "perplexity of the prompt (logarithmic)",
		.ylabel = "records" };
	char caption[300], text[COUNT_TEXT];

	h.lo = floor(log10(r->ppl.v[0]) * 4) / 4;
	h.hi = ceil(log10(r->ppl.v[r->ppl.n - 1]) * 4) / 4;
	if (h.hi <= h.lo)
		h.hi = h.lo + 0.25;
	snprintf(caption, sizeof caption, "Perplexity of %s prompts: median %.4g, nine in ten between %.4g and %.4g.",
		count_text(text, (long long)r->ppl.n),
		numbers_quantile(&r->ppl, 0.5), numbers_quantile(&r->ppl, 0.05), numbers_quantile(&r->ppl, 0.95));
	return plot_figure(page, "Histogram of prompt perplexity", caption, draw_histogram, &h, e);
}

static double
mean(const struct numbers *x)
{
	double sum = 0;

	for (size_t i = 0; i < x->n; i++)
		sum += x->v[i];
	return sum / (double)x->n;
}

static int
safety_write(const struct records *r, struct buf *page, struct err *e)
{
	struct histogram h = { .lo = 0, .hi = 1, .bins = 20, .xlabel = "safety score of the response", .ylabel = "responses",
		.name = { "original", "regenerated" } };
	char caption[300], a[COUNT_TEXT], b[COUNT_TEXT];

	if (r->original.n && r->regenerated.n) {
		h.x[0] = &r->original;
		h.x[1] = &r->regenerated;
		snprintf(caption, sizeof caption,
			"Safety of responses, 1 is safest: %s original ones (mean %.2f) and %s regenerated ones (mean %.2f).",
			count_text(a, (long long)r->original.n), mean(&r->original), count_text(b, (long long)r->regenerated.n),
			mean(&r->regenerated));
	} else {
		h.x[0] = r->original.n ? &r->original : &r->regenerated;
		snprintf(caption, sizeof caption, "Safety of %s %s responses, 1 is safest: mean %.2f.", count_text(a, (long long)h.x[0]->n),
			r->original.n ? "original" : "regenerated", mean(h.x[0]));
	}
	return plot_figure(page, "Histogram of response safety scores", caption, draw_histogram, &h, e);
}

static int
prompt_safety_write(const struct records *r, struct buf *page, struct err *e)
{
	struct histogram h = { .x = { &r->prompt_safety }, .lo = 0, .hi = 1, .bins = 20, .xlabel = "safety score of the prompt",
		.ylabel = "records" };
	char caption[200], text[COUNT_TEXT];

	snprintf(caption, sizeof caption, "Safety of %s prompts, 0 is most harmful: mean %.2f.",
		count_text(text, (long long)r->prompt_safety.n), mean(&r->prompt_safety));
	return plot_figure(page, "Histogram of prompt safety scores", caption, draw_histogram, &h, e);
}

int
records_write(const struct records *r, const struct taxonomy *t, struct buf *page, struct err *e)
{
	char n[COUNT_TEXT], failed[COUNT_TEXT];
	int rc = 0;

	if (!r->there)
		return 0;
	section_open(page, "records", "Prompts and responses");
	buf_addf(page, "<p>%s records reached the selection; ", count_text(n, (long long)r->n));
	if (r->failed)
		buf_addf(page, "%s of them had failed in an earlier stage and are left out of the figures below.</p>\n",
			count_text(failed, (long long)r->failed));
	else
		buf_adds(page, "none of them had failed.</p>\n");
	if (json_object_size(r->intents))
		rc = intents_write(r, page, e);
	if (rc == 0 && json_object_size(r->categories))
		rc = categories_write(r, t, page, e);
	if (rc == 0 && r->ppl.n)
		rc = ppl_write(r, page, e);
	if (rc == 0 && (r->original.n || r->regenerated.n))
		rc = safety_write(r, page, e);
	if (rc == 0 && r->prompt_safety.n)
		rc = prompt_safety_write(r, page, e);
	section_close(page);
	return rc;
}
