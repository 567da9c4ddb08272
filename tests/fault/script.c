/* script.c - the lines of a fault server's script */

#include "script.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "buf.h"
#include "err.h"
#include "num.h"

#define MOST 1000000000

static const char *const kind_name[] = {
	"ok", "echo-prompt", "seed", "echo", "length", "null", "refusal", "filtered", "half", "json", "file", "status", "garbage", "noise", "big",
	"endless", "endless-headers", "endless-interim", "cut", "cut-reset", "close", "reset", "hang", "down", "die", NULL
};

/* What stands before an action and says how it is done. */
static const struct modifier {
	const char *name;
	enum { FLAG, NUMBER, WORD } type;
	size_t at;
} modifiers[] = {
	{ "first", NUMBER, offsetof(struct action, first) },
	{ "usage", WORD, offsetof(struct action, usage) },
	{ "chunked", FLAG, offsetof(struct action, chunked) },
	{ "bad-chunks", FLAG, offsetof(struct action, bad_chunks) },
	{ "http10", FLAG, offsetof(struct action, http10) },
	{ "then-close", FLAG, offsetof(struct action, then_close) },
	{ "then-reset", FLAG, offsetof(struct action, then_reset) },
	{ "drip", NUMBER, offsetof(struct action, drip) },
	{ "drip-head", NUMBER, offsetof(struct action, drip_head) },
	{ "claim", NUMBER, offsetof(struct action, claim) },
	{ "interim", NUMBER, offsetof(struct action, interim) },
	{ "twice", NUMBER, offsetof(struct action, twice) },
	{ 0 }
}, of_status[] = {
	{ "retry-after", WORD, offsetof(struct action, retry_after) },
	{ "retry-after-ms", WORD, offsetof(struct action, retry_after_ms) },
	{ "retry-after-date", NUMBER, offsetof(struct action, retry_after_date) },
	{ "code", WORD, offsetof(struct action, code) },
	{ 0 }
};

/* How much a line takes: at once, and in a time (a bucket of `most` requests that fills up in `seconds`). */
struct limits {
	long long slots, busy;
	double most, seconds, left;
	struct timespec since;
	struct action over_slots, over_rate;
};

struct line {
	long long times;
	struct limits limits;
	struct action *action;
	size_t n;
};

static struct line *script;
static size_t lines, at;	/* the script and its line in use */
static long long done_of_line;	/* requests that it answered */
static struct action *models;

/* ---- words ---- */

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
number(const char *s)
{
	long long x;

	if (num_int(s, -MOST, MOST, &x, NULL) < 0)
		die(STATUS_USAGE, "script: no number: %s", s);
	return x;
}

/* FROM/TO, FROM-TO or FROM alone, which is then both. */
static void
parse_pair(char *w, char between, long long *from, long long *to)
{
	char *second = strchr(w, between);

	if (second)
		*second++ = 0;
	*from = number(w);
	*to = second ? number(second) : *from;
}

static void
parse_header(struct action *a, char **s)
{
	struct buf b = BUF_INIT(1 << 20);
	const char *name = script_word(s);

	buf_addf(&b, "%s%s: %s\r\n", a->header ? a->header : "", name, script_word(s));
	free(a->header);
	a->header = buf_take(&b);
}

/* True when `w` is a modifier: it and its values are then taken from *s. */
static bool
parse_modifier(const struct modifier *m, struct action *a, const char *w, char **s)
{
	while (m->name && strcmp(m->name, w) != 0)
		m++;
	if (!m->name)
		return false;
	if (m->type == FLAG)
		*(bool *)((char *)a + m->at) = true;
	else if (m->type == NUMBER)
		*(long long *)((char *)a + m->at) = number(script_word(s));
	else
		*(char **)((char *)a + m->at) = script_word(s);
	return true;
}

/* The percentage of a mix: "12.5%". */
static bool
parse_percent(struct action *a, const char *w)
{
	char text[16];
	size_t n = strlen(w);

	if (n < 2 || n > sizeof text || w[n - 1] != '%')
		return false;
	memcpy(text, w, n - 1);
	text[n - 1] = 0;
	if (num_real(text, 0, 100, &a->percent, NULL) < 0)
		die(STATUS_USAGE, "script: no percentage: %s", w);
	return true;
}

static bool
parse_before(struct action *a, const char *w, char **s)
{
	if (strcmp(w, "delay") == 0)
		parse_pair(script_word(s), '-', &a->wait_from, &a->wait_to);
	else if (strcmp(w, "headers") == 0)
		parse_pair(script_word(s), '/', &a->headers, &a->header_size);
	else if (strcmp(w, "header") == 0)
		parse_header(a, s);
	else
		return parse_percent(a, w) || parse_modifier(modifiers, a, w, s);
	return true;
}

static void
set_name(struct action *a, const char *name)
{
	struct buf b = BUF_INIT(1 << 22);

	buf_json(&b, name, strlen(name));
	a->name = buf_take(&b);
}

static struct action
parse_action(char *s)
{
	struct action a = { .percent = -1, .twice = -1, .retry_after_date = -1 };
	const char *w;
	int k = 0;

	set_name(&a, s + strspn(s, " "));
	do
		w = script_word(&s);
	while (parse_before(&a, w, &s));
	while (kind_name[k] && strcmp(kind_name[k], w) != 0)
		k++;
	if (!kind_name[k])
		die(STATUS_USAGE, "script: unknown action: %s", w);
	a.kind = (enum kind)k;
	a.text = s;
	if (a.kind == STATUS || a.kind == BIG || a.kind == DOWN)
		a.n = number(script_word(&s));
	while (a.kind == STATUS && *s)
		if (!parse_modifier(of_status, &a, w = script_word(&s), &s))
			die(STATUS_USAGE, "script: unknown word: %s", w);
	a.paid = a.kind <= FILTERED && !a.bad_chunks && !a.claim;
	a.then_close = a.then_close || a.http10 || a.kind == CUT || a.kind == NOISE;
	a.then_reset = a.then_reset || a.kind == CUT_RESET;
	return a;
}

