/* scores.c - see scores.h */

#include "scores.h"

#include <string.h>

#include "results.h"

void
scores_add(struct buf *out, const char *id, const char *category, int score)
{
	buf_adds(out, "{\"id\":");
	buf_json(out, id, strlen(id));
	buf_adds(out, ",\"category\":");
	buf_json(out, category, strlen(category));
	buf_addf(out, ",\"correct\":%s}\n", score == SCORE_OPEN ? "null" : score == SCORE_RIGHT ? "true" : "false");
}

int
scores_write(struct buf *out, const char *dir, struct err *e)
{
	int rc = write_file(dir, SCORES_FILE, out->p ? out->p : "", out->n, e);

	buf_free(out);
	return rc;
}
