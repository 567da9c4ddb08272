/* torture - run a program again and again, each time with another of its calls failing
 *
 *     torture [--mode memory|files|short|eintr] [--most N | --at N] [--limit SEC] [--fresh DIR] [--label TEXT] --shim FILE --input FILE
 *             -- program [argument ...]
 *
 * The first run is left alone; it must succeed, and what it writes is what the others are compared with. Then call 1, 2, 3, ... fails (fail.c),
 * every so many-th when there are more than --most. A run is good when it ends within --limit seconds (10), by itself, with one of the exit statuses of
 * sa(7); with 0 only when the output is the undisturbed one; with a message otherwise, and with whole lines, each of them one of the
 * undisturbed ones, in their order, or a record with sa_error. A call that is interrupted or cut short must make no difference at all.
 *
 * Prints one line of figures, and before it whatever was wrong, with the way to the failing call; status 1 when something was. Where a library falls short,
 * the table `excused` says so. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "err.h"
#include "opt.h"
#include "torture.h"

#define OUTPUT_MAX ((size_t)16 << 20)

/* What one run came to. */
struct outcome {
	int status;	/* exit status; 128 + signal; -1: it hung */
	struct buf out, err;
};

/* Libraries that make an error (a clean one) of a call of theirs that is cut short or interrupted. No library is excused from doing without memory: jansson,
 * libuv and libcurl, which do not all live through it, allocate by our x-allocators (prog_init(), filter_run(), http_init()). */
static const struct excuse {
	const char *module;	/* how the name of its file begins */
	const char *why;
} excused[] = {
	{ "liblmdb.so", "takes a short write for a full disk and does not repeat a read; on a file, which is all it has, Linux gives neither" },
	{ NULL, NULL },
};

static const char *shim, *input, *label, *fresh;
static int mode;
static long long most = 1000, only = 0, limit = 10;
static struct torture *page;
static int page_fd;
static long absorbed, clean, unreached, excuses, wrong;

static int
memory_file(void)
{
	int fd = memfd_create("torture", 0);

	if (fd < 0)
		die(STATUS_IO, "memfd_create: %s", strerror(errno));
	return fd;
}

_Noreturn static void
child(char **argv, int out, int err)
{
	char fd[16];
	int in = open(input, O_RDONLY);

	if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(125);
	close(in);
	close(out);
	close(err);
	snprintf(fd, sizeof fd, "%d", page_fd);
	setenv("TORTURE_FD", fd, 1);
	setenv("LD_PRELOAD", shim, 1);
	execvp(argv[0], argv);
	_exit(126);
}

/* The exit status, as struct outcome has it. */
static int
wait_for(pid_t pid)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int status, ready;

	while ((ready = poll(&p, 1, (int)limit * 1000)) < 0 && errno == EINTR)
		;
	if (ready == 0)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(p.fd);
	return ready == 0 ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void
