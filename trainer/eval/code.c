/* code.c - see code.h */

#include "code.h"

#include <stdbool.h>
#include <string.h>

#include "buf.h"
#include "err.h"

const char *const code_stop[] = { "\nclass", "\ndef", "\n#", "\nif", "\nprint", NULL };

char *
code_completion(const char *text)
{
	size_t n = strlen(text);

	for (const char *const *s = code_stop; *s; s++) {
		const char *at = strstr(text, *s);

		if (at && (size_t)(at - text) < n)
			n = (size_t)(at - text);
	}
	return xstrndup(text, n);
}

/* re: def\s+ENTRY; entry NULL: def */
static const char *
find_def(const char *s, const char *entry)
{
	for (; (s = strstr(s, "def")); s++) {
		size_t space = strspn(s + 3, " \t\n\r\f\v");

		if (!entry || (space && strncmp(s + 3 + space, entry, strlen(entry)) == 0))
			return s;
	}
	return NULL;
}

/* What is behind the first colon that ends a line. */
static const char *
find_body(const char *def)
{
	const char *colon = def ? strstr(def, ":\n") : NULL;

	return colon ? colon + 2 : NULL;
}

/* re: (.*?)\n``` after the def in the first fence that has one; a later fence has nothing that the first one's rest has not. */
static char *
in_fence(const char *text, const char *entry)
{
	const char *fence = strstr(text, "```"), *body = fence ? find_body(find_def(fence + 3, entry)) : NULL,
		*end = body ? strstr(body, "\n```") : NULL;

	return end ? xstrndup(body, (size_t)(end - body)) : NULL;
}

/* re: (?!\n*(?:  |\t)) */
static bool
goes_on(const char *s)
{
	s += strspn(s, "\n");
	return *s == '\t' || (s[0] == ' ' && s[1] == ' ');
}

/* re: (.*?)(?:\n(?!\n*(?:  |\t))|$) */
static char *
indented(const char *body)
{
	const char *p = body;

	if (!body)
		return NULL;
	while (*p && !(*p == '\n' && !goes_on(p + 1)))
		p++;
	return xstrndup(body, (size_t)(p - body));
}

/* Python's textwrap.indent(text, " " * 4): lines of white space alone stay. */
static char *
indent(const char *text)
{
	struct buf out = BUF_INIT(BUF_MAX_TEXT);

	while (*text) {
		size_t n = strcspn(text, "\n");

		if (strspn(text, " \t\r\f\v") < n)
			buf_adds(&out, "    ");
		n += text[n] == '\n';
		buf_add(&out, text, n);
		text += n;
	}
	return out.p ? buf_take(&out) : xstrdup("");
}

char *
code_in_chat(const char *text, const char *entry)
{
	char *code = in_fence(text, entry);

	if (!code)
		code = indented(find_body(find_def(text, entry)));
	if (!code)
		code = indented(find_body(find_def(text, NULL)));
	return code ? code : indent(text);
}
