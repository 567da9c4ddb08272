/* samples.h - training samples: token ids and which of them are supervised
 *
 * A record becomes one sample. Its kind is recognised by its members:
 *
 *     {"messages":[{"role","content"}]}                    every assistant turn is supervised, its end token included
 *     {"instruction","input","output","system","history"}  alpaca: instruction + "\n" + input is the user's turn
 *     {"prompt","response"}                                a record of this suite
 *     {"text"}                                             plain text: BOS if the tokenizer has one, text, end of text; all but the first token supervised
 *
 * A sample is cut from the right at `cutoff` tokens; one that is left without a supervised token is dropped. Both are counted. */
#ifndef SA_SAMPLES_H
#define SA_SAMPLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "template.h"
#include "tokenizer.h"

struct sample {
	size_t at;		/* place of its first token in ids, target */
	int n;			/* tokens, at least 2 */
	int supervised;		/* targets that are not -1, at least 1 */
	size_t line;		/* of the data file, from 1 */
};

struct samples {
	struct sample *v;
	size_t n, cap;
	int *ids, *target;	/* [tokens]; target is the next token where that is supervised, else -1 */
	size_t tokens, tokens_cap;
	size_t supervised, dropped, cut;
};

/* How a record is turned into tokens. */
struct sampler {
	const struct tok *tok;
	const char *dir;	/* of the tokenizer: its chat template is looked at when the first conversation comes */
	const char *template_name;	/* NULL: detect */
	bool template_known;	/* `template` holds */
	enum template template;
	int bos, end;		/* around plain text; -1: none */
	int vocab;		/* ids are below this */
	int cutoff;
	struct ids ids, mark;	/* scratch */
};

/* A sampler for the tokenizer in `dir`. BOS is what its post-processor puts in front, never the configuration's bos_token_id: Qwen's names a token that no
 * text begins with. eos: the configuration's, used where the tokenizer has no end of text. */
void sampler_init(struct sampler *how, const struct tok *tok, const char *dir, int eos);
void sampler_free(struct sampler *how);

/* Add one record. 0 (also when it was dropped), or -1 with why it cannot be used. */
int samples_add(struct samples *s, struct sampler *how, json_t *record, size_t line, struct err *e);
void samples_free(struct samples *s);

#endif
