/* schema.c - schemas, regular expressions and choices from anywhere, and texts that they let come
 *
 * A form is refused in words, or there is a text of it: a walk through the automaton, a byte at a time as the input says, never comes to
 * where nothing may follow and nothing is complete, and for a schema what is complete is one JSON value. All that costs no more than its
 * limits. The first byte is the kind, the second says how long the form is; what follows it leads the walk. */
#include "fuzz.h"

#include "automaton.h"
#include "guide.h"
#include "pattern.h"
#include "schema.h"

#define WALK 400		/* bytes */
#define WORK 300000		/* places looked at */

static int
build(struct grammar *g, int kind, const char *form, size_t n, struct err *e)
{
	json_t *schema;
	int rule;

	if (kind == GUIDE_REGEX) {
		rule = grammar_rule(g);
		return pattern_put(g, g->start[rule], g->end[rule], form, n, false, false, e) < 0 ? -1 : rule;
	}
	schema = json_loadb(form, n, JSON_DECODE_ANY, NULL);
	rule = schema ? schema_put(g, schema, e) : err_set(e, "no JSON");
	json_decref(schema);
	return rule;
}

/* A byte that may come, the first from `from` on; -1: none, -2: the budget is spent. */
static int
next_byte(struct automaton *a, int state, unsigned from)
{
	for (unsigned i = 0; i < 256; i++) {
		unsigned char byte = from + i;
		int to = automaton_step(a, state, byte);

		if (to == TIRED)
			return -2;
		if (to >= 0)
			return byte;
	}
	return -1;
}

static void
walk(struct automaton *a, int kind, const uint8_t *data, size_t n)
{
	char text[WALK];
	int state = automaton_start(a), len = 0;

	while (state >= 0 && len < WALK) {
		int byte = next_byte(a, state, fuzz_byte(&data, &n));

		if (a->state[state]->complete && kind == GUIDE_SCHEMA) {
			json_t *v = json_loadb(text, len, JSON_DECODE_ANY, NULL);

			MUST(v);
			json_decref(v);
		}
		MUST(byte != -1 || a->state[state]->complete);
		if (byte < 0)
			return;
		state = automaton_step(a, state, byte);
		text[len++] = byte;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int kind = fuzz_byte(&data, &n) & 1 ? GUIDE_REGEX : GUIDE_SCHEMA, root;
	size_t len = fuzz_byte(&data, &n) * 16;
	struct grammar g;
	struct automaton a;
	struct err e = { "" };

	if (len > n)
		len = n;
	if (kind == GUIDE_REGEX && (!fuzz_utf8((const char *)data, len) || memchr(data, 0, len)))
		return 0;
	grammar_init(&g);
	root = build(&g, kind, (const char *)data, len, &e);
	if (root < 0 || grammar_finish(&g, root, &e) < 0) {
		MUST(e.msg[0] && g.nstate <= GRAMMAR_STATES && g.nedge <= GRAMMAR_EDGES);
	} else {
		automaton_init(&a, &g);
		automaton_budget(&a, WORK);
		walk(&a, kind, data + len, n - len);
		automaton_free(&a);
	}
	grammar_free(&g);
	return 0;
}
