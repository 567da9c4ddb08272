/* head.c - the header lines of a reply, which may be anything
 *
 * The input's lines are given one by one until one is refused, with a reason. Until then the counts stay within their bounds, a wait is -1 or a
 * finite number of seconds >= 0, and what is shown of a redirect is short, printable and without the key. */
#include "fuzz.h"

#include <math.h>

#include "head.h"

#define KEY "sk-abcdefgh"

static void
check(const struct head *h)
{
	char place[128];
	size_t n;

	MUST(h->bytes <= HEAD_BYTES && h->lines <= HEAD_LINES && h->length >= -1 && h->status >= 0);
	MUST(h->retry_after < 0 || isfinite(h->retry_after));
	MUST(memchr(h->place, '\0', sizeof h->place));
	head_place(h, KEY, place, sizeof place);
	n = strnlen(place, sizeof place);
	MUST(n < sizeof place && !strstr(place, KEY));
	for (size_t i = 0; i < n; i++)
		MUST(place[i] >= ' ' && place[i] <= '~');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct head h;

	head_init(&h);
	for (const char *s = (const char *)data, *end = s + n; s < end;) {
		const char *lf = memchr(s, '\n', (size_t)(end - s)), *next = lf ? lf + 1 : end, *why = NULL;
		char *line = memcpy(xmalloc((size_t)(next - s)), s, (size_t)(next - s));
		int rc = head_line(&h, line, (size_t)(next - s), &why);

		free(line);
		if (rc < 0) {
			MUST(why && *why);
			break;
		}
		check(&h);
		s = next;
	}
	return 0;
}
