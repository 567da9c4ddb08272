/* intake: input lines, read by a thread of their own */
#include "intake.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "t.h"

/* Line i (from 1) of the stream that the tests send: its number, and letters up to a length that varies; every 50th is very long. */
static size_t
make_line(size_t i, char *out)
{
	size_t n = (size_t)sprintf(out, "%zu ", i), len = i % 50 ? i * 37 % 300 : 5000 + i * 101 % 200000;

	for (; n < len; n++)
		out[n] = (char)('a' + (n + i) % 26);
	return n;
}

#define LONGEST 300000
#define LIMIT ((size_t)1 << 20)

static int
is_line(size_t i, const char *p, size_t n)
{
	static char want[LONGEST];

	return make_line(i, want) == n && memcmp(p, want, n) == 0;
}

/* ---- a loop and a reader ---- */

static uv_loop_t uv;
static uv_async_t wake;

static void
woken(uv_async_t *a)
{
	(void)a;
}

static struct intake *
start(int (*next)(void *arg, char **p, size_t *n, struct err *e), void *arg)
{
	uv_loop_init(&uv);
	uv_async_init(&uv, &wake, woken);
	return intake_start(next, arg, LIMIT, &wake);
}

static void
stop(struct intake *in)
{
	intake_stop(in);
	uv_close((uv_handle_t *)&wake, NULL);
	uv_run(&uv, UV_RUN_DEFAULT);
	CHECK_INT(uv_loop_close(&uv), 0);
}

/* The next line or the end, waiting for it as the loop does. */
static enum intake_state
await(struct intake *in, struct line *out, struct err *e)
{
	enum intake_state state;

	while ((state = intake_line(in, out, e)) == INTAKE_WAIT)
		uv_run(&uv, UV_RUN_ONCE);
	return state;
}

/* ---- standard input from a thread ---- */

struct feed {
	int fd;
	size_t lines;
	size_t step;	/* bytes a write, 0: a whole line */
	pthread_t thread;
};

static void *
feeder(void *arg)
{
	struct feed *f = arg;
	char *text = malloc(LONGEST);

	for (size_t i = 1; i <= f->lines; i++) {
		size_t n = make_line(i, text), step = f->step ? f->step : n + 1;

		text[n++] = '\n';
		for (size_t at = 0; at < n; at += step)
			if (write(f->fd, text + at, n - at < step ? n - at : step) < 0)
				goto out;	/* nobody reads any more */
	}
out:
	free(text);
	close(f->fd);
	return NULL;
}

static void
input_from(int fd)
{
	dup2(fd, STDIN_FILENO);
	close(fd);
}

static void
feed(struct feed *f, size_t lines, size_t step)
{
	int fd[2];

	if (pipe(fd) < 0)
		exit(1);
	input_from(fd[0]);
	*f = (struct feed){ .fd = fd[1], .lines = lines, .step = step };
	pthread_create(&f->thread, NULL, feeder, f);
}

/* ---- the tests ---- */

static void
all_lines_arrive_in_order(void)
{
	static const size_t step[] = { 0, 4096, 300000 };

	for (size_t k = 0; k < 3; k++) {
		struct feed f;
		struct intake *in;
		struct line line;
		struct err e;
		size_t count = 0;

		feed(&f, 3000, step[k]);
		in = start(NULL, NULL);
		while (await(in, &line, &e) == INTAKE_LINE) {
			count++;
			if (!CHECK(line.at == count && !line.too_long && is_line(count, line.p, line.n) && line.p[line.n] == '\n'))
				break;
		}
		CHECK_INT(count, 3000);
		CHECK_INT(intake_line(in, &line, &e), INTAKE_END);
		stop(in);
		pthread_join(f.thread, NULL);
	}
}

/* A consumer so slow that the reader waits for it at every read. */
static void
a_slow_consumer_gets_the_same_lines(void)
{
	struct feed f;
	struct intake *in;
	struct line line;
	struct err e;
	size_t count = 0;

	feed(&f, 400, 0);
	in = start(NULL, NULL);
	while (await(in, &line, &e) == INTAKE_LINE) {
		count++;
		if (!CHECK(line.at == count && is_line(count, line.p, line.n)))
			break;
		if (count % 16 == 0)
			usleep(1000);
	}
	CHECK_INT(count, 400);
	stop(in);
	pthread_join(f.thread, NULL);
}

static void
a_line_whose_block_is_held_stays(void)
{
	enum { LINES = 2000 };
	static struct line kept[LINES + 1];
	struct feed f;
	struct intake *in;
	struct line line;
	struct err e;
	size_t count = 0;

	memset(kept, 0, sizeof kept);
	feed(&f, LINES, 0);
	in = start(NULL, NULL);
	while (await(in, &line, &e) == INTAKE_LINE)
		if (++count % 7 == 0) {
			kept[count] = line;
			block_hold(line.block);
		}
	CHECK_INT(count, LINES);
	stop(in);
	for (size_t i = 0; i <= LINES; i++)
		if (kept[i].block) {
			CHECK(is_line(i, kept[i].p, kept[i].n));
			block_drop(kept[i].block);
		}
	pthread_join(f.thread, NULL);
}

