/* intake.c - input lines, read by a thread of their own */

#include "intake.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "line.h"

struct intake {
	pthread_mutex_t lock;
	pthread_cond_t room;
	int owners;		/* the loop and the thread; the last one frees */
	bool stopped;		/* by the loop */
	enum intake_state end;	/* INTAKE_WAIT: more may come */
	struct err err;
	struct input *first, **last;
	size_t lines, bytes;	/* in the queue */
	size_t blank;
	uv_async_t *wake;
	int (*next)(void *arg, char **p, size_t *n, struct err *e);
	void *arg;
	size_t max_line;
};

/* Called with the lock held, which it lets go. */
static void
disown(struct intake *in)
{
	bool last = --in->owners == 0;

	pthread_mutex_unlock(&in->lock);
	if (!last)
		return;
	for (struct input *i; (i = in->first);) {
		in->first = i->next;
		free(i);
	}
	pthread_cond_destroy(&in->room);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

static struct input *
input_new(const char *p, size_t n, size_t at, bool too_long)
{
	struct input *i = xmalloc(sizeof *i + n + 1);

	*i = (struct input){ .at = at, .too_long = too_long, .n = n };
	memcpy(i->text, p, n);
	i->text[n] = 0;
	return i;
}

/* Append; waits while the queue is full. False when the loop wants no more. */
static bool
push(struct intake *in, struct input *i, size_t blank)
{
	bool more;

	pthread_mutex_lock(&in->lock);
	while (!in->stopped && in->first && (in->lines >= INTAKE_LINES || in->bytes + i->n > INTAKE_BYTES))
		pthread_cond_wait(&in->room, &in->lock);
	more = !in->stopped;
	in->blank = blank;
	if (more) {
		if (!in->first)
			uv_async_send(in->wake);
		*in->last = i;
		in->last = &i->next;
		in->lines++;
		in->bytes += i->n;
	} else {
		free(i);
	}
	pthread_mutex_unlock(&in->lock);
	return more;
}

static int
read_lines(struct intake *in, struct lines *l, struct err *e)
{
	size_t count = 0, n;
	int too_long = 0, rc;
	char *p;

	for (;;) {
		rc = l ? lines_next(l, &p, &n, &too_long, e) : in->next(in->arg, &p, &n, e);
		if (rc <= 0)
			return rc;
		count++;
		if (!push(in, input_new(p, n, l ? lines_at(l) : count, too_long), l ? lines_blank(l) : 0))
			return 0;
	}
}

static void *
reader(void *arg)
{
	struct intake *in = arg;
	struct lines *l = in->next ? NULL : lines_open(STDIN_FILENO, "stdin", in->max_line);
	struct err e;
	int rc = read_lines(in, l, &e);

	pthread_mutex_lock(&in->lock);
	in->blank = l ? lines_blank(l) : 0;
	in->end = rc < 0 ? INTAKE_ERROR : INTAKE_END;
	if (rc < 0)
		in->err = e;
	if (!in->stopped)
		uv_async_send(in->wake);
	if (l)
		lines_free(l);
	disown(in);
	return NULL;
}

struct intake *
intake_start(int (*next)(void *arg, char **p, size_t *n, struct err *e), void *arg, size_t max_line, uv_async_t *wake)
{
	struct intake *in = xcalloc(1, sizeof *in);
	sigset_t all, old;
	pthread_t thread;

	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->room, NULL);
	in->owners = 2;
	in->last = &in->first;
	in->wake = wake;
	in->next = next;
	in->arg = arg;
	in->max_line = max_line;
	/* Signals are the loop's: one that interrupted a read here would be lost. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&thread, NULL, reader, in) != 0)
		die(STATUS_IO, "cannot start the reading thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_detach(thread);
	return in;
}

enum intake_state
intake_take(struct intake *in, struct input **out, struct err *e)
{
	enum intake_state state;
	struct input *i;

	pthread_mutex_lock(&in->lock);
	i = in->first;
	state = i ? INTAKE_LINE : in->end;
	if (i) {
		in->first = i->next;
		if (!in->first)
			in->last = &in->first;
		in->lines--;
		in->bytes -= i->n;
		pthread_cond_signal(&in->room);
	} else if (state == INTAKE_ERROR) {
		*e = in->err;
	}
	pthread_mutex_unlock(&in->lock);
	*out = i;
	return state;
}

size_t
intake_blank(struct intake *in)
{
	size_t n;

	pthread_mutex_lock(&in->lock);
	n = in->blank;
	pthread_mutex_unlock(&in->lock);
	return n;
}

void
intake_stop(struct intake *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopped = true;
	pthread_cond_signal(&in->room);
	disown(in);
}
