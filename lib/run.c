/* run.c - the command line that filters share: options, parameters, keys, prompt files */

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"

#define KEY_MAX 4096

/* ---- options ---- */

const struct opt *
run_opts(struct run *r)
{
	static struct opt table[16];
	const struct opt all[] = {
		{ "endpoint", 'e', OPT_STR, &r->endpoint, "WHERE", "the model's server: URL, unix:PATH or local:DIR (else SA_ENDPOINT, OPENAI_BASE_URL)", 0, 0 },
		{ "model", 'm', OPT_STR, &r->model, "NAME", "the model's name (else SA_MODEL, or the server's first)", 0, 0 },
		{ "jobs", 'j', OPT_INT, &r->jobs, "N", "requests in flight at most (default 64)", 1, 4096 },
		{ "seed", 0, OPT_INT, &r->seed, "N", "what all choices and sampling are made from (default 0)", 0, 9e18 },
		{ "temperature", 0, OPT_NUM, &r->temperature, "X", "sampling temperature", 0, 100 },
		{ "top-p", 0, OPT_NUM, &r->top_p, "X", "sample from the likeliest tokens that make up X", 0, 1 },
		{ "max-tokens", 0, OPT_INT, &r->max_tokens, "N", "longest reply", 1, 10000000 },
		{ "retries", 0, OPT_INT, &r->retries, "N", "further attempts of a request that failed (default 5)", 0, 1000 },
		{ "timeout", 0, OPT_NUM, &r->timeout, "SEC", "time for one attempt (default 600)", 0.001, 86400 },
		{ "key-file", 0, OPT_STR, &r->key_file, "FILE", "the key, instead of OPENAI_API_KEY; readable by its owner only", 0, 0 },
		{ "insecure", 0, OPT_FLAG, &r->insecure, NULL, "do not verify the server's certificate", 0, 0 },
		{ "stats", 0, OPT_STR, &r->stats, "FILE", "write a JSON summary of the run", 0, 0 },
		{ "status-every", 0, OPT_NUM, &r->status_every, "SEC", "a line on standard error every SEC seconds", 0.01, 86400 },
		{ 0 },
	};

	memcpy(table, all, sizeof all);
	return table;
}

/* Those that make sense without a model. */
static const struct opt *
run_opts_no_model(struct run *r)
{
	static struct opt table[3];
	size_t n = 0;

	for (const struct opt *o = run_opts(r); o->name; o++)
		if (strcmp(o->name, "seed") == 0 || strcmp(o->name, "stats") == 0)
			table[n++] = *o;
	return table;
}

void
run_check(const struct run *r)
{
	const char *spec = r->endpoint ? r->endpoint : getenv("SA_ENDPOINT");
	struct err e;

	if (spec && *spec && endpoint_check(spec, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	if (r->insecure)
		warn("warning: the server's certificate is not verified (--insecure)");
}

int
filter_main(int argc, char **argv, const struct filter *f)
{
	struct run run = RUN_DEFAULT;
	struct opt_usage usage = {
		.synopsis = f->synopsis, .about = f->about, .own = f->opts,
		.common = f->no_model ? run_opts_no_model(&run) : run_opts(&run),
	};
	int status, operands;

	prog_init(argv[0]);
	operands = opt_parse(argc, argv, &usage);
	for (int i = 1; i <= operands; i++)
		if (i > 1 || strcmp(argv[i], "-") != 0)
			die(STATUS_USAGE, "unexpected operand: %s (records are read from standard input)", argv[i]);
	status = filter_run(f, &run);
	/* Some file systems tell of a full disk only now. */
	if (close(STDOUT_FILENO) < 0 && status != STATUS_IO)
		die(STATUS_IO, "cannot write the output: %s", strerror(errno));
	return status;
}

/* ---- parameters ---- */

struct params
run_params(void)
{
	const struct run *r = loop->run;
	const struct filter *f = loop->f;
	struct params p = PARAMS_UNSET;

	p.temperature = isnan(r->temperature) ? f->temperature : r->temperature;
	p.top_p = r->top_p;
	p.max_tokens = r->max_tokens >= 0 ? (long)r->max_tokens : f->max_tokens ? f->max_tokens : 512;
	return p;
}

long long
run_seed(void)
{
	return loop->run->seed < 0 ? 0 : loop->run->seed;
}

const char *
run_model(void)
{
	return loop->ep.model ? loop->ep.model : loop->run->model;
}

/* ---- files ---- */

static void
check_key(char *key, const char *path)
{
	size_t n = strlen(key);

	while (n > 0 && strchr(" \t\r\n", key[n - 1]))
		key[--n] = 0;
	if (n == 0)
		die(STATUS_USAGE, "%s: there is no key in it", path);
	for (size_t i = 0; i < n; i++)
		if (key[i] <= ' ' || key[i] > '~')
			die(STATUS_USAGE, "%s: a key is one word of printable ASCII", path);
}

char *
key_load(const struct run *r)
{
	struct stat st;
	char *key;
	ssize_t n;
	int fd;

	if (!r->key_file)
		return NULL;
	fd = open(r->key_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(STATUS_USAGE, "%s: %s", r->key_file, strerror(errno));
	if (st.st_mode & 077)
		die(STATUS_USAGE, "%s: others can read this key; chmod 600 it", r->key_file);
	key = xcalloc(1, KEY_MAX);
	n = read(fd, key, KEY_MAX - 1);
	if (n < 0)
		die(STATUS_USAGE, "%s: %s", r->key_file, strerror(errno));
	close(fd);
	check_key(key, r->key_file);
	return key;
}

struct prompt *
filter_prompt(const char *path, const char *text, const char *end, const char *name, const char *const *known)
{
	struct err e;
	struct prompt *p = path ? prompt_load(path, known, &e) : prompt_parse(text, (size_t)(end - text), name, known, &e);

	if (!p)
		die(STATUS_USAGE, "%s", e.msg);
	return p;
}
