/* queue.c - who gets the next place: clients by what was computed for them, a client's jobs in turn; and who is refused */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "queue.h"
#include "t.h"

enum { LIMIT = 16 };

static struct queue q;
static double now = 1000;

static struct job *
job_of(uint64_t client, int choices)
{
	struct job *j = calloc(1, sizeof *j);

	j->nseq = choices;
	if (queue_add(&q, j, client, now) == 0)
		return j;
	free(j);
	return NULL;
}

static void
done(struct job *j)
{
	queue_remove(&q, j);
	free(j);
}

/* Give a place to whoever is next, and compute so many tokens for them; the client's key. */
static uint64_t
place(long tokens)
{
	struct job *j = queue_next(&q);
	struct client *c;

	if (!CHECK(j))
		return 0;
	c = j->client;
	queue_placed(&q, j, now);
	c->active++;
	c->computed += tokens;
	return c->key;
}

static void
one_client_is_served_first_come_first_served(void)
{
	struct job *a, *b;

	queue_init(&q, LIMIT);
	CHECK(!queue_next(&q));
	a = job_of(1, 1);
	b = job_of(1, 1);
	CHECK(queue_next(&q) == a);
	place(10);
	CHECK(queue_next(&q) == b);
	place(10);
	CHECK(!queue_next(&q));
	CHECK_INT(q.waiting, 0);
	done(b);
	done(a);
	CHECK(LIST_EMPTY(&q.clients));
}

static void
jobs_with_many_choices_take_turns_with_others_of_their_client(void)
{
	struct job *many, *few;

	queue_init(&q, LIMIT);
	many = job_of(1, 64);
	CHECK(queue_next(&q) == many);
	place(1);
	few = job_of(1, 2);
	place(1);		/* many: it came before */
	CHECK(queue_next(&q) == few);
	place(1);
	CHECK(queue_next(&q) == many);
	place(1);
	CHECK(queue_next(&q) == few);
	place(1);
	CHECK_INT(few->next, 2);
	CHECK_INT(q.waiting, 1);
	done(few);
	done(many);		/* with 61 choices that never had a place */
	CHECK_INT(q.waiting, 0);
}

static void
a_client_with_a_thousand_choices_does_not_starve_one_with_few(void)
{
	struct job *a[10], *b;
	int of_b = 0;

	queue_init(&q, LIMIT);
	for (int i = 0; i < 10; i++)
		a[i] = job_of(1, 100);
	for (int i = 0; i < 50; i++)
		CHECK_INT(place(100), 1);
	b = job_of(2, 10);
	CHECK_INT(place(100), 2);	/* has no place yet */
	for (int i = 0; i < 18; i++)
		of_b += place(100) == 2;
	CHECK(of_b >= 8);		/* half of the places */
	done(b);
	for (int i = 0; i < 10; i++)
		done(a[i]);
}

static void
places_go_by_tokens_not_by_requests(void)
{
	struct job *longs = job_of(1, 100), *shorts = job_of(2, 100);
	long tokens[3] = { 0 };

	for (int i = 0; i < 44; i++) {
		struct job *j = queue_next(&q);
		uint64_t key = j->client->key;

		tokens[key] += key == 1 ? 1000 : 100;
		place(key == 1 ? 1000 : 100);
	}
	CHECK(labs(tokens[1] - tokens[2]) <= 1000);
	done(longs);
	done(shorts);
}

static void
who_comes_after_a_pause_has_saved_nothing_up(void)
{
	struct job *a, *b;

	queue_init(&q, LIMIT);
	a = job_of(1, 100);
	for (int i = 0; i < 20; i++)
		place(100);
	b = job_of(2, 100);
	CHECK_INT(b->client->computed, a->client->computed);
	done(a);
	done(b);
}

static void
a_full_queue_refuses_and_keeps_room_for_those_who_have_nothing_waiting(void)
{
	struct job *j[LIMIT + 1];
	int n = 0;

	queue_init(&q, LIMIT);
	while (n < LIMIT && (j[n] = job_of(1, 1)))
		n++;
	CHECK_INT(n, LIMIT - LIMIT / 8);
	CHECK((j[n++] = job_of(2, 1)));
	CHECK(!job_of(2, 1));
	CHECK((j[n++] = job_of(3, 1)));
	CHECK(!job_of(4, 1));
	CHECK_INT(n, LIMIT);
	q.places = 1;		/* one of them will not have to wait */
	CHECK((j[n] = job_of(4, 1)));
	CHECK(!job_of(5, 1));
	n++;
	while (n > 0)
		done(j[--n]);
	CHECK(LIST_EMPTY(&q.clients));
	CHECK_INT(q.tokens, 0);
}

/* Place and end the job that is next, `seconds` later. */
static void
serve_next(double seconds)
{
	struct job *j = queue_next(&q);

	now += seconds;
	queue_placed(&q, j, now);
	done(j);
}

static void
the_wait_is_told_from_the_pace_of_late(void)
{
	queue_init(&q, LIMIT);
	CHECK_INT(queue_wait(&q, now), 1);
	for (int i = 0; i < 10; i++)
		job_of(i, 1);
	CHECK_INT(queue_wait(&q, now), 1);	/* nothing is known yet */
	CHECK_INT(queue_wait(&q, now + 2), 20);	/* none has left for 2 seconds, so that 10 of them take 20 */
	serve_next(2);
	serve_next(2);
	CHECK_INT(q.waiting, 8);
	CHECK_INT(queue_wait(&q, now + 2), 16);
	for (int i = 0; i < 200; i++) {	/* it becomes faster */
		serve_next(0.5);
		job_of(100 + i, 1);
	}
	CHECK_INT(q.waiting, 8);
	CHECK_INT(queue_wait(&q, now + 0.5), 4 + 1);	/* what was is not quite forgotten */
	while (q.waiting > 1)
		serve_next(0.01);
	CHECK_INT(queue_wait(&q, now), 1);
	CHECK_INT(queue_wait(&q, now + 1e6), QUEUE_WAIT_MAX);
	serve_next(0);
	now += 1e6;		/* a pause says nothing about the pace */
	job_of(1, 1);
	CHECK_INT(queue_wait(&q, now), 1);
	serve_next(0);
}

int
main(void)
{
	RUN(one_client_is_served_first_come_first_served);
	RUN(jobs_with_many_choices_take_turns_with_others_of_their_client);
	RUN(a_client_with_a_thousand_choices_does_not_starve_one_with_few);
	RUN(places_go_by_tokens_not_by_requests);
	RUN(who_comes_after_a_pause_has_saved_nothing_up);
	RUN(a_full_queue_refuses_and_keeps_room_for_those_who_have_nothing_waiting);
	RUN(the_wait_is_told_from_the_pace_of_late);
	return t_done();
}
