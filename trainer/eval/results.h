/* results.h - one line per finished sample in a file of the output directory; what a run that was cut short has done is kept
 *
 * Lines are appended whole as samples finish. Opening reads the file, drops a half line at its end (a kill in the middle of a write)
 * and locks it, so that two runs never write the same one. Failed samples are not written: the next run asks for them again.
 *
 * How each sample was scored in the end is another file's: scores.h. */
#ifndef SA_EVAL_RESULTS_H
#define SA_EVAL_RESULTS_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "eval.h"

struct results {
	char *path;
	int fd;
	json_t *by_id;		/* id -> the line's object */
	char error[256];	/* why a line could not be written; "" */
};

/* DIR/NAME; makes DIR. 0, or -1 with file and line. */
int results_open(struct results *r, const char *dir, const char *name, struct err *e);
void results_close(struct results *r);
/* The result of a sample, or NULL. Borrowed. */
json_t *results_get(const struct results *r, const char *id);

/* Append a result that was not asked of a model; its "id" is the key. Takes the reference. 0 or -1. */
int results_put(struct results *r, json_t *o, struct err *e);

/* Ask `f` for everything in `feed`, results into `r`: an exit status. Nothing to ask: no request, status 0. */
int results_run(struct results *r, const struct filter *f, const struct run *run, struct feed *feed);

/* Settings that decide the results of file NAME: written to DIR/settings.json when new, compared when there. 0, or -1 naming the
 * setting that differs: results of two different runs are never mixed. Takes the reference to `settings`. */
int settings_check(const char *dir, const char *name, json_t *settings, struct err *e);

/* Write `text` to DIR/NAME by way of a temporary file. 0 or -1. */
int write_file(const char *dir, const char *name, const char *text, size_t n, struct err *e);

/* XXH3 of a file's bytes, 16 hex digits. 0 or -1. */
int hash_file(const char *path, char out[17], struct err *e);

#endif
