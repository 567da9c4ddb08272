/* line: lines of a descriptor, with their number */
#include "line.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "t.h"

struct feed {
	int fd;
	const char *p;
	size_t n, step;
};

static void *
feeder(void *arg)
{
	struct feed *f = arg;

	for (size_t i = 0; i < f->n; i += f->step) {
		size_t k = f->n - i < f->step ? f->n - i : f->step;

		if (write(f->fd, f->p + i, k) != (ssize_t)k)
			break;
	}
	close(f->fd);
	return NULL;
}

/* Read all lines of `text`, which arrives `step` bytes at a time, as "NUMBER:LINE|", with ! for one that was too long. */
static const char *
all(const char *text, size_t n, size_t step, size_t max, size_t *blank)
{
	static char out[4096];
	struct lines *l;
	struct feed f = { .p = text, .n = n, .step = step };
	pthread_t t;
	char *p;
	size_t len, used = 0;
	int fd[2], too_long;
	struct err e;

	if (pipe(fd) < 0)
		return NULL;
	f.fd = fd[1];
	pthread_create(&t, NULL, feeder, &f);
	l = lines_open(fd[0], "stdin", max);
	out[0] = '\0';
	while (lines_next(l, &p, &len, &too_long, &e) == 1 && CHECK(p[len] == '\n'))
		used += sprintf(out + used, "%zu:%s%.*s|", lines_at(l), too_long ? "!" : "", (int)len, p);
	if (blank)
		*blank = lines_blank(l);
	pthread_join(t, NULL);
	lines_free(l);
	close(fd[0]);
	return out;
}

#define ALL(text, max) all(text, sizeof(text) - 1, 1000, max, NULL)

static void
lf_and_crlf_end_a_line_and_the_last_may_lack_it(void)
{
	CHECK_STR(ALL("a\nbc\r\nd", 100), "1:a|2:bc|3:d|");
	CHECK_STR(ALL("a\r", 100), "1:a|");
	CHECK_STR(ALL("a\rb\n", 100), "1:a\rb|");
	CHECK_STR(ALL("", 100), "");
}

static void
blank_lines_are_skipped_and_counted(void)
{
	static const char text[] = "\n\na\n \t\r\n\r\nb\n\n";
	size_t blank;

	CHECK_STR(all(text, sizeof text - 1, 1000, 100, &blank), "3:a|6:b|");
	CHECK_INT(blank, 5);
}

static void
a_byte_order_mark_is_dropped_from_the_first_line_only(void)
{
	CHECK_STR(ALL("\xef\xbb\xbf" "a\n\xef\xbb\xbf" "b\n", 100), "1:a|2:\xef\xbb\xbf" "b|");
	CHECK_STR(ALL("\xef\xbb\xbf\nb\n", 100), "2:b|");
}

static void
a_line_too_long_is_cut_and_the_next_one_is_whole(void)
{
	CHECK_STR(ALL("abcd\nabcde\nabcdefghijkl\nxy\n", 4), "1:abcd|2:!abcd|3:!abcd|4:xy|");
	CHECK_STR(ALL("\xef\xbb\xbf" "abcd\r\nabcd\r\n", 4), "1:abcd|2:abcd|");
	CHECK_STR(ALL("abcdefghijkl", 4), "1:!abcd|");
}

static void
any_split_of_the_bytes_gives_the_same_lines(void)
{
	static const char text[] = "\xef\xbb\xbf" "one\r\n\n12345678901234567890\r\nlast\nx";

	for (size_t step = 1; step < 12; step++)
		CHECK_STR(all(text, sizeof text - 1, step, 8, NULL), "1:one|3:!12345678|4:last|5:x|");
}

static void
a_nul_is_an_ordinary_byte(void)
{
	struct lines *l;
	int fd[2], too_long;
	char *p;
	size_t n;
	struct err e;

	if (!CHECK(pipe(fd) == 0))
		return;
	CHECK(write(fd[1], "a\0b\n\0\n", 6) == 6);
	close(fd[1]);
	l = lines_open(fd[0], "stdin", 100);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 1);
	CHECK_BYTES(p, n, "a\0b", 3);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 1);
	CHECK_BYTES(p, n, "\0", 1);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 0);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 0);
	lines_free(l);
	close(fd[0]);
}

