/* words.c - replies in words, as sa-intent, sa-regen, sa-expand and sa-eval read them
 *
 * Labels are 1 to TEXT_LABEL bytes of the reply, lower case, no two alike, and still UTF-8. A thought and its answer lie inside the reply,
 * trimmed, the answer not empty. A text is as like itself as can be, and likeness is mutual. An option is one of four, a verdict one of its words. */
#include "fuzz.h"

#include <strings.h>

#include "extract.h"
#include "taxonomy.h"
#include "text.h"
#include "verdict.h"

#define LABELS 8

static void
labels(const char *s, bool utf8)
{
	static struct taxonomy *t;
	char label[LABELS + 1][TEXT_LABEL + 1];
	struct err e;
	int n = text_labels(s, label, LABELS);

	if (!t)
		t = taxonomy_load(NULL, &e);
	MUST(n >= -1 && n <= LABELS);
	for (int i = 0; i < n; i++) {
		size_t len = strnlen(label[i], TEXT_LABEL + 1);
		int c = taxonomy_fold(t, label[i]);

		MUST(len >= 1 && len <= TEXT_LABEL && strcasestr(s, label[i]));
		MUST(!utf8 || fuzz_utf8(label[i], len));
		MUST(c >= -2 && c < (int)taxonomy_size(t));
		for (size_t k = 0; k < len; k++)
			MUST(label[i][k] < 'A' || label[i][k] > 'Z');
		for (int k = 0; k < i; k++)
			MUST(strcmp(label[i], label[k]) != 0);
	}
}

static void
inside(const char *s, const char *part, size_t n)
{
	size_t same = n;

	MUST(part >= s && part + n <= s + strlen(s));
	MUST(text_trim(part, &same) == part && same == n);
}

static void
thought(const char *s)
{
	struct thought t;

	if (text_thought(s, &t) < 0)
		return;
	MUST(t.nanswer > 0);
	inside(s, t.answer, t.nanswer);
	inside(s, t.thought, t.nthought);
	MUST(t.thought + t.nthought <= t.answer);
}

static void
likeness(const char *s)
{
	size_t n, m;
	uint64_t *a = text_grams(s, &n), *b = text_grams(s + strlen(s) / 2, &m);
	double like = text_likeness(a, n, b, m);

	for (size_t i = 1; i < n; i++)
		MUST(a[i - 1] < a[i]);
	MUST(text_likeness(a, n, a, n) == 1);
	MUST(like >= 0 && like <= 1 && like == text_likeness(b, m, a, n));
	free(a);
	free(b);
}

static void
written(const char *s, bool utf8)
{
	char *one = text_candidate(s);

	MUST(strstr(s, one) && !strchr(one, '\n'));
	MUST(!utf8 || fuzz_utf8(one, strlen(one)));
	free(one);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const options[] = { "Yes", "No", "是", "否" };
	char *s = fuzz_string(data, n);
	bool utf8 = fuzz_utf8(s, strlen(s));
	int option = extract_option(s, options, OPTIONS_MAX), verdict = (int)verdict_parse(s);

	labels(s, utf8);
	thought(s);
	likeness(s);
	written(s, utf8);
	text_is_chinese(s);
	is_refusal(s);
	MUST(option >= -1 && option < OPTIONS_MAX);
	MUST(verdict >= 0 && verdict < VERDICTS);
	free(s);
	return 0;
}
