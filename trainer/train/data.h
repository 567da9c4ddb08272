/* data.h - the data file: NDJSON, or one JSON array of records (as alpaca's files are)
 *
 * Which of the two it is, its first character says. A pipe is read as NDJSON. */
#ifndef SA_DATA_H
#define SA_DATA_H

#include <stdint.h>

#include "samples.h"

/* Add every record of `path` to s. *hash is of the records' bytes. 0, or -1 with a message that names file and line. */
int data_read(struct samples *s, struct sampler *how, const char *path, uint64_t *hash, struct err *e);

#endif
