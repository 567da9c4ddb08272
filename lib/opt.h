/* opt.h - one table of options makes the parser, --help and the man page's list
 *
 * `-x VALUE`, `-xVALUE`, `--name VALUE`, `--name=VALUE`; flags take no value; `--` ends the options; a lone `-` is an operand.
 * Options and operands may be mixed. --help and --version print to standard output and exit 0; anything wrong is one line on
 * standard error that names the option, and exit 2. The same option has the same name and meaning in every program. */
#ifndef SA_OPT_H
#define SA_OPT_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum opt_kind {
	OPT_FLAG,	/* bool * */
	OPT_INT,	/* long long *, within lo..hi */
	OPT_NUM,	/* double *, within lo..hi */
	OPT_STR,	/* const char ** */
	OPT_LIST,	/* struct opt_list *: may be given several times */
	OPT_ENUM,	/* int *: index of the word in `arg`, words separated by | */
};

struct opt_list {
	const char **v;
	size_t n;
};

struct opt {
	const char *name;	/* long name without dashes */
	char letter;		/* 0: none */
	enum opt_kind kind;
	void *to;
	const char *arg;	/* what --help calls the value; for OPT_ENUM its words, "a|b|c" */
	const char *help;	/* one line */
	double lo, hi;		/* OPT_INT, OPT_NUM */
};

struct opt_usage {
	const char *synopsis;	/* after the program's name: "[-e endpoint] [file ...]" */
	const char *about;	/* one sentence */
	const struct opt *own;		/* ends with name == NULL; may be NULL */
	const struct opt *common;	/* the same; shown after the own ones */
};

/* Set the option `name` of one table as if it had been given with this value (a flag: NULL). 0; -1 when there is none, or the value is not one for it. */
int opt_set(const struct opt *table, const char *name, const char *value, struct err *e);

/* Sets every given option; moves the operands to the front of argv[1..] and returns how many there are. */
int opt_parse(int argc, char **argv, const struct opt_usage *u);

#endif
