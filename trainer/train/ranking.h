/* ranking.h - samples of records that say which response is better
 *
 *     {"instruction","input","chosen","rejected",...}                alpaca, as LLaMA-Factory's rankings are
 *     {"conversations" or "messages":[...],"chosen":{},"rejected":{}}  the same of sharegpt, the responses being turns
 *     {"prompt","chosen","rejected"}                               a record of this suite
 *     {..., "kto_tag" or "label": true or false}                   a record of any kind, whose last response is desirable or not; only for KTO
 *
 * Where a dataset_info.json names the columns (dataset.h), they are read by those names, and nothing is guessed.
 *
 * A pair becomes two samples, the chosen one first. Of a conversation only the last response is supervised. */
#ifndef SA_RANKING_H
#define SA_RANKING_H

#include "samples.h"

/* As samples_add(), for a sampler whose `ranking` is not RANKING_NONE. A pair of which one is left without a supervised token is dropped. */
int ranking_add(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e);

/* Into *to, for KTO: the prompt of sample pick[i] with the response of the one before it in pick[0..n) (before the first comes the last) that is of another
 * record and has the same label; where there is none, of any other record. Cut at `cutoff` tokens. 0, or -1 when there is but one record. */
int ranking_mismatch(struct samples *to, const struct samples *s, const uint32_t *pick, size_t n, int cutoff, struct err *e);

#endif
