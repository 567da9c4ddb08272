/* records.c - a record's way through the loop: in as a line, into a conversation, out as a line, whole or failed */

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"

#define READY_LEAST 16

/* ---- failures ---- */

/* One line for each bad line of the input; of the other classes the first is told, the rest are in the sums at the end. */
static void
say_failure(size_t at, enum rec_class c, const char *message)
{
	const char *source = loop->run->next ? "record " : "stdin:";

	loop->stats.failed++;
	loop->stats.by_class[c]++;
	loop->input_over = loop->input_over || (loop->run->strict && c == BAD_RECORD);
	if (c != BAD_RECORD && loop->said[c])
		return;
	loop->said[c] = true;
	if (c == BAD_RECORD)
		loop_note("%s%zu: %s", source, at, message);
	else
		loop_note("%s%zu: %s: %s", source, at, rec_class_name(c), message);
}

void
loop_fail(struct asks *q, enum rec_class c, const char *message, long attempts, int http)
{
	if (q->failed)
		return;
	q->failed = true;
	rec_fail(q->rec, loop->f->name, c, message, (int)attempts, http);
	say_failure(q->at, c, message);
}

int
fail(struct rec *r, enum rec_class c, const char *fmt, ...)
{
	struct asks *q = loop->current;
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	if (r)
		loop_fail(q, c, message, q->attempts, 0);
	return DONE;
}

/* ---- out ---- */

/* A record that failed leaves by --failed, by the output, or, of a selecting filter, not at all. */
static void
failed_out(size_t place, struct slice line)
{
	if (loop->f->selects) {
		loop->stats.dropped++;
		block_drop(line.block);
		window_finish(loop->window, place, (struct slice){ 0 });
	} else if (loop->failed) {
		loop->stats.diverted++;
		window_finish_to(loop->window, place, line, loop->failed);
	} else {
		window_finish(loop->window, place, line);
	}
}

void
loop_finished(struct asks *q)
{
	struct slice line = { 0 };

	if (q->pending && !q->failed) {
		loop->stats.pending++;
		rec_revert(q->rec);
	}
	if (q->failed || q->pending || !q->taken)
		line = rec_line(q->rec);
	else
		loop->stats.taken++;
	if (q->failed)
		failed_out(q->place, line);
	else
		window_finish(loop->window, q->place, line);
	asks_end(q);
}

static void
bad_line(const struct line *i, const char *why)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	size_t place = window_enter(loop->window, i->n);

	say_failure(i->at, BAD_RECORD, why);
	rec_wrap(i->p, i->n, loop->f->name, why, &b);
	failed_out(place, block_slice(b.p, b.n));
}

static void
too_long(const struct line *i)
{
	long long most = loop->run->max_line;
	char why[80];

	if (most % (1 << 20) == 0)
		snprintf(why, sizeof why, "the line is longer than %lld MiB", most >> 20);
	else
		snprintf(why, sizeof why, "the line is longer than %lld bytes", most);
	bad_line(i, why);
}

/* ---- in ---- */

/* Ask about it; what needs no answer is finished at once. */
static void
converse(struct rec *r, const struct line *i)
{
	struct asks *q = xmalloc(sizeof *q);

	asks_init(q, r, i->at, window_enter(loop->window, i->n));
	q->since = uv_now(&loop->uv);
	TAILQ_INSERT_TAIL(&loop->talks, q, link);
	loop->current = q;
	q->taken = loop->f->ask(r, q) == TAKEN;
	loop->current = NULL;
	if (!q->failed && !q->taken && TAILQ_EMPTY(&q->list))
		loop->stats.passed++;
	if (!TAILQ_EMPTY(&q->list))
		rec_own(r);	/* the lines around it may be through long before its reply is there */
	/* Texts go to the model as C strings: it would be asked about what stands before the NUL only, and the rest would pass unseen. */
	if (!TAILQ_EMPTY(&q->list) && rec_holds_nul(r))
		loop_fail(q, BAD_RECORD, "a text with a NUL character (\\u0000) cannot be asked about", 0, 0);
	asks_go_on(q);
}

static void
record_in(const struct line *i)
{
	const char *stage;
	struct rec *r;
	struct err e;

	loop->stats.in++;
	loop->stats.bytes += (long long)i->n + 1;
	if (i->too_long) {
		too_long(i);
		return;
	}
	r = rec_take(i->block, i->p, i->n, &e);
	if (!r) {
		bad_line(i, e.msg);
		return;
	}
	stage = loop->f->selects ? NULL : rec_failed_by(r);
	if (stage && strcmp(stage, loop->f->name) != 0) {
		loop->stats.passed++;
		window_finish(loop->window, window_enter(loop->window, i->n), rec_line(r));
		rec_free(r);
		return;
	}
	if (stage)
		rec_del(r, "sa_error");
	converse(r, i);
}

/* A record that waits for its turn to be sent costs several times its line. */
bool
records_full(void)
{
	return window_full(loop->window) || loop->asks[READY] >= (loop->run->jobs > READY_LEAST ? loop->run->jobs : READY_LEAST);
}

bool
records_admit(int *left)
{
	struct line line;
	struct err e;

	for (; !loop->input_over; (*left)--) {
		if (records_full() || *left <= 0)
			return true;
		switch (intake_line(loop->in, &line, &e)) {
		case INTAKE_LINE:
			record_in(&line);
			break;
		case INTAKE_WAIT:
			return false;
		case INTAKE_ERROR:
			loop_note("%s", e.msg);
			loop->status = STATUS_IO;
			loop->muted = true;	/* the stream is not whole: nothing is concluded from it */
			/* fall through */
		case INTAKE_END:
			loop->input_over = true;
		}
	}
	return false;
}
