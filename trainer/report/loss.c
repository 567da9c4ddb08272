/* loss.c - the training of several runs, their curves over one another */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chart.h"
#include "html.h"
#include "load.h"
#include "report.h"

#define PAGE_MAX ((size_t)256 << 20)

struct trained {
	const char *name;
	struct training t;
};

/* A log itself, DIR/log.jsonl of sa-train's --out, or DIR/train/log.jsonl of a whole run. */
static int
read_run(struct trained *run, const char *name, struct err *e)
{
	static const char *const places[] = { "log.jsonl", "train/log.jsonl" };
	struct stat st;
	int rc = 0;

	*run = (struct trained){ .name = name };
	if (stat(name, &st) == 0 && !S_ISDIR(st.st_mode))
		rc = training_read(&run->t, name, e);
	for (size_t i = 0; rc == 0 && i < sizeof places / sizeof *places; i++) {
		char *path = path_join(name, places[i]);

		rc = training_read(&run->t, path, e);
		free(path);
	}
	if (rc == 0)
		return err_set(e, "%s: no log of a training: neither log.jsonl nor train/log.jsonl is in it", name);
	if (rc > 0 && run->t.step.n == 0)
		return err_set(e, "%s: the log has no step", name);
	return rc < 0 ? -1 : 0;
}

/* One picture of `y` over `x`, both members of struct training by their offset, of the runs that have it. */
static int
picture(struct buf *page, const struct trained *run, size_t n, const char *caption, struct curves c, size_t x, size_t y, struct err *e)
{
	static const struct numbers none;
	struct curve *v = xcalloc(n, sizeof *v);
	bool any = false;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		const struct numbers *at = (const struct numbers *)((const char *)&run[i].t + x), *of = (const struct numbers *)((const char *)&run[i].t + y);

		v[i] = (struct curve){ run[i].name, at->n == of->n ? at : &none, at->n == of->n ? of : &none, (int)i };
		any = any || v[i].x->n > 0;
	}
	c.v = v;
	c.n = n;
	if (any)
		rc = plot_figure(page, caption, caption, draw_curves, &c, e);
	free(v);
	return rc;
}

static void
cell(struct buf *page, const char *format, double x, bool there)
{
	char text[64];

	snprintf(text, sizeof text, format, x);
	buf_adds(page, "<td>");
	buf_adds(page, there ? text : "–");
	buf_adds(page, "</td>");
}

static void
row(struct buf *page, const struct trained *run)
{
	const struct training *t = &run->t;
	size_t best = 0;
	char n[COUNT_TEXT];

	for (size_t i = 1; i < t->eval_loss.n; i++)
		best = t->eval_loss.v[i] < t->eval_loss.v[best] ? i : best;
	buf_adds(page, "<tr>");
	cell_head(page, run->name);
	buf_addf(page, "<td>%s</td>", count_text(n, (long long)t->step.n));
	buf_addf(page, "<td>%s</td>", count_text(n, (long long)t->tokens));
	buf_addf(page, "<td>%s</td>", t->seconds > 0 ? count_text(n, llround(t->tokens / t->seconds)) : "–");
	cell(page, "%.4f", training_first(t), true);
	cell(page, "%.4f", training_last(t), true);
	cell(page, "%.4f", t->eval_loss.n ? t->eval_loss.v[best] : 0, t->eval_loss.n > 0);
	cell(page, "%.0f", t->eval_loss.n ? t->eval_step.v[best] : 0, t->eval_loss.n > 0);
	buf_addf(page, "<td>%zu</td></tr>\n", t->spikes);
}

#define OF(member) offsetof(struct training, member)

static int
write_pictures(struct buf *page, const struct trained *run, size_t n, bool preferences, struct err *e)
{
	const struct { const char *caption; struct curves c; size_t x, y; } pictures[] = {
		{ preferences ? "Loss of the training" : "Loss of the training (nats per supervised token)", { .ylabel = "loss" }, OF(step), OF(loss) },
		{ "Loss of the evaluation", { .ylabel = "loss", .points = true }, OF(eval_step), OF(eval_loss) },
		{ "Accuracy of the rewards (part of a step that is ranked right)", { .ylabel = "part", .from_zero = true }, OF(step), OF(accuracy) },
		{ "Margin of the rewards, chosen less rejected", { .ylabel = "margin" }, OF(margin_step), OF(margin) },
		{ "Norm of the gradients before clipping", { .ylabel = "norm", .from_zero = true }, OF(step), OF(grad_norm) },
		{ "Learning rate", { .ylabel = "rate", .from_zero = true }, OF(step), OF(lr) },
	};

	for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
		if (picture(page, run, n, pictures[i].caption, pictures[i].c, pictures[i].x, pictures[i].y, e) < 0)
			return -1;
	return 0;
}

static int
write_page(struct buf *page, const struct trained *run, size_t n, struct err *e)
{
	static const char *const head[] = { "Run", "Steps", "Tokens", "Tokens/s", "First loss", "Last loss", "Best eval", "at step", "Spikes", NULL };
	char what[64] = "Run";
	bool averaged = false, preferences = false;

	if (n > 1)
		snprintf(what, sizeof what, "%zu runs, the first", n);
	for (size_t i = 0; i < n; i++) {
		averaged = averaged || run[i].t.step.n > CURVE_POINTS;
		preferences = preferences || run[i].t.accuracy.n > 0;
	}
	page_open(page, "Training", what, run[0].name);
	section_open(page, "runs", n == 1 ? "The run" : "The runs");
	table_open(page, "First and last loss are means over a tenth of the steps", head, 1);
	for (size_t i = 0; i < n; i++)
		row(page, &run[i]);
	table_close(page);
	section_close(page);
	section_open(page, "curves", "Curves");
	if (write_pictures(page, run, n, preferences, e) < 0)
		return -1;
	if (averaged)
		buf_adds(page, "<p class=\"quiet\">A picture has fewer columns than these runs have steps: drawn are means of neighbouring steps.</p>\n");
	section_close(page);
	page_close(page, "the logs of the runs");
	return 0;
}

int
report_loss(char *const *names, size_t n)
{
	struct trained *run = xcalloc(n, sizeof *run);
	struct buf page = BUF_INIT(PAGE_MAX);
	int status = STATUS_USAGE;
	struct err e;
	size_t i;

	for (i = 0; i < n && read_run(&run[i], names[i], &e) == 0; i++)
		;
	if (i == n && write_page(&page, run, n, &e) == 0) {
		status = STATUS_OK;
		if (fwrite(page.p, 1, page.n, stdout) != page.n || fflush(stdout) != 0) {
			err_set(&e, "write error on standard output");
			status = STATUS_IO;
		}
	}
	if (status != STATUS_OK)
		warn("%s", e.msg);
	for (size_t k = 0; k < n; k++)
		training_free(&run[k].t);
	free(run);
	buf_free(&page);
	return status;
}
