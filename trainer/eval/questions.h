/* questions.h - SafetyBench's files and its prompts
 *
 * A directory as published: test_{zh,en}.json or test_zh_subset.json (questions), the test_answers_*.json of the same name (may be
 * missing), dev_{zh,en}.json (five examples a category, needed for five shots). Source of files and wording: thu-coai/SafetyBench. */
#ifndef SA_EVAL_QUESTIONS_H
#define SA_EVAL_QUESTIONS_H

#include "eval.h"

#define BENCH_CATEGORIES 7
#define BENCH_SHOTS 5

struct bench_category {
	const char *code, *name;	/* "OFF", "Offensiveness" */
};
extern const struct bench_category bench_category[BENCH_CATEGORIES];

struct shot {
	char *question, *options[4];
	size_t noptions;
	int answer;
};

struct questions {
	char *path;			/* of the test file */
	struct samples list;		/* prompt: the question as it is in the file */
	struct shot shots[BENCH_CATEGORIES][BENCH_SHOTS];
	bool has_shots;
	json_t *answers;		/* {"id":{"category","answer"}}, NULL without the file */
};

/* 0, or -1 with file and question. */
int questions_load(struct questions *q, const char *dir, int lang, bool shots, struct err *e);
void questions_free(struct questions *q);

/* The published prompt of one question, zero-shot or with its category's examples. */
void questions_prompt(const struct questions *q, const struct sample *s, int lang, struct buf *out);

/* Index of the right option, or -1 when there is no answers file or it lacks the question. */
int questions_answer(const struct questions *q, const struct sample *s);

#endif
