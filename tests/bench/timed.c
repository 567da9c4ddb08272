/* timed - run a command and say what it took
 *
 *     bench-timed [-p] FILE COMMAND ARG...
 *
 * Appends one JSON line to FILE: {"wall","cpu","rss","status","start","first","lines"}: seconds, user and system seconds of the command and
 * what it waited for, peak resident KiB of the largest of these, the exit status (128 and the signal when it was killed), and the time when
 * it was started (nanoseconds, CLOCK_MONOTONIC). With -p its standard output is a pipe that is read to the end here, as the next stage of a
 * pipe would: "first" is when its first byte came and "lines" how many newlines; without, they are 0. Exits with the command's status. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

struct output {
	unsigned long long first, lines;
};

static unsigned long long
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000 + (unsigned long long)t.tv_nsec;
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* The child's output goes to fd, if that is one. */
static pid_t
start(char **argv, const int fd[2])
{
	pid_t pid = fork();

	if (pid < 0)
		die(STATUS_IO, "fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	if (fd[1] >= 0) {
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
	}
	execvp(argv[0], argv);
	warn("%s: %s", argv[0], strerror(errno));
	_exit(STATUS_USAGE);
}

static void
drain(int fd, struct output *o)
{
	static char block[1 << 17];
	ssize_t n;

	while ((n = read(fd, block, sizeof block)) > 0) {
		if (!o->first)
			o->first = now();
		for (const char *p = block, *end = block + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
			o->lines++;
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	int piped = argc > 1 && strcmp(argv[1], "-p") == 0, fd[2] = { -1, -1 }, status;
	struct output o = { 0, 0 };
	struct rusage use;
	unsigned long long from;
	pid_t pid;
	FILE *f;

	prog_init(argv[0]);
	if (argc < 3 + piped)
		die(STATUS_USAGE, "usage: bench-timed [-p] FILE COMMAND ARG...");
	if (piped && pipe(fd) < 0)
		die(STATUS_IO, "pipe: %s", strerror(errno));
	from = now();
	pid = start(argv + 2 + piped, fd);
	if (piped) {
		close(fd[1]);
		drain(fd[0], &o);
	}
	if (wait4(pid, &status, 0, &use) < 0)
		die(STATUS_IO, "wait4: %s", strerror(errno));
	status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	f = fopen(argv[1 + piped], "a");
	if (!f || fprintf(f, "{\"wall\":%.6f,\"cpu\":%.6f,\"rss\":%ld,\"status\":%d,\"start\":%llu,\"first\":%llu,\"lines\":%llu}\n",
			  (double)(now() - from) / 1e9, seconds(use.ru_utime) + seconds(use.ru_stime), use.ru_maxrss, status, from, o.first,
			  o.lines) < 0 || fclose(f) == EOF)
		die(STATUS_IO, "%s: %s", argv[1 + piped], strerror(errno));
	return status;
}
