/* recipe.h - LLaMA-Factory's yaml as options of sa-train
 *
 * What the file does not say is as LLaMA-Factory has it, not as sa-train has it without a file: learning rate 5e-5, linear, no warm-up, 8 samples a
 * micro-batch, one micro-batch a step, a checkpoint every 500 steps, all kept. A name that only says how the work is done, not what comes out, is accepted
 * and listed in a note; one that asks for what is not here, and one that is not known, ends with file and line. */
#ifndef SA_RECIPE_H
#define SA_RECIPE_H

#include "err.h"
#include "opt.h"

struct recipe {
	char **text;	/* what options were set to */
	size_t n;
};

/* Set the options of `table` that the file `path` names; strings that are set are r's. 0, or -1 with file and line. recipe_free() in any case. */
int recipe_read(struct recipe *r, const char *path, const struct opt *table, struct err *e);
void recipe_free(struct recipe *r);

#endif
