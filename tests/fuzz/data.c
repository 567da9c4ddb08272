/* data.c - fine-tuning files: alpaca, messages, records and plain text, one a line or as an array
 *
 * A file is refused with a message, or its samples are 2 to `cutoff` tokens of the vocabulary, at least one of them supervised, each supervised
 * target the token after; the totals are the sums. Read again it gives the same. */
#include "fuzz.h"

#include "data.h"

static struct tok *tok;
static struct sampler how;

static void
setup(void)
{
	struct err e;

	if (tok)
		return;
	tok = tok_load("tests/goldens/train/tiny", &e);
	if (!tok)
		die(STATUS_USAGE, "%s (run it in the repository's root)", e.msg);
	sampler_init(&how, tok, "tests/goldens/train/tiny", 315);
	how.vocab = tok_size(tok);
}

static void
check(const struct samples *s)
{
	size_t tokens = 0, supervised = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct sample *one = &s->v[i];
		int targets = 0;

		MUST(one->n >= 2 && one->n <= how.cutoff && one->at == tokens && one->line >= 1);
		for (size_t k = one->at; k < one->at + (size_t)one->n; k++) {
			bool last = k == one->at + (size_t)one->n - 1;

			MUST(s->ids[k] >= 0 && s->ids[k] < how.vocab);
			MUST(s->target[k] == -1 || (!last && s->target[k] == s->ids[k + 1]));
			targets += s->target[k] != -1;
		}
		MUST(targets == one->supervised && targets >= 1);
		tokens += (size_t)one->n;
		supervised += (size_t)targets;
	}
	MUST(s->tokens == tokens && s->supervised == supervised);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct samples s = { 0 }, again = { 0 };
	struct err e = { "" };
	uint64_t hash = 0, hash_again = 0;
	const char *path;

	setup();
	how.cutoff = 2 + (int)fuzz_byte(&data, &n);
	path = fuzz_file(data, n);
	if (data_read(&s, &how, path, 0, &hash, &e) < 0)
		MUST(e.msg[0]);
	else
		MUST(data_read(&again, &how, path, 0, &hash_again, &e) == 0 && hash == hash_again && s.tokens == again.tokens && s.dropped == again.dropped);
	check(&s);
	samples_free(&s);
	samples_free(&again);
	return 0;
}
