/* forward_device.c - see forward_device.h */
#include "forward_device.h"

#include <stdlib.h>

/* Spans that wait for the slice to be full. */
struct slice {
	struct forward_span *span;	/* [most] */
	int n, most, tokens;
};

static int
run(struct slice *s, struct forward_device *d, struct err *e)
{
	int rc = s->n > 0 ? d->run(d, s->span, s->n, e) : 0;

	s->n = s->tokens = 0;
	return rc;
}

/* As many of the chunk's tokens from `from` on as there is room for; how many. */
static int
add(struct slice *s, const struct forward_device *d, const struct chunk *c, int from, int V)
{
	int room = d->tokens - s->tokens, n = c->n - from < room ? c->n - from : room, first = c->first_logits - from;
	struct forward_span *p = &s->span[s->n++];

	first = first < 0 ? 0 : first < n ? first : n;
	*p = (struct forward_span){ .page = kv_numbers(c->kv), .ids = c->ids + from, .past = kv_len(c->kv), .n = n, .first_logits = first };
	if (first < n)
		p->logits = c->logits + (size_t)(from + first - c->first_logits) * V;
	kv_append(c->kv, p->ids, n);
	s->tokens += n;
	return n;
}

int
forward_on_device(struct model *m, struct chunk *c, int nchunks, struct err *e)
{
	struct forward_device *d = m->device;
	struct slice s = { .most = d->spans };
	int rc = 0;

	s.span = xcalloc(s.most, sizeof *s.span);
	for (int i = 0; i < nchunks; i++)
		for (int at = 0; !rc && at < c[i].n;) {
			at += add(&s, d, &c[i], at, m->c.vocab);
			if (s.tokens == d->tokens || s.n == s.most)
				rc = run(&s, d, e);
		}
	rc = rc ? rc : run(&s, d, e);
	free(s.span);
	for (int i = 0; !rc && i < nchunks; i++)
		kv_publish(c[i].kv);
	return rc;
}
