/* grammar.c - see grammar.h */
#include "grammar.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NEVER (GRAMMAR_DEPTH + 1)

void
grammar_init(struct grammar *g)
{
	*g = (struct grammar){ 0 };
	grammar_state(g);	/* where everything ends up that is past the limits */
}

void
grammar_free(struct grammar *g)
{
	free(g->state);
	free(g->edge);
	free(g->from);
	free(g->start);
	free(g->end);
	*g = (struct grammar){ 0 };
}

bool
grammar_full(const struct grammar *g)
{
	return g->full;
}

int
grammar_state(struct grammar *g)
{
	if (g->nstate == GRAMMAR_STATES)
		g->full = true;
	if (g->full)
		return 0;
	if (g->nstate == g->capstate) {
		g->capstate = g->capstate ? g->capstate * 2 : 64;
		g->state = xreallocarray(g->state, g->capstate, sizeof *g->state);
	}
	g->state[g->nstate] = (struct grammar_state){ .need = NEVER };
	return g->nstate++;
}

int
grammar_rule(struct grammar *g)
{
	if (g->nrule == g->caprule) {
		g->caprule = g->caprule ? g->caprule * 2 : 16;
		g->start = xreallocarray(g->start, g->caprule, sizeof *g->start);
		g->end = xreallocarray(g->end, g->caprule, sizeof *g->end);
	}
	g->start[g->nrule] = grammar_state(g);
	g->end[g->nrule] = grammar_state(g);
	g->state[g->end[g->nrule]].end = true;
	return g->nrule++;
}

static void
add(struct grammar *g, int from, struct edge e)
{
	if (g->nedge == GRAMMAR_EDGES)
		g->full = true;
	if (g->full)
		return;
	if (g->nedge == g->capedge) {
		g->capedge = g->capedge ? g->capedge * 2 : 128;
		g->edge = xreallocarray(g->edge, g->capedge, sizeof *g->edge);
		g->from = xreallocarray(g->from, g->capedge, sizeof *g->from);
	}
	g->from[g->nedge] = from;
	g->edge[g->nedge++] = e;
}

void
grammar_bytes(struct grammar *g, int from, int lo, int hi, int to)
{
	if (lo <= hi)
		add(g, from, (struct edge){ to, EDGE_BYTES, lo, hi });
}

void
grammar_skip(struct grammar *g, int from, int to)
{
	add(g, from, (struct edge){ to, EDGE_SKIP, 0, 0 });
}

void
grammar_call(struct grammar *g, int from, int rule, int to)
{
	add(g, from, (struct edge){ to, rule, 0, 0 });
}

int
grammar_text(struct grammar *g, int from, const char *s, size_t n)
{
	for (size_t i = 0; i < n && !g->full; i++) {
		int to = grammar_state(g);

		grammar_bytes(g, from, (unsigned char)s[i], (unsigned char)s[i], to);
		from = to;
	}
	return from;
}

/* ---- finishing ---- */

/* Edges by the state that they leave, in the order in which they were added. */
static void
sort_edges(struct grammar *g)
{
	struct edge *sorted = xcalloc(g->nedge + 1, sizeof *sorted);
	int at = 0;

	for (int i = 0; i < g->nedge; i++)
		g->state[g->from[i]].n++;
	for (int q = 0; q < g->nstate; q++) {
		g->state[q].first = at;
		at += g->state[q].n;
		g->state[q].n = 0;
	}
	for (int i = 0; i < g->nedge; i++) {
		struct grammar_state *q = &g->state[g->from[i]];

		sorted[q->first + q->n++] = g->edge[i];
	}
	free(g->edge);
	free(g->from);
	g->edge = sorted;
	g->from = NULL;
}

/* Edges by where they lead, and calls by what they call: which states to look at again when a state's need has changed. */
struct users {
	int *first, *from;	/* first[q]..first[q+1): the states with an edge to q, or with a call whose rule begins at q */
};

