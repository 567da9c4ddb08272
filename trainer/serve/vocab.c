/* vocab.c - see vocab.h */
#include "vocab.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	const unsigned char *p;
	size_t n;
	int id;
};

static int
by_bytes(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int d = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

	if (d == 0)
		d = (x->n > y->n) - (x->n < y->n);
	return d ? d : x->id - y->id;
}

/* Added tokens are there by their text, and their text can be written with others. */
static bool
is_added(const struct tok *t, const struct entry *e)
{
	char text[VOCAB_DEEP + 1];

	memcpy(text, e->p, e->n);
	text[e->n] = '\0';
	return tok_id(t, text) == e->id;
}

static int
list_tokens(const struct tok *t, int size, struct entry *out)
{
	int n = 0;

	for (int id = 0; id < size && id < tok_size(t); id++) {
		struct entry e = { .id = id };

		e.p = (const unsigned char *)tok_bytes(t, id, &e.n);
		if (e.n > 0 && e.n <= VOCAB_DEEP && !is_added(t, &e))
			out[n++] = e;
	}
	qsort(out, n, sizeof *out, by_bytes);
	return n;
}

static size_t
common(const struct entry *a, const struct entry *b)
{
	size_t k = 0;

	while (k < a->n && k < b->n && a->p[k] == b->p[k])
		k++;
	return k;
}

/* In the order of the sorted tokens each adds the nodes of its bytes behind what it shares with the one before; whatever it does not share is
 * over then. */
static void
build(struct vocab *v, const struct entry *e, int n)
{
	int open[VOCAB_DEEP + 1], depth = 0;

	for (int i = 0; i < n; i++) {
		int shared = i ? common(&e[i - 1], &e[i]) : 0;

		while (depth > shared)
			v->node[open[--depth]].skip = v->n;
		while (depth < (int)e[i].n) {
			v->node[v->n] = (struct vocab_node){ .first = i, .byte = e[i].p[depth], .depth = depth };
			open[depth++] = v->n++;
		}
		v->id[i] = e[i].id;
	}
	while (depth > 0)
		v->node[open[--depth]].skip = v->n;
	v->node[v->n].first = n;
}

struct vocab *
vocab_new(const struct tok *t, int size)
{
	struct vocab *v = xcalloc(1, sizeof *v);
	struct entry *e = xcalloc(size + 1, sizeof *e);
	int n = list_tokens(t, size, e), nodes = 1;

	for (int i = 0; i < n; i++)
		nodes += e[i].n - (i ? common(&e[i - 1], &e[i]) : 0);
	v->size = size;
	v->node = xcalloc(nodes, sizeof *v->node);
	v->id = xcalloc(n + 1, sizeof *v->id);
	build(v, e, n);
	free(e);
	return v;
}

void
vocab_free(struct vocab *v)
{
	if (!v)
		return;
	free(v->node);
	free(v->id);
	free(v);
}

int
vocab_mask(const struct vocab *v, struct automaton *a, int state, uint64_t *bits)
{
	int at[VOCAB_DEEP + 1];

	at[0] = state;
	for (int i = 0; i < v->n;) {
		const struct vocab_node *node = &v->node[i];
		int next = automaton_step(a, at[node->depth], node->byte);

		if (next == TIRED)
			return -1;
		if (next == DEAD) {
			i = node->skip;
			continue;
		}
		at[node->depth + 1] = next;
		i++;
		for (int k = node->first; k < v->node[i].first; k++)
			bits[v->id[k] / 64] |= 1ULL << v->id[k] % 64;
	}
	return 0;
}
