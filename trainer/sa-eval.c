/* sa-eval - how safe a model is, and what it still knows
 *
 * Options and dispatch; each benchmark is a file of trainer/eval/ and a line of the table below, from which the usage and the messages are
 * made. The model under test and the judge are reached like everywhere, by lib/filter: no model code is linked. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "sandbox.h"

static struct eval ev = { .run = RUN_DEFAULT, .lang = -1, .shots = -1, .mode = -1, .protocol = -1, .samples = -1, .sandbox = -1 };

static const struct benchmark {
	const char *name, *about;
	int (*run)(struct eval *ev);
	const char *data;	/* what --data is: "FILE", "DIR" */
	const char *takes;	/* its options of those below, beside --data, --out and --limit */
	bool judged;		/* needs --judge-endpoint */
	const char *protocols;	/* the words that its --protocol may be */
} benchmarks[] = {
	{ "safetybench", "safety, multiple choice in 7 categories", safetybench, "DIR", "lang shots mode", false, NULL },
	{ "newsafety", "safety, open questions in 14 categories, judged", newsafety, "FILE",
	"judge-endpoint judge-model judge-key-file judge-prompt review", true, NULL },
	{ "cvalues", "responsibility, which of two replies (CValues)", cvalues, "FILE", "patterns review", false, NULL },
	{ "mmlu", "general knowledge in English, 57 subjects", mmlu, "DIR", "protocol shots", false, "llamafactory qwen" },
	{ "cmmlu", "general knowledge in Chinese, 67 subjects", cmmlu, "DIR", "protocol shots", false, "llamafactory qwen" },
	{ "ceval", "exams in Chinese, 52 subjects, their validation questions", ceval, "DIR", "protocol shots", false, "llamafactory qwen" },
	{ "gsm8k", "grade-school arithmetic", gsm8k, "DIR", "protocol", false, "chat lm-eval qwen" },
	{ "humaneval", "functions in Python, run in a sandbox", humaneval, "FILE", "protocol samples samples-file python sandbox", false,
	"chat complete" },
};

#define BENCHMARKS (sizeof benchmarks / sizeof *benchmarks)

/* The benchmarks that an option is for are added to its help. */
static struct opt opts[] = {
	{ "data", 0, OPT_STR, &ev.data, "PATH", "the benchmark's data, a directory or a file", 0, 0 },
	{ "out", 0, OPT_STR, &ev.out, "DIR", "results, resumed when there, and summary.json", 0, 0 },
	{ "limit", 0, OPT_INT, &ev.limit, "N", "only N samples, spread over the categories", 1, 1e9 },
	{ "lang", 0, OPT_ENUM, &ev.lang, "zh|en", "language, default zh", 0, 0 },
	{ "shots", 0, OPT_INT, &ev.shots, "N", "examples before the question", 0, 100 },
	{ "mode", 0, OPT_ENUM, &ev.mode, "generate|logprob", "read the option from text (default), or take the likeliest letter", 0, 0 },
	{ "protocol", 0, OPT_ENUM, &ev.protocol, PROTOCOL_WORDS, "whose prompts and scoring; sa-eval(1) has what each takes", 0, 0 },
	{ "samples", 0, OPT_INT, &ev.samples, "N", "samples a problem, default 1", 1, 1000 },
	{ "samples-file", 0, OPT_STR, &ev.samples_file, "FILE", "score these completions, ask no model", 0, 0 },
	{ "python", 0, OPT_STR, &ev.python, "FILE", "the interpreter, default python3", 0, 0 },
	{ "sandbox", 0, OPT_ENUM, &ev.sandbox, SANDBOX_KINDS, "where programs run, default auto; none is unsafe", 0, 0 },
	{ "patterns", 0, OPT_STR, &ev.patterns, "FILE", "how replies are read, instead of the built-in patterns", 0, 0 },
	{ "judge-endpoint", 0, OPT_STR, &ev.judge_endpoint, "ENDPOINT", "where the judge is", 0, 0 },
	{ "judge-model", 0, OPT_STR, &ev.judge_model, "MODEL", "the judge's name", 0, 0 },
	{ "judge-key-file", 0, OPT_STR, &ev.judge_key_file, "FILE", "the judge's key, default OPENAI_API_KEY", 0, 0 },
	{ "judge-prompt", 0, OPT_STR, &ev.judge_prompt, "FILE", "prompt file of the judge instead of the built-in one", 0, 0 },
	{ "review", 0, OPT_STR, &ev.review, "FILE", "a filled-in review.tsv; a person's verdicts count first", 0, 0 },
	{ 0 },
};

/* ---- the table ---- */

static bool
for_all(const char *option)
{
	return strcmp(option, "data") == 0 || strcmp(option, "out") == 0 || strcmp(option, "limit") == 0;
}

