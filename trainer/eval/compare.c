/* compare.c - two runs of one benchmark, paired sample by sample (scores.h, paired.h)
 *
 * Only what is compared may differ: the model and where it is, the judge's address, the seed. Anything else that is not the same is named and
 * refused, since a change of the score could come of it. Samples that one run lacks or has not settled are counted and left out. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval.h"
#include "jsonl.h"
#include "paired.h"
#include "results.h"
#include "scores.h"
#include "table.h"

#define ROWS_MAX 62	/* a table has 64 */

struct side {
	const char *dir;
	json_t *summary, *settings;
	json_t *scores;		/* id -> the line's object, in the order of the file */
};

struct row {
	const char *code, *name;
	size_t n, before, after, better, worse;	/* n samples that both settled; right before, right after; changed */
};

struct comparison {
	struct side before, after;
	struct row row[ROWS_MAX], all;
	size_t rows, open, alone;	/* open: one of the runs did not settle it; alone: only one has it */
	struct buf changed;
};

static const char *
member(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

/* ---- reading ---- */

static json_t *
load_object(const char *dir, const char *name, struct err *e)
{
	char *path = jsonl_path(dir, name);
	json_error_t je;
	json_t *o = json_load_file(path, 0, &je);

	if (!json_is_object(o)) {
		err_set(e, "%s: %s", path, o ? "not an object" : je.text);
		json_decref(o);
		o = NULL;
	}
	free(path);
	return o;
}

static int
add_score(void *arg, size_t at, json_t *o, struct err *e)
{
	(void)at;
	if (!*member(o, "id") || !json_object_get(o, "correct"))
		return err_set(e, "not a score: id and correct are needed");
	json_object_set(arg, member(o, "id"), o);
	return 0;
}

static int
side_load(struct side *s, const char *dir, struct err *e)
{
	char *path = jsonl_path(dir, SCORES_FILE);
	int rc = -1;

	s->dir = dir;
	s->scores = json_object();
	s->summary = load_object(dir, "summary.json", e);
	if (s->summary && access(path, F_OK) < 0)
		err_set(e, "%s is not there: run sa-eval %s once more with --out %s, it asks for nothing that it has", path,
			member(s->summary, "benchmark"), dir);
	else if (s->summary)
		rc = jsonl_each(path, add_score, s->scores, e);
	/* What was only scored has no settings. */
	free(path);
	path = jsonl_path(dir, "settings.json");
	if (rc == 0 && access(path, F_OK) == 0 && !(s->settings = load_object(dir, "settings.json", e)))
		rc = -1;
	free(path);
	return rc;
}

static void
side_free(struct side *s)
{
	json_decref(s->summary);
	json_decref(s->settings);
	json_decref(s->scores);
}

/* ---- may they be compared ---- */

static int
refuse(const struct comparison *c, const char *what, const json_t *before, const json_t *after, struct err *e)
{
	char *a = before ? json_dumps(before, JSON_ENCODE_ANY) : xstrdup("unset"), *b = after ? json_dumps(after, JSON_ENCODE_ANY) : xstrdup("unset");

	err_set(e, "not comparable: %s has %s %.100s, %s has %.100s", c->before.dir, what, a, c->after.dir, b);
	free(a);
	free(b);
	return -1;
}

static bool
may_differ(const char *setting)
{
	static const char *const may[] = { "endpoint", "model", "judge_endpoint", "judge_model", "seed" };

	for (size_t i = 0; i < sizeof may / sizeof *may; i++)
		if (strcmp(may[i], setting) == 0)
			return true;
	return false;
}

/* Those of one file's settings that the other lacks or has otherwise. */
static int
check_settings(const struct comparison *c, const json_t *before, const json_t *after, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)before, key, value)
		if (!may_differ(key) && !json_equal(value, json_object_get(after, key)))
			return refuse(c, key, value, json_object_get(after, key), e);
	json_object_foreach((json_t *)after, key, value)
		if (!may_differ(key) && !json_object_get(before, key))
			return refuse(c, key, NULL, value, e);
	return 0;
}

