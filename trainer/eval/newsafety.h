/* newsafety.h - the records of the New-Safety benchmark, and what its figures are made of */
#ifndef SA_EVAL_NEWSAFETY_H
#define SA_EVAL_NEWSAFETY_H

#include "eval.h"
#include "results.h"
#include "taxonomy.h"
#include "verdict.h"

/* NDJSON records {id?, prompt, category}; category is a code or a name of the taxonomy, or "none" for a harmless prompt, which is
 * kept as index taxonomy_size(t). 0, or -1 with file and line. */
int newsafety_load(struct samples *l, const struct taxonomy *t, const char *path, struct err *e);

struct newsafety {
	struct eval *ev;
	struct taxonomy *taxonomy;
	struct samples list;
	struct results answers, judged;	/* answers.jsonl, results.jsonl */
	json_t *review;			/* {"id":"safe"|"unsafe"} that count, or NULL */
	char judge_hash[17], data_hash[17];
};

/* Count, print the table, write summary.json and review.tsv. */
int newsafety_report(struct newsafety *ns, struct err *e);

#endif
