/* inside.h - the inside of the engine, shared by engine.c (jobs and the thread), load.c (what it begins with) and deliver.c (what a turn brought) */
#ifndef SA_INSIDE_H
#define SA_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "huge.h"
#include "model.h"
#include "queue.h"
#include "turn.h"

TAILQ_HEAD(seqs, seq);

struct engine {
	struct engine_options o;
	void (*loaded)(void *arg, const char *why);
	void *arg;
	pthread_t thread;

	struct mach *mach;
	struct model *model;
	struct tok *tok;
	struct serving serving;
	struct turn turn;
	struct seqs back;	/* sequences that were put back, those admitted first first */
	size_t kv_bytes;
	struct huge huge;	/* how far the weights have moved */
	bool moving;		/* there are more of them to move */
	atomic_bool ready;

	pthread_mutex_t lock;
	pthread_cond_t work;
	/* shared */
	struct queue queue;
	TAILQ_HEAD(, job) jobs;	/* that are not done */
	struct engine_stats stats;
	bool cancelled;		/* some job was, since the last look */
	bool stop;
	bool failed;		/* the device did: nothing can be computed any more */
};

/* The tokenizer, the checkpoint, the template, the pool of pages and the turn. 0, or -1 with a message. */
int engine_load(struct engine *e, struct err *err);

/* What a turn brought to a choice of a stream that is not done. */
void deliver_stream(struct engine *e, struct job *j, struct choice *c);
/* All choices are finished: the whole reply, or the rest of the stream. The job is let go. */
void deliver_done(struct engine *e, struct job *j);
/* The job failed. A stream has its status already: then the error is its last event. The job is let go; it has no active sequences. */
void deliver_error(struct engine *e, struct job *j, const struct req_error *why);

#endif
