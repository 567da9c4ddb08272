/* samples.h - training samples: token ids and which of them are supervised
 *
 * A record (record.h) becomes one sample: of a conversation every assistant turn is supervised, its end token included; of plain text (BOS, text, end of
 * text) all but the first token.
 *
 * A sample of more than `cutoff` tokens is cut as LLaMA-Factory cuts it: turn by turn, prompt and reply from their right ends, each its share of the room.
 * That can take the header before a reply, or its end token. One that is left without a supervised token is dropped. All of that is counted. */
#ifndef SA_SAMPLES_H
#define SA_SAMPLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "record.h"
#include "template.h"
#include "tokenizer.h"

struct sample {
	size_t at;		/* place of its first token in ids, target */
	int n;			/* tokens, at least 2 */
	int supervised;		/* targets that are not -1, at least 1 */
	unsigned file;		/* of those that were read, from 0 */
	size_t line, record;	/* of it, from 1: an array of records may be one line */
	bool undesired;		/* a response that is to become less likely (ranking.h) */
};

struct samples {
	struct sample *v;
	size_t n, cap;
	int *ids, *target;	/* [tokens]; target is the next token where that is supervised, else -1 */
	size_t tokens, tokens_cap;
	size_t supervised;
	unsigned file;		/* the one that is being read */
	size_t record;		/* of it, the one that was added last */
	size_t dropped;		/* samples without a supervised token */
	size_t broken;		/* conversations that were left out */
	size_t cut, cut_header, cut_end;	/* samples that were cut; of those, without a header or an end */
};

/* Do records say which response is better (ranking.h)? Pairs do; for KTO labels do too. */
enum ranking { RANKING_NONE, RANKING_PAIRS, RANKING_ANY };

/* How a record is turned into tokens. */
struct sampler {
	const struct tok *tok;
	const struct shape *shape;	/* of the records; NULL: any */
	const char *dir;	/* of the tokenizer: its chat template is looked at when the first conversation comes */
	const char *template_name;	/* NULL: detect */
	bool template_known;	/* `template` holds */
	enum template template;
	int bos, end;		/* around plain text; -1: none */
	int vocab;		/* ids are below this */
	int cutoff;
	unsigned columns;	/* of dataset_columns(), over the records that had a shape */
	enum ranking ranking;	/* not none: only the last response of a sample is supervised */
	struct ids ids, mark;	/* scratch */
};

/* A sampler for the tokenizer in `dir`. BOS is what its post-processor puts in front, never the configuration's bos_token_id: Qwen's names a token that no
 * text begins with. eos: the configuration's, used where the tokenizer has no end of text. */
void sampler_init(struct sampler *how, const struct tok *tok, const char *dir, int eos);
void sampler_free(struct sampler *how);

/* Add one record, with a ranking the samples of both its responses. 0 (also when it was dropped); 1 when it is left out, for the reason in e; -1 with why it cannot be used. */
int samples_add(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e);
/* The same of one response, whatever the record says of others. */
int samples_add_one(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e);
/* Append ids[0..n) with their targets, unless nothing in it is supervised, as mark[t] says of each: it is counted as dropped then. */
void samples_append(struct samples *s, const int *ids, const int *mark, int n, size_t line);
/* Of all that training depends on, and `seed`. */
uint64_t samples_hash(const struct samples *s, uint64_t seed);
void samples_free(struct samples *s);

#endif
