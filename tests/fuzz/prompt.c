/* prompt.c - prompt files, as a user may write them
 *
 * A file is refused with a message, or it gives as many messages as it has headings, each with a known role, and the request made of them is
 * JSON that holds the same texts. Values come out as they are and are not scanned for names. */
#include "fuzz.h"

#include "prompt.h"

#define VALUE "<{lang}>"	/* would be replaced if values were scanned */

static size_t
headings(const char *s, size_t n)
{
	size_t count = 0;

	for (const char *end = s + n, *line = s; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		stop = stop ? stop : end;
		count += stop - line > 4 && memcmp(line, "--- ", 4) == 0;
		line = stop + 1;
	}
	return count;
}

/* The messages as a request, and back. */
static void
request(const struct msg *m, size_t n)
{
	struct buf b = BUF_INIT(SIZE_MAX);
	struct params p = PARAMS_UNSET;
	json_t *root, *list;

	MUST(chat_body(&b, "model", m, n, &p) == 0);
	root = json_loadb(b.p, b.n, 0, NULL);
	list = json_object_get(root, "messages");
	MUST(json_array_size(list) == n);
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_array_get(list, i);

		MUST(strcmp(json_string_value(json_object_get(one, "role")), m[i].role) == 0);
		MUST(strcmp(json_string_value(json_object_get(one, "content")), m[i].text) == 0);
	}
	json_decref(root);
	buf_free(&b);
}

static size_t
count(const char *s, const char *what)
{
	size_t n = 0;

	while ((s = strstr(s, what))) {
		n++;
		s += strlen(what);
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const known[] = { "prompt", "lang", NULL };
	static const struct value values[] = { { "prompt", VALUE }, { "lang", "zh" }, { 0 } };
	struct err e = { "" };
	struct prompt *p = prompt_parse((const char *)data, n, "file", known, &e);
	size_t nmsg, places = 0, shown = 0;
	struct msg *m;
	char *s;

	if (!p) {
		MUST(strstr(e.msg, "file"));
		return 0;
	}
	m = prompt_fill(p, values, &nmsg);
	MUST(nmsg > 0 && nmsg == headings((const char *)data, n));
	request(m, nmsg);
	s = fuzz_string(data, n);
	if (!strstr(s, VALUE) && !strchr(s, '#')) {	/* without comments, every place is seen */
		places = count(s, "{prompt}") + count(s, "{prompt:json}");
		for (size_t i = 0; i < nmsg; i++)
			shown += count(m[i].text, VALUE);
		MUST(shown == places);
	}
	free(s);
	prompt_done(m, nmsg);
	prompt_free(p);
	return 0;
}