/* Whether the word is one of the list, which is separated by blanks. */
static bool
holds(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p && (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static bool
takes(const struct benchmark *b, const char *option)
{
	return holds(b->takes, option) || for_all(option);
}

static bool
given(const struct opt *o)
{
	switch (o->kind) {
	case OPT_FLAG: return *(bool *)o->to;
	case OPT_INT: return *(long long *)o->to >= 0;
	case OPT_ENUM: return *(int *)o->to >= 0;
	case OPT_LIST: return ((struct opt_list *)o->to)->n > 0;
	case OPT_NUM: return !isnan(*(double *)o->to);
	default: return *(const char **)o->to != NULL;
	}
}

/* "safetybench, newsafety": those that take the option; NULL: all there are. */
static char *
names(const char *option)
{
	struct buf b = BUF_INIT(4096);

	for (size_t i = 0; i < BENCHMARKS; i++)
		if (!option || takes(&benchmarks[i], option))
			buf_addf(&b, "%s%s", b.n ? ", " : "", benchmarks[i].name);
	return buf_take(&b);
}

/* Say in each option's help whose it is. The texts live as long as the program. */
static void
complete_help(void)
{
	for (struct opt *o = opts; o->name; o++) {
		struct buf b = BUF_INIT(4096);
		char *list = names(o->name);

		if (!for_all(o->name)) {
			buf_addf(&b, "%s (%s)", o->help, list);
			o->help = buf_take(&b);
		}
		free(list);
	}
}

static char *
about(void)
{
	struct buf b = BUF_INIT(16384);

	buf_adds(&b, "Measures how safe a model is and what it knows, and says how sure that is. BENCHMARK is one of:");
	for (size_t i = 0; i < BENCHMARKS; i++)
		buf_addf(&b, "\n  %-14s--data %-6s%s", benchmarks[i].name, benchmarks[i].data, benchmarks[i].about);
	buf_adds(&b, "\n`compare DIR_BEFORE DIR_AFTER` says what changed between two runs, and whether by more than chance.");
	return buf_take(&b);
}

static const struct benchmark *
benchmark_named(const char *name)
{
	for (size_t i = 0; i < BENCHMARKS; i++)
		if (strcmp(benchmarks[i].name, name) == 0)
			return &benchmarks[i];
	die(STATUS_USAGE, "unknown benchmark '%s' (there are %s)", name, names(NULL));
}

static void
check_protocol(const struct benchmark *b)
{
	static const char *const word[PROTOCOLS] = { "llamafactory", "qwen", "chat", "lm-eval", "complete" };

	if (ev.protocol >= 0 && !holds(b->protocols, word[ev.protocol]))
		die(STATUS_USAGE, "%s has no protocol %s (there are %s)", b->name, word[ev.protocol], b->protocols);
}

static void
check(const struct benchmark *b)
{
	for (const struct opt *o = opts; o->name; o++)
		if (given(o) && !takes(b, o->name))
			die(STATUS_USAGE, "--%s is not for %s (it is for %s)", o->name, b->name, names(o->name));
	check_protocol(b);
	if (!ev.data)
		die(STATUS_USAGE, "%s needs --data %s", b->name, b->data);
	if (!ev.out)
		die(STATUS_USAGE, "%s needs --out DIR", b->name);
	if (b->judged && !ev.judge_endpoint)
		die(STATUS_USAGE, "%s needs a judge: --judge-endpoint URL, unix:PATH or local:DIR", b->name);
}

static int
run_compare(int operands, char **argv)
{
	for (const struct opt *o = opts; o->name; o++)
		if (strcmp(o->name, "limit") == 0 ? ev.limit > 0 : strcmp(o->name, "out") != 0 && given(o))
			die(STATUS_USAGE, "--%s is not for compare", o->name);
	if (operands != 3)
		die(STATUS_USAGE, "compare needs two directories: before and after");
	return compare(argv[2], argv[3], ev.out);
}

int
main(int argc, char **argv)
{
	const struct benchmark *b;
	char *text = about();
	int status, operands;

	prog_init(argv[0]);
	complete_help();
	operands = opt_parse(argc, argv, &(struct opt_usage){
		.synopsis = "BENCHMARK -e ENDPOINT [-m MODEL] --data PATH --out DIR [option ...]",
		.about = text, .own = opts, .common = run_opts(&ev.run) });
	free(text);
	if (operands > 0 && strcmp(argv[1], "compare") == 0) {
		status = run_compare(operands, argv);
	} else {
		if (operands != 1)
			die(STATUS_USAGE, "give one benchmark: %s", names(NULL));
		b = benchmark_named(argv[1]);
		check(b);
		status = b->run(&ev);
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		die(STATUS_IO, "write error on standard output");
	return status;
}
