/* window: records between being read and being written; and the output, which gathers lines by reference */
#include "window.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "t.h"

/* What was written, through the callback. */
static char got[65536];
static size_t got_n;

static int
gather(void *arg, const char *line, size_t n)
{
	(void)arg;
	if (got_n + n >= sizeof got)
		return -1;
	memcpy(got + got_n, line, n);
	got[got_n += n] = '\0';
	return 0;
}

static struct slice
text(const char *s)
{
	return block_slice(strcpy(malloc(strlen(s) + 1), s), strlen(s));
}

static const struct slice none;

static size_t
write_now(struct window *w, struct output *o)
{
	got[got_n = 0] = '\0';
	return window_write(w, o);
}

static const char *
written(struct window *w, struct output *o)
{
	write_now(w, o);
	return got;
}

static void
finished_records_leave_in_the_order_of_entering(void)
{
	struct window *w = window_new(4, 1000);
	struct output *o = output_new(gather, NULL);
	size_t a = window_enter(w, 1), b = window_enter(w, 1), c = window_enter(w, 1);

	window_finish(w, b, text("b "));
	CHECK_STR(written(w, o), "");
	window_finish(w, a, text("a "));
	CHECK_STR(written(w, o), "a b ");
	CHECK(!window_empty(w));
	window_finish(w, c, none);
	CHECK_INT(write_now(w, o), 0);
	CHECK_STR(got, "");
	CHECK(window_empty(w));
	window_free(w);
	output_free(o);
}

static void
unordered_they_leave_as_they_finish(void)
{
	struct window *w = window_new(4, 1000);
	struct output *o = output_new(gather, NULL);
	size_t a, b, c, d;

	window_unordered(w);
	a = window_enter(w, 1);
	b = window_enter(w, 1);
	c = window_enter(w, 1);
	d = window_enter(w, 1);
	CHECK(window_full(w));
	window_finish(w, c, text("c "));
	window_finish(w, b, text("b "));
	CHECK(window_full(w));
	CHECK_STR(written(w, o), "c b ");
	CHECK(!window_full(w));
	b = window_enter(w, 1);
	window_finish(w, d, none);
	window_finish(w, b, text("b2 "));
	CHECK_STR(written(w, o), "b2 ");
	window_finish(w, a, text("a "));
	CHECK(!window_empty(w));
	CHECK_STR(written(w, o), "a ");
	CHECK(window_empty(w));
	window_free(w);
	output_free(o);
}

static int elsewhere_n;

static int
elsewhere(void *arg, const char *line, size_t n)
{
	(void)arg;
	elsewhere_n += n == 2 && memcmp(line, "x ", 2) == 0;
	return 0;
}

static void
a_record_may_leave_by_another_output_and_is_not_counted(void)
{
	for (int unordered = 0; unordered < 2; unordered++) {
		struct window *w = window_new(4, 1000);
		struct output *o = output_new(gather, NULL), *other = output_new(elsewhere, NULL);

		if (unordered)
			window_unordered(w);
		window_finish_to(w, window_enter(w, 1), text("x "), other);
		window_finish(w, window_enter(w, 1), text("y "));
		CHECK_INT(write_now(w, o), 1);
		CHECK_STR(got, "y ");
		CHECK_INT(elsewhere_n, unordered + 1);
		window_finish(w, window_enter(w, 1), text("z "));
		CHECK_STR(written(w, o), "z ");
		window_free(w);
		output_free(o);
		output_free(other);
	}
}

static void
it_is_full_by_records_or_by_bytes(void)
{
	for (int unordered = 0; unordered < 2; unordered++) {
		struct window *w = window_new(3, 100);
		struct output *o = output_new(gather, NULL);
		size_t a, b;

		if (unordered)
			window_unordered(w);
		a = window_enter(w, 60);
		CHECK(!window_full(w));
		b = window_enter(w, 500);
		CHECK(window_full(w));
		window_finish(w, b, text("b"));
		CHECK(!window_full(w));
		window_enter(w, 1);
		CHECK(window_full(w));
		window_finish(w, a, text("a"));
		CHECK_STR(written(w, o), unordered ? "ba" : "ab");
		CHECK(!window_full(w) && !window_empty(w));
		window_free(w);
		output_free(o);
	}
}

/* A straggler at the head, many behind it: the ring grows and nothing changes its place. */
static void
many_records_pass_whatever_the_order_of_finishing(void)
{
	enum { RECORDS = 3000 };
	static size_t place[RECORDS];
	static int open[RECORDS];
	uint64_t seed = 5;

	for (int unordered = 0; unordered < 2; unordered++) {
		struct window *w = window_new(RECORDS, SIZE_MAX);
		struct output *o = output_new(gather, NULL);
		int n = 0;
		size_t next = 0, entered = 0, lines = 0;
		char number[20];

		if (unordered)
			window_unordered(w);
		while (lines < 20000) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			if (entered < 20000 && n < RECORDS && (seed >> 40) % 3 && !window_full(w)) {
				place[n] = window_enter(w, 5);
				open[n++] = (int)entered++;
			} else if (n) {
				int k = (int)((seed >> 20) % (unsigned)n);

				snprintf(number, sizeof number, "%d ", open[k]);
				window_finish(w, place[k], text(number));
				place[k] = place[--n];
				open[k] = open[n];
			}
			lines += write_now(w, o);
			for (char *p = got; *p && !unordered; next++)
				if (!CHECK_INT(strtol(p, &p, 10), next) || *p++ != ' ')
					return;
		}
		CHECK(window_empty(w));
		CHECK_INT(entered, 20000);
		window_free(w);
		output_free(o);
	}
}

