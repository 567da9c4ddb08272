/* opt.c - one table of options makes the parser and --help
 *
 * Not getopt_long(): it takes abbreviations (so that adding an option breaks scripts) and changes its mind with POSIXLY_CORRECT. */
#include "opt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "num.h"

static const struct opt *
find_long(const struct opt *o, const char *name, size_t n)
{
	for (; o && o->name; o++)
		if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
			return o;
	return NULL;
}

static const struct opt *
find_letter(const struct opt *o, char letter)
{
	for (; o && o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

/* A bound of the table as an integer: (long long)9.3e18 would be undefined. */
static long long
bound(double x)
{
	if (x >= 9.2e18)
		return __LONG_LONG_MAX__;
	return x <= -9.2e18 ? -__LONG_LONG_MAX__ - 1 : (long long)x;
}

static int
word_index(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (int i = 0;; i++) {
		size_t len = strcspn(words, "|");

		if (len == n && memcmp(words, value, n) == 0)
			return i;
		if (!words[len])
			return -1;
		words += len + 1;
	}
}

static void
list_add(struct opt_list *l, const char *value)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = value;
}

static int
set(const struct opt *o, const char *value, struct err *e)
{
	int rc = 0;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->to = true;
		break;
	case OPT_INT:
		rc = num_int(value, bound(o->lo), bound(o->hi), o->to, e);
		break;
	case OPT_NUM:
		rc = num_real(value, o->lo, o->hi, o->to, e);
		break;
	case OPT_STR:
		*(const char **)o->to = value;
		break;
	case OPT_LIST:
		list_add(o->to, value);
		break;
	case OPT_ENUM:
		*(int *)o->to = word_index(o->arg, value);
		if (*(int *)o->to < 0)
			rc = err_set(e, "'%s' is none of %s", value, o->arg);
		break;
	}
	return rc;
}

int
opt_set(const struct opt *table, const char *name, const char *value, struct err *e)
{
	const struct opt *o = find_long(table, name, strlen(name));

	return o ? set(o, value, e) : err_set(e, "there is no option --%s", name);
}

static void
set_or_die(const struct opt *o, const char *value)
{
	struct err e;

	if (set(o, value, &e) < 0)
		die(STATUS_USAGE, "option --%s: %s", o->name, e.msg);
}

static void
help_list(const struct opt *o)
{
	for (; o && o->name; o++) {
		char head[128];

		snprintf(head, sizeof head, "%c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ',' : ' ',
			o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		if (strlen(head) > 28)
			printf("  %s\n  %-28s  %s\n", head, "", o->help);
		else
			printf("  %-28s  %s\n", head, o->help);
	}
}

static _Noreturn void
help(const struct opt_usage *u)
{
	static const struct opt last[] = {
		{ .name = "help", .help = "print this and exit" },
		{ .name = "version", .help = "print the version and exit" },
		{ .name = NULL },
	};

	printf("Usage: %s %s\n%s\n\n", progname, u->synopsis, u->about);
	help_list(u->own);
	help_list(u->common);
	help_list(last);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(STATUS_IO, "write error on standard output");
	exit(STATUS_OK);
}

static _Noreturn void
version(void)
{
	printf("%s %s\n", progname, SA_VERSION);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(STATUS_IO, "write error on standard output");
	exit(STATUS_OK);
}

/* `arg` is what follows "--". Returns how many words of argv it took. */
static int
parse_long(const char *arg, const char *next, const struct opt_usage *u)
{
	size_t n = strcspn(arg, "=");
	const struct opt *o = find_long(u->own, arg, n);

	if (!o)
		o = find_long(u->common, arg, n);
	if (!o && strcmp(arg, "help") == 0)
		help(u);
	if (!o && strcmp(arg, "version") == 0)
		version();
	if (!o)
		die(STATUS_USAGE, "unknown option --%.*s (try --help)", (int)n, arg);
	if (o->kind == OPT_FLAG && arg[n])
		die(STATUS_USAGE, "option --%s takes no value", o->name);
	if (o->kind == OPT_FLAG || arg[n]) {
		set_or_die(o, arg + n + (arg[n] == '='));
		return 1;
	}
	if (!next)
		die(STATUS_USAGE, "option --%s needs a value", o->name);
	set_or_die(o, next);
	return 2;
}

/* `arg` is what follows "-": flags, then at most one option with its value. */
static int
parse_short(const char *arg, const char *next, const struct opt_usage *u)
{
	for (; *arg; arg++) {
		const struct opt *o = find_letter(u->own, *arg);

		if (!o)
			o = find_letter(u->common, *arg);
		if (!o)
			die(STATUS_USAGE, "unknown option -%c (try --help)", *arg);
		if (o->kind == OPT_FLAG) {
			set_or_die(o, NULL);
			continue;
		}
		if (!arg[1] && !next)
			die(STATUS_USAGE, "option -%c (--%s) needs a value", o->letter, o->name);
		set_or_die(o, arg[1] ? arg + 1 : next);
		return arg[1] ? 1 : 2;
	}
	return 1;
}

int
opt_parse(int argc, char **argv, const struct opt_usage *u)
{
	int n = 1;

	for (int i = 1; i < argc;) {
		const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(a, "--") == 0) {
			while (++i < argc)
				argv[n++] = argv[i];
		} else if (a[0] == '-' && a[1] == '-') {
			i += parse_long(a + 2, next, u);
		} else if (a[0] == '-' && a[1]) {
			i += parse_short(a + 1, next, u);
		} else {
			argv[n++] = argv[i++];
		}
	}
	return argc > 0 ? n - 1 : 0;
}
