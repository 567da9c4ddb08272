/* head.c - the header lines of a reply, one by one as they come */

#include "head.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "num.h"
#include "retry.h"

#define PLACE_MAX 100

void
head_init(struct head *h)
{
	*h = (struct head){ .length = -1, .retry_after = -1 };
}

/* The value of `line` when it is that header, without white space around it, cut, as a string in out; else false. */
static bool
value_of(const char *line, size_t n, const char *name, char *out, size_t max)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return false;
	line += len + 1;
	n -= len + 1;
	while (n > 0 && (*line == ' ' || *line == '\t'))
		line++, n--;
	while (n > 0 && strchr(" \t\r\n", line[n - 1]))
		n--;
	n = n < max ? n : max - 1;
	memcpy(out, line, n);
	out[n] = 0;
	return true;
}

static int
length_line(struct head *h, const char *value, const char **why)
{
	long long length;

	if (num_int(value, 0, 1LL << 60, &length, NULL) < 0)
		*why = "the reply's Content-Length cannot be read";
	else if (h->length >= 0 && h->length != length)
		*why = "the reply has two lengths";
	else
		h->length = length;
	return *why ? -1 : 0;
}

/* Both are an attempt to be read in two ways (RFC 9112, 6.3), or the work of a broken gateway. */
static int
end_of_head(struct head *h, const char **why)
{
	h->ended = true;
	if (h->chunked && h->length >= 0)
		*why = "the reply has both a length and a chunked coding";
	return *why ? -1 : 0;
}

static void
status_line(struct head *h, const char *line, size_t n)
{
	struct head fresh;
	const char *p = memchr(line, ' ', n);

	head_init(&fresh);
	fresh.bytes = h->bytes;
	fresh.lines = h->lines;
	for (; p && p + 1 < line + n && p[1] >= '0' && p[1] <= '9' && fresh.status < 1000; p++)
		fresh.status = fresh.status * 10 + (p[1] - '0');
	*h = fresh;
}

static int
member_line(struct head *h, const char *line, size_t n, const char **why)
{
	char v[sizeof h->place];

	switch (*line | 0x20) {
	case 'c':
		if (value_of(line, n, "Content-Length", v, sizeof v))
			return length_line(h, v, why);
		if (value_of(line, n, "Content-Encoding", v, sizeof v))
			h->coded = h->coded || (*v && strcasecmp(v, "identity") != 0);
		break;
	case 't':
		if (!value_of(line, n, "Transfer-Encoding", v, sizeof v) || !*v || strcasecmp(v, "identity") == 0)
			break;
		h->chunked = strcasecmp(v, "chunked") == 0;
		if (!h->chunked)
			*why = "the reply has a transfer coding that was not asked for";
		break;
	case 'r':	/* the finer one wins whichever comes first */
		if (value_of(line, n, "retry-after-ms", v, sizeof v) && retry_after_ms(v) >= 0)
			h->retry_after = retry_after_ms(v);
		else if (value_of(line, n, "retry-after", v, sizeof v) && h->retry_after < 0)
			h->retry_after = retry_after(v, time(NULL));
		break;
	case 'l':
		value_of(line, n, "Location", h->place, sizeof h->place);
	}
	return *why ? -1 : 0;
}

int
head_line(struct head *h, const char *line, size_t n, const char **why)
{
	*why = NULL;
	h->bytes += n;
	if (++h->lines > HEAD_LINES || h->bytes > HEAD_BYTES) {
		*why = "the reply's header does not end (more than 1,000 lines or 256 KiB)";
		return -1;
	}
	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		status_line(h, line, n);
		return 0;
	}
	if (h->ended || n == 0)
		return 0;
	if (*line == '\r' || *line == '\n')
		return end_of_head(h, why);
	return member_line(h, line, n, why);
}

/* ---- redirects ---- */

/* scheme://user:password@host/path?query -> scheme://host/path */
static void
public_part(const char *place, char *out, size_t max)
{
	const char *host = strstr(place, "//");
	size_t n = strcspn(place, "?#");
	size_t at = 0;

	if (!host || host > place + n)
		host = place;
	else
		host += 2;
	for (size_t i = (size_t)(host - place); i < n && place[i] != '/'; i++)
		if (place[i] == '@')
			at = i + 1;
	if (at)
		snprintf(out, max, "%.*s%.*s", (int)(host - place), place, (int)(n - at), place + at);
	else
		snprintf(out, max, "%.*s", (int)n, place);
}

void
head_place(const struct head *h, const char *key, char *out, size_t max)
{
	char text[sizeof h->place], start[17];
	size_t n;

	public_part(h->place, text, sizeof text);
	snprintf(start, sizeof start, "%s", key ? key : "");	/* a long one may have been cut in the place */
	if (*start && strstr(text, start)) {
		snprintf(out, max, "another place");
		return;
	}
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	n = strlen(text);
	snprintf(out, max, "%.*s%s", PLACE_MAX, text, n > PLACE_MAX ? "..." : "");
}

