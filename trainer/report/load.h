/* load.h - reading the files of a run directory; a missing one is no error */
#ifndef SA_REPORT_LOAD_H
#define SA_REPORT_LOAD_H

#include <jansson.h>

#include "err.h"
#include "report.h"

/* DIR/NAME, the caller's. */
char *path_join(const char *dir, const char *name);

/* A file that holds one JSON object. NULL with file and line. */
json_t *load_object(const char *path, struct err *e);

/* Every line of a file of JSON objects goes to `take` with its number. 1; 0 when there is no such file; -1 with file and line. */
int load_lines(const char *path, int (*take)(void *arg, json_t *o, size_t at, struct err *e), void *arg, struct err *e);

/* Names in a directory in version order (2-x before 10-x), without hidden ones; none when there is no such directory. 0, or -1 with none when it
 * cannot be read. */
int list_dir(const char *path, char ***names, size_t *n, struct err *e);
void list_free(char **names, size_t n);

void numbers_add(struct numbers *x, double v);
void numbers_sort(struct numbers *x);

#endif