/* ---- lines ---- */

static struct action
over(long long status, const char *name)
{
	struct action a = { .kind = STATUS, .n = status, .percent = -1, .twice = -1, .retry_after_date = -1 };

	a.text = "";
	set_name(&a, name);
	return a;
}

/* The words before the first action. Returns what is left of the line. */
static char *
parse_limits(struct line *l, char *s)
{
	for (;;) {
		char *rest = s, *w = script_word(&rest);
		size_t n = strlen(w);
		long long a = 0, b = 0;

		if (strcmp(w, "times") != 0 && strcmp(w, "slots") != 0 && strcmp(w, "rate") != 0) {
			if (rest > s && w + n + 1 == rest)	/* put back what script_word() cut */
				w[n] = ' ';
			return w;
		}
		parse_pair(script_word(&rest), '/', &a, &b);
		if (*w == 't')
			l->times = a;
		else if (*w == 's')
			l->limits.slots = a, l->limits.over_slots = over(b == a ? 503 : b, "over the slots");
		else
			l->limits.most = l->limits.left = (double)a, l->limits.seconds = (double)b, l->limits.over_rate = over(429, "over the rate");
		s = rest;
	}
}

static void
add_action(struct line *l, char *s)
{
	l->action = xreallocarray(l->action, l->n + 1, sizeof *l->action);
	l->action[l->n++] = parse_action(s);
}

static void
parse_line(char *s)
{
	struct line l = { .times = 1 };
	char *bar;

	if (strncmp(s, "models ", 7) == 0) {
		models = xmalloc(sizeof *models);
		*models = parse_action(s + 7);
		return;
	}
	s = parse_limits(&l, s);
	if (strncmp(s, "mix ", 4) != 0) {
		add_action(&l, s);
	} else for (s += 4; s; s = bar) {
		bar = strstr(s, " | ");
		if (bar) {
			*bar = 0;
			bar += 3;
		}
		add_action(&l, s);
	}
	script = xreallocarray(script, lines + 1, sizeof *script);
	script[lines++] = l;
}

void
script_read(const char *path)
{
	struct buf b = BUF_INIT(1 << 22);
	struct err e;
	char *rest;

	if (buf_read_file(&b, path, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	rest = b.p;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (*line && *line != '#')
			parse_line(line);
	if (lines == 0)
		die(STATUS_USAGE, "%s: no actions", path);
	for (size_t i = 0; i < lines; i++)
		script[i].limits.over_rate.over = &script[i].limits;
}

const struct action *
script_models(void)
{
	return models;
}

void
script_each(void (*each)(const struct action *a, void *arg), void *arg)
{
	for (size_t i = 0; i < lines; i++) {
		for (size_t k = 0; k < script[i].n; k++)
			each(&script[i].action[k], arg);
		if (script[i].limits.slots)
			each(&script[i].limits.over_slots, arg);
		if (script[i].limits.seconds > 0)
			each(&script[i].limits.over_rate, arg);
	}
}

/* ---- which ---- */

static void
refill(struct limits *l)
{
	struct timespec now;
	double passed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (double)(now.tv_sec - l->since.tv_sec) + (double)(now.tv_nsec - l->since.tv_nsec) / 1e9;
	l->since = now;
	l->left += passed * l->most / l->seconds;
	if (l->left > l->most)
		l->left = l->most;
}

long long
script_wait_ms(const struct limits *l)
{
	return l ? (long long)((1 - l->left) * l->seconds / l->most * 1000) + 1 : -1;
}

/* The reply of a limit that is reached, or NULL. */
static struct action *
limited(struct limits *l)
{
	if (l->seconds > 0) {
		refill(l);
		if (l->left < 1)
			return &l->over_rate;
	}
	if (l->slots && l->busy >= l->slots)
		return &l->over_slots;
	l->left--;
	return NULL;
}

void
script_release(struct limits *holds)
{
	if (holds)
		holds->busy--;
}

static double
percent_of(uint64_t hash, uint64_t seed)
{
	return (double)(XXH3_64bits_withSeed(&hash, sizeof hash, seed) >> 11) * 0x1p-53 * 100;
}

/* Of each hundred records the same ones meet a "first" again; any other percentage is drawn anew for each attempt. */
static struct action *
draw(struct line *l, uint64_t hash, long attempt)
{
	double record = percent_of(hash, 0), once = percent_of(hash, (uint64_t)attempt);

	for (size_t i = 0; i + 1 < l->n; i++) {
		struct action *a = &l->action[i];
		double *u = a->first ? &record : &once;
		bool mine = a->percent < 0 || (*u >= 0 && *u < a->percent);

		if (a->percent >= 0)
			*u -= a->percent;
		if (mine && (!a->first || attempt <= a->first))
			return a;
	}
	return &l->action[l->n - 1];
}

struct action *
script_next(uint64_t hash, long attempt, struct limits **holds)
{
	struct line *l = &script[at];
	struct action *a = limited(&l->limits);

	*holds = NULL;
	if (!a) {
		a = draw(l, hash, attempt);
		*holds = &l->limits;
		l->limits.busy++;
	}
	if (++done_of_line >= l->times && at + 1 < lines) {
		at++;
		done_of_line = 0;
	}
	a->count++;
	return a;
}
