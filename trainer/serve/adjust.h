/* adjust.h - logits changed before a token is drawn: end tokens held back, logit_bias, penalties
 *
 * In vLLM's order and with its formulas, in fp32 (vllm/v1/sample, as of 0.11):
 * 1. min_tokens: end tokens become -infinity until that many tokens were generated.
 * 2. logit_bias: x += bias.
 * 3. repetition_penalty r, for tokens of the prompt and of what was generated (Keskar et al. 2019, arXiv:1909.05858, 4.1; HF's
 *    RepetitionPenaltyLogitsProcessor): x = x > 0 ? x / r : x * r.
 * 4. frequency_penalty f and presence_penalty p (OpenAI's), for tokens that were generated, c times: x -= f * c, then x -= p.
 * Log-probabilities in replies are those before all that, so the changes are undone once the token is drawn. Pure. */
#ifndef SA_ADJUST_H
#define SA_ADJUST_H

#include <stdbool.h>
#include <stddef.h>

#include "draw.h"

#define ADJUST_BIASES 1024	/* entries of logit_bias */

struct bias {
	int id;
	float by;
};

struct adjust {
	double repetition;	/* 1: none */
	double presence, frequency;
	struct bias *bias;
	size_t nbias;
	int min_tokens;
};

/* What a thread needs for it; zeroed but for count. */
struct adjust_scratch {
	int *count;		/* [vocabulary], all 0 */
	struct candidate *old;	/* what was changed: the logits before, in the order of the changes */
	size_t n, cap;
};

/* ids[0..nprompt) are the prompt, ids[nprompt..n) what was generated, end[0..nend) the tokens that would end the text. */
void adjust_logits(struct adjust_scratch *w, const struct adjust *a, const int *ids, int nprompt, int n, const int *end, size_t nend, float *x);
/* The logits as they were. */
void adjust_undo(struct adjust_scratch *w, float *x);

#endif
