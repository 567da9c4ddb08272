/* run.c - the command line that filters share: options, parameters, keys, prompt files */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "key.h"
#include "loop.h"

/* ---- options ---- */

/* Appends a table to another: `to` has room for `max` and an end. */
static void
add_opts(struct opt *to, size_t max, const struct opt *from)
{
	size_t n = 0;

	while (to[n].name)
		n++;
	for (; from->name; from++, n++) {
		if (n >= max)
			die(STATUS_USAGE, "too many options");
		to[n] = *from;
	}
	to[n] = (struct opt){ 0 };
}

const struct opt *
run_opts(struct run *r)
{
	static struct opt table[40];
	const struct opt all[] = {
		{ "endpoint", 'e', OPT_LIST, &r->endpoints, "WHERE", "the model's server: URL, unix:PATH or local:DIR (else SA_ENDPOINT, OPENAI_BASE_URL); several share the load", 0, 0 },
		{ "model", 'm', OPT_STR, &r->model, "NAME", "the model's name (else SA_MODEL, or the server's first)", 0, 0 },
		{ "jobs", 'j', OPT_INT, &r->jobs, "N", "requests in flight at most (default 64)", 1, 4096 },
		{ "seed", 0, OPT_INT, &r->seed, "N", "what all choices and sampling are made from (default 0)", 0, 9e18 },
		{ "temperature", 0, OPT_NUM, &r->temperature, "X", "sampling temperature", 0, 100 },
		{ "top-p", 0, OPT_NUM, &r->top_p, "X", "sample from the likeliest tokens that make up X", 0, 1 },
		{ "max-tokens", 0, OPT_INT, &r->max_tokens, "N", "longest reply", 1, 10000000 },
		{ "retries", 0, OPT_INT, &r->retries, "N", "further attempts of a request that failed (default 5)", 0, 1000 },
		{ "timeout", 0, OPT_NUM, &r->timeout, "SEC", "time for one attempt (default 600)", 0.001, 86400 },
		{ "deadline", 0, OPT_NUM, &r->deadline, "SEC", "time for one record, all attempts together (default: none)", 0.001, 1e7 },
		{ "max-wait", 0, OPT_NUM, &r->max_wait, "SEC", "longest Retry-After that is obeyed, and longest patience with 429s (default 600)", 0, 1e7 },
		{ "rpm", 0, OPT_NUM, &r->rpm, "N", "requests a minute, shared with your other processes that use this endpoint and key", 0.001, 1e9 },
		{ "tpm", 0, OPT_NUM, &r->tpm, "N", "tokens a minute, likewise", 1, 1e15 },
		{ "max-tokens-total", 0, OPT_INT, &r->max_tokens_total, "N", "stop when so many tokens are used (exit status 5)", 0, 9e18 },
		{ "max-usd", 0, OPT_NUM, &r->max_usd, "X", "stop when so many dollars are spent (exit status 5); needs --price", 0, 1e9 },
		{ "price", 0, OPT_STR, &r->price, "IN:OUT", "dollars for a million tokens in and out, for --max-usd and --stats", 0, 0 },
		{ "cache", 0, OPT_STR, &r->cache, "DIR", "keep replies there and never pay for one twice", 0, 0 },
		{ "cache-size", 0, OPT_INT, &r->cache_size, "MIB", "what the cache may grow to (default 65536)", 1, 1e9 },
		{ "cache-only", 0, OPT_FLAG, &r->cache_only, NULL, "send nothing: replies from the cache only", 0, 0 },
		{ "key-file", 0, OPT_STR, &r->key_file, "FILE", "the key, instead of OPENAI_API_KEY; readable by its owner only", 0, 0 },
		{ "insecure", 0, OPT_FLAG, &r->insecure, NULL, "do not verify the server's certificate", 0, 0 },
		{ "http2", 0, OPT_FLAG, &r->http2, NULL, "HTTP/2 where an https server has it", 0, 0 },
		{ "stats", 0, OPT_STR, &r->stats, "FILE", "write a JSON summary of the run", 0, 0 },
		{ "status-every", 0, OPT_NUM, &r->status_every, "SEC", "a line on standard error every SEC seconds", 0.01, 86400 },
		{ 0 },
	};

	table[0] = (struct opt){ 0 };
	add_opts(table, sizeof table / sizeof *table - 1, all);
	return table;
}

