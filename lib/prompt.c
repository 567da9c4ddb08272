/* prompt.c - prompt files: the messages that a stage sends, with places for the record's own text */
#include "prompt.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* A run of text, or the place of a value. */
struct part {
	const char *s;	/* text, or the value's name; into prompt.text */
	size_t n;
	enum { TEXT, PLAIN, QUOTED } kind;
	size_t msg;	/* the message that it belongs to */
};

struct prompt {
	char *text;
	const char **role;	/* one for each message */
	size_t n;
	struct part *part;
	size_t nparts;
};

/* What the parser carries along; `line` is for messages. */
struct reader {
	struct prompt *p;
	const char *name;
	size_t line;
	const char *const *known;
	struct err *e;
};

static const char *
role_of(const char *s, size_t n)
{
	static const char *const roles[] = { "system", "user", "assistant" };

	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (strlen(roles[i]) == n && memcmp(roles[i], s, n) == 0)
			return roles[i];
	return NULL;
}

static void
add_part(struct prompt *p, const char *s, size_t n, int kind)
{
	if (!n)
		return;
	p->part = xreallocarray(p->part, p->nparts + 1, sizeof *p->part);
	p->part[p->nparts++] = (struct part){ .s = s, .n = n, .kind = kind, .msg = p->n - 1 };
}

/* "--- role": starts a message. */
static int
heading(struct reader *r, const char *s, size_t n)
{
	struct prompt *p = r->p;
	const char *role;

	s += 4;
	n -= 4;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	role = role_of(s, n);
	if (!role)
		return err_set(r->e, "%s:%zu: '%.*s' is no role (system, user or assistant)", r->name, r->line, (int)n, s);
	p->role = xreallocarray(p->role, p->n + 1, sizeof *p->role);
	p->role[p->n++] = role;
	return 0;
}

/* Length of the name at s, 0 when there is none. */
static size_t
ident(const char *s, const char *end)
{
	size_t n = 0;

	if (s < end && (isalpha((unsigned char)*s) || *s == '_'))
		while (s + n < end && (isalnum((unsigned char)s[n]) || s[n] == '_'))
			n++;
	return n;
}

static bool
is_known(const struct reader *r, const char *s, size_t n)
{
	for (const char *const *k = r->known; k && *k; k++)
		if (strlen(*k) == n && memcmp(*k, s, n) == 0)
			return true;
	return false;
}

/* At a '{': how many bytes the place takes (with its braces), 0 when it is an ordinary brace, -1 when it is a mistake. */
static long
place(struct reader *r, const char *s, const char *end)
{
	size_t n = ident(s + 1, end), format;
	const char *after = s + 1 + n;

	if (!n || after == end)
		return 0;
	if (*after == '}') {
		if (!is_known(r, s + 1, n))
			return err_set(r->e, "%s:%zu: unknown name {%.*s}", r->name, r->line, (int)n, s + 1);
		add_part(r->p, s + 1, n, PLAIN);
		return n + 2;
	}
	format = *after == ':' ? ident(after + 1, end) : 0;
	if (!format || after + 1 + format == end || after[1 + format] != '}')
		return 0;
	if (format != 4 || memcmp(after + 1, "json", 4) != 0) {
		if (!is_known(r, s + 1, n))
			return 0;
		return err_set(r->e, "%s:%zu: {%.*s} has a format other than json", r->name, r->line, (int)(n + 1 + format), s + 1);
	}
	if (!is_known(r, s + 1, n))
		return err_set(r->e, "%s:%zu: unknown name {%.*s:json}", r->name, r->line, (int)n, s + 1);
	add_part(r->p, s + 1, n, QUOTED);
	return n + 2 + 5;
}

/* The text of the current message up to `end`, from line r->line on. */
static int
body(struct reader *r, const char *s, const char *end)
{
	const char *from = s;
	long n;

	while (s < end) {
		size_t parts = r->p->nparts;

		if (*s == '\n')
			r->line++;
		if (*s != '{') {
			s++;
			continue;
		}
		add_part(r->p, from, s - from, TEXT);
		n = place(r, s, end);
		if (n < 0)
			return -1;
		if (n == 0) {	/* an ordinary brace: one run with the text around it */
			r->p->nparts = parts;
			s++;
			continue;
		}
		s += n;
		from = s;
	}
	add_part(r->p, from, s - from, TEXT);
	return 0;
}

/* Where the line at s ends: at its newline or at `end`. */
static const char *
line_end(const char *s, const char *end)
{
	const char *lf = memchr(s, '\n', end - s);

	return lf ? lf : end;
}

static bool
is_heading(const char *s, const char *end)
{
	return end - s > 4 && memcmp(s, "--- ", 4) == 0;
}