static void
a_line_longer_than_many_reads_is_whole(void)
{
	size_t n = 3000000, got;
	char *text = malloc(n + 1), *p;
	struct lines *l;
	FILE *f = tmpfile();
	int too_long;
	struct err e;

	for (size_t i = 0; i < n; i++)
		text[i] = 'a' + i % 23;
	text[n] = '\n';
	fwrite(text, 1, n + 1, f);
	fwrite("end", 1, 3, f);
	rewind(f);
	l = lines_open(fileno(f), "big", LINE_MAX_DEFAULT);
	CHECK(lines_next(l, &p, &got, &too_long, &e) == 1);
	CHECK(got == n && !too_long && memcmp(p, text, n) == 0);
	CHECK(lines_next(l, &p, &got, &too_long, &e) == 1);
	CHECK_BYTES(p, got, "end", 3);
	lines_free(l);
	fclose(f);
	free(text);
}

/* A reader that is not the splitter: what one read brought is handed on whole, and nothing is written over while it is held. */
static void
ranges_are_of_whole_lines_and_stay_while_they_are_held(void)
{
	enum { LINES = 40000 };
	struct range held[200], r;
	struct split s = { .max = 100 };
	struct line line;
	struct lines *l;
	FILE *f = tmpfile();
	size_t n = 0, i = 0;
	struct err e;
	char want[40];

	for (size_t k = 1; k <= LINES; k++)
		fprintf(f, "line %zu\r\n", k);
	fprintf(f, "last");
	rewind(f);
	l = lines_open(fileno(f), "big", 100);
	while (n < 200 && lines_read(l, &r, &e) == 1 && CHECK(r.p[r.n - 1] == '\n' && !r.cut))
		held[n++] = r;
	CHECK(n > 3 && n < 200);
	lines_free(l);
	for (size_t k = 0; k < n; k++) {
		r = held[k];
		while (split_next(&s, &r, &line)) {
			i++;
			sprintf(want, i <= LINES ? "line %zu" : "last", i);
			if (!CHECK_BYTES(line.p, line.n, want, strlen(want)) || !CHECK(line.at == i && line.block == r.block && line.p[line.n] == '\n'))
				return;
		}
		block_drop(held[k].block);
	}
	CHECK_INT(i, LINES + 1);
	fclose(f);
}

/* Whoever takes lines one by one works in one block: nothing is allocated for a line. */
static void
one_after_the_other_lines_stay_in_one_block(void)
{
	struct lines *l;
	FILE *f = tmpfile();
	char *p, *low = NULL, *high = NULL;
	int too_long;
	size_t n;
	struct err e;

	for (size_t k = 1; k <= 2000; k++)
		fprintf(f, "%-998zu\n\n", k);
	rewind(f);
	l = lines_open(fileno(f), "big", 2000);
	while (lines_next(l, &p, &n, &too_long, &e) == 1) {
		low = !low || p < low ? p : low;
		high = p > high ? p : high;
	}
	CHECK_INT(lines_at(l), 4000);
	CHECK(high - low < 3 * 128 * 1024);
	lines_free(l);
	fclose(f);
}

static void
a_read_error_names_the_file(void)
{
	int fd = open("/", O_RDONLY), too_long;
	struct lines *l = lines_open(fd, "some/dir", 100);
	char *p;
	size_t n;
	struct err e;

	CHECK(lines_next(l, &p, &n, &too_long, &e) == -1);
	CHECK(strstr(e.msg, "some/dir: "));
	lines_free(l);
	close(fd);
}

static void
a_descriptor_that_was_left_non_blocking_is_waited_for(void)
{
	int fd[2], too_long;
	struct feed f = { .p = "late\n", .n = 5, .step = 1 };
	struct lines *l;
	pthread_t t;
	char *p;
	size_t n;
	struct err e;

	if (!CHECK(pipe(fd) == 0))
		return;
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	f.fd = fd[1];
	l = lines_open(fd[0], "stdin", 100);
	pthread_create(&t, NULL, feeder, &f);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 1);
	CHECK_BYTES(p, n, "late", 4);
	CHECK(lines_next(l, &p, &n, &too_long, &e) == 0);
	pthread_join(t, NULL);
	lines_free(l);
	close(fd[0]);
}

int
main(void)
{
	RUN(lf_and_crlf_end_a_line_and_the_last_may_lack_it);
	RUN(blank_lines_are_skipped_and_counted);
	RUN(a_byte_order_mark_is_dropped_from_the_first_line_only);
	RUN(a_line_too_long_is_cut_and_the_next_one_is_whole);
	RUN(any_split_of_the_bytes_gives_the_same_lines);
	RUN(a_nul_is_an_ordinary_byte);
	RUN(a_line_longer_than_many_reads_is_whole);
	RUN(ranges_are_of_whole_lines_and_stay_while_they_are_held);
	RUN(one_after_the_other_lines_stay_in_one_block);
	RUN(a_read_error_names_the_file);
	RUN(a_descriptor_that_was_left_non_blocking_is_waited_for);
	return t_done();
}
