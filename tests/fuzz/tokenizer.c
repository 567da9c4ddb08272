/* tokenizer.c - tokenizer.json files, which come from anywhere
 *
 * A file is refused with a message, or any text comes back byte for byte from its tokens, with ids below the size. */
#include "fuzz.h"

#include "tokenizer.h"

static void
there_and_back(const struct tok *t, const char *s, size_t n, bool special)
{
	struct buf b = BUF_INIT(SIZE_MAX);
	struct ids ids = { 0 };

	tok_encode(t, s, n, special, &ids);
	for (size_t i = 0; i < ids.n; i++) {
		size_t len;
		const char *p = tok_bytes(t, ids.v[i], &len);

		MUST(ids.v[i] >= 0 && ids.v[i] < tok_size(t));
		buf_add(&b, p, len);
	}
	MUST(b.n == n && memcmp(b.p, s, n) == 0);
	buf_free(&b);
	ids_free(&ids);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "Hello, world! 12345  what's  <|eot_id|> \n\n\t\xe4\xbd\xa0\xe5\xa5\xbd\xff end ";
	struct err e = { "" };
	struct tok *t = tok_load(fuzz_in_dir("tokenizer.json", data, n), &e);
	size_t len;

	if (!t) {
		MUST(strstr(e.msg, "tokenizer.json"));
		return 0;
	}
	MUST(tok_bos(t) >= -1 && tok_bos(t) < tok_size(t));
	there_and_back(t, text, sizeof text - 1, false);
	there_and_back(t, text, sizeof text - 1, true);
	there_and_back(t, (const char *)data, n < 512 ? n : 512, true);
	for (int id = -2; id < tok_size(t) + 2; id++)
		MUST(tok_bytes(t, id, &len) && (tok_is_special(t, id) || 1));
	tok_free(t);
	return 0;
}
