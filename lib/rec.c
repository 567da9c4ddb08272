/* rec.c - one record: the user's bytes, and what we add */
#include "rec.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "json.h"
#include "num.h"

/* A member that was put. */
struct edit {
	struct edit *next;
	char *name;
	char *text;		/* the value as JSON */
	size_t n;
	json_t *value;		/* of text, once somebody asked; NULL before */
	size_t at;		/* the original member that it replaces, or NEW */
};
#define NEW SIZE_MAX

/* What is known of an original member beside its place. */
struct seen {
	json_t *value;		/* once somebody asked */
	struct edit *edit;	/* what replaces it */
	bool dropped;
};

/* Of an ordinary record this is all there is until something is read or edited: one allocation. */
struct rec {
	struct block *block;	/* holds the line */
	const char *line;	/* as it came, and a newline behind it */
	size_t n;
	struct seen *seen;	/* one for each span, once there is something to keep there */
	struct edit *edits;	/* in the order in which they were put */
	char *id;		/* rec_id()'s answer, once somebody asked */
	uint32_t open, close;	/* the braces */
	bool escaped, nul;	/* as in struct json_object */
	bool dropped;		/* some member is */
	size_t members;
	struct json_span span[];
};

const char *
rec_class_name(enum rec_class c)
{
	static const char *const name[] = {
		[BAD_RECORD] = "bad_record", [RATE] = "rate", [NET] = "net", [SERVER] = "server", [BAD_REQUEST] = "bad_request",
		[AUTH] = "auth", [BLOCKED] = "blocked", [TRUNCATED] = "truncated", [UNPARSED] = "unparsed", [BUDGET] = "budget",
	};

	return name[c];
}

/* Takes the reference. */
static struct rec *
make(struct block *b, const char *line, size_t n, const struct json_object *o)
{
	struct rec *r = xmalloc(sizeof *r + o->n * sizeof *o->span);

	*r = (struct rec){
		.block = b, .line = line, .n = n, .open = o->open, .close = o->close, .escaped = o->escaped, .nul = o->nul, .members = o->n,
	};
	memcpy(r->span, o->span, o->n * sizeof *o->span);
	return r;
}

static struct block *
copy(const char *line, size_t n)
{
	struct block *b = block_new(n + 1);

	memcpy(b->p, line, n);
	b->p[n] = '\n';
	return b;
}

/* b == NULL: the line is copied. */
static struct rec *
take(struct block *b, const char *line, size_t n, struct err *e)
{
	struct rec *r = NULL;
	struct json_object o;

	if (json_scan(line, n, &o, e) == 0) {
		b = b ? block_hold(b) : copy(line, n);
		r = make(b, line, n, &o);
	}
	json_object_done(&o);
	return r;
}

struct rec *
rec_parse(const char *line, size_t n, struct err *e)
{
	struct rec *r = take(NULL, line, n, e);

	if (r)
		r->line = r->block->p;
	return r;
}

struct rec *
rec_take(struct block *b, const char *line, size_t n, struct err *e)
{
	return take(b, line, n, e);
}

void
rec_own(struct rec *r)
{
	struct block *b;

	if (r->block->cap == r->n + 1)
		return;
	b = copy(r->line, r->n);
	block_drop(r->block);
	r->block = b;
	r->line = b->p;
}

bool
rec_holds_nul(const struct rec *r)
{
	return r->nul;
}

static void
edit_free(struct edit *d)
{
	json_decref(d->value);
	free(d->name);
	free(d->text);
	free(d);
}

void
rec_free(struct rec *r)
{
	struct edit *d;

	if (!r)
		return;
	while ((d = r->edits)) {
		r->edits = d->next;
		edit_free(d);
	}
	for (size_t i = 0; r->seen && i < r->members; i++)
		json_decref(r->seen[i].value);
	free(r->seen);
	free(r->id);
	block_drop(r->block);
	free(r);
}

static struct seen *
seen(struct rec *r, size_t i)
{
	if (!r->seen)
		r->seen = xcalloc(r->members, sizeof *r->seen);
	return &r->seen[i];
}

static bool
is_dropped(const struct rec *r, size_t i)
{
	return r->dropped && r->seen[i].dropped;
}

/* Is member i's key `name`? A key may be written with escapes ("\u0069d"). */
static bool
key_is(const struct rec *r, size_t i, const char *name, size_t len)
{
	const struct json_span *s = &r->span[i];
	const char *key = r->line + s->key + 1;
	size_t n = s->key_end - s->key - 2;
	json_t *v;
	bool same;

	if (n < len)
		return false;
	if (!r->escaped || !memchr(key, '\\', n))
		return n == len && memcmp(key, name, n) == 0;
	v = json_read(key - 1, n + 2);
	same = v && json_string_length(v) == len && memcmp(json_string_value(v), name, len) == 0;
	json_decref(v);
	return same;
}

