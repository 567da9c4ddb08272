/* queue.c - see queue.h */
#include "queue.h"

#include <math.h>
#include <stdlib.h>

#include "engine.h"
#include "err.h"

void
queue_init(struct queue *q, int limit)
{
	*q = (struct queue){ .limit = limit };
	LIST_INIT(&q->clients);
}

static size_t
tokens_of(const struct job *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->req.nprompts; i++)
		n += j->req.prompt[i].ids.n;
	return n;
}

static struct client *
find(const struct queue *q, uint64_t key)
{
	struct client *c;

	LIST_FOREACH(c, &q->clients, link)
		if (c->key == key)
			return c;
	return NULL;
}

static struct client *
add_client(struct queue *q, uint64_t key)
{
	struct client *c = xcalloc(1, sizeof *c), *other = LIST_FIRST(&q->clients);

	c->key = key;
	c->computed = other ? other->computed : 0;
	LIST_FOREACH(other, &q->clients, link)
		if (other->computed < c->computed)
			c->computed = other->computed;
	TAILQ_INIT(&c->waiting);
	LIST_INSERT_HEAD(&q->clients, c, link);
	return c;
}

static bool
is_full(const struct queue *q, const struct client *c, size_t tokens)
{
	int limit = q->limit + q->places;

	if (q->waiting >= limit || (q->waiting > 0 && q->tokens + tokens > QUEUE_TOKENS))
		return true;
	return c && c->nwaiting > 0 && q->waiting >= limit - q->limit / 8;
}

int
queue_add(struct queue *q, struct job *j, uint64_t client, double now)
{
	struct client *c = find(q, client);
	size_t tokens = tokens_of(j);

	if (is_full(q, c, tokens))
		return -1;
	if (!c)
		c = add_client(q, client);
	if (q->waiting == 0)
		q->since = now;
	j->client = c;
	c->jobs++;
	c->nwaiting++;
	TAILQ_INSERT_TAIL(&c->waiting, j, link);
	q->waiting++;
	q->tokens += tokens;
	return 0;
}

int
queue_wait(const struct queue *q, double now)
{
	double wait = ceil(q->waiting * (q->took + (now - q->since)) / (q->left + 1));

	return wait < 1 ? 1 : wait > QUEUE_WAIT_MAX ? QUEUE_WAIT_MAX : (int)wait;
}

/* Whether a goes before b. */
static bool
goes_before(const struct client *a, const struct client *b)
{
	if (!a->active != !b->active)
		return !a->active;
	if (a->computed != b->computed)
		return a->computed < b->computed;
	return a->active < b->active;
}

struct job *
queue_next(const struct queue *q)
{
	const struct client *c, *best = NULL;

	LIST_FOREACH(c, &q->clients, link)
		if (c->nwaiting > 0 && (!best || goes_before(c, best)))
			best = c;
	return best ? TAILQ_FIRST(&best->waiting) : NULL;
}

static void
leave(struct queue *q, struct job *j)
{
	TAILQ_REMOVE(&j->client->waiting, j, link);
	j->client->nwaiting--;
	q->waiting--;
	q->tokens -= tokens_of(j);
}

void
queue_placed(struct queue *q, struct job *j, double now)
{
	if (++j->next == j->nseq) {
		q->took = 0.95 * q->took + (now - q->since);
		q->left = 0.95 * q->left + 1;
		q->since = now;
		leave(q, j);
		return;
	}
	TAILQ_REMOVE(&j->client->waiting, j, link);
	TAILQ_INSERT_TAIL(&j->client->waiting, j, link);
}

void
queue_remove(struct queue *q, struct job *j)
{
	struct client *c = j->client;

	if (j->next < j->nseq)
		leave(q, j);
	j->client = NULL;
	if (--c->jobs > 0)
		return;
	LIST_REMOVE(c, link);
	free(c);
}
