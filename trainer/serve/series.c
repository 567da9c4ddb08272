/* series.c - members of an object or elements of an array, counted (schema.h) */
#include <stdlib.h>

#include "schema.h"

void
series_init(struct series *in, int from, int least, int most, int might)
{
	*in = (struct series){ .least = least, .most = most, .top = most != NO_LIMIT ? most : least > 0 ? least : 1 };
	if (most == NO_LIMIT && least > might)
		in->top = might > 0 ? might : 1;	/* never enough */
	in->at = xreallocarray(NULL, in->top + 1, sizeof *in->at);
	in->at[0] = from;
	for (int k = 1; k <= in->top; k++)
		in->at[k] = -1;
}

/* One more of them: where that is counted; -1: there may not be more. */
static int
after(const struct series *in, int k)
{
	return k < in->top ? k + 1 : in->most == NO_LIMIT ? k : -1;
}

/* Where the next one begins. */
static int
next_place(struct grammar *g, int k, int from)
{
	return k == 0 ? from : schema_gap(g, grammar_text(g, from, ",", 1));
}

void
series_put(struct grammar *g, struct series *in, int rule, bool needed)
{
	int *next = xreallocarray(NULL, in->top + 1, sizeof *next);

	for (int k = 0; k <= in->top; k++)
		next[k] = needed || in->at[k] < 0 ? -1 : in->at[k];
	for (int k = 0; k <= in->top && !grammar_full(g); k++) {
		int to = after(in, k);

		if (in->at[k] < 0 || to < 0)
			continue;
		if (next[to] < 0 || next[to] == in->at[to]) {
			int fresh = grammar_state(g);

			if (next[to] >= 0)
				grammar_skip(g, next[to], fresh);
			next[to] = fresh;
		}
		grammar_call(g, next_place(g, k, in->at[k]), rule, next[to]);
	}
	free(in->at);
	in->at = next;
}

void
series_repeat(struct grammar *g, struct series *in, int rule)
{
	int *more = xreallocarray(NULL, in->top + 1, sizeof *more);

	for (int k = 0; k <= in->top; k++)
		more[k] = -1;
	for (int k = 0; k <= in->top && !grammar_full(g); k++) {
		int to = after(in, k);

		if (in->at[k] >= 0 && to >= 0 && k + 1 >= in->least) {
			more[to] = more[to] < 0 ? grammar_state(g) : more[to];
			grammar_call(g, next_place(g, k, in->at[k]), rule, more[to]);
		}
		if (more[k] >= 0 && to >= 0) {
			more[to] = more[to] < 0 ? grammar_state(g) : more[to];
			grammar_call(g, next_place(g, 1, more[k]), rule, more[to]);
		}
	}
	for (int k = 0; k <= in->top; k++) {
		if (more[k] < 0)
			continue;
		if (in->at[k] >= 0 && k >= in->least)
			grammar_skip(g, in->at[k], more[k]);
		in->at[k] = more[k];
	}
	free(more);
}

void
series_end(struct grammar *g, struct series *in, char bracket, int to)
{
	for (int k = in->least; k <= in->top; k++)
		if (in->at[k] >= 0)
			grammar_bytes(g, in->at[k], bracket, bracket, to);
	free(in->at);
}
