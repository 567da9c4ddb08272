/* confine.c - see confine.h */

#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "namespaces.h"
#include "prompt.h"

EMBED(sandbox_py, "trainer/eval/sandbox.py");

#define PROCESSES "8"
#define FILTER_FD 3	/* where bwrap reads the filter of system calls */
#define FILTER_FD_TEXT "3"

static char *const clean_environment[] = { "PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", NULL };

/* ---- what is shown ---- */

static bool
below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

static void
show(struct confine *c, const char *path)
{
	for (size_t i = 0; i < c->npaths; i++)
		if (below(path, c->paths[i]))
			return;
	if (c->npaths < sizeof c->paths / sizeof *c->paths - 1)
		c->paths[c->npaths++] = xstrdup(path);
}

/* The lines that `python -c program` prints, run here and now with our environment: it is the user's own. */
static int
ask_python(const char *python, const char *program, struct buf *out, struct err *e)
{
	char *argv[] = { (char *)python, "-c", (char *)program, NULL };
	posix_spawn_file_actions_t fa;
	int fd[2], rc, status = -1;
	char part[4096];
	ssize_t n;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_set(e, "pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, fd[1], 1);
	rc = posix_spawnp(&pid, python, &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(fd[1]);
	while (rc == 0 && ((n = read(fd[0], part, sizeof part)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			buf_add(out, part, (size_t)n);
	close(fd[0]);
	if (rc == 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (rc != 0 || status != 0)
		return err_set(e, "%s: %s", python, rc ? strerror(rc) : "is no Python that works");
	return 0;
}

/* The interpreter itself (not a shim that starts it), and the folders that it and its library are in. */
static int
find_python(struct confine *c, const char *python, struct err *e)
{
	static const char program[] = "import os, sys\nprint(sys.executable)\n"
		"for p in sys.prefix, sys.base_prefix, sys.base_exec_prefix, sys.executable: print(p, os.path.realpath(p), sep='\\n')";
	struct buf out = BUF_INIT(65536);
	int rc = ask_python(python, program, &out, e);
	char *rest = out.p, *line;

	if (rc == 0 && (line = strsep(&rest, "\n")) && *line == '/') {
		c->python = xstrdup(line);
		while ((line = strsep(&rest, "\n")) && *line)
			if (*line == '/' && line[1])
				show(c, line);
	} else if (rc == 0) {
		rc = err_set(e, "%s: does not know where it is", python);
	}
	buf_free(&out);
	return rc;
}

/* ---- the command ---- */

static void
add(struct confine *c, const char *a)
{
	if (c->argc < sizeof c->argv / sizeof *c->argv - 1)
		c->argv[c->argc++] = xstrdup(a);
}

#define ADD(c, ...) do { const char *const a_[] = { __VA_ARGS__ }; \
	for (size_t i_ = 0; i_ < sizeof a_ / sizeof *a_; i_++) add(c, a_[i_]); } while (0)

static void
bwrap_command(struct confine *c)
{
	ADD(c, c->bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL");
	for (size_t i = 0; i < c->npaths; i++) {
		char target[4096];
		ssize_t n = readlink(c->paths[i], target, sizeof target - 1);

		if (n > 0) {
			target[n] = '\0';
			ADD(c, "--symlink", target, c->paths[i]);
		} else {
			ADD(c, below(c->paths[i], "/dev") ? "--dev-bind-try" : "--ro-bind-try", c->paths[i], c->paths[i]);
		}
	}
	ADD(c, "--size", "16777216", "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp");
	if (c->filter)
		ADD(c, "--seccomp", FILTER_FD_TEXT);
	ADD(c, "--");
}

void
confine_by(struct confine *c, enum sandbox_kind kind)
{
	while (c->argc)
		free(c->argv[--c->argc]);
	c->kind = kind;
	if (kind == SANDBOX_BWRAP)
		bwrap_command(c);
	ADD(c, c->python, "-s", "-B", "-c", sandbox_py, kind == SANDBOX_NONE ? "0" : PROCESSES);
	c->argv[c->argc] = NULL;
}

static char *
find_bwrap(void)
{
	static const char *const places[] = { "/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap" };

	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		if (access(places[i], X_OK) == 0)
			return xstrdup(places[i]);
	return NULL;
}

int
confine_open(struct confine *c, const char *python, struct err *e)
{
	static const char *const system[] = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives",
		"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom" };

	*c = (struct confine){ .bwrap = find_bwrap() };
	c->filter = syscall_filter(&c->filter_n);
	for (size_t i = 0; i < sizeof system / sizeof *system; i++)
		show(c, system[i]);
	return find_python(c, python, e);
}

void
confine_close(struct confine *c)
{
	while (c->argc)
		free(c->argv[--c->argc]);
	while (c->npaths)
		free(c->paths[--c->npaths]);
	free(c->python);
	free(c->bwrap);
}

/* ---- a child ---- */

int
confine_file(const void *p, size_t n)
{
	int fd = memfd_create("sa-eval", 0);

	if (fd >= 0 && (write(fd, p, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

pid_t
confine_fork(const struct confine *c)
{
	return c->kind == SANDBOX_NAMESPACES ? namespaces_fork() : fork();
}

static void
usual_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Descriptors 0, 1 and 2, and the filter where bwrap reads it; no others. */
static const char *
lay_out(const struct confine *c, int program, int say, bool trying)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), filter = -1;
	bool give = c->kind == SANDBOX_BWRAP && c->filter;

	if (null < 0 || dup2(program, 0) < 0 || dup2(say, 1) < 0 || dup2(trying ? say : null, 2) < 0)
		return "/dev/null";
	if (give && ((filter = confine_file(c->filter, c->filter_n * sizeof *c->filter)) < 0 || dup2(filter, FILTER_FD) < 0))
		return "memfd";
	return close_range(give ? FILTER_FD + 1 : FILTER_FD, ~0U, 0) < 0 ? "close_range" : NULL;
}

static const char *
become(uid_t uid)
{
	/* A container may have few users. */
	if (setresgid(uid, uid, uid) < 0 && errno == EINVAL)
		uid = NOBODY;
	return setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ? "become nobody" : NULL;
}

static const char *
enter(const struct confine *c, uid_t uid)
{
	const char *failed = NULL;

	if (c->kind == SANDBOX_NAMESPACES)
		failed = namespaces_enter(c->paths);
	else if (chdir(c->kind == SANDBOX_NONE ? "/tmp" : "/") < 0)
		failed = "chdir";
	/* Root in new namespaces is still root outside, and root's bubblewrap would leave the program that. One who is root in a user namespace
	 * only, and nobody there, loses it by exec(). */
	if (!failed && c->kind != SANDBOX_NONE && geteuid() == 0)
		failed = become(uid);
	return failed;
}

static const char *
give_up_privileges(const struct confine *c)
{
	const struct sock_fprog filter = { (unsigned short)c->filter_n, (struct sock_filter *)c->filter };

	setsid();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)	/* after the change of user, which clears it */
		return "prctl";
	if (c->kind == SANDBOX_NAMESPACES && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		(c->filter && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)))
		return "seccomp";
	return NULL;
}

const char *
confine_exec(const struct confine *c, int program, int say, bool trying, uid_t uid)
{
	const char *failed;

	usual_signals();
	if ((failed = lay_out(c, program, say, trying)) || (failed = enter(c, uid)) || (failed = give_up_privileges(c)))
		return failed;
	execve(c->argv[0], c->argv, clean_environment);
	return c->argv[0];
}
