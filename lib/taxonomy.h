/* taxonomy.h - the 14 security categories and the labels that fold into them (filters/taxonomy.json, compiled in)
 *
 * Labels are open (a model may say anything); a category is one of the codes OFF UB CIA PP EM PMH IA MI DP NS EX PR DT PS, or "none" for a
 * harmless prompt. Look-ups ignore ASCII case. Source of the categories: the method's section 4, New-Safety scenarios. */
#ifndef SA_TAXONOMY_H
#define SA_TAXONOMY_H

#include <stddef.h>

#include "err.h"

#define CATEGORIES_MAX 64

struct category {
	const char *code;	/* "OFF" */
	const char *name;	/* "insult and offensiveness" */
	const char *zh;		/* "侮辱冒犯" */
};

struct taxonomy;

/* The file at `path`, or the compiled-in one when NULL. NULL with a message. The taxonomy owns all its strings. */
struct taxonomy *taxonomy_load(const char *path, struct err *e);
void taxonomy_free(struct taxonomy *t);

size_t taxonomy_size(const struct taxonomy *t);		/* categories, "none" not counted */
const struct category *taxonomy_at(const struct taxonomy *t, size_t i);

/* Index of the category with this code or name (any case); -1: "none" or one of its names; -2: no such category. */
int taxonomy_category(const struct taxonomy *t, const char *word);
/* The same for a label: codes, names and every label of the file. */
int taxonomy_fold(const struct taxonomy *t, const char *label);
/* "OFF", ..., or "none" for -1. */
const char *taxonomy_code(const struct taxonomy *t, int category);

#endif
