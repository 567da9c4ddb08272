/* sandbox.c - programs that do what they should not: each fails in its place, and nothing is left behind
 *
 * Each program of the table passes when the harm was prevented and fails when it was done; those that do little harm are run without a
 * sandbox as well, to see that they can fail. */

#include "sandbox.h"

#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "t.h"

#define MARK "31415926.5"	/* an argument of sleep that nobody else would think of */

static char outside[] = "/tmp/sandbox-test-XXXXXX";
static int port;

#define FAILS(what) "try:\n " what "\nexcept (OSError, MemoryError): pass\nelse: raise SystemExit('done')\n"

enum { HARMLESS = 1, SLOW = 2 };	/* may be run without a sandbox; takes its 3 or 4 seconds */

static const struct {
	const char *program, *want;
	int kind;
} row[] = {
	{ "import time\nwhile True:\n try: time.sleep(100)\n except BaseException: pass", "timed out", HARMLESS | SLOW },
	{ "import os\nif os.fork() == 0: os.execv('/usr/bin/sleep', ['sleep', '" MARK "'])\nwhile True: pass", "timed out", SLOW },
	{ "import os\nwhile True:\n try: os.fork()\n except OSError: pass", "timed out", SLOW },
	{ "def f(): return 1\nassert f() == 1", "passed", HARMLESS },
	{ "assert False", "failed: AssertionError", HARMLESS },
	{ "x = (", "failed: SyntaxError", HARMLESS },
	{ "import sys; sys.exit(0)", "failed: SystemExit", HARMLESS },
	{ "import os; os._exit(0)", "failed: exited", HARMLESS },
	{ "import ctypes; ctypes.string_at(0)", "failed: exited", HARMLESS },
	{ "print('passed'); import os; os.write(1, b'passed')", "passed", HARMLESS },
	{ "input()", "failed: EOFError", HARMLESS },
	{ "import os\nfor fd in range(3, 64):\n try: os.write(fd, b'passed')\n except OSError: pass\nos._exit(0)", "failed: exited", HARMLESS },
	{ "import os\nos.execv('/usr/bin/sleep', ['sleep', '" MARK "'])", "failed: exited", HARMLESS },
	/* the network */
	{ "import socket\n" FAILS("socket.create_connection(('127.0.0.1', %d), 2)"), "passed", HARMLESS },
	{ "import socket\n" FAILS("socket.socket(socket.AF_UNIX)"), "passed", 0 },
	{ "import socket; a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'", "passed", HARMLESS },
	/* files */
	{ FAILS("open('%s/made', 'w')"), "passed", HARMLESS },
	{ FAILS("open('/usr/bin/made', 'w')"), "passed", 0 },
	{ FAILS("open('/made', 'w')"), "passed", 0 },
	{ "import os; assert os.getcwd() == '/tmp' and os.listdir('.') == []", "passed", 0 },
	{ "import os\nfor d in '/root', '/home', '/proc', '/sys', '/run', '/var': assert not os.path.exists(d) or os.listdir(d) == ['.pyenv']", "passed", 0 },
	{ "f = open('mine', 'w'); f.write('x'); f.close(); assert open('mine').read() == 'x'", "passed", 0 },
	{ FAILS("open('huge', 'wb').write(bytes(64 << 20))"), "passed", 0 },
	{ FAILS("for i in range(9): open(str(i), 'wb').write(bytes(7 << 20))"), "passed", 0 },
	/* memory, processes */
	{ "bytearray(1 << 30)", "failed: MemoryError", HARMLESS },
	{ "import mmap\nx = []\n" FAILS("while True: x.append(mmap.mmap(-1, 64 << 20))"), "passed", HARMLESS },
	{ "import os, time\n" FAILS("while True:\n  if os.fork() == 0: time.sleep(100)"), "passed", 0 },
	{ "import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: os.execv('/usr/bin/sleep', ['sleep', '" MARK "'])\n os._exit(0)", "passed", 0 },
	{ "import os\nif os.fork(): os._exit(0)", "failed: exited", HARMLESS },
	/* privileges, and what is ours */
	{ "import os; assert os.getuid() >= 65534 and os.getgroups() in ([], [65534])", "passed", 0 },
	{ "import os\n" FAILS("os.setuid(0)"), "passed", 0 },
	{ "import ctypes; c = ctypes.CDLL(None); assert c.unshare(0x10000000) == -1", "passed", 0 },
	{ "import ctypes; c = ctypes.CDLL(None); assert c.mount(b'x', b'/tmp', b'tmpfs', 0, None) == -1", "passed", 0 },
	{ "import ctypes; c = ctypes.CDLL(None); assert c.shmget(1, 4096, 0o1600) == -1", "passed", 0 },
	{ "import os\nassert 'sk-secret' not in str(os.environ)\n" FAILS("open('/proc/1/environ')"), "passed", 0 },
};
#define ROWS (sizeof row / sizeof *row)

struct run {
	size_t at;
	int with, without;	/* only rows of this kind, none of that */
	char said[ROWS][256];
};

