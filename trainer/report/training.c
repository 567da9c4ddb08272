/* training.c - the loss curve: train/log.jsonl */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "chart.h"
#include "html.h"
#include "load.h"
#include "report.h"

static int
take_step(void *arg, json_t *o, size_t at, struct err *e)
{
	struct training *t = arg;
	double step = member_num(o, "step", NAN), loss = member_num(o, "loss", NAN);

	(void)at;
	if (!isnan(step) && json_is_number(json_object_get(o, "eval_loss"))) {
		numbers_add(&t->eval_step, step);
		numbers_add(&t->eval_loss, member_num(o, "eval_loss", 0));
		return 0;
	}
	if (isnan(step) || isnan(loss))
		return err_set(e, "no training step: it has no step and loss");
	numbers_add(&t->step, step);
	numbers_add(&t->loss, loss);
	if (json_object_get(o, "lr"))
		numbers_add(&t->lr, member_num(o, "lr", 0));
	if (json_object_get(o, "grad_norm"))
		numbers_add(&t->grad_norm, member_num(o, "grad_norm", 0));
	if (json_object_get(o, "rewards/accuracies"))
		numbers_add(&t->accuracy, member_num(o, "rewards/accuracies", 0));
	if (json_object_get(o, "rewards/margins")) {
		numbers_add(&t->margin_step, step);
		numbers_add(&t->margin, member_num(o, "rewards/margins", 0));
	}
	t->spikes += json_is_true(json_object_get(o, "spike"));
	t->tokens += member_num(o, "tokens", 0);
	t->seconds += member_num(o, "seconds", 0);
	return 0;
}

int
training_read(struct training *t, const char *path, struct err *e)
{
	return load_lines(path, take_step, t, e);
}

int
training_load(struct training *t, const char *dir, struct err *e)
{
	char *path = path_join(dir, "train/log.jsonl");
	int rc = training_read(t, path, e);

	free(path);
	return rc < 0 ? -1 : 0;
}

void
training_free(struct training *t)
{
	free(t->step.v);
	free(t->loss.v);
	free(t->lr.v);
	free(t->grad_norm.v);
	free(t->eval_step.v);
	free(t->eval_loss.v);
	free(t->accuracy.v);
	free(t->margin_step.v);
	free(t->margin.v);
}

static double
mean_loss(const struct training *t, size_t from, size_t n)
{
	double sum = 0;

	for (size_t i = from; i < from + n; i++)
		sum += t->loss.v[i];
	return sum / (double)n;
}

static size_t
tenth(const struct training *t)
{
	return t->loss.n < 10 ? 1 : t->loss.n / 10;
}

double
training_first(const struct training *t)
{
	return mean_loss(t, 0, tenth(t));
}

double
training_last(const struct training *t)
{
	return mean_loss(t, t->loss.n - tenth(t), tenth(t));
}

int
training_write(const struct training *t, struct buf *page, struct err *e)
{
	char caption[300], n[COUNT_TEXT];
	int rc;

	if (t->step.n == 0)
		return 0;
	section_open(page, "training", "Fine-tuning");
	snprintf(caption, sizeof caption, "Loss%s%s over %s steps.", t->accuracy.n ? "" : " (nats per supervised token)",
		t->lr.n == t->step.n ? " and learning rate" : "",
		count_text(n, (long long)t->step.n));
	rc = plot_figure(page, "Curve of the training loss", caption, draw_training, t, e);
	section_close(page);
	return rc;
}
