/* err: messages, exit statuses, allocators */
#include "err.h"

#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

/* Run fn in a child; its exit status, and what it wrote to standard error in `out`. */
static int
in_child(void (*fn)(void), char *out, size_t max)
{
	int p[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	fflush(stdout);
	if (pipe(p) < 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		close(p[0]);
		close(p[1]);
		fn();
		_exit(99);
	}
	close(p[1]);
	while (n < max - 1 && (got = read(p[0], out + n, max - 1 - n)) > 0)
		n += got;
	out[n] = '\0';
	close(p[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
call_die(void)
{
	prog_init("/usr/bin/sa-x");
	die(STATUS_ENDPOINT, "no %s at %d", "server", 7);
}

static void
call_warn(void)
{
	prog_init("sa-x");
	warn("a\nb\033[31m%c", 0x7f);
}

static void
call_long(void)
{
	char s[9000];

	memset(s, 'x', sizeof s - 1);
	s[sizeof s - 1] = '\0';
	warn("%s", s);
}

static void
call_huge(void)
{
	xreallocarray(NULL, SIZE_MAX / 2, 3);
}

static void
die_writes_one_line_and_exits_with_the_status(void)
{
	char out[256];

	CHECK_INT(in_child(call_die, out, sizeof out), STATUS_ENDPOINT);
	CHECK_STR(out, "sa-x: no server at 7\n");
}

static void
control_bytes_do_not_break_the_line(void)
{
	char out[256];

	CHECK_INT(in_child(call_warn, out, sizeof out), 99);
	CHECK_STR(out, "sa-x: a?b?[31m?\n");
}

static void
a_message_past_the_limit_is_cut_and_still_a_line(void)
{
	char out[9999];
	size_t n;

	CHECK_INT(in_child(call_long, out, sizeof out), 99);
	n = strlen(out);
	CHECK(n > 1000 && n <= 4096 && out[n - 1] == '\n');
}

static void
a_size_that_overflows_is_out_of_memory(void)
{
	char out[256];

	CHECK_INT(in_child(call_huge, out, sizeof out), STATUS_IO);
	CHECK(strstr(out, "out of memory\n"));
}

static void
err_set_formats_cuts_and_returns_minus_one(void)
{
	char s[2000];
	struct err e;

	CHECK_INT(err_set(&e, "%s:%d", "file", 3), -1);
	CHECK_STR(e.msg, "file:3");
	CHECK_INT(err_set(NULL, "x"), -1);
	memset(s, 'y', sizeof s - 1);
	s[sizeof s - 1] = '\0';
	err_set(&e, "%s", s);
	CHECK_INT(strlen(e.msg), sizeof e.msg - 1);
}

static void
the_program_name_is_the_last_component(void)
{
	prog_init("/a/b/sa-y");
	CHECK_STR(progname, "sa-y");
	prog_init("sa-z");
	CHECK_STR(progname, "sa-z");
	prog_init(NULL);
	CHECK_STR(progname, "sa-z");
}

static void
copies_end_in_nul(void)
{
	char *a = xstrdup("abc"), *b = xstrndup("abc", 2), *c = xstrndup("abc", 9);

	CHECK_STR(a, "abc");
	CHECK_STR(b, "ab");
	CHECK_STR(c, "abc");
	free(a);
	free(b);
	free(c);
}

int
main(void)
{
	RUN(die_writes_one_line_and_exits_with_the_status);
	RUN(control_bytes_do_not_break_the_line);
	RUN(a_message_past_the_limit_is_cut_and_still_a_line);
	RUN(a_size_that_overflows_is_out_of_memory);
	RUN(err_set_formats_cuts_and_returns_minus_one);
	RUN(the_program_name_is_the_last_component);
	RUN(copies_end_in_nul);
	return t_done();
}
