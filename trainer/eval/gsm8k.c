/* gsm8k.c - GSM8K: grade-school arithmetic, by three published protocols
 *
 * chat       QwenLM/Qwen, evaluate_chat_gsm8k.py without shots: the bare question as a chat; the last number of the reply and of the published
 *            answer differ by 1e-4 at most.
 * lm-eval    EleutherAI/lm-evaluation-harness, gsm8k.yaml version 3.0: a plain completion after five worked examples; strict-match and
 *            flexible-extract beside it. The harness draws its examples from train by a random seed; here they are the first five.
 * qwen       QwenLM/Qwen, evaluate_gsm8k.py: a plain completion after eight worked examples and "Let's think step by step"; the last \d+ of it.
 *            Its examples are the file gsm8k_prompt.txt of its repository, taken when it is in the data directory; else the
 *            first eight of train.
 *
 * All greedy. What follows a stop string is cut off here, too, since a server may return it. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "jsonl.h"
#include "number.h"
#include "scores.h"

static const struct {
	const char *name;
	int shots;
	long max_tokens;	/* the harness's and Qwen's own; a chat model may explain at length */
	const char *stop[4];
} protocols[PROTOCOLS] = {
	[PROTOCOL_CHAT] = { "chat", 0, 1024, { NULL } },
	[PROTOCOL_LM_EVAL] = { "lm-eval", 5, 256, { "Question:", "</s>", "<|im_end|>", NULL } },
	[PROTOCOL_QWEN] = { "qwen", 8, 512, { "\n\n", "Question:", NULL } },
};

static struct {
	int protocol;
	struct samples list;
	json_t *answers;	/* id -> the published answer */
	struct buf shots;	/* what stands before the question */
	const char *shots_from;	/* "the first 5 of train.jsonl" */
	char *path;
} st = { .shots = BUF_INIT(1 << 20) };

/* ---- the data ---- */

static int
add_question(void *arg, size_t at, json_t *o, struct err *e)
{
	const char *question = json_string_value(json_object_get(o, "question")), *answer = json_string_value(json_object_get(o, "answer"));
	char id[32], gold[NUMBER_MAX];

	(void)arg;
	if (!question || !answer || !number_strict(answer, gold))
		return err_set(e, "no question, or no answer that ends in #### and a number");
	snprintf(id, sizeof id, "%zu", at);
	samples_add(&st.list, &(struct sample){ .id = xstrdup(id), .prompt = xstrdup(question) });
	json_object_set_new(st.answers, id, json_string(answer));
	return 0;
}

/* Qwen's examples do not have the calculator's notes, <<48/2=24>>, nor end in "#### 24". */
static void
add_worked(const char *answer)
{
	char gold[NUMBER_MAX] = "";
	const char *p = answer, *end = strstr(answer, "\n####"), *note;

	number_strict(answer, gold);
	for (; (note = strstr(p, "<<")) && strstr(note, ">>"); p = strstr(note, ">>") + 2)
		buf_add(&st.shots, p, (size_t)(note - p));
	buf_add(&st.shots, p, end && end > p ? (size_t)(end - p) : strlen(p));
	buf_addf(&st.shots, "\nThe answer is %s\n", gold);
}

static int
add_shot(void *arg, size_t at, json_t *o, struct err *e)
{
	const char *question = json_string_value(json_object_get(o, "question")), *answer = json_string_value(json_object_get(o, "answer"));

	(void)arg;
	if (at >= (size_t)protocols[st.protocol].shots)
		return JSONL_ENOUGH;
	if (!question || !answer)
		return err_set(e, "no question and answer");
	if (st.protocol == PROTOCOL_LM_EVAL) {
		buf_addf(&st.shots, "Question: %s\nAnswer: %s\n\n", question, answer);
	} else {
		buf_addf(&st.shots, "%sQuestion: %s\nLet's think step by step\n", st.shots.n ? "\n" : "", question);
		add_worked(answer);
	}
	return 0;
}

