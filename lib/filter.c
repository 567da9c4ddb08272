/* filter.c - the record loop: lines in, conversations about records, lines out in order
 *
 * Everything happens in loop_pump(), which each turn of the loop with an event in it ends with: read while the window has room, send what is ready, write what is finished
 * at the head of the window, and see whether the run is over. What happens to a question in between is in ask.c. */

#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "key.h"
#include "loop.h"
#include "signals.h"

#define WINDOW_RECORDS 256		/* at least; and sixteen for each of -j, so that slow replies and back-offs do not idle the others */
#define WINDOW_BYTES ((size_t)64 << 20)
#define PUMP_RECORDS 4096		/* read in one turn at most, so that transfers get their turn */
#define TICK_MS 200			/* the progress line, and whether somebody still reads our output */

struct loop *loop;

/* ---- diagnostics ---- */

static void
vnote(const char *fmt, va_list ap)
{
	progress_clear();
	vwarn(fmt, ap);
}

void
loop_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(fmt, ap);
	va_end(ap);
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
			send_start();
		}
	}
	if (loop->end.pending)
		loop->muted = true;	/* what the end phase asked is in the batch file: nothing is concluded before the results are there */
	return TAILQ_EMPTY(&loop->end.list) && loop->end.storing == 0;
}

/* look: whether anybody still reads it, which no write would tell while there is nothing to write. */
static void
write_out(bool look)
{
	int error = output_flush(loop->out);

	if (loop->failed && output_flush(loop->failed) && !loop->over)
		loop_break(STATUS_IO, "cannot write %s: %s", loop->run->failed, strerror(loop->failed_error));
	if (!error && look && output_gone(loop->out))
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
		more = records_admit(&left);
		send_start();
		loop->stats.out += (long long)window_write(loop->window, loop->out);
	} while (more && left > 0 && !records_full() && !loop->over);
	write_out(false);
	if (loop->over)
		return;
	if (more && !records_full())
		uv_async_send(&loop->wake);
	if (!loop->input_over || !window_empty(loop->window) || !conclude())
		return;
	loop->over = true;
	uv_stop(&loop->uv);
}

/* ---- the loop ---- */

static void
pump_if_due(void)
{
	if (!loop->due)
		return;
	loop->due = false;
	loop_pump();
}

/* Before the loop waits for events, and after. */
static void
on_before(uv_prepare_t *handle)
{
	(void)handle;
	pump_if_due();
}

static void
on_after(uv_check_t *handle)
{
	(void)handle;
	pump_if_due();
}

static void
on_wake(uv_async_t *wake)
{
	(void)wake;
	if (signals_caught() && !loop->over) {
		loop->over = true;
		uv_stop(&loop->uv);
		return;
	}
	send_opened();
	store_news();
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
	if (loop->run->deadline > 0) {
		asks_expire();
		loop_pump();
	}
	write_out(true);
}

static void
on_status_line(uv_timer_t *timer)
{
	(void)timer;
	if (!loop->over)
		progress_line(&loop->stats, loop->in_flight);
}

/* A line of --failed: whole, and at once. */
static int
write_failed(void *arg, const char *line, size_t n)
{
	struct loop *l = arg;
	ssize_t done;

	for (; n > 0; line += done, n -= (size_t)done) {
		done = write(l->failed_fd, line, n);
		if (done < 0 && errno == EINTR)
			done = 0;
		if (done < 0) {
			l->failed_error = errno;
			return -1;
		}
	}
	return 0;
}

/* --explain shows a request instead. */
static int
write_nothing(void *arg, const char *line, size_t n)
{
	(void)arg;
	(void)line;
	(void)n;
	return 0;
}

static void
open_failed(struct loop *l)
{
	const char *path = l->run->failed;
	struct stat in, out;

	if (!path)
		return;
	if (fstat(STDIN_FILENO, &in) == 0 && stat(path, &out) == 0 && S_ISREG(in.st_mode) && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
		die(STATUS_USAGE, "%s: is the input too; give --failed another file", path);
	l->failed_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (l->failed_fd < 0)
		die(STATUS_USAGE, "%s: %s", path, strerror(errno));
	l->failed = output_new(write_failed, l);
}

/* What is still to come of an input that is a file: for the time that is left. */
static long long
input_bytes(void)
{
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
	struct stat st;

	return at >= 0 && fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > at ? (long long)(st.st_size - at) : 0;
}

static void
spend_start(struct loop *l)
{
	double in = 0, out = 0;

	if (l->run->price)
		spend_price(l->run->price, &in, &out);
	spend_init(&l->spend, l->run->max_tokens_total, l->run->max_usd, in, out);
}

static void
loop_init(struct loop *l, const struct filter *f, const struct run *r)
{
	size_t records = 16 * (size_t)r->jobs;

	*l = (struct loop){ .f = f, .run = r };
	stats_start(&l->stats);
	l->stats.priced = r->price != NULL;
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->waiting);
	TAILQ_INIT(&l->talks);
	asks_init(&l->end, NULL, 0, 0);
	l->window = window_new(records > WINDOW_RECORDS ? records : WINDOW_RECORDS, WINDOW_BYTES);
	if (r->unordered)
		window_unordered(l->window);
	l->out = r->explain ? output_new(write_nothing, NULL) : output_new(r->write, r->arg);
	open_failed(l);
	spend_start(l);
	l->progress = progress_wanted();
	if (!r->next)
		l->stats.size = input_bytes();
}

