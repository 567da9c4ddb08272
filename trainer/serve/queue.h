/* queue.h - the jobs that wait, and which of them gets the next place in the turns
 *
 * Places go to clients by the tokens that were computed for them (the virtual token counter of Sheng et al. 2024, "Fairness in Serving Large Language
 * Models"): first to those that have no place at all, then to the one with the least. Who comes after a pause begins at the least of those that are
 * there, so that nobody saves up. One client's jobs take turns, a sequence each: one with 64 choices does not hold up the next.
 *
 * A client is a number that the server makes of the key or the peer (server.c); it is there while it has jobs. At most `limit` jobs wait for a place,
 * of which the last eighth is kept for clients that have none waiting, so that one client alone cannot fill the queue.
 *
 * How long those that wait will take is told from how long the last ones took, a job's weight falling by a twentieth with each that came after it.
 *
 * No locks in here: the engine's guards it. Times are seconds of any clock that only goes on. */
#ifndef SA_QUEUE_H
#define SA_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define QUEUE_TOKENS (16L << 20)	/* prompt tokens that wait; the first job may have more */

struct job;

struct client {
	uint64_t key;
	int jobs;		/* that are not done */
	int active;		/* sequences that have a place: kept by turn.c */
	int nwaiting;
	TAILQ_HEAD(, job) waiting;	/* jobs with sequences that never had a place, the next first */
	long computed;		/* tokens */
	LIST_ENTRY(client) link;
};

struct queue {
	int limit;
	int places;		/* free ones: as many more may come */
	int waiting;		/* jobs */
	size_t tokens;		/* of their prompts */
	LIST_HEAD(, client) clients;
	double since;		/* when the last job left for its places, or the first came that waits now */
	double took, left;	/* seconds that jobs took to leave, one after the other, and how many: weighted sums */
};

#define QUEUE_WAIT_MAX 60	/* seconds: what is foretold further ahead comes otherwise */

void queue_init(struct queue *q, int limit);
/* A new job of the client; -1 when the queue is full. */
int queue_add(struct queue *q, struct job *j, uint64_t client, double now);
/* Whole seconds until all that wait now have their places, by the pace of late: 1 to QUEUE_WAIT_MAX. */
int queue_wait(const struct queue *q, double now);
/* The job whose sequence number j->next gets the next place, or NULL. */
struct job *queue_next(const struct queue *q);
/* It has got it: counts j->next on. */
void queue_placed(struct queue *q, struct job *j, double now);
/* The job is done, or dropped. */
void queue_remove(struct queue *q, struct job *j);

#endif
