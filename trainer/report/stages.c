/* stages.c - what went into each stage and what came out: stats/<*>.json */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "load.h"
#include "report.h"

int
stages_load(struct stages *s, const char *dir, struct err *e)
{
	char *folder = path_join(dir, "stats"), **names;
	size_t n;
	int rc = list_dir(folder, &names, &n, e);

	s->v = xcalloc(n + 1, sizeof *s->v);
	for (size_t i = 0; i < n && rc == 0; i++) {
		size_t len = strlen(names[i]);
		char *path;

		if (len < 5 || strcmp(names[i] + len - 5, ".json") != 0)
			continue;
		path = path_join(folder, names[i]);
		s->v[s->n] = load_object(path, e);
		if (!s->v[s->n])
			rc = -1;
		else if (!*member_text(s->v[s->n++], "program"))
			rc = err_set(e, "%s:1: not the --stats of a program: it names none", path);
		free(path);
	}
	list_free(names, n);
	free(folder);
	return rc;
}

void
stages_free(struct stages *s)
{
	for (size_t i = 0; i < s->n; i++)
		json_decref(s->v[i]);
	free(s->v);
}

long long
stages_first(const struct stages *s, const char *program, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(member_text(s->v[i], "program"), program) == 0)
			return (long long)member_num(s->v[i], name, -1);
	return -1;
}

/* "12 duplicate, 3 length": the counts of an object, largest first, zeros left out. */
static void
add_counts(struct buf *out, const json_t *counts)
{
	json_t *rest = json_copy((json_t *)counts);
	char text[COUNT_TEXT];

	for (const char *sep = ""; json_object_size(rest); sep = ", ") {
		const char *key, *most = NULL;
		double best = 0;
		json_t *x;

		json_object_foreach(rest, key, x)
			if (json_number_value(x) > best) {
				best = json_number_value(x);
				most = key;
			}
		if (!most)
			break;
		buf_addf(out, "%s%s ", sep, count_text(text, (long long)best));
		html_text(out, most);
		json_object_del(rest, most);
	}
	json_decref(rest);
}

/* What a stage did beyond passing records on, in words. */
static void
add_notes(struct buf *out, const json_t *s)
{
	static const struct { const char *name, *word; } figure[] = {
		{ "asked", "asked for" }, { "accepted", "accepted" }, { "picked", "picked" }, { "general", "general mixed in" },
	};
	const json_t *rejected = json_object_get(s, "rejected"), *failed = json_object_get(s, "failed_by_class");
	const char *sep = "";
	char text[COUNT_TEXT];

	buf_adds(out, "<td class=\"left\">");
	for (size_t i = 0; i < sizeof figure / sizeof *figure; i++) {
		if (!json_object_get(s, figure[i].name))
			continue;
		buf_addf(out, "%s%s %s", sep, count_text(text, (long long)member_num(s, figure[i].name, 0)), figure[i].word);
		sep = ", ";
	}
	if (json_object_size(rejected)) {
		buf_addf(out, "%srejected: ", *sep ? "; " : "");
		add_counts(out, rejected);
		sep = "; ";
	}
	if (json_object_size(failed)) {
		buf_addf(out, "%sfailed: ", *sep ? "; " : "");
		add_counts(out, failed);
		sep = "; ";
	}
	buf_addf(out, "%s</td>", *sep ? "" : "–");
}

static void
counts_table(const struct stages *s, struct buf *page)
{
	static const char *const head[] = { "Stage", "In", "Out", "Made", "Kept back", "Failed", "Details", NULL };
	static const char *const column[] = { "in", "out", "made", "taken", "failed" };

	table_open(page, "Records in and out of each stage", head, 1 | 1 << 6);
	for (size_t i = 0; i < s->n; i++) {
		buf_adds(page, "<tr>");
		cell_head(page, member_text(s->v[i], "program"));
		for (size_t c = 0; c < sizeof column / sizeof *column; c++)
			cell_count(page, json_object_get(s->v[i], column[c]));
		add_notes(page, s->v[i]);
		buf_adds(page, "</tr>\n");
	}
	table_close(page);
}

static void
cell_seconds(struct buf *page, const json_t *s, const char *name, int digits)
{
	char text[40];

	snprintf(text, sizeof text, "%.*f", digits, member_num(s, name, 0));
	cell_text(page, json_object_get(s, name) ? text : "–");
}

static void
model_table(const struct stages *s, struct buf *page)
{
	static const char *const head[] = { "Stage", "Requests", "Retries", "Tokens in", "Tokens out", "Seconds", "Median s", "99% s",
		NULL };
	static const char *const column[] = { "requests", "retries", "tokens_in", "tokens_out" };

	table_open(page, "What the stages asked of a model; median and 99% are the times of one request", head, 1);
	for (size_t i = 0; i < s->n; i++) {
		if (member_num(s->v[i], "requests", 0) == 0)
			continue;
		buf_adds(page, "<tr>");
		cell_head(page, member_text(s->v[i], "program"));
		for (size_t c = 0; c < sizeof column / sizeof *column; c++)
			cell_count(page, json_object_get(s->v[i], column[c]));
		cell_seconds(page, s->v[i], "seconds", 1);
		cell_seconds(page, s->v[i], "p50", 3);
		cell_seconds(page, s->v[i], "p99", 3);
		buf_adds(page, "</tr>\n");
	}
	table_close(page);
}

void
stages_write(const struct stages *s, struct buf *page)
{
	bool asked = false;

	if (s->n == 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		asked = asked || member_num(s->v[i], "requests", 0) > 0;
	section_open(page, "stages", "Stages");
	buf_adds(page,
		"<p>Each stage reads records and writes them on. <em>Made</em> are records or samples that it wrote itself, "
		"<em>kept back</em> those that it read and did not pass on as they were; a failed record stays in the stream with its reason"
		" and is counted out at selection.</p>\n");
	counts_table(s, page);
	if (asked)
		model_table(s, page);
	section_close(page);
}