static void
count_users(const struct grammar *g, struct users *u)
{
	u->first = xcalloc(g->nstate + 2, sizeof *u->first);
	u->from = xcalloc(2 * g->nedge + 1, sizeof *u->from);
	for (int i = 0; i < g->nedge; i++) {
		u->first[g->edge[i].to + 2]++;
		if (g->edge[i].rule >= 0)
			u->first[g->start[g->edge[i].rule] + 2]++;
	}
	for (int q = 0; q < g->nstate; q++)
		u->first[q + 2] += u->first[q + 1];
	for (int q = 0; q < g->nstate; q++)
		for (int i = g->state[q].first; i < g->state[q].first + g->state[q].n; i++) {
			u->from[u->first[g->edge[i].to + 1]++] = q;
			if (g->edge[i].rule >= 0)
				u->from[u->first[g->start[g->edge[i].rule] + 1]++] = q;
		}
}

static int
need_of(const struct grammar *g, const struct grammar_state *q)
{
	int best = q->end ? 0 : NEVER;

	for (const struct edge *e = g->edge + q->first; e < g->edge + q->first + q->n; e++) {
		int need = g->state[e->to].need;

		if (e->rule >= 0 && g->state[g->start[e->rule]].need + 1 > need)
			need = g->state[g->start[e->rule]].need + 1;
		if (need < best)
			best = need;
	}
	return best;
}

/* From the ends of the rules backwards, until nothing changes: a need only sinks, GRAMMAR_DEPTH + 1 times at most. */
static void
find_needs(struct grammar *g)
{
	struct users u;
	int *queue = xcalloc(g->nstate + 1, sizeof *queue), head = 0, n = 0;
	bool *queued = xcalloc(g->nstate, sizeof *queued);

	count_users(g, &u);
	for (int q = 0; q < g->nstate; q++)
		if (g->state[q].end) {
			queue[n++] = q;
			queued[q] = true;
		}
	for (; n > 0; n--) {
		int q = queue[head], need = need_of(g, &g->state[q]);

		head = (head + 1) % (g->nstate + 1);
		queued[q] = false;
		if (need == g->state[q].need)
			continue;
		g->state[q].need = need;
		for (int i = u.first[q]; i < u.first[q + 1]; i++) {
			int user = u.from[i];

			if (queued[user])
				continue;
			queued[user] = true;
			queue[(head + n - 1) % (g->nstate + 1)] = user;	/* behind the others; q itself is counted until the loop's n-- */
			n++;
		}
	}
	free(queue);
	free(queued);
	free(u.first);
	free(u.from);
}

/* Is there a way from a rule's start back to it without a byte? Depth first over states with a stack of its own; a state is on the way (1)
 * until all that it leads to is done (2). */
static bool
left_recursive(const struct grammar *g)
{
	unsigned char *mark = xcalloc(g->nrule + 1, 1), *seen = xcalloc(g->nstate, 1);
	struct visit { int q, edge, rule; } *stack = xcalloc(g->nstate + 1, sizeof *stack);
	bool found = false;

	for (int r = 0; r < g->nrule && !found; r++) {
		int n = 0;

		if (mark[r])
			continue;
		mark[r] = 1;
		seen[g->start[r]] = 1;
		stack[n++] = (struct visit){ g->start[r], 0, r };
		while (n > 0 && !found) {
			struct visit *v = &stack[n - 1];
			const struct edge *e = g->edge + g->state[v->q].first + v->edge;
			int to;

			if (v->edge++ == g->state[v->q].n) {
				if (v->rule >= 0)
					mark[v->rule] = 2;
				n--;
				continue;
			}
			if (e->rule == EDGE_BYTES)
				continue;
			to = e->rule >= 0 ? g->start[e->rule] : e->to;
			found = e->rule >= 0 && mark[e->rule] == 1;
			if (!seen[to]) {
				seen[to] = 1;
				if (e->rule >= 0)
					mark[e->rule] = 1;
				stack[n++] = (struct visit){ to, 0, e->rule >= 0 ? e->rule : -1 };
			}
		}
	}
	free(mark);
	free(seen);
	free(stack);
	return found;
}

int
grammar_finish(struct grammar *g, int root, struct err *e)
{
	if (g->full)
		return err_set(e, "it is too large (%d states, %d edges at most)", GRAMMAR_STATES, GRAMMAR_EDGES);
	g->root = root;
	sort_edges(g);
	if (left_recursive(g))
		return err_set(e, "it refers to itself and nothing else");
	find_needs(g);
	if (g->state[g->start[root]].need > GRAMMAR_DEPTH)
		return err_set(e, "no value is valid, or only values that are nested too deeply");
	return 0;
}