/* The original member that counts: the last of that name. NEW when there is none. */
static size_t
find_seen(const struct rec *r, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = r->members; i-- > 0;)
		if (!is_dropped(r, i) && key_is(r, i, name, len))
			return i;
	return NEW;
}

static struct edit *
find_edit(const struct rec *r, const char *name)
{
	struct edit *d = r->edits;

	while (d && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

/* The bytes of a member's value, and whose it is: an edit's, or else the original member's in *at. NULL when there is no such member. */
static const char *
find(const struct rec *r, const char *name, size_t *n, struct edit **d, size_t *at)
{
	*d = find_edit(r, name);
	if (*d) {
		*n = (*d)->n;
		return (*d)->text;
	}
	*at = find_seen(r, name);
	if (*at == NEW)
		return NULL;
	*n = r->span[*at].value_end - r->span[*at].value;
	return r->line + r->span[*at].value;
}

bool
rec_has(const struct rec *r, const char *name)
{
	struct edit *d;
	size_t n, at;
	const char *text = find(r, name, &n, &d, &at);

	return text && text[0] != 'n';	/* of all JSON values only null begins so */
}

json_t *
rec_get(struct rec *r, const char *name)
{
	struct edit *d;
	size_t n, at;
	const char *text = find(r, name, &n, &d, &at);
	json_t **kept;

	if (!text)
		return NULL;
	kept = d ? &d->value : &seen(r, at)->value;
	if (!*kept)
		*kept = json_read(text, n);
	return *kept;
}

const char *
rec_text(struct rec *r, const char *name)
{
	return json_string_value(rec_get(r, name));
}

size_t
rec_text_len(struct rec *r, const char *name)
{
	return json_string_length(rec_get(r, name));
}

bool
rec_num(struct rec *r, const char *name, double *out)
{
	json_t *v = rec_get(r, name);

	if (!json_is_number(v))
		return false;
	*out = json_number_value(v);
	return true;
}

static struct edit *
new_edit(struct rec *r, const char *name)
{
	struct edit *d = xcalloc(1, sizeof *d), **tail = &r->edits;

	d->name = xstrdup(name);
	d->at = find_seen(r, name);
	if (d->at != NEW)
		seen(r, d->at)->edit = d;
	while (*tail)
		tail = &(*tail)->next;
	*tail = d;
	return d;
}

/* Put the JSON text in `b` (taken over); `v` is its value, or NULL to have it parsed when asked for. */
static void
put(struct rec *r, const char *name, struct buf *b, json_t *v)
{
	struct edit *d = find_edit(r, name);

	if (!d)
		d = new_edit(r, name);
	json_decref(d->value);
	free(d->text);
	d->n = b->n;
	d->text = buf_take(b);
	d->value = v;
}

/* What is put is bounded by what was read and by the replies' own limits; rec_write() checks the whole. */
#define UNBOUNDED BUF_INIT(SIZE_MAX)

void
put_text(struct rec *r, const char *name, const char *s)
{
	struct buf b = UNBOUNDED;

	json_write_bytes(&b, s, strlen(s));
	put(r, name, &b, NULL);
}

void
put_num(struct rec *r, const char *name, double x)
{
	struct buf b = UNBOUNDED;
	char num[NUM_TEXT];

	buf_adds(&b, isfinite(x) ? num_text(num, x) : "null");
	put(r, name, &b, NULL);
}

void
put_int(struct rec *r, const char *name, long long x)
{
	struct buf b = UNBOUNDED;

	buf_addf(&b, "%lld", x);
	put(r, name, &b, NULL);
}

void
put_json(struct rec *r, const char *name, json_t *v)
{
	struct buf b = UNBOUNDED;

	json_write(&b, v);
	put(r, name, &b, v);
}

/* Every member of the name goes: were only the last one dropped, an earlier one would count again. */
void
rec_del(struct rec *r, const char *name)
{
	struct edit *d = find_edit(r, name), **at = &r->edits;

	if (d) {
		while (*at != d)
			at = &(*at)->next;
		*at = d->next;
		if (d->at != NEW)
			r->seen[d->at].edit = NULL;
		edit_free(d);
	}
	for (size_t i = 0; i < r->members; i++)
		if (key_is(r, i, name, strlen(name)))
			seen(r, i)->dropped = r->dropped = true;
}

void
rec_revert(struct rec *r)
{
	struct edit *d;

	while ((d = r->edits)) {
		r->edits = d->next;
		edit_free(d);
	}
	for (size_t i = 0; r->seen && i < r->members; i++) {
		r->seen[i].edit = NULL;
		r->seen[i].dropped = false;
	}
	r->dropped = false;
}

static char *
hash_text(const void *p, size_t n)
{
	char hex[17];

	snprintf(hex, sizeof hex, "%016llx", (unsigned long long)XXH3_64bits(p, n));
	return xstrdup(hex);
}

const char *
rec_id(struct rec *r)
{
	struct edit *d;
	size_t n, at;
	const char *raw;

	if (r->id)
		return r->id;
	raw = rec_has(r, "id") ? find(r, "id", &n, &d, &at) : NULL;
	if (raw && raw[0] != '"')
		r->id = xstrndup(raw, n);	/* a number of any length, by its own text */
	else if (raw && rec_text_len(r, "id"))
		r->id = xstrdup(rec_text(r, "id"));
	else if (rec_text(r, "prompt"))
		r->id = hash_text(rec_text(r, "prompt"), rec_text_len(r, "prompt"));
	else
		r->id = hash_text(r->line, r->n);
	return r->id;
}

/* Append the value of sa_error. 0 or -1. */
static int
error_value(struct buf *b, const char *stage, enum rec_class c, const char *message, int attempts, int http)
{
	int rc = buf_adds(b, "{\"stage\":");

	rc |= json_write_bytes(b, stage, strlen(stage));
	rc |= buf_addf(b, ",\"class\":\"%s\",\"message\":", rec_class_name(c));
	rc |= json_write_bytes(b, message, strlen(message));
	if (attempts)
		rc |= buf_addf(b, ",\"attempts\":%d", attempts);
	if (http)
		rc |= buf_addf(b, ",\"http\":%d", http);
	return rc | buf_addc(b, '}');
}

void
rec_fail(struct rec *r, const char *stage, enum rec_class c, const char *message, int attempts, int http)
{
	struct buf b = UNBOUNDED;

	error_value(&b, stage, c, message, attempts, http);
	put(r, "sa_error", &b, NULL);
}

const char *
rec_failed_by(struct rec *r)
{
	return json_string_value(json_object_get(rec_get(r, "sa_error"), "stage"));
}

/* Append the members that replace none. `comma`: a member stands before them. */
static int
write_new(const struct rec *r, struct buf *out, bool comma)
{
	int rc = 0;

	for (const struct edit *d = r->edits; d; d = d->next) {
		if (d->at != NEW)
			continue;
		if (comma)
			rc |= buf_addc(out, ',');
		rc |= json_write_bytes(out, d->name, strlen(d->name));
		rc |= buf_addc(out, ':');
		rc |= buf_add(out, d->text, d->n);
		comma = true;
	}
	return rc;
}

/* Append the original members that are left, edited ones with their new value. The new ones follow straight behind the last value, so
 * that white space in front of the } stays there. */
static int
write_members(const struct rec *r, struct buf *out)
{
	size_t last = r->members;
	bool comma = false;
	int rc = 0;

	while (last > 0 && is_dropped(r, last - 1))
		last--;
	if (last == 0)
		return write_new(r, out, false);
	for (size_t i = 0; i < last; i++) {
		const struct json_span *s = &r->span[i];
		const struct edit *d = r->seen ? r->seen[i].edit : NULL;

		if (is_dropped(r, i))
			continue;
		if (comma)
			rc |= buf_addc(out, ',');
		comma = true;
		rc |= buf_add(out, r->line + s->lead, s->value - s->lead);
		rc |= d ? buf_add(out, d->text, d->n) : buf_add(out, r->line + s->value, s->value_end - s->value);
		if (i == last - 1)
			rc |= write_new(r, out, true);
		rc |= buf_add(out, r->line + s->value_end, s->end - s->value_end);
	}
	return rc;
}

/* Part of a line never stays behind. */
static int
whole(struct buf *out, size_t old, int rc)
{
	if (rc == 0)
		return 0;
	out->n = old;
	if (out->p)
		out->p[old] = '\0';
	return -1;
}

int
rec_write(struct rec *r, struct buf *out)
{
	size_t old = out->n;
	int rc = 0;

	if (!r->edits && !r->dropped) {
		rc |= buf_add(out, r->line, r->n);
	} else {
		rc |= buf_add(out, r->line, r->members ? r->open + 1 : r->close);	/* the white space in an empty object stays too */
		rc |= write_members(r, out);
		rc |= buf_add(out, r->line + r->close, r->n - r->close);
	}
	rc |= buf_addc(out, '\n');
	return whole(out, old, rc);
}

struct slice
rec_line(struct rec *r)
{
	size_t n = r->n + 2;
	struct buf b;

	if (!r->edits && !r->dropped)
		return (struct slice){ block_hold(r->block), r->line, r->n + 1 };
	for (const struct edit *d = r->edits; d; d = d->next)
		n += strlen(d->name) + d->n + strlen("\"\":,");
	b = (struct buf){ .p = xmalloc(n), .cap = n, .max = SIZE_MAX / 2 };
	rec_write(r, &b);
	return block_slice(b.p, b.n);
}

int
rec_wrap(const char *line, size_t n, const char *stage, const char *message, struct buf *out)
{
	size_t old = out->n;
	int rc = buf_adds(out, "{\"sa_error\":");

	rc |= error_value(out, stage, BAD_RECORD, message, 0, 0);
	rc |= buf_adds(out, ",\"raw\":");
	rc |= json_write_bytes(out, line, n);
	rc |= buf_adds(out, "}\n");
	return whole(out, old, rc);
}
