/* sandbox.c - see sandbox.h
 *
 * A program runs in one of a few slots. Its process says "." when it has read the program, from when its time counts, and then, behind
 * the token of this one run, what became of it (sandbox.py). The end of what it says is its end: it is killed and waited for. */

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "confine.h"

#define KILL_AFTER 4.0		/* seconds of the program; sandbox.py tells it after 3 */
#define START_WITHIN 30.0	/* seconds for the sandbox and the interpreter, on a machine that is busy with other things */
#define SAID_MAX 256	/* bytes of what became of it */
#define TOKEN 32	/* hex digits */
#define SLOTS_MAX 16
/* Where root starts it, each program has a user of its own, since the limit of processes counts a user's: out of a range that nothing else
 * uses (https://systemd.io/UIDS-GIDS), 64 for each of up to four million processes. */
#define FIRST_UID 0x70000000u
#define UIDS 64

struct slot {
	pid_t pid;	/* 0: free */
	int fd;		/* what it says */
	size_t at;
	double deadline;
	bool begun;
	char token[TOKEN + 1], said[SAID_MAX + 1];
	size_t n;	/* of said */
};

struct sandbox {
	struct confine confine;
	bool trying;		/* what is said on standard error is of interest */
	struct slot slot[SLOTS_MAX];
	size_t slots;
	unsigned started;
};

static const char *const kind_name[] = { "auto", "bwrap", "namespaces", "none" };

/* ---- its start ---- */

static void
new_token(char token[TOKEN + 1])
{
	unsigned char bytes[TOKEN / 2];

	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		die(STATUS_IO, "getrandom: %s", strerror(errno));
	for (size_t i = 0; i < sizeof bytes; i++)
		sprintf(token + 2 * i, "%02x", bytes[i]);
}

static pid_t
start_child(struct sandbox *s, const struct slot *t, int program, int say)
{
	uid_t uid = FIRST_UID + (uid_t)getpid() * UIDS + s->started++ % UIDS;
	pid_t pid = confine_fork(&s->confine);

	if (pid == 0) {
		const char *failed = confine_exec(&s->confine, program, say, s->trying, uid);

		dprintf(1, "%s !%s: %s", t->token, failed, strerror(errno));
		_exit(1);
	}
	return pid;
}

static int
start(struct sandbox *s, struct slot *t, const char *program, struct err *e)
{
	struct buf in = BUF_INIT(BUF_MAX_TEXT);
	int say[2] = { -1, -1 }, file = -1;
	pid_t pid = -1;

	*t = (struct slot){ .at = t->at };
	new_token(t->token);
	buf_addf(&in, "%s\n%s", t->token, program);
	if (pipe2(say, O_CLOEXEC) == 0 && (file = confine_file(in.p, in.n)) >= 0)
		pid = start_child(s, t, file, say[1]);
	buf_free(&in);
	if (pid < 0)
		err_set(e, "%s", strerror(errno));
	if (file >= 0)
		close(file);
	if (say[1] >= 0)
		close(say[1]);
	if (pid < 0) {
		if (say[0] >= 0)
			close(say[0]);
		return -1;
	}
	t->pid = pid;
	t->fd = say[0];
	t->deadline = clock_seconds() + START_WITHIN;
	return 0;
}

/* ---- its end ---- */

/* Kill what is left of it and take the slot back. */
static void
stop(const struct sandbox *s, struct slot *t)
{
	kill(t->pid, SIGKILL);
	if (s->confine.kind == SANDBOX_NONE)
		kill(-t->pid, SIGKILL);
	while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(t->fd);
	t->pid = 0;
}

/* 1: there may be more, 0: that was all. */
static int
hear(struct slot *t)
{
	ssize_t n = read(t->fd, t->said + t->n, SAID_MAX - t->n);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	t->n += (size_t)n;
	t->said[t->n] = '\0';
	if (!t->begun && *t->said == '.') {
		t->begun = true;
		t->deadline = clock_seconds() + KILL_AFTER;
	}
	return n > 0 && t->n < SAID_MAX;
}

/* What became of it, in *what. -1 when that was the sandbox's own fault. */
static int
conclude(struct slot *t, bool late, bool trying, const char **what, struct err *e)
{
	char *said = t->said + t->begun;

	if (strncmp(said, t->token, TOKEN) == 0 && said[TOKEN] == ' ') {
		*what = said + TOKEN + 1;
		if (**what == '!')
			return err_set(e, "%s", *what + 1);
	} else if (!t->begun) {
		said[strcspn(said, "\n")] = '\0';
		return err_set(e, "%s", trying && *said ? said : late ? "the interpreter does not start" : "the interpreter ended before the program");
	} else {
		*what = late ? "timed out" : "failed: exited";
	}
	return 0;
}