static int
runs(const struct run *r, size_t i)
{
	return (row[i].kind & r->with) == r->with && !(row[i].kind & r->without);
}

static char *
next(void *arg, size_t *at)
{
	struct run *r = arg;
	struct buf b = BUF_INIT(65536);

	while (r->at < ROWS && !runs(r, r->at))
		r->at++;
	if (r->at == ROWS)
		return NULL;
	*at = r->at++;
	if (strstr(row[*at].program, "%d"))
		buf_addf(&b, row[*at].program, port);
	else if (strstr(row[*at].program, "%s"))
		buf_addf(&b, row[*at].program, outside);
	else
		buf_adds(&b, row[*at].program);
	return buf_take(&b);
}

static int
done(void *arg, size_t at, bool passed, const char *what)
{
	struct run *r = arg;

	CHECK_INT(passed, strcmp(what, "passed") == 0);
	snprintf(r->said[at], sizeof r->said[at], "%s", what);
	return 0;
}

/* Whether a process of that command line is there, or still is after ten seconds. */
static int
marked_process(void)
{
	double end = clock_seconds() + 10;
	int there;

	do {
		DIR *d = opendir("/proc");
		struct dirent *p;

		there = 0;
		while (d && (p = readdir(d))) {
			struct buf b = BUF_INIT(1 << 20);
			char path[512];

			snprintf(path, sizeof path, "/proc/%s/cmdline", p->d_name);
			if (*p->d_name >= '1' && *p->d_name <= '9' && buf_read_file(&b, path, NULL) == 0)
				there |= b.n > 6 && memcmp(b.p, "sleep\0" MARK, 6 + strlen(MARK)) == 0;
			buf_free(&b);
		}
		closedir(d);
		usleep(20000);
	} while (there && clock_seconds() < end);
	return there;
}

static void
check_all(enum sandbox_kind kind, int with, int without)
{
	struct run r = { .with = with, .without = without };
	static char reason[600];
	struct err e = { "" };
	struct sandbox *s = sandbox_open(kind, access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3", &e);

	if (!s) {
		snprintf(reason, sizeof reason, "%s", e.msg);
		SKIP(reason);
	}
	if (!CHECK_INT(sandbox_run(s, &(struct programs){ next, done, &r }, &e), 0))
		printf("#   %s\n", e.msg);
	for (size_t i = 0; i < ROWS; i++) {
		/* What a sandbox prevents is done without one: else the row could not fail. */
		int done = kind == SANDBOX_NONE && strchr(row[i].program, '%') != NULL;

		if (runs(&r, i) && !CHECK_STR(r.said[i], done ? "failed: SystemExit" : row[i].want))
			printf("#   program %s\n", row[i].program);
	}
	CHECK(!marked_process());
	sandbox_free(s);
}

static void
no_program_does_harm_in_bubblewrap(void)
{
	check_all(SANDBOX_BWRAP, 0, 0);
}

static void
no_program_does_harm_in_our_own_namespaces(void)
{
	check_all(SANDBOX_NAMESPACES, 0, 0);
}

/* The same in a process of another user: 2 when it was skipped. */
static void
neither_when_a_user_without_rights_runs_them(void)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		SKIP("the tests are not run by root: those before were it");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (setregid(12345, 12345) < 0 || setreuid(12345, 12345) < 0)
			_exit(3);
		check_all(SANDBOX_NAMESPACES, 0, SLOW);
		if (t_skip)
			printf("# as a normal user: %s\n", t_skip);
		fflush(stdout);
		_exit(t_bad ? 1 : t_skip ? 2 : 0);
	}
	if (!CHECK(pid > 0 && waitpid(pid, &status, 0) == pid))
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		SKIP("user namespaces are not permitted here");
	CHECK_INT(status, 0);
}

static void
without_a_sandbox_the_limits_hold_and_the_rest_does_not(void)
{
	check_all(SANDBOX_NONE, HARMLESS, 0);
}

static void
what_is_no_python_is_named(void)
{
	struct err e = { "" };

	CHECK(!sandbox_open(SANDBOX_NONE, "/bin/false", &e));
	CHECK_STR(e.msg, "/bin/false: is no Python that works");
	CHECK(!sandbox_open(SANDBOX_NONE, "no-such-python", &e));
	CHECK_STR(e.msg, "no-such-python: No such file or directory");
}

int
main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char made[64];

	setenv("OPENAI_API_KEY", "sk-secret", 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0 ||
		!mkdtemp(outside) || chmod(outside, 0777) < 0)
		return 1;
	port = ntohs(a.sin_port);
	RUN(no_program_does_harm_in_bubblewrap);
	RUN(no_program_does_harm_in_our_own_namespaces);
	RUN(neither_when_a_user_without_rights_runs_them);
	RUN(without_a_sandbox_the_limits_hold_and_the_rest_does_not);
	RUN(what_is_no_python_is_named);
	snprintf(made, sizeof made, "%s/made", outside);
	unlink(made);
	rmdir(outside);
	return t_done();
}
