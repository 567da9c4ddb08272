/* buf: a growing byte buffer with a mandatory maximum */
#include "buf.h"

#include <stdint.h>
#include <unistd.h>

#include "err.h"
#include "t.h"

static void
adds_append_and_end_in_nul(void)
{
	struct buf b = BUF_INIT(1000);

	CHECK(buf_adds(&b, "ab") == 0);
	CHECK(buf_addc(&b, 'c') == 0);
	CHECK(buf_addf(&b, "%d-%s", 12, "x") == 0);
	CHECK(buf_add(&b, "\0z", 2) == 0);
	CHECK_BYTES(b.p, b.n + 1, "abc12-x\0z", 10);
	buf_clear(&b);
	CHECK(b.n == 0 && b.p[0] == '\0');
	buf_free(&b);
	CHECK(b.p == NULL && b.max == 1000);
}

static void
past_the_maximum_nothing_changes(void)
{
	struct buf b = BUF_INIT(4);

	CHECK(buf_adds(&b, "abc") == 0);
	CHECK(buf_adds(&b, "de") == -1);
	CHECK(buf_addf(&b, "%d", 10) == -1);
	CHECK(buf_json(&b, "", 0) == -1);
	CHECK_STR(b.p, "abc");
	CHECK(buf_addc(&b, 'd') == 0);
	CHECK(buf_addc(&b, 'e') == -1);
	CHECK_STR(b.p, "abcd");
	CHECK(buf_add(&b, "", SIZE_MAX) == -1);
	buf_free(&b);
}

static void
an_unlimited_buffer_grows(void)
{
	struct buf b = BUF_INIT(SIZE_MAX);

	for (int i = 0; i < 100000; i++)
		buf_addc(&b, 'a' + i % 26);
	CHECK_INT(b.n, 100000);
	CHECK(b.p[99999] == 'a' + 99999 % 26 && b.p[100000] == '\0' && b.cap < 300000);
	CHECK(buf_add(&b, "", SIZE_MAX - 1) == -1);
	buf_free(&b);
}

static void
only_what_must_be_is_escaped_in_json(void)
{
	struct buf b = BUF_INIT(1000);

	CHECK(buf_json(&b, "a\"\\/\n\t\r\b\f\x01\x1f\0\x7f\xe4\xbd\xa0", 16) == 0);
	CHECK_STR(b.p, "\"a\\\"\\\\/\\n\\t\\r\\b\\f\\u0001\\u001f\\u0000\x7f\xe4\xbd\xa0\"");
	buf_free(&b);
}

/* Wherever a byte stands among the eight that are looked at together. */
static void
every_byte_is_escaped_wherever_it_stands(void)
{
	char text[24], want[80];
	int wrong = 0;

	for (unsigned c = 1; c < 256; c++)
		for (size_t at = 0; at < sizeof text - 1; at++) {
			struct buf b = BUF_INIT(1000);
			size_t n = 1 + at;

			memset(text, at % 2 ? '~' : ' ', sizeof text - 1);
			text[at] = (char)c;
			want[0] = '"';
			memcpy(want + 1, text, at);
			if (c == '"' || c == '\\' || strchr("\b\t\n\f\r", (int)c))
				n += (size_t)sprintf(want + n, "\\%c", c == '\b' ? 'b' : c == '\t' ? 't' : c == '\n' ? 'n' : c == '\f' ? 'f' : c == '\r' ? 'r' : (int)c);
			else
				n += (size_t)sprintf(want + n, c < ' ' ? "\\u%04x" : "%c", c);
			memcpy(want + n, text + at + 1, sizeof text - 2 - at);
			n += sizeof text - 2 - at;
			want[n++] = '"';
			wrong += buf_json(&b, text, sizeof text - 1) < 0 || b.n != n || memcmp(b.p, want, n) != 0;
			buf_free(&b);
		}
	CHECK_INT(wrong, 0);
}

static void
a_json_string_that_does_not_fit_is_not_begun(void)
{
	for (size_t max = 0; max < 12; max++) {
		struct buf b = BUF_INIT(max);
		int rc = buf_json(&b, "ab\ncd\1", 6);

		CHECK(rc == -1 && b.n == 0);
		buf_free(&b);
	}
}

static void
taking_leaves_the_buffer_empty(void)
{
	struct buf b = BUF_INIT(10);
	char *p = buf_take(&b);

	CHECK_STR(p, "");
	free(p);
	buf_adds(&b, "x");
	p = buf_take(&b);
	CHECK_STR(p, "x");
	CHECK(b.p == NULL && b.n == 0 && b.max == 10);
	free(p);
}

/* A file of n bytes 'x' in path. */
static void
make_file(char *path, size_t n)
{
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	for (size_t i = 0; i < n; i++)
		fputc('x', f);
	fclose(f);
}

static void
a_file_is_read_whole_up_to_the_maximum(void)
{
	char path[] = "/tmp/sa-buf-XXXXXX";
	struct buf b = BUF_INIT(100000);
	struct err e;

	make_file(path, 100000);
	CHECK(buf_read_file(&b, path, &e) == 0);
	CHECK_INT(b.n, 100000);
	CHECK(b.p[99999] == 'x' && b.p[100000] == '\0');
	buf_free(&b);
	b.max = 99999;
	CHECK(buf_read_file(&b, path, &e) == -1);
	CHECK(strstr(e.msg, path) && strstr(e.msg, "larger than 99999 bytes"));
	buf_free(&b);
	unlink(path);
	CHECK(buf_read_file(&b, path, &e) == -1);
	CHECK(strstr(e.msg, path) && strstr(e.msg, "No such file"));
	CHECK(buf_read_file(&b, "/", &e) == -1);
	CHECK(strstr(e.msg, "directory"));
	buf_free(&b);
}

int
main(void)
{
	RUN(adds_append_and_end_in_nul);
	RUN(past_the_maximum_nothing_changes);
	RUN(an_unlimited_buffer_grows);
	RUN(only_what_must_be_is_escaped_in_json);
	RUN(every_byte_is_escaped_wherever_it_stands);
	RUN(a_json_string_that_does_not_fit_is_not_begun);
	RUN(taking_leaves_the_buffer_empty);
	RUN(a_file_is_read_whole_up_to_the_maximum);
	return t_done();
}
