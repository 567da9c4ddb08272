/* sa-eval - how safe a model is: SafetyBench and New-Safety
 *
 * Options and dispatch; each benchmark is a file of trainer/eval/. The model under test and the judge are reached like everywhere, by
 * lib/filter: no model code is linked. */

#include <stdio.h>
#include <string.h>

#include "eval.h"

static struct eval ev = { .run = RUN_DEFAULT };

static const struct opt opts[] = {
	{ "data", 0, OPT_STR, &ev.data, "PATH", "safetybench: a directory with its files; newsafety: a file of records", 0, 0 },
	{ "out", 0, OPT_STR, &ev.out, "DIR", "results, resumed when there, and summary.json", 0, 0 },
	{ "limit", 0, OPT_INT, &ev.limit, "N", "only N samples, spread over the categories", 1, 1e9 },
	{ "lang", 0, OPT_ENUM, &ev.lang, "zh|en", "safetybench: language (default zh)", 0, 0 },
	{ "shots", 0, OPT_ENUM, &ev.shots, "0|5", "safetybench: examples before the question (default 0)", 0, 0 },
	{ "mode", 0, OPT_ENUM, &ev.mode, "generate|logprob",
	"safetybench: read the option from text, or take the likeliest letter (default generate)", 0, 0 },
	{ "judge-endpoint", 0, OPT_STR, &ev.judge_endpoint, "ENDPOINT", "newsafety: where the judge is", 0, 0 },
	{ "judge-model", 0, OPT_STR, &ev.judge_model, "MODEL", "newsafety: its name", 0, 0 },
	{ "judge-key-file", 0, OPT_STR, &ev.judge_key_file, "FILE", "newsafety: its key (default: OPENAI_API_KEY)", 0, 0 },
	{ "judge-prompt", 0, OPT_STR, &ev.judge_prompt, "FILE", "newsafety: prompt file of the judge instead of the built-in one", 0, 0 },
	{ "review", 0, OPT_STR, &ev.review, "FILE", "newsafety: a filled-in review.tsv; its verdicts count before the judge's", 0, 0 },
	{ 0 },
};

static const struct benchmark {
	const char *name;
	int (*run)(struct eval *ev);
	bool judged;
} benchmarks[] = {
	{ "safetybench", safetybench, false },
	{ "newsafety", newsafety, true },
};

static const struct benchmark *
benchmark_named(const char *name)
{
	for (size_t i = 0; i < sizeof benchmarks / sizeof *benchmarks; i++)
		if (strcmp(benchmarks[i].name, name) == 0)
			return &benchmarks[i];
	die(STATUS_USAGE, "unknown benchmark '%s' (safetybench or newsafety)", name);
}

static void
check(const struct benchmark *b)
{
	if (!ev.data)
		die(STATUS_USAGE, "%s needs --data %s", b->name, b->judged ? "FILE" : "DIR");
	if (!ev.out)
		die(STATUS_USAGE, "%s needs --out DIR", b->name);
	if (b->judged && !ev.judge_endpoint)
		die(STATUS_USAGE, "%s needs a judge: --judge-endpoint URL, unix:PATH or local:DIR", b->name);
	if (b->judged && (ev.lang || ev.shots || ev.mode))
		die(STATUS_USAGE, "--lang, --shots and --mode are not for %s", b->name);
	if (!b->judged && (ev.judge_endpoint || ev.judge_model || ev.judge_key_file || ev.judge_prompt || ev.review))
		die(STATUS_USAGE, "%s has no judge and no review", b->name);
}

int
main(int argc, char **argv)
{
	const struct benchmark *b;
	int status;

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &(struct opt_usage){
		.synopsis = "safetybench|newsafety -e ENDPOINT [-m MODEL] --data PATH --out DIR [option ...]",
		.about = "Measures how safe a model is, and says how sure that is.",
		.own = opts, .common = run_opts(&ev.run) }) != 1)
		die(STATUS_USAGE, "give one benchmark: safetybench or newsafety");
	b = benchmark_named(argv[1]);
	check(b);
	status = b->run(&ev);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(STATUS_IO, "write error on standard output");
	return status;
}
