/* sandbox.h - running Python programs that a model wrote, where they can do no harm
 *
 * Each program is a process of its own in new user (unless root makes it), mount, PID, network and IPC namespaces: it sees /usr and the
 * like, the interpreter and a few devices, all read-only; /tmp, empty and of 16 MiB, is all that it can write. There is no network, no /proc,
 * no home, and nothing of our environment. It runs as a user without rights, with no_new_privs and without capabilities; a seccomp filter keeps it from making sockets,
 * namespaces, mounts and System V segments and from tracing. Limits: 512 MiB of address space a process, 8 processes, files of 8 MiB, 5 s of CPU;
 * 3 s of wall clock, then it is told, and killed after 4 with all that it started: the PID namespace ends with its first process.
 * When this program dies, its sandboxes do.
 *
 * That is bubblewrap(1) where it is there and works, else the same made here (namespaces.h). Where neither is permitted
 * (containers, chroots without /proc), sandbox_open() says why and nothing is run, unless SANDBOX_NONE is asked for by name: then only the
 * limits and times hold. Nothing here protects from a hole in the kernel.
 *
 * One thread; no event loop; one run at a time. */
#ifndef SA_EVAL_SANDBOX_H
#define SA_EVAL_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum sandbox_kind { SANDBOX_AUTO, SANDBOX_BWRAP, SANDBOX_NAMESPACES, SANDBOX_NONE };
#define SANDBOX_KINDS "auto|bwrap|namespaces|none"

struct sandbox;

/* With the interpreter `python`, searched for in PATH, and the kind, or for SANDBOX_AUTO the first of bwrap and namespaces in which a small program
 * runs. NULL with why there is none. */
struct sandbox *sandbox_open(enum sandbox_kind kind, const char *python, struct err *e);
void sandbox_free(struct sandbox *s);
const char *sandbox_name(const struct sandbox *s);	/* "bwrap", "namespaces", "none" */

struct programs {
	/* The next program, malloc'd, the sandbox frees it; NULL: no more. *at comes back in done(). */
	char *(*next)(void *arg, size_t *at);
	/* What became of it: "passed", "timed out", "failed: AssertionError". -1 ends the run. In the order of ending. */
	int (*done)(void *arg, size_t at, bool passed, const char *what);
	void *arg;
};

/* Run them all, one a CPU at once. 0; -1 with a message, or none when done() ended it. */
int sandbox_run(struct sandbox *s, const struct programs *p, struct err *e);

#endif