const struct opt *
filter_opts(struct run *r)
{
	static struct opt table[48];
	const struct opt own[] = {
		{ "failed", 0, OPT_STR, &r->failed, "FILE", "records that failed go there instead of the output", 0, 0 },
		{ "strict", 0, OPT_FLAG, &r->strict, NULL, "stop reading at the first bad record", 0, 0 },
		{ "max-line", 0, OPT_INT, &r->max_line, "BYTES", "longest line (default 16777216)", 16, 1 << 30 },
		{ "unordered", 0, OPT_FLAG, &r->unordered, NULL, "write records as they are done, not in the order of the input", 0, 0 },
		{ "batch-out", 0, OPT_STR, &r->batch_out, "FILE", "write the requests there as OpenAI batch lines instead of sending them", 0, 0 },
		{ "batch-in", 0, OPT_LIST, &r->batch_in, "FILE", "take the replies from these batch results", 0, 0 },
		{ "explain", 0, OPT_FLAG, &r->explain, NULL, "print the first request that would be sent, and send nothing", 0, 0 },
		{ 0 },
	};

	table[0] = (struct opt){ 0 };
	add_opts(table, sizeof table / sizeof *table - 1, run_opts(r));
	add_opts(table, sizeof table / sizeof *table - 1, own);
	return table;
}

/* Those that make sense without a model. */
static const struct opt *
plain_opts(struct run *r)
{
	static const char *const names[] = { "seed", "stats", "status-every", "strict", "max-line" };
	static struct opt table[sizeof names / sizeof *names + 1];
	size_t n = 0;

	for (const struct opt *o = filter_opts(r); o->name; o++)
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			if (strcmp(o->name, names[i]) == 0)
				table[n++] = *o;
	return table;
}

const char *
run_endpoint(const struct run *r)
{
	return r->endpoints.n ? r->endpoints.v[0] : NULL;
}

/* ---- what is wrong with them ---- */

static void
check_spending(const struct run *r)
{
	double in, out;

	if (r->price && !spend_price(r->price, &in, &out))
		die(STATUS_USAGE, "--price %s: must be IN:OUT, dollars for a million tokens, such as 0.15:0.60", r->price);
	if (!isnan(r->max_usd) && !r->price)
		die(STATUS_USAGE, "--max-usd needs --price IN:OUT, the dollars for a million tokens in and out");
}

/* Without a connection the model's name must be told, since every request has it in it. */
static void
check_offline(const struct run *r, const char *spec)
{
	char *model = endpoint_model(spec, r->model), *identity = endpoint_identity(spec);

	if ((r->batch_out || r->batch_in.n) && !model)
		die(STATUS_USAGE, "batch requests name the model: give -m NAME");
	if (r->cache_only && !r->cache)
		die(STATUS_USAGE, "--cache-only needs --cache DIR");
	if (r->cache_only && (!model || !identity))
		die(STATUS_USAGE, "--cache-only needs -e and -m: whose replies they are; nothing is sent there");
	free(model);
	free(identity);
}

void
run_check(const struct run *r)
{
	const char *spec = getenv("SA_ENDPOINT");
	struct err e;

	for (size_t i = 0; i < r->endpoints.n; i++)
		if (endpoint_check(r->endpoints.v[i], &e) < 0)
			die(STATUS_USAGE, "%s", e.msg);
	if (!r->endpoints.n && spec && *spec && endpoint_check(spec, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	check_spending(r);
	check_offline(r, run_endpoint(r));
	if (r->insecure)
		warn("warning: the server's certificate is not verified (--insecure)");
}

int
filter_main(int argc, char **argv, const struct filter *f)
{
	struct run run = RUN_DEFAULT;
	struct opt_usage usage = {
		.synopsis = f->synopsis, .about = f->about, .own = f->opts,
		.common = f->no_model ? plain_opts(&run) : filter_opts(&run),
	};
	int status, operands;

	prog_init(argv[0]);
	operands = opt_parse(argc, argv, &usage);
	for (int i = 1; i <= operands; i++)
		if (i > 1 || strcmp(argv[i], "-") != 0)
			die(STATUS_USAGE, "unexpected operand: %s (records are read from standard input)", argv[i]);
	status = filter_run(f, &run);
	free(run.endpoints.v);
	free(run.batch_in.v);
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
	return loop->model;
}

/* ---- files ---- */

char *
key_load(const struct run *r)
{
	struct err e;
	char *key = r->key_file ? key_read(r->key_file, &e) : NULL;

	if (r->key_file && !key)
		die(STATUS_USAGE, "%s", e.msg);
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
