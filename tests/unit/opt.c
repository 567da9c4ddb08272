/* opt: one table makes the parser and --help */
#include "opt.h"

#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "t.h"

static struct {
	bool flag, other;
	long long jobs;
	double temp;
	const char *endpoint;
	struct opt_list list;
	int what;
} o;

static const struct opt own[] = {
	{ "flag", 'f', OPT_FLAG, &o.flag, NULL, "a flag", 0, 0 },
	{ "other", 'o', OPT_FLAG, &o.other, NULL, "another", 0, 0 },
	{ "what", 0, OPT_ENUM, &o.what, "responses|prompt|both", "what to judge", 0, 0 },
	{ "list", 'l', OPT_LIST, &o.list, "X", "many", 0, 0 },
	{ .name = NULL },
};
static const struct opt common[] = {
	{ "jobs", 'j', OPT_INT, &o.jobs, "N", "requests in flight", 1, 1000 },
	{ "temperature", 0, OPT_NUM, &o.temp, "X", "sampling temperature", 0, 2 },
	{ "endpoint", 'e', OPT_STR, &o.endpoint, "URL", "where the model is", 0, 0 },
	{ .name = NULL },
};
static const struct opt_usage usage = { "[-f] [file ...]", "Does a thing.", own, common };

#define ARGS(...) (char *[]){ "sa-x", __VA_ARGS__, NULL }, sizeof((char *[]){ "sa-x", __VA_ARGS__ }) / sizeof(char *)

static int
parse(char **argv, int argc)
{
	free(o.list.v);
	memset(&o, 0, sizeof o);
	return opt_parse(argc, argv, &usage);
}

/* Parse in a child: its exit status; `out` gets what it wrote to `fd`. */
static int
dies(char **argv, int argc, int fd, char out[2048])
{
	int p[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	fflush(stdout);
	if (pipe(p) < 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		dup2(p[1], fd);
		close(p[0]);
		close(p[1]);
		prog_init("sa-x");
		parse(argv, argc);
		_exit(99);
	}
	close(p[1]);
	while (n < 2047 && (got = read(p[0], out + n, 2047 - n)) > 0)
		n += got;
	out[n] = '\0';
	close(p[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
every_way_to_give_a_value(void)
{
	CHECK_INT(parse(ARGS("-j", "3", "--temperature=1.5", "-eURL", "--what", "both", "-f")), 0);
	CHECK_INT(o.jobs, 3);
	CHECK_NUM(o.temp, 1.5, 0);
	CHECK_STR(o.endpoint, "URL");
	CHECK_INT(o.what, 2);
	CHECK(o.flag && !o.other);
	parse(ARGS("-foj7", "--endpoint="));
	CHECK(o.flag && o.other);
	CHECK_INT(o.jobs, 7);
	CHECK_STR(o.endpoint, "");
	parse(ARGS("-e", "-x", "--what=responses"));
	CHECK_STR(o.endpoint, "-x");
	CHECK_INT(o.what, 0);
}

static void
a_list_keeps_all_and_others_the_last(void)
{
	parse(ARGS("-l", "a", "-j1", "-lb", "--list=c", "-j2"));
	CHECK_INT(o.list.n, 3);
	CHECK_STR(o.list.v[0], "a");
	CHECK_STR(o.list.v[2], "c");
	CHECK_INT(o.jobs, 2);
}

static void
operands_move_to_the_front(void)
{
	char *argv[] = { "sa-x", "a", "-f", "-", "-j", "5", "b", "--", "-o", "--", NULL };

	CHECK_INT(parse(argv, 10), 5);
	CHECK_STR(argv[1], "a");
	CHECK_STR(argv[2], "-");
	CHECK_STR(argv[3], "b");
	CHECK_STR(argv[4], "-o");
	CHECK_STR(argv[5], "--");
	CHECK(o.flag && !o.other);
}

static void
what_is_wrong_names_the_option_and_exits_2(void)
{
	static const struct { const char *arg, *says; } t[] = {
		{ "--nope", "unknown option --nope" }, { "-x", "unknown option -x" }, { "--job=3", "unknown option --job" },
		{ "-j0", "--jobs: '0' is no integer from 1 to 1000" }, { "--jobs=", "--jobs: '' is no integer" },
		{ "--temperature=nan", "--temperature: 'nan' is no number from 0 to 2" }, { "--flag=1", "--flag takes no value" },
		{ "--what=some", "--what: 'some' is none of responses|prompt|both" }, { "--what=respons", "is none of" },
		{ "-j", "-j (--jobs) needs a value" }, { "--endpoint", "--endpoint needs a value" },
	};
	char out[2048];

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		CHECK_INT(dies(ARGS((char *)t[i].arg), STDERR_FILENO, out), STATUS_USAGE);
		if (!CHECK(strstr(out, t[i].says) && strncmp(out, "sa-x: ", 6) == 0 && strchr(out, '\n') == out + strlen(out) - 1))
			printf("#   %s", out);
	}
}

static void
help_lists_every_option(void)
{
	char out[2048];

	CHECK_INT(dies(ARGS("--help"), STDOUT_FILENO, out), STATUS_OK);
	CHECK(strncmp(out, "Usage: sa-x [-f] [file ...]\nDoes a thing.\n", 42) == 0);
	CHECK(strstr(out, "  -f, --flag                    a flag\n"));
	CHECK(strstr(out, "      --temperature X           sampling temperature\n"));
	CHECK(strstr(out, "--what responses|prompt|both"));
	CHECK(strstr(out, "-j, --jobs N") && strstr(out, "--version"));
}

static void
version_says_which_program(void)
{
	char out[2048];

	CHECK_INT(dies(ARGS("--version"), STDOUT_FILENO, out), STATUS_OK);
	CHECK_STR(out, "sa-x " SA_VERSION "\n");
}

static void
no_arguments_are_no_operands(void)
{
	CHECK_INT(opt_parse(1, (char *[]){ "sa-x", NULL }, &usage), 0);
	CHECK_INT(opt_parse(0, (char *[]){ NULL }, &usage), 0);
}

int
main(void)
{
	RUN(every_way_to_give_a_value);
	RUN(a_list_keeps_all_and_others_the_last);
	RUN(operands_move_to_the_front);
	RUN(what_is_wrong_names_the_option_and_exits_2);
	RUN(help_lists_every_option);
	RUN(version_says_which_program);
	RUN(no_arguments_are_no_operands);
	free(o.list.v);
	return t_done();
}
