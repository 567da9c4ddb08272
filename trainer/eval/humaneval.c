/* humaneval.c - HumanEval: functions that a model completes, judged by running their tests
 *
 * chat      QwenLM/Qwen, evaluate_chat_humaneval.py: "Help me fill the following code.\n" and the prompt as a chat; the function's body is
 *           found in the reply by its rules (code.h).
 * complete  Chen et al. 2021: the prompt is continued up to a stop string.
 *
 * Program: prompt + completion + "\n" + test + "\n" + check(entry_point), as in openai/human-eval, run in a sandbox (sandbox.h). Two
 * passes, each resumed by id: what the model wrote (results.jsonl), then what became of it when run (programs.jsonl). Sample k of a problem
 * has the id TASK#k, the first TASK alone; a line of programs.jsonl holds the hash of its program, and another program is run. --samples-file takes the place of the first pass. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bench.h"
#include "code.h"
#include "jsonl.h"
#include "passk.h"
#include "sandbox.h"
#include "scores.h"

static struct {
	struct eval *ev;
	bool chat;
	json_t *problems;	/* task_id -> the data's object, in the order of the data */
	struct samples list;	/* every sample; category: the problem's number */
	size_t tasks;
	struct sandbox *sandbox;
	struct results programs;
	struct bench *bench;
	size_t at;		/* the next sample to run */
	struct err *e;		/* of the run */
} st = { .programs.fd = -1 };

/* ---- the data ---- */

static const char *
member(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static int
add_problem(void *arg, size_t at, json_t *o, struct err *e)
{
	const char *id = member(o, "task_id");

	(void)arg;
	(void)at;
	if (!*id || !*member(o, "prompt") || !*member(o, "test") || !*member(o, "entry_point"))
		return err_set(e, "not a problem of HumanEval: task_id, prompt, test and entry_point are needed");
	if (json_object_get(st.problems, id))
		return err_set(e, "%s is there twice", id);
	json_object_set(st.problems, id, o);
	return 0;
}

static void
add_sample(const char *task, int number, size_t k)
{
	char id[256];

	snprintf(id, sizeof id, k ? "%.200s#%zu" : "%.200s", task, k);
	samples_add(&st.list, &(struct sample){ .id = xstrdup(id), .prompt = xstrdup(task), .category = number });
}

static void
add_samples(const struct eval *ev)
{
	const char *task;
	json_t *o;
	int number = 0;

	json_object_foreach(st.problems, task, o) {
		if (ev->limit && number == ev->limit)
			break;
		for (long long k = 0; k < (ev->samples > 0 ? ev->samples : 1); k++)
			add_sample(task, number, (size_t)k);
		number++;
	}
	st.tasks = (size_t)number;
}

static const json_t *
problem(const struct sample *s)
{
	return json_object_get(st.problems, s->prompt);
}

/* ---- what the model writes ---- */

static void
prompt(const struct sample *s, struct buf *out)
{
	buf_addf(out, "%s%s", st.chat ? "Help me fill the following code.\n" : "", member(problem(s), "prompt"));
}

static const char *
category(const struct sample *s)
{
	(void)s;
	return "HumanEval";
}

static int
ask(struct rec *r, struct asks *q)
{
	/* OpenAI's API takes four; the fifth is cut off here alone. */
	static const char *const four[] = { "\nclass", "\ndef", "\n#", "\nif", NULL };
	struct params p = run_params();

	if (st.chat)
		return bench_ask_chat(r, q);
	p.stop = four;
	ask_completion(q, rec_text(r, "prompt"), &p, 0, 0);
	return DONE;
}

/* ---- what becomes of it ---- */

static char *
completion_of(const struct sample *s)
{
	const char *text = bench_response(st.bench, s);

	if (!text)
		return NULL;
	if (st.ev->samples_file)
		return xstrdup(text);
	return st.chat ? code_in_chat(text, member(problem(s), "entry_point")) : code_completion(text);
}

/* The whole program of a sample, or NULL while there is none; and its hash. */
static char *
program_of(const struct sample *s, char hash[17])
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	const json_t *o = problem(s);
	char *code = completion_of(s);

	if (!code)
		return NULL;
	buf_addf(&b, "%s%s\n%s\ncheck(%s)", member(o, "prompt"), code, member(o, "test"), member(o, "entry_point"));
	free(code);
	snprintf(hash, 17, "%016llx", (unsigned long long)XXH3_64bits(b.p, b.n));
	return buf_take(&b);
}

static char *
next_program(void *arg, size_t *at)
{
	char hash[17], *program;

	(void)arg;
	for (; st.at < st.list.n; st.at++) {
		const struct sample *s = &st.list.v[st.at];

		program = program_of(s, hash);
		if (program && strcmp(member(results_get(&st.programs, s->id), "program"), hash) != 0) {
			*at = st.at++;
			return program;
		}
		free(program);
	}
	return NULL;
}

