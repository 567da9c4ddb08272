/* confine.h - what a sandboxed program is made of: the interpreter, what it may see, and the steps from fork() to exec()
 *
 * For sandbox.c only. Everything that needs memory or a search is done by confine_open() and confine_by(); confine_exec() is called in the child. */
#ifndef SA_EVAL_CONFINE_H
#define SA_EVAL_CONFINE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"
#include "sandbox.h"

struct confine {
	enum sandbox_kind kind;
	char *python, *bwrap;	/* absolute; bwrap NULL: not installed */
	char *paths[24];	/* shown in the sandbox, ended by NULL */
	size_t npaths;
	char *argv[128];	/* of bwrap, or of the interpreter */
	size_t argc;
	const struct sock_filter *filter;	/* of system calls */
	size_t filter_n;
};

/* The interpreter of that name and what it needs. 0 or -1; confine_close() either way. */
int confine_open(struct confine *c, const char *python, struct err *e);
void confine_close(struct confine *c);
/* From now on by this kind. */
void confine_by(struct confine *c, enum sandbox_kind kind);

/* fork(), into new namespaces where the kind wants that. */
pid_t confine_fork(const struct confine *c);
/* In the child: `program` becomes standard input, `say` standard output, and standard error too if `trying`; as user `uid` if we are root.
 * Returns only when a step failed: its name, with errno; descriptor 1 is then `say`. */
const char *confine_exec(const struct confine *c, int program, int say, bool trying, uid_t uid);

/* A file without a name that holds these bytes, to be read from its start. -1 with errno. */
int confine_file(const void *p, size_t n);

#endif