collect(struct buf *b, int fd)
{
	struct stat st;

	buf_clear(b);
	if (fstat(fd, &st) < 0 || (size_t)st.st_size > OUTPUT_MAX)
		die(STATUS_IO, "a run wrote more than %zu bytes", OUTPUT_MAX);
	for (char part[65536]; (size_t)st.st_size > b->n;) {
		ssize_t n = pread(fd, part, sizeof part, (off_t)b->n);

		if (n <= 0)
			break;
		buf_add(b, part, (size_t)n);
	}
	close(fd);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

/* Run it with call `at` failing. */
static void
run(char **argv, long at, struct outcome *o)
{
	int out = memory_file(), err = memory_file();
	pid_t pid;

	if (fresh)
		nftw(fresh, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	*page = (struct torture){ .mode = mode, .at = at };
	pid = fork();
	if (pid < 0)
		die(STATUS_IO, "fork: %s", strerror(errno));
	if (pid == 0)
		child(argv, out, err);
	o->status = wait_for(pid);
	collect(&o->out, out);
	collect(&o->err, err);
}

static bool
failed_record(const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	bool failed = json_object_get(o, "sa_error");

	json_decref(o);
	return failed;
}

/* Is `got` made of lines of `want`, in their order, and of failed records? */
static bool
whole_lines(const struct buf *got, const struct buf *want)
{
	const char *w = want->p;

	for (const char *s = got->p, *end = s + got->n; s < end;) {
		const char *stop = memchr(s, '\n', (size_t)(end - s));
		size_t n;

		if (!stop)
			return false;
		n = (size_t)(stop + 1 - s);
		if (!failed_record(s, n)) {
			while (*w && strncmp(w, s, n) != 0)
				w = strchr(w, '\n') + 1;
			if (!*w)
				return false;
			w += n;
		}
		s = stop + 1;
	}
	return true;
}

static bool
same(const struct buf *a, const struct buf *b)
{
	return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

/* What is wrong with an outcome, or NULL. */
static const char *
complaint(const struct outcome *o, const struct outcome *base)
{
	if (o->status < 0)
		return "it hung";
	if (o->status > 128)
		return strsignal(o->status - 128);
	if (o->status > STATUS_BUDGET)
		return "an exit status that no page names";
	if (o->status == STATUS_OK)
		return same(&o->out, &base->out) ? NULL : "exit status 0, but the output is another";
	if (mode == TORTURE_SHORT || mode == TORTURE_EINTR || !page->frames)
		return "it failed where nothing had";
	if (!o->err.n)
		return "no message";
	return whole_lines(&o->out, &base->out) ? NULL : "the output is no records";
}

/* Did the failing call come straight from such a library? frame[0] is the shim's. */
static bool
is_excused(const struct outcome *o)
{
	if ((mode != TORTURE_SHORT && mode != TORTURE_EINTR) || page->frames < 2 || o->status < 0 || o->status > STATUS_BUDGET)
		return false;
	for (const struct excuse *x = excused; x->module; x++)
		if (strncmp(page->frame[1], x->module, strlen(x->module)) == 0)
			return true;
	return false;
}

static void
show(long at, const struct outcome *o, const char *why)
{
	printf("call %ld: %s (exit status %d)\n", at, why, o->status);
	printf("    standard error: %.*s\n", (int)strcspn(o->err.p, "\n"), o->err.p);
	for (int i = 0; i < page->frames; i++)
		printf("    %s\n", page->frame[i]);
	fflush(stdout);
}

static void
one(char **argv, long at, const struct outcome *base)
{
	static struct outcome o = { .out = BUF_INIT(OUTPUT_MAX), .err = BUF_INIT(OUTPUT_MAX) };
	const char *why;

	run(argv, at, &o);
	why = complaint(&o, base);
	if (why && is_excused(&o)) {
		excuses++;
	} else if (why) {
		wrong++;
		show(at, &o, why);
	} else if (!page->frames) {
		unreached++;
	} else if (o.status == STATUS_OK) {
		absorbed++;
	} else {
		clean++;
	}
}

static void
report(const char *program, long calls)
{
	static const char *const mode_name[] = { "memory", "files", "short", "eintr" };
	printf("%-24s %-6s %6ld calls %5ld tortured %5ld absorbed %5ld clean errors %3ld unreached %3ld excused %3ld wrong\n", label ? label : program,
	       mode_name[mode], calls, absorbed + clean + unreached + excuses + wrong, absorbed, clean, unreached, excuses,
	       wrong);
}

int
main(int argc, char **argv)
{
	const struct opt opts[] = {
		{ "mode", 0, OPT_ENUM, &mode, "memory|files|short|eintr", "which calls fail, and how", 0, 0 },
		{ "most", 0, OPT_INT, &most, "N", "runs at most, spread over all calls (default 1000)", 1, 1e9 },
		{ "at", 0, OPT_INT, &only, "N", "only with this call failing", 1, 1e9 },
		{ "limit", 0, OPT_INT, &limit, "SEC", "a run that takes longer hangs (default 10)", 1, 3600 },
		{ "label", 0, OPT_STR, &label, "TEXT", "what the figures are said to be of (default: the program)", 0, 0 },
		{ "fresh", 0, OPT_STR, &fresh, "DIR", "remove this directory before every run", 0, 0 },
		{ "shim", 0, OPT_STR, &shim, "FILE", "fail.so", 0, 0 },
		{ "input", 0, OPT_STR, &input, "FILE", "standard input of every run", 0, 0 },
		{ 0 },
	};
	struct opt_usage usage = { .synopsis = "[option ...] -- program [argument ...]", .about = "Run a program again and again, each time with another of its calls failing.", .own = opts };
	struct outcome base = { .out = BUF_INIT(OUTPUT_MAX), .err = BUF_INIT(OUTPUT_MAX) };
	long calls, step;
	int n;

	prog_init(argv[0]);
	n = opt_parse(argc, argv, &usage);
	if (n < 1 || !shim || !input)
		die(STATUS_USAGE, "it needs --shim, --input and a program");
	memmove(argv, argv + 1, (size_t)n * sizeof *argv);
	argv[n] = NULL;
	page_fd = memory_file();
	if (ftruncate(page_fd, sizeof *page) < 0 || (page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0)) == MAP_FAILED)
		die(STATUS_IO, "mmap: %s", strerror(errno));
	run(argv, 0, &base);
	calls = page->count;
	if (base.status != STATUS_OK || calls == 0)
		die(STATUS_USAGE, "%s: undisturbed it ends with %d after %ld calls: %s", argv[0], base.status, calls, base.err.p);
	step = calls / (long)most + 1;
	for (long at = only ? (long)only : 1; at <= (only ? (long)only : calls); at += step)
		one(argv, at, &base);
	report(argv[0], calls);
	return wrong ? 1 : 0;
}
