/* report.c - the parts together: see report.h */

#include "report.h"

#include <string.h>
#include <sys/stat.h>

#include "html.h"
#include "prompt.h"

EMBED(report_css, "trainer/report/page.css");

int
report_load(struct report *r, const char *dir, struct err *e)
{
	struct stat st;

	*r = (struct report){ .dir = dir };
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, "%s: no such directory", dir);
	r->taxonomy = taxonomy_load(NULL, e);
	if (!r->taxonomy || stages_load(&r->stages, dir, e) < 0 || records_load(&r->records, dir, e) < 0 ||
		training_load(&r->training, dir, e) < 0 ||
		evals_load(&r->evals, dir, e) < 0)
		return -1;
	if (r->stages.n == 0 && !r->records.there && !r->records.has_sft && r->training.step.n == 0 && r->evals.n == 0)
		return err_set(e,
			"%s: no run in it: none of stats/*.json, judged.ndjson, sft.jsonl, train/log.jsonl, eval/*/summary.json", dir);
	return 0;
}

void
report_free(struct report *r)
{
	stages_free(&r->stages);
	records_free(&r->records);
	training_free(&r->training);
	evals_free(&r->evals);
	taxonomy_free(r->taxonomy);
}

void
page_open(struct buf *page, const char *title, const char *what, const char *name)
{
	buf_addf(page,
		"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>%s: ", title);
	html_text(page, name);
	buf_addf(page, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>%s</h1>\n<p class=\"run\">%s <code>", report_css, title, what);
	html_text(page, name);
	buf_adds(page, "</code></p>\n</header>\n<main>\n");
}

void
page_close(struct buf *page, const char *from)
{
	buf_addf(page,
		"</main>\n<footer><p>Written by sa-report %s from %s; every figure is computed from them.</p></footer>\n"
		"</body>\n</html>\n", SA_VERSION, from);
}

static void
head(const struct report *r, struct buf *page)
{
	const char *name = strrchr(r->dir, '/');

	page_open(page, "Safety alignment report", "Run", name && name[1] ? name + 1 : r->dir);
}

static void
contents(const struct report *r, struct buf *page)
{
	const struct { bool there; const char *id, *title; } part[] = {
		{ true, "summary", "Summary" }, { r->evals.n > 0, "evaluation", "Evaluation" }, { r->stages.n > 0, "stages", "Stages" },
		{ r->records.there, "records", "Prompts and responses" }, { r->training.step.n > 0, "training", "Fine-tuning" },
		{ r->records.samples > 0, "samples", "Sample records" },
	};

	buf_adds(page, "<nav aria-label=\"Contents\"><ol>");
	for (size_t i = 0; i < sizeof part / sizeof *part; i++)
		if (part[i].there)
			buf_addf(page, "<li><a href=\"#%s\">%s</a></li>", part[i].id, part[i].title);
	buf_adds(page, "</ol></nav>\n");
}

int
report_write(const struct report *r, struct buf *page, struct err *e)
{
	head(r, page);
	contents(r, page);
	summary_write(r, page);
	if (evals_write(&r->evals, page, e) < 0)
		return -1;
	stages_write(&r->stages, page);
	if (records_write(&r->records, r->taxonomy, page, e) < 0 || training_write(&r->training, page, e) < 0)
		return -1;
	samples_write(&r->records, page);
	page_close(page, "the files of the run");
	return 0;
}