static int
load_shots(const char *dir, struct err *e)
{
	static char from[48];
	char *published = jsonl_path(dir, "gsm8k_prompt.txt"), *train = jsonl_path(dir, "train.jsonl");
	int rc;

	if (st.protocol == PROTOCOL_QWEN && access(published, F_OK) == 0) {
		st.shots_from = "gsm8k_prompt.txt";
		rc = buf_read_file(&st.shots, published, e);
	} else {
		snprintf(from, sizeof from, "the first %d of train.jsonl", protocols[st.protocol].shots);
		st.shots_from = from;
		rc = jsonl_each(train, add_shot, NULL, e);
	}
	free(published);
	free(train);
	return rc;
}

static int
load(struct bench *b, struct err *e)
{
	st.answers = json_object();
	st.path = jsonl_path(b->ev->data, "test.jsonl");
	if (jsonl_each(st.path, add_question, NULL, e) < 0 || hash_file(st.path, b->data_hash, e) < 0)
		return -1;
	if (protocols[st.protocol].shots && load_shots(b->ev->data, e) < 0)
		return -1;
	samples_limit(&st.list, (size_t)b->ev->limit);
	b->list = &st.list;
	b->data = st.path;
	return 0;
}

/* ---- asking ---- */

static void
prompt(const struct sample *s, struct buf *out)
{
	static const char *const frame[PROTOCOLS][2] = { [PROTOCOL_CHAT] = { "", "" }, [PROTOCOL_LM_EVAL] = { "Question: ", "\nAnswer:" },
		[PROTOCOL_QWEN] = { "\nQuestion: ", "\nLet's think step by step\n" } };

	if (st.shots.n)
		buf_add(out, st.shots.p, st.shots.n);
	buf_addf(out, "%s%s%s", frame[st.protocol][0], s->prompt, frame[st.protocol][1]);
}

static const char *
category(const struct sample *s)
{
	(void)s;
	return "GSM8K";
}

static int
ask(struct rec *r, struct asks *q)
{
	struct params p = run_params();

	p.stop = protocols[st.protocol].stop;
	if (st.protocol == PROTOCOL_CHAT)
		return bench_ask_chat(r, q);
	ask_completion(q, rec_text(r, "prompt"), &p, 0, 0);
	return DONE;
}

/* ---- scoring ---- */

struct tally {
	size_t n, right, other, unread, missing;	/* other: by flexible-extract */
};

/* The reply up to the first stop string; to be freed. */
static char *
cut(const char *text)
{
	size_t n = strlen(text);

	for (const char *const *s = protocols[st.protocol].stop; *s; s++) {
		const char *at = strstr(text, *s);

		if (at && (size_t)(at - text) < n)
			n = (size_t)(at - text);
	}
	return xstrndup(text, n);
}

static bool
same_number(const char *reply, const char *gold, bool *read)
{
	double x, want;

	*read = number_last(reply, &x);
	return *read && number_last(gold, &want) && fabs(x - want) <= 1e-4;
}

static bool
same_digits(const char *reply, const char *answer, bool *read)
{
	char gold[NUMBER_MAX];
	double x, want;

	*read = number_last_digits(reply, &x);
	return *read && number_strict(answer, gold) && number_last(gold, &want) && x == want;
}

static bool
same_text(bool find(const char *, char *), const char *reply, const char *answer, bool *read)
{
	char gold[NUMBER_MAX], got[NUMBER_MAX];

	*read = find(reply, got);
	return *read && number_strict(answer, gold) && number_same_text(got, gold);
}

static int
score(const char *reply, const char *answer, struct tally *t)
{
	char *text = cut(reply);
	bool right, read, any;

	if (st.protocol == PROTOCOL_CHAT) {
		right = same_number(text, answer, &read);
	} else if (st.protocol == PROTOCOL_QWEN) {
		right = same_digits(text, answer, &read);
	} else {
		right = same_text(number_strict, text, answer, &read);
		t->other += same_text(number_flexible, text, answer, &any);
	}
	t->right += right;
	t->unread += !read;
	free(text);
	return right ? SCORE_RIGHT : SCORE_WRONG;
}

