/* taxonomy.c - taxonomy files, as a user may write them
 *
 * A file is refused with a message, or every one of its categories has a code and names that are found again, in it or in an earlier one that
 * has the same, and a word that it does not hold folds into nothing. */
#include "fuzz.h"

#include "taxonomy.h"

static void
found(const struct taxonomy *t, const char *word, size_t i)
{
	int c = taxonomy_category(t, word);

	MUST(c >= 0 && (size_t)c <= i);
	MUST(taxonomy_fold(t, word) == c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e = { "" };
	struct taxonomy *t = taxonomy_load(fuzz_file(data, n), &e);
	char *s;

	if (!t) {
		MUST(e.msg[0]);
		return 0;
	}
	MUST(taxonomy_size(t) >= 1 && taxonomy_size(t) <= CATEGORIES_MAX);
	for (size_t i = 0; i < taxonomy_size(t); i++) {
		const struct category *c = taxonomy_at(t, i);

		found(t, c->code, i);
		found(t, c->name, i);
		found(t, c->zh, i);
		MUST(taxonomy_code(t, (int)i) == c->code);
	}
	s = fuzz_string(data, n);
	if (!strcasestr(s, "zebra") && !strchr(s, '\\') && strlen(s) == n)
		MUST(taxonomy_fold(t, "zebra") == -2);
	free(s);
	MUST(taxonomy_category(t, "none") >= -1);
	MUST(strcmp(taxonomy_code(t, -1), "none") == 0);
	taxonomy_free(t);
	return 0;
}
