/* eval.h - what the benchmarks of sa-eval share: the command line, the samples and the figures */
#ifndef SA_EVAL_H
#define SA_EVAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "filter.h"

enum { LANG_ZH, LANG_EN };
enum { MODE_GENERATE, MODE_LOGPROB };
/* In the order of PROTOCOL_WORDS; sa-eval.c's table says which of them a benchmark has. */
enum { PROTOCOL_LLAMAFACTORY, PROTOCOL_QWEN, PROTOCOL_CHAT, PROTOCOL_LM_EVAL, PROTOCOL_COMPLETE, PROTOCOLS };
#define PROTOCOL_WORDS "llamafactory|qwen|chat|lm-eval|complete"

/* The command line; what is not given is NULL, -1 or 0. Which benchmark takes what: sa-eval.c's table. */
struct eval {
	const char *data, *out;
	long long limit;		/* samples, 0: all */
	int lang, mode;			/* LANG_*, MODE_*; -1: not given */
	int protocol;			/* PROTOCOL_*; -1 */
	const char *patterns;		/* cvalues */
	long long shots;		/* examples before the question; -1: not given */
	long long samples;		/* a problem; -1: not given */
	const char *samples_file, *python;
	int sandbox;			/* enum sandbox_kind; -1 */
	const char *judge_endpoint, *judge_model, *judge_key_file, *judge_prompt, *review;
	struct run run;			/* endpoint, model, -j, --seed ... of the model under test */
};

/* One question of a benchmark. */
struct sample {
	char *id, *prompt;
	int category;			/* index into the benchmark's categories */
	char *options[4];		/* multiple choice */
	size_t noptions;
	int answer;			/* the right option, where the benchmark's file says it beside the question */
};

struct samples {
	struct sample *v;
	size_t n, cap;
};

/* Takes ownership of the strings in *s. */
void samples_add(struct samples *l, const struct sample *s);
void sample_free(struct sample *s);	/* what it holds */
void samples_free(struct samples *l);
/* Keep at most `limit` (0: all), spread over the categories: the first of each in turn; the order stays. */
void samples_limit(struct samples *l, size_t limit);
/* 0, or -1 naming an id that is there twice. */
int samples_check_ids(const struct samples *l, const char *path, struct err *e);

/* The lines that a run is fed: run.next = feed_next, run.arg must then hold it. Each {"id","category","prompt"}. */
struct feed {
	char **v;
	size_t n, cap, at;
};

void feed_add(struct feed *f, char *line);	/* takes ownership */
void feed_free(struct feed *f);

/* The benchmarks: an exit status. */
int safetybench(struct eval *ev);
int newsafety(struct eval *ev);
int gsm8k(struct eval *ev);
int humaneval(struct eval *ev);
int cvalues(struct eval *ev);
int mmlu(struct eval *ev);
int cmmlu(struct eval *ev);
int ceval(struct eval *ev);

/* Two runs of the same benchmark, paired sample by sample: prints a table, writes comparison.json and changed.jsonl into `out` (NULL: `after`). */
int compare(const char *before, const char *after, const char *out);

#endif
