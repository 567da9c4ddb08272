/* filter.c - the record loop: lines in, conversations about records, lines out in order
 *
 * Everything happens in loop_pump(), which each event ends with: read while the window has room, send what is ready, write what is finished
 * at the head of the window, and see whether the run is over. What happens to a question in between is in ask.c. */

#include "filter.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "line.h"
#include "loop.h"
#include "signals.h"

#define WINDOW_RECORDS 256		/* at least; and four for each of -j, so that one slow reply does not idle the others */
#define WINDOW_BYTES ((size_t)64 << 20)
#define PUMP_RECORDS 4096		/* read in one turn at most, so that transfers get their turn */
#define TICK_MS 200			/* the progress line, and whether somebody still reads our output */

struct loop *loop;

/* ---- diagnostics and failures ---- */

static void
vnote(const char *fmt, va_list ap)
{
	progress_clear();
	vwarn(fmt, ap);
}

static void __attribute__((format(printf, 1, 2)))
note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(fmt, ap);
	va_end(ap);
}

/* One line for each bad line of the input; of the other classes the first is told, the rest are in the sums at the end. */
static void
say_failure(size_t at, enum rec_class c, const char *message)
{
	const char *source = loop->run->next ? "record " : "stdin:";

	loop->stats.failed++;
	loop->stats.by_class[c]++;
	if (c != BAD_RECORD && loop->said[c])
		return;
	loop->said[c] = true;
	if (c == BAD_RECORD)
		note("%s%zu: %s", source, at, message);
	else
		note("%s%zu: %s: %s", source, at, rec_class_name(c), message);
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

void
loop_break(enum exit_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(fmt, ap);
	va_end(ap);
	if (loop->status == STATUS_OK)
		loop->status = status;
	loop->over = true;
	uv_stop(&loop->uv);
}

/* ---- records ---- */

static char *
record_line(struct rec *r, size_t *n)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	rec_write(r, &b);
	*n = b.n;
	return buf_take(&b);
}

void
loop_finished(struct asks *q)
{
	char *line = NULL;
	size_t n = 0;

	if (q->failed && loop->f->selects)
		loop->stats.dropped++;
	else if (q->taken && !q->failed)
		loop->stats.taken++;
	else
		line = record_line(q->rec, &n);
	window_finish(loop->window, q->place, line, n);
	LIST_REMOVE(q, link);
	rec_free(q->rec);
	free(q);
}

static void
bad_line(const struct input *i, const char *why)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	size_t place = window_enter(loop->window, i->n);

	say_failure(i->at, BAD_RECORD, why);
	if (loop->f->selects) {
		loop->stats.dropped++;
		window_finish(loop->window, place, NULL, 0);
		return;
	}
	rec_wrap(i->text, i->n, loop->f->name, why, &b);
	size_t n = b.n;
	window_finish(loop->window, place, buf_take(&b), n);
}

/* The escape \u0000 somewhere in a valid line. Texts go to the model as C strings: it would be asked about what stands before the NUL only, and
 * the rest would pass unseen. */
static bool
holds_nul(const char *line)
{
	for (; (line = strchr(line, '\\')); line += 2)
		if (strncmp(line + 1, "u0000", 5) == 0)
			return true;
	return false;
}

/* Ask about it; what needs no answer is finished at once. */
static void
converse(struct rec *r, const struct input *i)
{
	struct asks *q = xmalloc(sizeof *q);

	asks_init(q, r, i->at, window_enter(loop->window, i->n));
	LIST_INSERT_HEAD(&loop->talks, q, link);
	loop->current = q;
	q->taken = loop->f->ask(r, q) == TAKEN;
	loop->current = NULL;
	if (!q->failed && !q->taken && TAILQ_EMPTY(&q->list))
		loop->stats.passed++;
	if (!TAILQ_EMPTY(&q->list) && holds_nul(i->text))
		loop_fail(q, BAD_RECORD, "a text with a NUL character (\\u0000) cannot be asked about", 0, 0);
	asks_go_on(q);
}

