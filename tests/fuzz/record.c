/* record.c - a line of input through the record: rec_parse(), put_*(), rec_del(), rec_write()
 *
 * The first bytes are what is done to it. A line is taken exactly when jansson takes it as an object (nesting past REC_DEPTH aside); what is
 * written is one line of JSON; a NUL outside a string, which jansson passes over, is refused; untouched it is the same bytes; members that were put read back as put, those deleted are gone, and all
 * others are what they were, in their bytes too. */
#include "fuzz.h"

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
	}
}

static void
written(struct rec *r, const json_t *model, const char *line, size_t n, bool touched)
{
	struct buf out = BUF_INIT(SIZE_MAX);
	json_t *back;

	MUST(rec_write(r, &out) == 0);
	MUST(out.n > 0 && out.p[out.n - 1] == '\n');
	if (!touched)
		MUST(out.n == n + 1 && memcmp(out.p, line, n) == 0);
	back = oracle(out.p, out.n);
	MUST(back);
	MUST(json_equal(back, model));
	json_decref(back);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned ops[8], nops = fuzz_byte(&data, &n) % 9;
	bool touched = false, nul;
	json_t *model;
	struct rec *r;
	struct err e = { "" };

	for (unsigned i = 0; i < nops; i++)
		ops[i] = fuzz_byte(&data, &n);
	if (memchr(data, '\n', n) || memchr(data, '\r', n) || depth(data, n) > DEPTH)
		return 0;
	nul = memchr(data, '\0', n);
	r = rec_parse((const char *)data, n, &e);
	MUST(!r || !nul);
	model = nul ? NULL : oracle((const char *)data, n);
	if (!r) {
		struct buf out = BUF_INIT(SIZE_MAX);
		json_t *back;

		MUST(e.msg[0]);
		MUST(!json_is_object(model));
		MUST(rec_wrap((const char *)data, n, "sa-x", e.msg, &out) == 0);
		back = oracle(out.p, out.n);
		MUST(json_is_object(back) && out.p[out.n - 1] == '\n' && memchr(out.p, '\n', out.n) == out.p + out.n - 1);
		json_decref(back);
		buf_free(&out);
	} else if (json_is_object(model)) {	/* jansson refuses numbers past a double's range and NUL in keys; then there is nothing to compare with */
		for (unsigned i = 0; i < nops; i++) {
			act(r, model, ops[i]);
			touched |= ops[i] % 8 != 5 && ops[i] % 8 != 7;
		}
		written(r, model, (const char *)data, n, touched);
	}
	json_decref(model);
	rec_free(r);
	return 0;
}
