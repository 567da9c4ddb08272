/* report.h - one page about one run: what was read from its directory, and the sections made of it
 *
 * Everything is read first, then written, so that the summary in words can draw on all of it and an error leaves no half page. Each
 * part knows its own files; one that found none of them writes nothing and the page says so. */
#ifndef SA_REPORT_H
#define SA_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "taxonomy.h"

/* ---- stages: stats/<*>.json in name order, each the --stats object of a program ---- */

struct stages {
	json_t **v;
	size_t n;
};

int stages_load(struct stages *s, const char *dir, struct err *e);
void stages_free(struct stages *s);
void stages_write(const struct stages *s, struct buf *page);
/* The whole number `name` of the first (or last) stage of that program; -1: there is none. */
long long stages_first(const struct stages *s, const char *program, const char *name);

/* ---- records: judged.ndjson, the records before selection ---- */

struct numbers {
	double *v;
	size_t n, cap;
};

#define SAMPLES 10

struct records {
	bool there;
	size_t n, failed;
	json_t *intents, *categories;	/* label -> count */
	struct numbers ppl, original, regenerated, prompt_safety;
	json_t *sample[SAMPLES];	/* a uniform sample of those that did not fail, in input order after loading */
	size_t sample_at[SAMPLES];
	size_t samples, sampled_from;
	size_t sft;			/* lines of sft.jsonl */
	bool has_sft;
};

int records_load(struct records *r, const char *dir, struct err *e);
void records_free(struct records *r);
int records_write(const struct records *r, const struct taxonomy *t, struct buf *page, struct err *e);
void samples_write(const struct records *r, struct buf *page);
/* The q-quantile (0..1) of sorted numbers, n > 0. */
double numbers_quantile(const struct numbers *x, double q);

/* ---- training: train/log.jsonl ---- */

struct training {
	struct numbers step, loss, lr, grad_norm;	/* of each step; lr and grad_norm may be missing, and are empty then */
	struct numbers eval_step, eval_loss;
	struct numbers accuracy;			/* of each step, of a training by preferences; else empty */
	struct numbers margin_step, margin;		/* of those of its steps that had both kinds of responses */
	double tokens, seconds;		/* sums; 0: not in the log */
	size_t spikes;			/* steps that the log calls so */
};

/* A log of sa-train's. 1; 0 when there is no such file; -1 with file and line. */
int training_read(struct training *t, const char *path, struct err *e);

int training_load(struct training *t, const char *dir, struct err *e);
void training_free(struct training *t);
int training_write(const struct training *t, struct buf *page, struct err *e);
/* Mean loss of the first (last) tenth of the steps. */
double training_first(const struct training *t), training_last(const struct training *t);

/* ---- evaluations: eval/<*>/summary.json; NAME-before and NAME-after (or before and after) are a pair ---- */

struct eval_pair {
	char *name;			/* "newsafety"; "" for eval/before and eval/after */
	json_t *before, *after;		/* one of them may be NULL; an evaluation without such a name is `after` */
	json_t *comparison;		/* of the two, by `sa-eval compare`; NULL: not made */
	bool alone;
};

struct evals {
	struct eval_pair *v;
	size_t n;
};

int evals_load(struct evals *ev, const char *dir, struct err *e);
void evals_free(struct evals *ev);
int evals_write(const struct evals *ev, struct buf *page, struct err *e);

/* ---- the page ---- */

struct report {
	const char *dir;
	struct taxonomy *taxonomy;
	struct stages stages;
	struct records records;
	struct training training;
	struct evals evals;
};

int report_load(struct report *r, const char *dir, struct err *e);
int report_write(const struct report *r, struct buf *page, struct err *e);
void report_free(struct report *r);

/* Not of one run: the curves of several, each a directory of sa-train's or of a whole run, or a log, over one another; a page on standard output. An exit
 * status; what was wrong has been said. */
int report_loss(char *const *runs, size_t n);
/* The page's beginning and end: `what` is followed by `name` as code. */
void page_open(struct buf *page, const char *title, const char *what, const char *name);
void page_close(struct buf *page, const char *from);

/* Not of a run: the size and age of a cache of replies on standard output, after dropping what is older than `days` (< 0: nothing). An exit
 * status; what was wrong has been said. */
int report_cache(const char *dir, double days);
/* What the run did, in sentences and key figures. */
void summary_write(const struct report *r, struct buf *page);

#endif