static void
add_figure(json_t *list, struct table *table, const char *code, const char *name, size_t right, const struct tally *t)
{
	json_t *f = figure(right, right, t->n), *o = json_pack("{s:s, s:s}", "category", code, "name", name);
	char n[32], text[32], interval[48], unread[32];

	snprintf(n, sizeof n, "%zu", t->n);
	snprintf(unread, sizeof unread, "%zu", t->unread);
	figure_text(f, text, sizeof text);
	figure_interval(f, interval, sizeof interval);
	table_row(table, name, n, text, interval, strcmp(name, "flexible-extract") == 0 ? "" : unread);
	json_object_update(o, f);
	json_object_set_new(o, "extract_fail", json_integer((json_int_t)t->unread));
	json_object_set_new(o, "missing", json_integer((json_int_t)t->missing));
	json_array_append_new(list, o);
	json_decref(f);
}

static json_t *
figures(struct bench *b, const struct tally *t, struct buf *out)
{
	static const char *const name[PROTOCOLS] = { [PROTOCOL_CHAT] = "last number", [PROTOCOL_LM_EVAL] = "strict-match",
		[PROTOCOL_QWEN] = "last digits" };
	struct table *table = xcalloc(1, sizeof *table);
	json_t *list = json_array(), *summary;
	char protocol[48];

	snprintf(protocol, sizeof protocol, "gsm8k-%s-%dshot", protocols[st.protocol].name, protocols[st.protocol].shots);
	summary = bench_summary(b, protocol);
	bench_title(b, protocol, t->missing, out);
	bench_cut(&b->results, b->list, summary, out);
	if (st.shots_from) {
		buf_addf(out, "examples: %s\n", st.shots_from);
		json_object_set_new(summary, "shots_from", json_string(st.shots_from));
	}
	table->columns = 5;
	table->left = 1;
	table_row(table, "answer read as", "n", "score", "95% interval", "extract_fail");
	add_figure(list, table, "GSM8K", name[st.protocol], t->right, t);
	json_object_set(summary, "micro", json_array_get(list, 0));
	if (st.protocol == PROTOCOL_LM_EVAL)
		add_figure(list, table, "flexible", "flexible-extract", t->other, t);
	json_object_set_new(summary, "categories", list);
	table_print(table, out);
	table_free(table);
	free(table);
	return summary;
}

static int
report(struct bench *b, struct err *e)
{
	struct buf scores = SCORES_INIT, out = BUF_INIT(1 << 20);
	struct tally t = { .n = st.list.n };
	json_t *summary;
	int rc;

	for (size_t i = 0; i < st.list.n; i++) {
		const struct sample *s = &st.list.v[i];
		const char *reply = bench_response(b, s), *answer = json_string_value(json_object_get(st.answers, s->id));

		t.missing += !reply;
		scores_add(&scores, s->id, category(s), reply ? score(reply, answer, &t) : SCORE_OPEN);
	}
	summary = figures(b, &t, &out);
	rc = bench_publish(b, &scores, summary, &out, e);
	json_decref(summary);
	buf_free(&out);
	return rc;
}

/* ---- all of it ---- */

int
gsm8k(struct eval *ev)
{
	struct bench b = { .ev = ev, .name = "gsm8k", .filter = { .ask = ask, .take = bench_take_text }, .prompt = prompt, .category = category,
		.report = report };
	int status = STATUS_USAGE;
	struct err e;

	st.protocol = ev->protocol < 0 ? PROTOCOL_CHAT : ev->protocol;
	b.filter.max_tokens = protocols[st.protocol].max_tokens;
	if (load(&b, &e) < 0)
		warn("%s", e.msg);
	else
		status = bench_run(&b, json_pack("{s:s, s:s?}", "protocol", protocols[st.protocol].name, "shots_from", st.shots_from));
	samples_free(&st.list);
	json_decref(st.answers);
	buf_free(&st.shots);
	free(st.path);
	return status;
}