static int
check_same(const struct comparison *c, struct err *e)
{
	static const char *const same[] = { "benchmark", "protocol", "data_hash", "judge", "shots_from" };
	const char *file;
	json_t *settings;

	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		const json_t *a = json_object_get(c->before.summary, same[i]), *b = json_object_get(c->after.summary, same[i]);

		if ((a || b) && !json_equal(a, b))
			return refuse(c, same[i], a, b, e);
	}
	json_object_foreach(c->before.settings, file, settings) {
		const json_t *other = json_object_get(c->after.settings, file);

		if (other && check_settings(c, settings, other, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- counting ---- */

static struct row *
row_of(struct comparison *c, const char *code)
{
	for (size_t i = 0; i < c->rows; i++)
		if (strcmp(c->row[i].code, code) == 0)
			return &c->row[i];
	if (c->rows == ROWS_MAX)
		return NULL;
	c->row[c->rows] = (struct row){ .code = code, .name = strcmp(code, "none") == 0 ? "(harmless, not refused)" : "" };
	return &c->row[c->rows++];
}

/* Rows in the order of the summary. */
static void
make_rows(struct comparison *c)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(c->after.summary, "categories"), i, o) {
		struct row *r = row_of(c, member(o, "category"));

		if (r)
			r->name = member(o, "name");
	}
}

static void
row_add(struct row *r, bool before, bool after)
{
	r->n++;
	r->before += before;
	r->after += after;
	r->better += !before && after;
	r->worse += before && !after;
}

static void
pair_up(struct comparison *c)
{
	const char *id;
	json_t *a, *b;
	size_t both = 0;

	json_object_foreach(c->before.scores, id, a) {
		const json_t *x = json_object_get(a, "correct"), *y;
		struct row *r = row_of(c, member(a, "category"));

		if (!(b = json_object_get(c->after.scores, id)))
			continue;
		both++;
		y = json_object_get(b, "correct");
		if (!json_is_boolean(x) || !json_is_boolean(y)) {
			c->open++;
			continue;
		}
		if (r)
			row_add(r, json_is_true(x), json_is_true(y));
		if (strcmp(member(a, "category"), "none") != 0)
			row_add(&c->all, json_is_true(x), json_is_true(y));
		if (json_is_true(x) == json_is_true(y))
			continue;
		buf_adds(&c->changed, "{\"id\":");
		buf_json(&c->changed, id, strlen(id));
		buf_adds(&c->changed, ",\"category\":");
		buf_json(&c->changed, member(a, "category"), strlen(member(a, "category")));
		buf_addf(&c->changed, ",\"before\":%s,\"after\":%s}\n", json_is_true(x) ? "true" : "false", json_is_true(y) ? "true" : "false");
	}
	c->alone = json_object_size(c->before.scores) + json_object_size(c->after.scores) - 2 * both;
}

/* ---- the report ---- */

static void
p_text(double p, char *out, size_t max)
{
	if (p < 0.0001)
		snprintf(out, max, "%.1e", p);
	else
		snprintf(out, max, "%.4f", p);
}

static json_t *
row_json(const struct row *r, struct table *t)
{
	struct interval v = paired_interval(r->n, r->better, r->worse);
	double n = (double)r->n, before = 100 * (double)r->before / n, after = 100 * (double)r->after / n, p = mcnemar_exact(r->better, r->worse);
	char label[160], count[32], x[32], y[32], change[32], interval[64], better[32], worse[32], chance[32];

	snprintf(label, sizeof label, "%s%s%s", r->code, *r->code && *r->name && strcmp(r->code, r->name) != 0 ? " " : "",
		strcmp(r->code, r->name) != 0 ? r->name : "");
	snprintf(count, sizeof count, "%zu", r->n);
	snprintf(x, sizeof x, "%.1f", before);
	snprintf(y, sizeof y, "%.1f", after);
	snprintf(change, sizeof change, "%+.1f", after - before);
	snprintf(interval, sizeof interval, "%+.1f .. %+.1f", 100 * v.low, 100 * v.high);
	snprintf(better, sizeof better, "%zu", r->better);
	snprintf(worse, sizeof worse, "%zu", r->worse);
	p_text(p, chance, sizeof chance);
	table_row(t, label, count, x, y, change, interval, better, worse, chance);
	return json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f}", "category", r->code, "name", r->name, "n", (json_int_t)r->n,
		"before", before, "after", after, "change", after - before, "low", 100 * v.low, "high", 100 * v.high,
		"better", (json_int_t)r->better, "worse", (json_int_t)r->worse, "p", p);
}

static json_t *
tables(struct comparison *c, struct buf *out)
{
	struct table *t = xcalloc(1, sizeof *t);
	json_t *list = json_array(), *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "benchmark", member(c->after.summary, "benchmark"),
		"protocol", member(c->after.summary, "protocol"), "before", c->before.dir, "after", c->after.dir,
		"model_before", member(c->before.summary, "model"), "model_after", member(c->after.summary, "model"),
		"open", (json_int_t)c->open, "unpaired", (json_int_t)c->alone);

	t->columns = 9;
	t->left = 1;
	table_row(t, "category", "n", "before", "after", "change", "95% interval", "better", "worse", "p");
	for (size_t i = 0; i < c->rows; i++)
		if (c->row[i].n)
			json_array_append_new(list, row_json(&c->row[i], t));
	json_object_set_new(o, "categories", list);
	json_object_set_new(o, "micro", row_json(&c->all, t));
	buf_addf(out, "%s  %s -> %s\n", member(o, "protocol"), member(o, "model_before"), member(o, "model_after"));
	table_print(t, out);
	if (c->open)
		buf_addf(out, "%zu samples are not settled in both runs and left out\n", c->open);
	if (c->alone)
		buf_addf(out, "%zu samples are in one of the runs only and left out\n", c->alone);
	table_free(t);
	free(t);
	return o;
}

static int
write_all(struct comparison *c, const char *dir, struct err *e)
{
	struct buf out = BUF_INIT(1 << 20);
	json_t *o = tables(c, &out);
	char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	int rc = write_file(dir, "changed.jsonl", c->changed.p ? c->changed.p : "", c->changed.n, e);

	if (rc == 0)
		rc = write_file(dir, "comparison.json", text, strlen(text), e);
	if (rc == 0)
		fputs(out.p, stdout);
	free(text);
	json_decref(o);
	buf_free(&out);
	return rc;
}

int
compare(const char *before, const char *after, const char *out)
{
	struct comparison *c = xcalloc(1, sizeof *c);
	int status = STATUS_USAGE;
	struct err e = { "" };

	c->all = (struct row){ .code = "", .name = "all (micro average)" };
	buf_init(&c->changed, (size_t)1 << 30);
	if (side_load(&c->before, before, &e) < 0 || side_load(&c->after, after, &e) < 0 || check_same(c, &e) < 0)
		goto out;
	make_rows(c);
	pair_up(c);
	if (c->all.n == 0)
		err_set(&e, "%s and %s have no sample in common that both settled", before, after);
	else
		status = write_all(c, out ? out : after, &e) < 0 ? STATUS_IO : STATUS_OK;
out:
	if (e.msg[0])
		warn("%s", e.msg);
	side_free(&c->before);
	side_free(&c->after);
	buf_free(&c->changed);
	free(c);
	return status;
}
