/* script.c - the lines of a fault server's script */

#include "script.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "num.h"

static const char *const kind_name[] = {
	"ok", "echo-prompt", "seed", "echo", "length", "null", "refusal", "filtered", "json", "status", "garbage", "noise", "big", "cut", "close",
	"reset", "hang", "die", NULL
};

static struct action *script;
static size_t lines, at, done_of_line;	/* the script, its line in use, requests that it answered */

char *
script_word(char **s)
{
	char *w = *s + strspn(*s, " ");
	size_t n = strcspn(w, " ");

	*s = w + n;
	if (**s)
		*(*s)++ = 0;
	return w;
}

static long long
number(const char *s, const char *line)
{
	long long x;

	if (num_int(s, 0, 1000000000, &x, NULL) < 0)
		die(STATUS_USAGE, "script: no number: %s in: %s", s, line);
	return x;
}

static void
parse_wait(struct action *a, char *w, const char *line)
{
	char *dash = strchr(w, '-');

	if (dash)
		*dash = 0;
	a->wait_from = number(w, line);
	a->wait_to = dash ? number(dash + 1, line) : a->wait_from;
}

static void
parse_status(struct action *a, char *s, const char *line)
{
	a->status = number(script_word(&s), line);
	while (*s) {
		const char *w = script_word(&s);

		if (strcmp(w, "retry-after") == 0)
			a->retry_after = script_word(&s);
		else if (strcmp(w, "code") == 0)
			a->code = script_word(&s);
		else
			die(STATUS_USAGE, "script: unknown word: %s in: %s", w, line);
	}
}

static struct action
parse_line(char *s)
{
	struct action a = { .times = 1 };
	const char *line = xstrdup(s), *w;
	int k = 0;

	for (w = script_word(&s); strcmp(w, "times") == 0 || strcmp(w, "delay") == 0; w = script_word(&s)) {
		if (*w == 't')
			a.times = number(script_word(&s), line);
		else
			parse_wait(&a, script_word(&s), line);
	}
	while (kind_name[k] && strcmp(kind_name[k], w) != 0)
		k++;
	if (!kind_name[k])
		die(STATUS_USAGE, "script: unknown action: %s", line);
	a.kind = (enum kind)k;
	a.text = s;
	if (a.kind == STATUS)
		parse_status(&a, s, line);
	if (a.kind == BIG)
		a.mib = number(script_word(&s), line);
	free((char *)line);
	return a;
}

void
script_read(const char *path)
{
	struct buf b = BUF_INIT(1 << 20);
	struct err e;
	char *rest;

	if (buf_read_file(&b, path, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	rest = b.p;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		script = xreallocarray(script, lines + 1, sizeof *script);
		script[lines++] = parse_line(line);
	}
	if (lines == 0)
		die(STATUS_USAGE, "%s: no actions", path);
}

const struct action *
script_next(void)
{
	const struct action *a = &script[at];

	if (++done_of_line >= (size_t)a->times && at + 1 < lines) {
		at++;
		done_of_line = 0;
	}
	return a;
}
