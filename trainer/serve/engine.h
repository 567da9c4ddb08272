/* engine.h - one thread that runs the model for all requests at once
 *
 * Continuous batching: sequences join and leave between turns (turn.h). A forward pass is batch-invariant and each choice has its own
 * generator, so a reply's bits never depend on the load. Who is served next is queue.h's, whose pages are taken turn.h's.
 *
 * The server's thread makes a job from a parsed request and submits it; the engine adds to job->out and calls job->wake. Both sides let go of
 * a job with job_release(); the last one frees it. What is marked "shared" is guarded by engine_lock(). */
#ifndef SA_ENGINE_H
#define SA_ENGINE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#include "answer.h"
#include "buf.h"
#include "device_option.h"
#include "err.h"
#include "request.h"

struct engine;
struct seq;

struct job {
	struct request req;
	char id[48];
	time_t created;
	struct seq *seq;	/* one a choice: the engine's; NULL while none was admitted */
	size_t nseq, next, left;	/* of seq: all; the next to be admitted; not finished */
	/* shared */
	struct client *client;	/* while it is not done */
	TAILQ_ENTRY(job) link;	/* of the client's that wait */
	TAILQ_ENTRY(job) all;
	struct buf out;		/* a stream's bytes, emptied when all are fetched; or the whole body */
	size_t fetched;		/* of a stream's */
	int status;		/* HTTP status of `out` when it is whole */
	bool done;		/* nothing more will come */
	bool cancelled;		/* the client is gone */
	double first, ended;	/* clock_seconds() when its first token came (0: none did) and when it was done */
	long generated;		/* tokens of all choices, once it is done */
	int holders;
	void (*wake)(struct job *j);	/* called with the lock held when out or done changed */
	void *arg;		/* wake's */
};

/* Whether mapped weights are moved to huge pages (huge.h). AUTO: where there is memory for them twice, beside the key-value caches. */
enum huge_pages { HUGE_AUTO, HUGE_ON, HUGE_OFF };

struct engine_options {
	const char *dir, *name, *date;
	const char *template;	/* NULL: by recognition */
	int weights;		/* enum weights_as (model.h) */
	int huge_pages;		/* enum huge_pages */
	int threads;		/* 0: all */
	int max_active;		/* sequences in a turn */
	int max_context;	/* 0: the checkpoint's */
	size_t kv_bytes;	/* the key-value caches' limit; 0: half of the memory that is left when the checkpoint is loaded, all of a GPU's */
	int turn_tokens;	/* a turn's (turn.h) */
	struct device_option device;
	int queue;		/* requests that wait (queue.h) */
};

/* Start the thread: it loads the checkpoint, then serves. `loaded` is called on it once, with NULL or the error's message; and once more with one when the device
 * fails later: then all requests are answered with it, and new ones refused. */
struct engine *engine_start(const struct engine_options *o, void (*loaded)(void *arg, const char *why), void *arg);
/* What requests are parsed against; NULL while loading. No context is longer than the key-value caches' limit allows, so that each request that fits
 * into the context can be computed. */
const struct serving *engine_serving(struct engine *e);
/* Once loaded: the key-value caches' limit, bytes, and the name of the GPU, "" without one. */
size_t engine_kv_bytes(const struct engine *e);
const char *engine_device(const struct engine *e);

void engine_lock(struct engine *e);
void engine_unlock(struct engine *e);

/* A job that takes over *r. Held by the caller and, once submitted, by the engine. */
struct job *job_new(struct request *r);
/* 0, or -1 with *why when the queue is full; the job is then the caller's alone. `client` is whose it is (queue.h). */
int engine_submit(struct engine *e, struct job *j, uint64_t client, struct req_error *why);
/* The client of a submitted job has gone: it is dropped at the next turn. Called with the lock held. */
void engine_cancel(struct engine *e, struct job *j);
void job_release(struct engine *e, struct job *j);

struct engine_stats {
	int waiting;		/* requests with choices that never had a place */
	int running;		/* sequences that have one */
	int pages, pages_held, pages_kept;	/* of key-value caches: the limit, in use, kept for their prefixes only */
	/* since the start */
	long taken, refused, cancelled;		/* requests: into the queue, for want of room in it, their clients gone */
	long turns;
	long prompt_tokens, found_tokens;	/* of prompts: computed (again, too), and not, for an equal prefix was there */
	long generated_tokens;
	long put_back;		/* sequences that lost their pages or place for a while */
};
void engine_stats(struct engine *e, struct engine_stats *s);


/* Drop everything and join the thread; new jobs are refused. While the checkpoint loads, that is waited for. */
void engine_stop(struct engine *e);
/* After engine_stop(), when every job was released. */
void engine_free(struct engine *e);

#endif
