/* sa-ppl - perplexity of each prompt
 *
 * exp(-mean log p(token | tokens before)) over the prompt's tokens after the first, from the log-probabilities that a completions server
 * echoes (OpenAI "echo" with "logprobs", vLLM "prompt_logprobs"). Method, section 3.7. */

#include <math.h>

#include "filter.h"

static bool force;

static int
ask(struct rec *r, struct asks *q)
{
	const char *prompt;

	if (!force && rec_has(r, "ppl"))
		return DONE;
	prompt = rec_text(r, "prompt");
	if (!prompt)
		return fail(r, BAD_RECORD, "no string \"prompt\"");
	ask_echo(q, prompt, 0);
	return DONE;
}

static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	struct nll n;

	(void)more;
	if (reply_nll(a, &n) < 0)
		return fail(r, UNPARSED, "no log-probabilities of the prompt's tokens in the reply");
	if (n.tokens == 0)
		return fail(r, BAD_RECORD, "the prompt has fewer than two tokens");
	if (!isfinite(exp(n.sum / (double)n.tokens)))
		return fail(r, UNPARSED, "the perplexity is not finite");
	put_num(r, "ppl", exp(n.sum / (double)n.tokens));
	put_int(r, "ppl_tokens", n.tokens);
	return DONE;
}

static const struct opt opts[] = {
	{ "force", 'f', OPT_FLAG, &force, NULL, "compute again where \"ppl\" is already there", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-ppl", .synopsis = "-e endpoint [-m model] [option ...] <records >records",
		.about = "Adds the perplexity of each prompt (ppl, ppl_tokens).",
		.opts = opts, .ask = ask, .take = take,
	});
}
