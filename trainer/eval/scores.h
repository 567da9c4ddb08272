/* scores.h - how each sample came out, a line each in scores.jsonl: what `sa-eval compare` pairs up
 *
 * Written anew by every report, in the order of the data, since some protocols score a sample only among the others (SafetyBench's random
 * choices). A benchmark writes a line for each sample of its list:
 *
 *     {"id":"12","category":"OFF","correct":true}
 *
 * id         as in results.jsonl; the same sample of the same data has the same id in every run
 * category   the code that the summary has in its "categories"; "none" for what is not part of the micro average
 *            (New-Safety's harmless prompts: correct is then "not refused")
 * correct    true, false, or null: not settled (no answer, an open verdict), which a comparison leaves out */
#ifndef SA_EVAL_SCORES_H
#define SA_EVAL_SCORES_H

#include "buf.h"
#include "err.h"

#define SCORES_FILE "scores.jsonl"
#define SCORES_INIT BUF_INIT((size_t)1 << 30)
enum { SCORE_OPEN = -1, SCORE_WRONG, SCORE_RIGHT };

void scores_add(struct buf *out, const char *id, const char *category, int score);
/* DIR/scores.jsonl; frees the buffer. 0 or -1. */
int scores_write(struct buf *out, const char *dir, struct err *e);

#endif
