/* intake.c - input lines, read by a thread of their own */

#include "intake.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "thread.h"

/* What one read brought. */
struct batch {
	struct batch *next;
	struct range range;
	bool verbatim;	/* a line of the callback's: no end in it means anything */
};

struct intake {
	pthread_mutex_t lock;
	pthread_cond_t room;
	int owners;		/* the loop and the thread; the last one frees */
	bool stopped;		/* by the loop */
	enum intake_state end;	/* INTAKE_WAIT: more may come */
	struct err err;
	struct batch *first, **last;
	size_t bytes;		/* in the queue */
	uv_async_t *wake;
	int (*next)(void *arg, char **p, size_t *n, struct err *e);
	void *arg;
	size_t max_line;
	/* The loop's own. */
	struct batch *now;	/* being split */
	struct split split;
};

static void
batch_free(struct batch *b)
{
	if (!b)
		return;
	block_drop(b->range.block);
	free(b);
}

/* Called with the lock held, which it lets go. */
static void
disown(struct intake *in)
{
	bool last = --in->owners == 0;

	pthread_mutex_unlock(&in->lock);
	if (!last)
		return;
	for (struct batch *b; (b = in->first);) {
		in->first = b->next;
		batch_free(b);
	}
	pthread_cond_destroy(&in->room);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

/* Append; waits while the queue is full. False when the loop wants no more. */
static bool
push(struct intake *in, struct range r, bool verbatim)
{
	struct batch *b = xmalloc(sizeof *b);
	bool more;

	*b = (struct batch){ .range = r, .verbatim = verbatim };
	pthread_mutex_lock(&in->lock);
	while (!in->stopped && in->first && in->bytes + r.n > INTAKE_BYTES)
		pthread_cond_wait(&in->room, &in->lock);
	more = !in->stopped;
	if (more) {
		if (!in->first)
			uv_async_send(in->wake);
		*in->last = b;
		in->last = &b->next;
		in->bytes += r.n;
	}
	pthread_mutex_unlock(&in->lock);
	if (!more)
		batch_free(b);
	return more;
}

static int
read_lines(struct intake *in, struct err *e)
{
	struct lines *l = lines_open(STDIN_FILENO, "stdin", in->max_line);
	struct range r;
	int rc;

	while ((rc = lines_read(l, &r, e)) > 0)
		if (!push(in, r, false))
			break;
	lines_free(l);
	return rc;
}

static int
call_next(struct intake *in, struct err *e)
{
	struct range r = { 0 };
	char *p;
	int rc;

	while ((rc = in->next(in->arg, &p, &r.n, e)) > 0) {
		r.block = block_new(r.n + 1);
		r.p = r.block->p;
		memcpy(r.p, p, r.n);
		r.p[r.n] = '\n';
		if (!push(in, r, true))
			break;
	}
	return rc;
}

static void *
reader(void *arg)
{
	struct intake *in = arg;
	struct err e;
	int rc = in->next ? call_next(in, &e) : read_lines(in, &e);

	pthread_mutex_lock(&in->lock);
	in->end = rc < 0 ? INTAKE_ERROR : INTAKE_END;
	if (rc < 0)
		in->err = e;
	if (!in->stopped)
		uv_async_send(in->wake);
	disown(in);
	return NULL;
}

struct intake *
intake_start(int (*next)(void *arg, char **p, size_t *n, struct err *e), void *arg, size_t max_line, uv_async_t *wake)
{
	struct intake *in = xcalloc(1, sizeof *in);
	pthread_t thread;

	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->room, NULL);
	in->owners = 2;
	in->last = &in->first;
	in->wake = wake;
	in->next = next;
	in->arg = arg;
	in->max_line = in->split.max = max_line;
	if (thread_start(&thread, reader, in) != 0)
		die(STATUS_IO, "cannot start the reading thread");
	pthread_detach(thread);
	return in;
}

/* The next batch, if there is one now. */
static enum intake_state
next_batch(struct intake *in, struct err *e)
{
	enum intake_state state;

	batch_free(in->now);
	pthread_mutex_lock(&in->lock);
	in->now = in->first;
	state = in->now ? INTAKE_LINE : in->end;
	if (in->now) {
		in->first = in->now->next;
		if (!in->first)
			in->last = &in->first;
		in->bytes -= in->now->range.n;
		pthread_cond_signal(&in->room);
	} else if (state == INTAKE_ERROR) {
		*e = in->err;
	}
	pthread_mutex_unlock(&in->lock);
	return state;
}

static bool
take_verbatim(struct intake *in, struct line *out)
{
	struct range *r = &in->now->range;

	if (!r->p)
		return false;
	*out = (struct line){ .block = r->block, .p = r->p, .n = r->n, .at = ++in->split.at };
	r->p = NULL;
	return true;
}

enum intake_state
intake_line(struct intake *in, struct line *out, struct err *e)
{
	enum intake_state state;

	for (;;) {
		if (in->now && (in->now->verbatim ? take_verbatim(in, out) : split_next(&in->split, &in->now->range, out)))
			return INTAKE_LINE;
		state = next_batch(in, e);
		if (state != INTAKE_LINE)
			return state;
	}
}

size_t
intake_blank(const struct intake *in)
{
	return in->split.blank;
}

void
intake_stop(struct intake *in)
{
	batch_free(in->now);
	pthread_mutex_lock(&in->lock);
	in->stopped = true;
	pthread_cond_signal(&in->room);
	disown(in);
}