static int
finish(struct sandbox *s, struct slot *t, bool late, const struct programs *p, struct err *e)
{
	const char *what = "";

	stop(s, t);
	if (conclude(t, late, s->trying, &what, e) < 0)
		return -1;
	return p->done(p->arg, t->at, strcmp(what, "passed") == 0, what);
}

/* ---- all of them ---- */

/* Start programs while there are free slots. How many run, or -1. */
static int
fill(struct sandbox *s, const struct programs *p, bool *more, struct err *e)
{
	int running = 0, rc = 0;

	for (size_t i = 0; i < s->slots && rc == 0; i++) {
		char *program = NULL;

		if (!s->slot[i].pid && *more && !(program = p->next(p->arg, &s->slot[i].at)))
			*more = false;
		else if (!s->slot[i].pid && *more) {
			rc = start(s, &s->slot[i], program, e);
			free(program);
		}
		running += s->slot[i].pid != 0;
	}
	return rc < 0 ? -1 : running;
}

/* Wait until one says something or is out of time, and see to it. */
static int
attend(struct sandbox *s, const struct programs *p, struct err *e)
{
	struct pollfd fd[SLOTS_MAX];
	double now = clock_seconds(), next = now + START_WITHIN;
	int rc = 0;

	for (size_t i = 0; i < s->slots; i++) {
		fd[i] = (struct pollfd){ s->slot[i].pid ? s->slot[i].fd : -1, POLLIN, 0 };
		if (s->slot[i].pid && s->slot[i].deadline < next)
			next = s->slot[i].deadline;
	}
	if (poll(fd, s->slots, next > now ? (int)((next - now) * 1000) + 1 : 0) < 0 && errno != EINTR)
		return err_set(e, "poll: %s", strerror(errno));
	now = clock_seconds();
	for (size_t i = 0; i < s->slots && rc == 0; i++) {
		struct slot *t = &s->slot[i];

		if (t->pid && (fd[i].revents & (POLLIN | POLLHUP | POLLERR)) && !hear(t))
			rc = finish(s, t, false, p, e);
		else if (t->pid && now >= t->deadline)
			rc = finish(s, t, true, p, e);
	}
	return rc;
}

int
sandbox_run(struct sandbox *s, const struct programs *p, struct err *e)
{
	bool more = true;
	int running, rc = 0;

	while (rc == 0 && (running = fill(s, p, &more, e)) != 0)
		rc = running < 0 ? -1 : attend(s, p, e);
	for (size_t i = 0; i < s->slots; i++)
		if (s->slot[i].pid)
			stop(s, &s->slot[i]);
	return rc;
}

/* ---- which kind ---- */

static char *
once(void *arg, size_t *at)
{
	bool *asked = arg;

	(void)at;
	if (*asked)
		return NULL;
	*asked = true;
	return xstrdup("assert sum([1, 2]) == 3\n");
}

static int
worked(void *arg, size_t at, bool passed, const char *what)
{
	(void)arg;
	(void)at;
	(void)what;
	return passed ? 0 : -1;
}

static int
try(struct sandbox *s, enum sandbox_kind kind, struct err *e)
{
	struct err why = { "a small program does not run in it" }, before = *e;
	bool asked = false;
	int rc;

	confine_by(&s->confine, kind);
	s->trying = true;
	rc = sandbox_run(s, &(struct programs){ once, worked, &asked }, &why);
	s->trying = false;
	if (rc < 0)
		err_set(e, "%.200s%s%s: %.200s", before.msg, *before.msg ? "; " : "", kind_name[kind], why.msg);
	return rc;
}

static int
choose(struct sandbox *s, enum sandbox_kind kind, struct err *e)
{
	struct err why = { "" };

	if (kind == SANDBOX_NONE)
		return try(s, kind, e);
	if (kind != SANDBOX_NAMESPACES && !s->confine.bwrap)
		err_set(&why, "bwrap: not installed");
	else if (kind != SANDBOX_NAMESPACES && try(s, SANDBOX_BWRAP, &why) == 0)
		return 0;
	if (kind != SANDBOX_BWRAP && try(s, SANDBOX_NAMESPACES, &why) == 0)
		return 0;
	return err_set(e, "there is no sandbox to run programs in: %.400s", why.msg);
}

struct sandbox *
sandbox_open(enum sandbox_kind kind, const char *python, struct err *e)
{
	struct sandbox *s = xcalloc(1, sizeof *s);
	cpu_set_t cpus;

	s->slots = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : 1;
	if (s->slots > SLOTS_MAX)
		s->slots = SLOTS_MAX;
	if (confine_open(&s->confine, python, e) == 0 && choose(s, kind, e) == 0)
		return s;
	sandbox_free(s);
	return NULL;
}

void
sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	confine_close(&s->confine);
	free(s);
}

const char *
sandbox_name(const struct sandbox *s)
{
	return kind_name[s->confine.kind];
}
