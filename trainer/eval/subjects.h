/* subjects.h - the exams of general knowledge: MMLU, CMMLU and C-Eval as they are published, and their prompts
 *
 * A directory with mapping.json ({subject: {"name","category"}}, LLaMA-Factory's) and, in it or in its folder data/, the folder dev with the
 * examples and that of the questions, a CSV file a subject: SUBJECT_dev.csv and SUBJECT_test.csv (MMLU), SUBJECT_dev.csv and
 * SUBJECT_val.csv (C-Eval), dev/SUBJECT.csv and test/SUBJECT.csv (CMMLU). Columns by their header (question, A, B, C, D, answer, any case,
 * others ignored) or, without one, in this order.
 *
 * Sources of the wordings: LLaMA-Factory, eval/template.py and eval/evaluator.py; Qwen, eval/evaluate_{mmlu,cmmlu,ceval}.py. */
#ifndef SA_EVAL_SUBJECTS_H
#define SA_EVAL_SUBJECTS_H

#include "eval.h"

#define EXAM_SHOTS 5
#define EXAM_OPTIONS 4

struct subject {
	char *key, *name;	/* "abstract_algebra", "abstract algebra" */
	int group;		/* index into exam.group */
	struct sample shots[EXAM_SHOTS];
	size_t nshots;
};

struct exam {
	struct subject *subject;	/* by key */
	size_t subjects;
	char *group[16];		/* "STEM", "Social Sciences", "Humanities", "Other", then others as they come */
	size_t groups;
	struct samples list;		/* id SUBJECT-ROW, prompt: the question, category: the subject, answer: the right option */
	char data_hash[17];		/* of all files that were read */
};

/* `split`: the folder of the questions, "test" or "val"; `shots`: examples a subject must have. 0, or -1 with file and line. */
int exam_load(struct exam *x, const char *dir, const char *split, size_t shots, struct err *e);
void exam_free(struct exam *x);

/* How a protocol words a prompt: header (its %s: the subject's name), then for each example question, options, answer, letter and
 * separator, then the question without its letter. */
struct wording {
	const char *header;		/* or NULL */
	bool header_key;		/* the name is the key with blanks for underscores, not that of mapping.json */
	const char *question;		/* before a question */
	const char *answer;		/* behind the options */
	const char *letter;		/* before an example's letter, and before the one that is looked for as a token: "" or " " */
};

/* `shots` <= those that were loaded. */
void exam_prompt(const struct exam *x, const struct wording *w, size_t shots, const struct sample *s, struct buf *out);

#endif
