/* record.c - a line of input through the record: rec_parse(), put_*(), rec_del(), rec_write()
 *
 * The first bytes are how it is held and what is done to it. A line is taken exactly when jansson takes it as an object (nesting past REC_DEPTH aside); what is
 * written is one line of JSON; a NUL outside a string, which jansson passes over, is refused; untouched it is the same bytes; members that were put read back as put, those deleted are gone, and all
 * others are what they were, in their bytes too. */
#include "fuzz.h"

#include "json.h"
#include "rec.h"

#define DEPTH 500	/* deeper input is not compared: jansson has a bound of its own */

static const char *const names[] = { "prompt", "a", "intents", "sa_error", "\xe4\xbd\xa0" };
#define NAMES (sizeof names / sizeof *names)

static json_t *
oracle(const char *s, size_t n)
{
	return json_loadb(s, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);	/* integers of any length */
}

static size_t
depth(const uint8_t *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += s[i] == '[' || s[i] == '{';
	return count;
}

/* One thing done to the record and to the model of it. Numbers with exponents out of a double's range are not in what we put. */
static void
act(struct rec *r, json_t *model, unsigned op)
{
	const char *name = names[op / 8 % NAMES];

	switch (op % 8) {
	case 0:
		put_text(r, name, "t\"\n\xe4\xbd\xa0");
		json_object_set_new(model, name, json_string("t\"\n\xe4\xbd\xa0"));
		break;
	case 1:
		put_num(r, name, 0.1);
		json_object_set_new(model, name, json_real(0.1));
		break;
	case 2:
		put_int(r, name, -7);
		json_object_set_new(model, name, json_real(-7));
		break;
	case 3:
		put_json(r, name, json_pack("[{s:i}, s]", "x", 1, "y"));
		json_object_set_new(model, name, json_pack("[{s:f}, s]", "x", 1.0, "y"));
		break;
	case 4:
		rec_del(r, name);
		json_object_del(model, name);
		break;
	case 5:
		rec_get(r, name);
		rec_has(r, name);
		rec_id(r);
		break;
	case 6:
		rec_fail(r, "sa-x", NET, "m", 2, 500);
		json_object_set_new(model, "sa_error", json_pack("{s:s, s:s, s:s, s:f, s:f}", "stage", "sa-x", "class", "net", "message", "m",
								"attempts", 2.0, "http", 500.0));
		break;
	case 7:
		rec_own(r);
		break;
	}
}

/* Does the key belong to a member that was put or deleted? `names_done` has a bit for each name. */
static bool
is_done(const char *line, const struct json_span *s, unsigned names_done)
{
	json_t *key = json_read(line + s->key, s->key_end - s->key);
	bool done = false;

	for (unsigned i = 0; i < NAMES; i++)
		done |= (names_done >> i & 1) && key && strcmp(json_string_value(key), names[i]) == 0;
	json_decref(key);
	return done;
}

/* The next member from *i on that is not ours; NULL after the last. */
static const struct json_span *
theirs(const char *line, const struct json_object *o, size_t *i, unsigned names_done)
{
	while (*i < o->n && is_done(line, &o->span[*i], names_done))
		++*i;
	return *i < o->n ? &o->span[(*i)++] : NULL;
}

/* What is not ours is there as it was, byte for byte and in the same order. */
static void
kept(const char *in, size_t nin, const char *out, size_t nout, unsigned names_done)
{
	struct json_object a, b;
	const struct json_span *x, *y;
	size_t i = 0, k = 0;

	MUST(json_scan(in, nin, &a, NULL) == 0 && json_scan(out, nout, &b, NULL) == 0);
	do {
		x = theirs(in, &a, &i, names_done);
		y = theirs(out, &b, &k, names_done);
		MUST(!x == !y);
		MUST(!x || (x->value_end - x->key == y->value_end - y->key && memcmp(in + x->key, out + y->key, x->value_end - x->key) == 0));
	} while (x);
	json_object_done(&a);
	json_object_done(&b);
}

static void
written(struct rec *r, const json_t *model, const char *line, size_t n, bool touched, unsigned names_done)
{
	struct buf out = BUF_INIT(SIZE_MAX);
	struct slice s = rec_line(r);
	json_t *back;

	MUST(rec_write(r, &out) == 0);
	MUST(out.n > 0 && out.p[out.n - 1] == '\n');
	if (!touched)
		MUST(out.n == n + 1 && memcmp(out.p, line, n) == 0);
	MUST(s.n == out.n && memcmp(s.p, out.p, s.n) == 0);
	block_drop(s.block);
	kept(line, n, out.p, out.n - 1, names_done);
	back = oracle(out.p, out.n);
	MUST(back);
	MUST(json_equal(back, model));
	json_decref(back);
	buf_free(&out);
}

/* A line that is no record comes out whole, in one that is. */
static void
wrapped(const char *line, size_t n, const char *why)
{
	struct buf out = BUF_INIT(SIZE_MAX);
	json_t *back, *raw;

	MUST(why[0] && rec_wrap(line, n, "sa-x", why, &out) == 0);
	MUST(memchr(out.p, '\n', out.n) == out.p + out.n - 1);
	back = oracle(out.p, out.n);
	raw = json_object_get(back, "raw");
	MUST(json_is_string(raw));
	if (fuzz_utf8(line, n))
		MUST(json_string_length(raw) == n && memcmp(json_string_value(raw), line, n) == 0);
	json_decref(back);
	buf_free(&out);
}

/* The line in a block, or on its own. */
static struct rec *
parse(const char *line, size_t n, bool in_block, struct err *e)
{
	struct block *b;
	struct rec *r;

	if (!in_block)
		return rec_parse(line, n, e);
	b = block_new(n + 1);
	memcpy(b->p, line, n);
	b->p[n] = '\n';
	r = rec_take(b, b->p, n, e);
	block_drop(b);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned ops[8], how = fuzz_byte(&data, &n), nops = how % 9, names_done = 0;
	bool touched = false, nul;
	const char *line;
	json_t *model;
	struct rec *r;
	struct err e = { "" };

	for (unsigned i = 0; i < nops; i++)
		ops[i] = fuzz_byte(&data, &n);
	line = (const char *)data;
	if (memchr(line, '\n', n) || memchr(line, '\r', n) || depth(data, n) > DEPTH)
		return 0;
	nul = memchr(line, '\0', n);
	r = parse(line, n, how >= 128, &e);
	MUST(!r || !nul);
	model = nul ? NULL : oracle(line, n);
	if (!r) {
		MUST(!json_is_object(model));
		wrapped(line, n, e.msg);
	} else if (json_is_object(model)) {	/* jansson refuses numbers past a double's range and NUL in keys; then there is nothing to compare with */
		for (unsigned i = 0; i < nops; i++) {
			bool changes = ops[i] % 8 != 5 && ops[i] % 8 != 7;

			act(r, model, ops[i]);
			touched |= changes;
			names_done |= changes ? 1u << (ops[i] % 8 == 6 ? 3 : ops[i] / 8 % NAMES) : 0;	/* 3: sa_error */
		}
		written(r, model, line, n, touched, names_done);
	}
	json_decref(model);
	rec_free(r);
	return 0;
}