static void
record_in(const struct input *i)
{
	const char *stage;
	struct rec *r;
	struct err e;

	loop->stats.in++;
	if (i->too_long) {
		bad_line(i, "the line is longer than 16 MiB");
		return;
	}
	r = rec_parse(i->text, i->n, &e);
	if (!r) {
		bad_line(i, e.msg);
		return;
	}
	stage = loop->f->selects ? NULL : rec_failed_by(r);
	if (stage && strcmp(stage, loop->f->name) != 0) {
		size_t n, place = window_enter(loop->window, i->n);
		char *line = record_line(r, &n);

		loop->stats.passed++;
		window_finish(loop->window, place, line, n);
		rec_free(r);
		return;
	}
	if (stage)
		rec_del(r, "sa_error");
	converse(r, i);
}

/* Read while there is room. True when it stopped only because there was none. */
static bool
admit(int *left)
{
	struct input *i;
	struct err e;

	for (; !loop->input_over; (*left)--) {
		if (window_full(loop->window) || *left <= 0)
			return true;
		switch (intake_take(loop->in, &i, &e)) {
		case INTAKE_LINE:
			record_in(i);
			free(i);
			break;
		case INTAKE_WAIT:
			return false;
		case INTAKE_ERROR:
			note("%s", e.msg);
			loop->status = STATUS_IO;
			loop->muted = true;	/* the stream is not whole: nothing is concluded from it */
			/* fall through */
		case INTAKE_END:
			loop->input_over = true;
		}
	}
	return false;
}

/* ---- the end ---- */

void
emit(const char *line, size_t n)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	if (loop->muted)
		return;
	buf_add(&b, line, n);
	buf_addc(&b, '\n');
	output_line(loop->out, b.p, b.n);
	buf_free(&b);
	loop->stats.made++;
}

/* All records are written. True when the end phase is through as well. */
static bool
conclude(void)
{
	if (!loop->ending) {
		loop->ending = true;
		if (loop->f->end && !loop->muted) {
			loop->current = &loop->end;
			loop->f->end(&loop->end);
			loop->current = NULL;
			asks_start();
		}
	}
	return TAILQ_EMPTY(&loop->end.list);
}

static void
write_out(void)
{
	int error = output_flush(loop->out);

	if (!error && loop->run->write == NULL && output_gone(loop->out))
		error = EPIPE;
	if (!error || loop->over)
		return;
	loop->output_error = error;
	loop->over = true;
	uv_stop(&loop->uv);
}

void
loop_pump(void)
{
	int left = PUMP_RECORDS;
	bool more;

	if (loop->over)
		return;
	do {
		more = admit(&left);
		asks_start();
		loop->stats.out += (long long)window_write(loop->window, loop->out);
	} while (more && left > 0 && !window_full(loop->window) && !loop->over);
	write_out();
	if (loop->over)
		return;
	if (more && !window_full(loop->window))
		uv_async_send(&loop->wake);
	if (!loop->input_over || !window_empty(loop->window) || !conclude())
		return;
	loop->over = true;
	uv_stop(&loop->uv);
}

/* ---- the loop ---- */

static void
on_wake(uv_async_t *wake)
{
	(void)wake;
	if (signals_caught() && !loop->over) {
		loop->over = true;
		uv_stop(&loop->uv);
		return;
	}
	asks_opened();
	loop_pump();
}

static void
on_tick(uv_timer_t *timer)
{
	(void)timer;
	if (loop->over)
		return;
	if (loop->progress)
		progress_show(&loop->stats, loop->in_flight);
	write_out();
}

static void
on_status_line(uv_timer_t *timer)
{
	(void)timer;
	if (!loop->over)
		progress_line(&loop->stats, loop->in_flight);
}

static void
loop_init(struct loop *l, const struct filter *f, const struct run *r)
{
	size_t records = 4 * (size_t)r->jobs;

	*l = (struct loop){ .f = f, .run = r };
	stats_start(&l->stats);
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->waiting);
	LIST_INIT(&l->talks);
	asks_init(&l->end, NULL, 0, 0);
	l->window = window_new(records > WINDOW_RECORDS ? records : WINDOW_RECORDS, WINDOW_BYTES);
	l->out = output_new(r->write, r->arg);
	l->progress = progress_wanted();
}

static void
loop_start(struct loop *l)
{
	if (uv_loop_init(&l->uv) < 0)
		die(STATUS_IO, "cannot start the event loop");
	uv_async_init(&l->uv, &l->wake, on_wake);
	uv_timer_init(&l->uv, &l->retry);
	uv_timer_init(&l->uv, &l->tick);
	uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
	uv_timer_init(&l->uv, &l->status_line);
	if (l->run->status_every > 0) {
		uint64_t ms = (uint64_t)(l->run->status_every * 1000);

		uv_timer_start(&l->status_line, on_status_line, ms, ms);
	}
	l->in = intake_start(l->run->next, l->run->arg, LINE_MAX_DEFAULT, &l->wake);
}