/* The texts go into a request: strings, and JSON. */
static int
check_text(const struct reader *r, const char *s, size_t n)
{
	size_t line = 1;

	for (const char *end = s + n; s < end; line++) {
		const char *stop = line_end(s, end);

		if (!utf8_valid((const unsigned char *)s, (size_t)(stop - s)))
			return err_set(r->e, "%s:%zu: no UTF-8", r->name, line);
		if (memchr(s, '\0', (size_t)(stop - s)))
			return err_set(r->e, "%s:%zu: a NUL byte", r->name, line);
		s = stop + 1;
	}
	return 0;
}

/* Comments and blank lines before the first heading. Returns where that is, NULL with a message. */
static const char *
skip_comments(struct reader *r, const char *s, const char *end)
{
	for (; s < end; r->line++) {
		const char *stop = line_end(s, end);

		if (is_heading(s, stop))
			return s;
		while (s < stop && isspace((unsigned char)*s))
			s++;
		if (s < stop && *s != '#') {
			err_set(r->e, "%s:%zu: text before the first heading (--- system, --- user)", r->name, r->line);
			return NULL;
		}
		s = stop + (stop < end);
	}
	err_set(r->e, "%s: no heading (--- system, --- user)", r->name);
	return NULL;
}

/* s is at a heading; its text runs to the next one, without the newline before that. */
static int
messages(struct reader *r, const char *s, const char *end)
{
	while (s < end) {
		const char *stop = line_end(s, end), *from, *next;
		size_t line;

		if (heading(r, s, stop - s) < 0)
			return -1;
		line = ++r->line;
		from = next = stop + (stop < end);
		while (next < end && !is_heading(next, line_end(next, end))) {
			next = line_end(next, end);
			next += next < end;
			line++;
		}
		stop = next > from && next[-1] == '\n' ? next - 1 : next;
		if (body(r, from, stop) < 0)
			return -1;
		r->line = line;
		s = next;
	}
	return 0;
}

struct prompt *
prompt_parse(const char *text, size_t n, const char *name, const char *const *known, struct err *e)
{
	struct prompt *p = xcalloc(1, sizeof *p);
	struct reader r = { .p = p, .name = name, .line = 1, .known = known, .e = e };
	const char *s;

	p->text = xmalloc(n);
	memcpy(p->text, text, n);
	s = check_text(&r, p->text, n) < 0 ? NULL : skip_comments(&r, p->text, p->text + n);
	if (s && messages(&r, s, p->text + n) == 0)
		return p;
	prompt_free(p);
	return NULL;
}

struct prompt *
prompt_load(const char *path, const char *const *known, struct err *e)
{
	struct buf b = BUF_INIT((size_t)1 << 20);
	struct prompt *p = NULL;

	if (buf_read_file(&b, path, e) == 0)
		p = prompt_parse(b.p, b.n, path, known, e);
	buf_free(&b);
	return p;
}

void
prompt_free(struct prompt *p)
{
	if (!p)
		return;
	free(p->text);
	free(p->role);
	free(p->part);
	free(p);
}

static const char *
value_of(const struct value *v, const struct part *part)
{
	for (; v && v->name; v++)
		if (strlen(v->name) == part->n && memcmp(v->name, part->s, part->n) == 0)
			return v->text;
	return NULL;
}

static void
fill_part(struct buf *b, const struct part *part, const struct value *values)
{
	const char *v;

	if (part->kind == TEXT) {
		buf_add(b, part->s, part->n);
		return;
	}
	v = value_of(values, part);
	if (v && part->kind == QUOTED)
		buf_json(b, v, strlen(v));
	else if (v)
		buf_adds(b, v);
}

struct msg *
prompt_fill(const struct prompt *p, const struct value *values, size_t *n)
{
	struct buf b = BUF_INIT(SIZE_MAX);	/* the values are in memory already */
	size_t head = p->n * sizeof(struct msg), at = 0;
	struct msg *m;

	for (size_t i = 0, part = 0; i < p->n; i++) {
		for (; part < p->nparts && p->part[part].msg == i; part++)
			fill_part(&b, &p->part[part], values);
		buf_addc(&b, '\0');
	}
	m = xmalloc(head + b.n);
	memcpy((char *)m + head, b.p, b.n);
	for (size_t i = 0; i < p->n; i++) {
		m[i] = (struct msg){ .role = p->role[i], .text = (char *)m + head + at };
		at += strlen(m[i].text) + 1;
	}
	buf_free(&b);
	*n = p->n;
	return m;
}

void
prompt_done(struct msg *msgs, size_t n)
{
	(void)n;
	free(msgs);
}