static int
program_done(void *arg, size_t at, bool passed, const char *what)
{
	const struct sample *s = &st.list.v[at];
	char hash[17];

	(void)arg;
	free(program_of(s, hash));
	return results_put(&st.programs, json_pack("{s:s, s:s, s:b, s:s, s:s}", "id", s->id, "task_id", s->prompt, "passed", passed,
		"result", what, "program", hash), st.e);
}

/* Run what was not run yet. */
static int
run_programs(struct bench *b, struct err *e)
{
	st.bench = b;
	st.e = e;
	if (results_open(&st.programs, st.ev->out, "programs.jsonl", e) < 0)
		return -1;
	return sandbox_run(st.sandbox, &(struct programs){ next_program, program_done, NULL }, e);
}

/* ---- figures ---- */

struct task {
	size_t n, passed;
};

/* How the sample's program ended: SCORE_OPEN while there is none. */
static int
score(const struct sample *s)
{
	const json_t *o = results_get(&st.programs, s->id);

	return !o ? SCORE_OPEN : json_is_true(json_object_get(o, "passed")) ? SCORE_RIGHT : SCORE_WRONG;
}

/* The mean over the problems of their pass@k, with a normal interval from its spread; of one sample each it is a proportion. */
static json_t *
pass_figure(const struct task *t, size_t k)
{
	double sum = 0, squares = 0, n = (double)st.tasks, mean, half;
	size_t right = 0, most = 0;

	for (size_t i = 0; i < st.tasks; i++) {
		double p = t[i].n ? pass_at_k(t[i].n, t[i].passed, k) : 0;

		sum += p;
		squares += p * p;
		right += t[i].passed;
		most = t[i].n > most ? t[i].n : most;
	}
	if (most == 1)
		return figure(right, right, st.tasks);
	mean = sum / n;
	half = n > 1 ? 1.959963984540054 * sqrt(fmax(0, squares - n * mean * mean) / (n - 1) / n) : 1;
	return json_pack("{s:I, s:f, s:[f,f], s:f, s:f}", "n", (json_int_t)st.tasks, "score", 100 * mean, "range", 100 * mean, 100 * mean,
		"low", 100 * fmax(0, mean - half), "high", 100 * fmin(1, mean + half));
}

static void
add_pass(const struct task *t, size_t k, json_t *list, struct table *table)
{
	char name[32], n[32], text[32], interval[48];
	json_t *f = pass_figure(t, k), *o;

	snprintf(name, sizeof name, "pass@%zu", k);
	snprintf(n, sizeof n, "%zu", st.tasks);
	figure_text(f, text, sizeof text);
	figure_interval(f, interval, sizeof interval);
	table_row(table, name, n, text, interval);
	o = json_pack("{s:s, s:s}", "category", k == 1 ? "HumanEval" : name, "name", name);
	json_object_update(o, f);
	json_array_append_new(list, o);
	json_decref(f);
}

static void
count(struct task *t, size_t *passed, size_t *run, struct buf *scores)
{
	for (size_t i = 0; i < st.list.n; i++) {
		const struct sample *s = &st.list.v[i];
		int how = score(s);

		t[s->category].n += how != SCORE_OPEN;
		t[s->category].passed += how == SCORE_RIGHT;
		*run += how != SCORE_OPEN;
		*passed += how == SCORE_RIGHT;
		if (i == 0 || s->category != st.list.v[i - 1].category)
			scores_add(scores, s->prompt, "HumanEval", how);
	}
}

static json_t *
figures(struct bench *b, const struct task *t, struct buf *out)
{
	static const size_t ks[] = { 1, 10, 100 };
	struct table *table = xcalloc(1, sizeof *table);
	json_t *list = json_array(), *summary;
	size_t least = SIZE_MAX, missing = 0;
	char protocol[48];

	for (size_t i = 0; i < st.tasks; i++) {
		least = t[i].n && t[i].n < least ? t[i].n : least;
		missing += t[i].n == 0;
	}
	snprintf(protocol, sizeof protocol, "humaneval-%s", st.ev->samples_file ? "file" : st.chat ? "chat" : "complete");
	summary = bench_summary(b, protocol);
	json_object_set_new(summary, "sandbox", json_string(sandbox_name(st.sandbox)));
	table->columns = 4;
	table->left = 1;
	table_row(table, "", "problems", "score", "95% interval");
	/* The published script scores no file that leaves a problem out. */
	for (size_t i = 0; i < sizeof ks / sizeof *ks && !(missing && st.ev->samples_file) && (i == 0 || (ks[i] <= least && least < SIZE_MAX)); i++)
		add_pass(t, ks[i], list, table);
	if (json_array_size(list))
		json_object_set(summary, "micro", json_array_get(list, 0));
	bench_title(b, protocol, st.ev->samples_file ? 0 : missing, out);
	bench_cut(&b->results, b->list, summary, out);
	if (json_array_size(list))
		table_print(table, out);
	else
		buf_adds(out, "pass@k needs every problem attempted\n");
	json_object_set_new(summary, "categories", list);
	table_free(table);
	free(table);
	return summary;
}