/* Cancel what is in flight and close everything. */
static void
loop_close(struct loop *l)
{
	l->over = true;
	signals_no_wake();
	l->stats.blank = (long long)intake_blank(l->in);
	intake_stop(l->in);
	if (l->opener)
		opener_stop(l->opener);
	asks_cancel();
	while (l->in_flight > 0)
		uv_run(&l->uv, UV_RUN_ONCE);
	if (l->http)
		http_free(l->http);
	if (l->open)
		endpoint_close(&l->ep);
	uv_close((uv_handle_t *)&l->retry, NULL);
	uv_close((uv_handle_t *)&l->tick, NULL);
	uv_close((uv_handle_t *)&l->status_line, NULL);
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
}

/* ---- a run ---- */

/* Every line read must have come out, or been kept or dropped by the filter. */
static void
check_balance(struct loop *l)
{
	struct stats *s = &l->stats;

	if (s->in == s->out + s->taken + s->dropped)
		return;
	note("%lld records were read, but %lld written, %lld kept and %lld dropped", s->in, s->out, s->taken, s->dropped);
	l->status = STATUS_IO;
}

static void
write_stats(struct loop *l, FILE *to)
{
	json_t *o = stats_json(&l->stats, l->f->name);

	l->muted = l->muted || signals_caught() || l->output_error || l->status == STATUS_USAGE;
	if (l->f->finish)
		l->f->finish(o);
	json_object_set_new(o, "made", json_integer(l->stats.made));
	if (to && (json_dumpf(o, to, JSON_COMPACT | JSON_REAL_PRECISION(15)) < 0 || fputc('\n', to) == EOF || fclose(to) == EOF)) {
		note("cannot write %s: %s", l->run->stats, strerror(errno));
		l->status = STATUS_IO;
	}
	json_decref(o);
}

/* What is finished, also when the run was broken off. */
static void
write_prefix(struct loop *l)
{
	if (l->output_error)
		return;
	l->stats.out += (long long)window_write(l->window, l->out);
	l->output_error = output_flush(l->out);
}

static enum exit_status
judge(struct loop *l)
{
	char sums[300];

	if (l->output_error)
		note("cannot write the output: %s", strerror(l->output_error));
	if (l->stats.failed > 0 && l->status != STATUS_USAGE) {
		stats_failures(&l->stats, sums, sizeof sums);
		note("%s", sums);
	}
	if (l->output_error)
		return STATUS_IO;
	if (l->status != STATUS_OK)
		return l->status;
	if (l->dead) {
		note("the endpoint is unusable: %s", l->dead_why.msg);
		return STATUS_ENDPOINT;
	}
	return l->stats.failed > 0 || l->end_failed ? STATUS_FAILED : STATUS_OK;
}

int
filter_run(const struct filter *f, const struct run *r)
{
	FILE *stats = r->stats ? fopen(r->stats, "we") : NULL;
	enum exit_status status;
	struct loop l;
	char *key;

	uv_replace_allocator(xmalloc, xrealloc, xcalloc, free);	/* else it abort()s where it cannot say that there is no memory */
	if (!f->no_model)
		http_init();
	if (r->stats && !stats)
		die(STATUS_USAGE, "%s: %s", r->stats, strerror(errno));
	if (!f->no_model)
		run_check(r);
	key = key_load(r);
	loop_init(&l, f, r);
	l.key = key;
	loop = &l;
	if (f->begin)
		f->begin();
	loop_start(&l);
	signals_take(&l.wake);
	uv_run(&l.uv, UV_RUN_DEFAULT);
	loop_close(&l);
	if (!signals_caught() && !l.output_error && l.status != STATUS_USAGE)
		check_balance(&l);
	progress_clear();
	write_prefix(&l);
	write_stats(&l, stats);
	write_prefix(&l);
	if (signals_caught())
		signals_die(signals_caught());
	if (l.output_error == EPIPE)
		signals_die(SIGPIPE);
	signals_give_back();
	status = judge(&l);
	window_free(l.window);
	output_free(l.out);
	free(key);
	loop = NULL;
	return (int)status;
}
