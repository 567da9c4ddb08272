/* jsonl.h - files of one JSON object a line, plain or compressed by gzip (a name that ends in .gz; gzip(1) is run) */
#ifndef SA_EVAL_JSONL_H
#define SA_EVAL_JSONL_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

#define JSONL_ENOUGH 1	/* what a function returns that wants no more lines */

/* Call fn with each object (borrowed) and its number, from 0. 0, or -1 with file and line, also when fn returned -1 with why. */
int jsonl_each(const char *path, int (*fn)(void *arg, size_t at, json_t *o, struct err *e), void *arg, struct err *e);

/* DIR/NAME, malloc'd. */
char *jsonl_path(const char *dir, const char *name);

#endif