/* The other end writes the next line only when the last one has been seen. */
static void
a_line_that_arrives_alone_is_there_at_once(void)
{
	struct intake *in;
	struct line line = { 0 };
	struct err e;
	int fd[2];

	if (pipe(fd) < 0)
		return;
	input_from(fd[0]);
	in = start(NULL, NULL);
	for (int i = 0; i < 20; i++) {
		CHECK(write(fd[1], "one\r\n\ntwo\nthr", 13) == 13);
		CHECK(await(in, &line, &e) == INTAKE_LINE);
		CHECK_BYTES(line.p, line.n, "one", 3);
		CHECK(await(in, &line, &e) == INTAKE_LINE);
		CHECK_BYTES(line.p, line.n, "two", 3);
		CHECK(write(fd[1], "ee\n", 3) == 3);
		CHECK(await(in, &line, &e) == INTAKE_LINE);
		CHECK_BYTES(line.p, line.n, "three", 5);
		CHECK_INT(line.at, 4 * i + 4);
	}
	CHECK(write(fd[1], " \nend", 5) == 5);
	close(fd[1]);
	CHECK(await(in, &line, &e) == INTAKE_LINE);
	CHECK_BYTES(line.p, line.n, "end", 3);
	CHECK(line.p[3] == '\n');
	CHECK_INT(await(in, &line, &e), INTAKE_END);
	CHECK_INT(intake_blank(in), 21);
	stop(in);
}

static void
a_read_error_comes_after_the_lines(void)
{
	struct intake *in;
	struct line line;
	struct err e;

	input_from(open("/", O_RDONLY));
	in = start(NULL, NULL);
	CHECK_INT(await(in, &line, &e), INTAKE_ERROR);
	CHECK_STR(e.msg, "stdin: Is a directory");
	stop(in);
}

/* ---- lines of a callback ---- */

struct source {
	size_t calls, lines;
	char text[1000];
};

static int
next_line(void *arg, char **p, size_t *n, struct err *e)
{
	static const char *const odd[] = { "\xef\xbb\xbf{}", "", "a\nb\r", " " };
	struct source *s = arg;
	size_t i = __atomic_fetch_add(&s->calls, 1, __ATOMIC_RELAXED);

	if (i == s->lines)
		return s->lines == 6 ? err_set(e, "no more") : 0;
	memset(s->text, (int)('a' + i % 26), sizeof s->text);
	*n = sizeof s->text;
	if (i < 4)
		*n = strlen(memcpy(s->text, odd[i], strlen(odd[i]) + 1));
	*p = s->text;
	return 1;
}

static void
lines_of_a_callback_are_taken_as_they_are(void)
{
	struct source s = { .lines = 6 };
	struct intake *in = start(next_line, &s);
	struct line line = { 0 };
	struct err e;
	static const char *const want[] = { "\xef\xbb\xbf{}", "", "a\nb\r", " " };

	for (size_t i = 0; i < 6; i++) {
		CHECK(await(in, &line, &e) == INTAKE_LINE);
		CHECK_INT(line.at, i + 1);
		if (i < 4)
			CHECK_BYTES(line.p, line.n, want[i], strlen(want[i]));
		else
			CHECK(line.n == sizeof s.text && line.p[7] == (char)('a' + i) && line.p[line.n] == '\n');
	}
	CHECK_INT(await(in, &line, &e), INTAKE_ERROR);
	CHECK_STR(e.msg, "no more");
	stop(in);
}

/* No more is read than the queue holds, and one that waits for room. */
static void
the_queue_is_bounded(void)
{
	struct source s = { .lines = 20000 };
	struct intake *in = start(next_line, &s);
	size_t bound = INTAKE_BYTES / sizeof s.text + 5 + 4, taken = 0;
	struct line line;
	struct err e;

	while (__atomic_load_n(&s.calls, __ATOMIC_RELAXED) < INTAKE_BYTES / sizeof s.text)
		usleep(1000);
	while (await(in, &line, &e) == INTAKE_LINE) {
		taken++;
		if (!CHECK(__atomic_load_n(&s.calls, __ATOMIC_RELAXED) <= taken + bound))
			break;
	}
	CHECK_INT(taken, 20000);
	stop(in);
}

/* In the middle of a stream, with lines in the queue, and held by a read that does not return: nobody waits for it. */
static void
stopping_waits_for_nobody(void)
{
	struct feed f;
	struct intake *in;
	struct line line;
	struct err e;
	int fd[2];

	feed(&f, 100000, 0);
	in = start(NULL, NULL);
	for (size_t i = 1; i < 100; i++)
		CHECK(await(in, &line, &e) == INTAKE_LINE && is_line(i, line.p, line.n));
	stop(in);
	input_from(open("/dev/null", O_RDONLY));
	pthread_join(f.thread, NULL);	/* its pipe has no reader once ours has ended */
	if (pipe(fd) < 0)
		return;
	input_from(fd[0]);
	in = start(NULL, NULL);
	stop(in);
	CHECK(write(fd[1], "late\n", 5) == 5);
	close(fd[1]);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	RUN(all_lines_arrive_in_order);
	RUN(a_slow_consumer_gets_the_same_lines);
	RUN(a_line_whose_block_is_held_stays);
	RUN(a_line_that_arrives_alone_is_there_at_once);
	RUN(a_read_error_comes_after_the_lines);
	RUN(lines_of_a_callback_are_taken_as_they_are);
	RUN(the_queue_is_bounded);
	RUN(stopping_waits_for_nobody);
	return t_done();
}
