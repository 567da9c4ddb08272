/* data.h - the data file: NDJSON, or one JSON array of records (as alpaca's files are)
 *
 * Which of the two it is, its first character says. A pipe is read as NDJSON; "-" is standard input. */
#ifndef SA_DATA_H
#define SA_DATA_H

#include <stdint.h>

#include "samples.h"

/* Add the records of `path` to s, at most the first `most` (0: all). *hash is of their bytes and of what it was before, 0 at first. 0, or -1 with a message
 * that names file and line. */
int data_read(struct samples *s, struct sampler *how, const char *path, size_t most, uint64_t *hash, struct err *e);

#endif