static int
report(struct bench *b, struct err *e)
{
	struct task *t = xcalloc(st.tasks + 1, sizeof *t);
	struct buf scores = SCORES_INIT, out = BUF_INIT(1 << 20);
	size_t passed = 0, run = 0;
	json_t *summary;
	int rc = run_programs(b, e);

	if (rc < 0) {
		free(t);
		return -1;
	}
	count(t, &passed, &run, &scores);
	summary = figures(b, t, &out);
	buf_addf(&out, "%zu of %zu programs passed; sandbox: %s\n", passed, run, sandbox_name(st.sandbox));
	json_object_set_new(summary, "programs", json_integer((json_int_t)run));
	json_object_set_new(summary, "missing", json_integer((json_int_t)(st.list.n - run)));
	rc = bench_publish(b, &scores, summary, &out, e);
	json_decref(summary);
	buf_free(&out);
	free(t);
	return rc;
}

/* ---- samples out of a file ---- */

static int
number_of(const char *task)
{
	const char *key;
	json_t *o;
	int number = 0;

	json_object_foreach(st.problems, key, o) {
		if (strcmp(key, task) == 0)
			return number;
		number++;
	}
	return -1;
}

static int
add_from_file(void *arg, size_t at, json_t *o, struct err *e)
{
	const char *task = member(o, "task_id"), *code = json_string_value(json_object_get(o, "completion"));
	json_t *by_id = arg;
	int number = number_of(task);
	size_t k = 0;

	(void)at;
	if (number < 0 || !code)
		return err_set(e, number < 0 ? "task_id '%.80s' is not in the data" : "%.80s has no completion", task);
	for (size_t i = 0; i < st.list.n; i++)
		k += st.list.v[i].category == number;
	add_sample(task, number, k);
	json_object_set_new(by_id, st.list.v[st.list.n - 1].id, json_pack("{s:s}", "response", code));
	return 0;
}

/* By problem, then by number: TASK, TASK#1, TASK#2 ... TASK#10. */
static int
by_problem(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	size_t n = strlen(x->id), m = strlen(y->id);

	if (x->category != y->category)
		return x->category < y->category ? -1 : 1;
	return n != m ? (n < m ? -1 : 1) : strcmp(x->id, y->id);
}

/* In place of bench_run(): the samples are there already. */
static int
score_file(struct bench *b)
{
	struct err e = { "" };
	int status = STATUS_USAGE;

	b->results = (struct results){ .fd = -1, .by_id = json_object() };
	b->model = "";
	st.tasks = json_object_size(st.problems);
	if (jsonl_each(b->ev->samples_file, add_from_file, b->results.by_id, &e) == 0 && hash_file(b->ev->samples_file, b->prompt_hash, &e) == 0) {
		qsort(st.list.v, st.list.n, sizeof *st.list.v, by_problem);
		status = report(b, &e) < 0 ? STATUS_IO : STATUS_OK;
	}
	if (e.msg[0])
		warn("%s", e.msg);
	results_close(&b->results);
	return status;
}

/* ---- all of it ---- */

static int
load(struct bench *b, struct err *e)
{
	struct eval *ev = b->ev;

	st.problems = json_object();
	if (jsonl_each(ev->data, add_problem, NULL, e) < 0 || hash_file(ev->data, b->data_hash, e) < 0)
		return -1;
	if (json_object_size(st.problems) == 0)
		return err_set(e, "%s: no problems in it", ev->data);
	if (!ev->samples_file)
		add_samples(ev);
	b->list = &st.list;
	b->data = ev->data;
	/* Before anything is asked: a run whose programs cannot be run is not paid for. */
	st.sandbox = sandbox_open(ev->sandbox < 0 ? SANDBOX_AUTO : (enum sandbox_kind)ev->sandbox, ev->python ? ev->python : "python3", e);
	return st.sandbox ? 0 : -1;
}

int
humaneval(struct eval *ev)
{
	struct bench b = { .ev = ev, .name = "humaneval", .filter = { .ask = ask, .take = bench_take_text }, .prompt = prompt, .category = category,
		.report = report };
	int status = STATUS_USAGE;
	struct err e = { "" };

	if (ev->samples_file && (ev->samples > 0 || ev->protocol >= 0 || ev->limit))
		die(STATUS_USAGE, "--samples, --protocol and --limit are not for --samples-file");
	if (ev->samples > 1 && !(ev->run.temperature > 0))
		die(STATUS_USAGE, "several samples need a --temperature above 0, or all are the same");
	st.ev = ev;
	st.chat = ev->protocol != PROTOCOL_COMPLETE;
	b.filter.max_tokens = st.chat ? 1024 : 512;
	if (load(&b, &e) < 0)
		warn("%s", e.msg);
	else if (ev->samples_file)
		status = score_file(&b);
	else
		status = bench_run(&b, json_pack("{s:s, s:I}", "protocol", st.chat ? "chat" : "complete", "seed", (json_int_t)ev->run.seed));
	results_close(&st.programs);
	sandbox_free(st.sandbox);
	samples_free(&st.list);
	json_decref(st.problems);
	return status;
}
