/* turns.h - the turns that a training sample is made of
 *
 * The teacher's are the stages' own prompt files, filled in with texts of the bank, so that data and stages cannot drift apart; the student's are
 * a prompt and a plain answer. Each turn_*() draws its own choices from the bank and appends its messages; the system message stands
 * only at the start of a sample. */
#ifndef NANO_TURNS_H
#define NANO_TURNS_H

#include <jansson.h>
#include <stdbool.h>

#include "bank.h"
#include "taxonomy.h"

extern struct taxonomy *taxonomy;	/* set by main() before anything here is called, as are the next two */
extern const char *code_of[CATEGORIES_MAX];
extern size_t categories;

/* Read the prompt files below the working directory, the repository's root; dies with exit 2 when one is wrong. */
void load_files(void);
void free_files(void);

const char *code(const struct item *it);	/* its category's code, or "none" */
bool harmful(const struct item *it);
struct item make_harmless(enum lang lang, bool held);
struct item make_any(int bad);		/* harmful in `bad` of a hundred */
enum stance any_reply(const struct item *it);
const char *reply_verdict(const struct item *it, enum stance kind);	/* "safe" or "unsafe" */

void turn_intent(json_t *m);
void turn_prompt(json_t *m);
void turn_pair(json_t *m);
void turn_one(json_t *m);
void turn_newsafety(json_t *m);
void turn_regen(json_t *m);
void turn_keyword(json_t *m);
void turn_related(json_t *m);
void turn_fold(json_t *m);
void turn_student(json_t *m);
void turn_manners(json_t *m);

#endif
