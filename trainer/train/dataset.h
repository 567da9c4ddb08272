/* dataset.h - LLaMA-Factory's dataset_info.json: which file a data set is in, and how its records are named
 *
 *     {"NAME":{"file_name","formatting":"alpaca"|"sharegpt","ranking","columns":{...},"tags":{...},"num_samples"}}
 *
 * Where "columns" or "tags" are given, what they do not name is not there, as in LLaMA-Factory. What would change the data and is not known here (data sets
 * of a hub or script, images, tools) is refused by name. */
#ifndef SA_DATASET_H
#define SA_DATASET_H

#include "record.h"

struct dataset {
	char *path;		/* beside dataset_info.json */
	struct shape shape;	/* its names are of `info` */
	size_t most;		/* records that are read; 0: all */
	json_t *info;
};

/* NAME of the file `info`. 0, or -1 with a message that names file, data set and member. dataset_free() in any case. */
int dataset_find(struct dataset *d, const char *info, const char *name, struct err *e);
/* Which of the columns that a record may lack it has, as bits; with those of all records, is there a column that none has? 0, or -1 with its name: LLaMA-Factory
 * does not go on either, and prompts or system messages would all be empty. */
unsigned dataset_columns(const struct shape *s, const json_t *record);
int dataset_check(const struct dataset *d, unsigned seen, struct err *e);
/* A plain file of records of any kind. */
void dataset_plain(struct dataset *d, const char *path);
void dataset_free(struct dataset *d);

#endif