/* Whether what is left is freed is for the sanitizer to say. */
static void
a_window_may_be_left_with_records_in_it(void)
{
	for (int unordered = 0; unordered < 2; unordered++) {
		struct window *w = window_new(1000, 1000);

		if (unordered)
			window_unordered(w);
		window_enter(w, 1);
		window_finish(w, window_enter(w, 1), text("x"));
		CHECK(!window_empty(w));
		window_free(w);
	}
}

/* ---- the output ---- */

/* Standard output into a pipe, read by a thread. */
struct sink {
	int out, fd[2];
	pthread_t thread;
	char *p;
	size_t n, cap;
	size_t slow;	/* read so much at a time */
};

static void *
drain(void *arg)
{
	struct sink *s = arg;
	ssize_t got_now;

	while ((got_now = read(s->fd[0], s->p + s->n, s->slow)) > 0) {
		s->n += (size_t)got_now;
		if (s->cap - s->n < s->slow)
			s->p = realloc(s->p, s->cap *= 2);
	}
	return NULL;
}

static void
sink_open(struct sink *s, size_t slow, int flags)
{
	*s = (struct sink){ .slow = slow, .cap = 1 << 20, .p = malloc(1 << 20) };
	fflush(stdout);
	s->out = dup(STDOUT_FILENO);
	if (pipe(s->fd) < 0)
		exit(1);
	fcntl(s->fd[1], F_SETFL, flags);
	dup2(s->fd[1], STDOUT_FILENO);
	close(s->fd[1]);
	pthread_create(&s->thread, NULL, drain, s);
}

static void
sink_close(struct sink *s)
{
	dup2(s->out, STDOUT_FILENO);
	close(s->out);
	pthread_join(s->thread, NULL);
	close(s->fd[0]);
}

static void
lines_come_out_whole_and_in_order_whatever_the_pipe_takes(void)
{
	static const struct { size_t slow; int flags; } t[] = { { 65536, 0 }, { 777, 0 }, { 777, O_NONBLOCK } };

	for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
		struct block *b = block_new(300000);
		struct output *o = output_new(NULL, NULL);
		struct sink s;
		size_t n = 0;
		int error = 0;

		for (size_t i = 0; i < b->cap; i++)
			b->p[i] = i % 97 ? (char)('a' + i % 26) : '\n';
		sink_open(&s, t[k].slow, t[k].flags);
		/* Side by side, with gaps, copies between, one larger than a chunk. */
		for (size_t i = 0; i < 1500; i++) {
			size_t len = i == 700 ? 150000 : 97;

			output_slice(o, (struct slice){ block_hold(b), b->p + i, len });
			output_slice(o, (struct slice){ block_hold(b), b->p + i + len, 10 });
			if (i % 3 == 0)
				output_line(o, "copy\n", 5);
		}
		error = output_flush(o);
		sink_close(&s);
		CHECK_INT(error, 0);
		for (size_t i = 0; i < 1500; i++) {
			size_t len = i == 700 ? 150000 : 97;

			if (!CHECK(n + len + 15 <= s.n + 5 && memcmp(s.p + n, b->p + i, len + 10) == 0))
				break;
			n += len + 10;
			if (i % 3)
				continue;
			CHECK_BYTES(s.p + n, 5, "copy\n", 5);
			n += 5;
		}
		CHECK_INT(s.n, n);
		CHECK_INT(b->refs, 1);
		output_free(o);
		block_drop(b);
		free(s.p);
	}
}

static void
nothing_is_held_back_by_a_flush_and_kept_lines_are_freed(void)
{
	struct output *o = output_new(NULL, NULL);
	struct block *b = block_new(4);
	struct sink s;

	memcpy(b->p, "abc\n", 4);
	sink_open(&s, 100, 0);
	output_slice(o, (struct slice){ block_hold(b), b->p, 4 });
	output_flush(o);
	output_slice(o, (struct slice){ block_hold(b), b->p, 4 });
	output_free(o);
	sink_close(&s);
	CHECK_BYTES(s.p, s.n, "abc\n", 4);
	CHECK_INT(b->refs, 1);
	block_drop(b);
	free(s.p);
}

static void
a_write_that_fails_is_told_then_and_ever_after(void)
{
	struct output *o = output_new(NULL, NULL);
	int out, full = open("/dev/full", O_WRONLY), error;

	fflush(stdout);
	out = dup(STDOUT_FILENO);
	dup2(full, STDOUT_FILENO);
	close(full);
	output_line(o, "x\n", 2);
	error = output_flush(o);
	dup2(out, STDOUT_FILENO);
	close(out);
	CHECK_STR(strerror(error), "No space left on device");
	output_line(o, "y\n", 2);
	CHECK_INT(output_flush(o), error);
	output_free(o);
}

int
main(void)
{
	RUN(finished_records_leave_in_the_order_of_entering);
	RUN(unordered_they_leave_as_they_finish);
	RUN(a_record_may_leave_by_another_output_and_is_not_counted);
	RUN(it_is_full_by_records_or_by_bytes);
	RUN(many_records_pass_whatever_the_order_of_finishing);
	RUN(a_window_may_be_left_with_records_in_it);
	RUN(lines_come_out_whole_and_in_order_whatever_the_pipe_takes);
	RUN(nothing_is_held_back_by_a_flush_and_kept_lines_are_freed);
	RUN(a_write_that_fails_is_told_then_and_ever_after);
	return t_done();
}