static void
loop_start(struct loop *l)
{
	if (uv_loop_init(&l->uv) < 0)
		die(STATUS_IO, "cannot start the event loop");
	uv_async_init(&l->uv, &l->wake, on_wake);
	uv_prepare_init(&l->uv, &l->before);
	uv_prepare_start(&l->before, on_before);
	uv_check_init(&l->uv, &l->after);
	uv_check_start(&l->after, on_after);
	uv_timer_init(&l->uv, &l->retry);
	uv_timer_init(&l->uv, &l->later);
	uv_timer_init(&l->uv, &l->tick);
	uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
	uv_timer_init(&l->uv, &l->status_line);
	if (l->run->status_every > 0) {
		uint64_t ms = (uint64_t)(l->run->status_every * 1000);

		uv_timer_start(&l->status_line, on_status_line, ms, ms);
	}
	if (!l->run->write && !l->run->explain)
		output_thread(l->out, &l->wake);
	l->in = intake_start(l->run->next, l->run->arg, (size_t)l->run->max_line, &l->wake);
}

/* Cancel what is in flight and close everything. */
static void
loop_close(struct loop *l)
{
	l->over = true;
	signals_no_wake();
	output_thread(l->out, NULL);
	l->stats.blank = (long long)intake_blank(l->in);
	intake_stop(l->in);
	asks_cancel();
	while (l->in_flight > 0)
		uv_run(&l->uv, UV_RUN_ONCE);
	if (l->http)
		http_free(l->http);
	l->stats.concurrency = l->pool ? pool_limit(l->pool) : 0;
	pool_free(l->pool);
	store_close();
	uv_close((uv_handle_t *)&l->before, NULL);
	uv_close((uv_handle_t *)&l->after, NULL);
	uv_close((uv_handle_t *)&l->retry, NULL);
	uv_close((uv_handle_t *)&l->later, NULL);
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

	if (s->in == s->out + s->taken + s->dropped + s->diverted)
		return;
	loop_note("%lld records were read, but %lld written, %lld diverted, %lld kept and %lld dropped", s->in, s->out, s->diverted, s->taken, s->dropped);
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
		loop_note("cannot write %s: %s", l->run->stats, strerror(errno));
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
	do {
		l->stats.out += (long long)window_write(l->window, l->out);
		l->output_error = output_finish(l->out);
	} while (!l->output_error && window_ready(l->window));
}

static enum exit_status
judge(struct loop *l)
{
	char sums[300];

	if (l->output_error)
		loop_note("cannot write the output: %s", strerror(l->output_error));
	if (l->stats.failed > 0 && l->status != STATUS_USAGE) {
		stats_failures(&l->stats, sums, sizeof sums);
		loop_note("%s", sums);
	}
	if (l->output_error)
		return STATUS_IO;
	if (l->status != STATUS_OK)
		return l->status;
	if (l->dead && l->dead_class == BUDGET) {
		loop_note("%s", l->dead_why.msg);
		return STATUS_BUDGET;
	}
	if (l->dead) {
		loop_note("the endpoint is unusable: %s", l->dead_why.msg);
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
	if (!f->no_model && (key || getenv("OPENAI_API_KEY")) && key_guard() < 0)
		warn("warning: a core of this process could show the key");
	loop_init(&l, f, r);
	l.key = key;
	l.model = f->no_model ? NULL : endpoint_model(run_endpoint(r), r->model);
	loop = &l;
	store_open();
	if (f->begin)
		f->begin();
	loop_start(&l);
	signals_take(&l.wake);
	uv_run(&l.uv, UV_RUN_DEFAULT);
	loop_close(&l);
	if (!signals_caught() && !l.output_error && l.status != STATUS_USAGE && !r->explain)
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
	if (l.failed)
		output_free(l.failed);
	free(l.model);
	free(key);
	loop = NULL;
	return (int)status;
}
