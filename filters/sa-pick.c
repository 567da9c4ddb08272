/* sa-pick - selects the training samples and writes the fine-tuning file
 *
 * A record is picked when its prompt reads well (low perplexity), its best response is safe (high response safety) and the prompt is
 * an attack (low prompt safety); a record without one of the scores is never picked. Of more than -n the best ones by the mean of their three ranks stay.
 * With --pairs a sample is the best response, chosen, and the worst one, rejected, which must be less safe by --margin; with general samples, which have one
 * response, they do not go.
 * General samples are mixed in, so that the model stays helpful, and all are shuffled by --seed. Everything that is not picked is counted
 * by reason. Needs no model. Method, section 3.8. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "line.h"
#include "text.h"

#include <fcntl.h>
#include <unistd.h>

enum format { ALPACA, MESSAGES, SHAREGPT, RECORD };
enum reason { FAILED, NO_SCORE, PPL, SAFETY, PROMPT_SAFETY, MARGIN, TARGET, REASONS };
static const char *const reason_name[REASONS] = { "failed", "no score", "perplexity", "response safety", "prompt safety", "margin", "over the target" };

/* A record that passed the thresholds: what is written of it, and its scores. */
struct pick {
	char *line;
	size_t n;
	size_t order;		/* place in the input */
	double score[3];	/* lower is better: ppl, -response safety, prompt safety */
	double rank;		/* sum of its three ranks */
};

static double max_ppl = INFINITY, min_safety = 0.8, max_prompt_safety = 0.5, margin = 0.3;
static long long target = -1, general_n = -1;
static const char *general_path;
static int format = ALPACA;
static bool pairs;

static struct pick *pick;
static size_t npick, cap, seen;
static long long rejected[REASONS];
static size_t ngeneral;

/* ---- samples ---- */

static void
add_line(struct pick *p, struct buf *b)
{
	p->n = b->n;
	p->line = buf_take(b);
}

/* One turn of a conversation. */
static void
add_turn(struct buf *b, bool user, const char *text)
{
	if (format == MESSAGES)
		buf_addf(b, "{\"role\":\"%s\",\"content\":", user ? "user" : "assistant");
	else
		buf_addf(b, "{\"from\":\"%s\",\"value\":", user ? "human" : "gpt");
	buf_json(b, text, strlen(text));
	buf_addc(b, '}');
}

/* With `worse` as LLaMA-Factory's rankings are: the responses beside the conversation. */
static void
add_conversation(struct buf *b, const char *prompt, const char *response, const char *worse)
{
	buf_addf(b, "{\"%s\":[", format == MESSAGES ? "messages" : "conversations");
	add_turn(b, true, prompt);
	buf_adds(b, worse ? "],\"chosen\":" : ",");
	add_turn(b, false, response);
	if (worse) {
		buf_adds(b, ",\"rejected\":");
		add_turn(b, false, worse);
	}
	buf_adds(b, worse ? "}" : "]}");
}

static void
add_alpaca(struct buf *b, const char *instruction, const char *input, const char *output, const char *worse)
{
	buf_adds(b, "{\"instruction\":");
	buf_json(b, instruction, strlen(instruction));
	buf_adds(b, ",\"input\":");
	buf_json(b, input, strlen(input));
	buf_adds(b, worse ? ",\"chosen\":" : ",\"output\":");
	buf_json(b, output, strlen(output));
	if (worse) {
		buf_adds(b, ",\"rejected\":");
		buf_json(b, worse, strlen(worse));
	}
	buf_addc(b, '}');
}

/* worse: the rejected response, or NULL without --pairs. */
static void
add_sample(struct rec *r, struct pick *p, const char *response, const char *worse)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	if (format == RECORD) {
		put_text(r, worse ? "chosen" : "response", response);
		if (worse)
			put_text(r, "rejected", worse);
		rec_write(r, &b);
		b.p[--b.n] = '\0';
	} else if (format == ALPACA) {
		add_alpaca(&b, rec_text(r, "prompt"), "", response, worse);
	} else {
		add_conversation(&b, rec_text(r, "prompt"), response, worse);
	}
	add_line(p, &b);
}

/* ---- selection ---- */

struct scored {
	const char *text;	/* NULL: none has a score */
	double safety;
};

/* The response with the highest score, of equals the later one, which is the regenerated one; and with the lowest, of equals the earlier one. */
static void
find_responses(struct rec *r, struct scored *best, struct scored *worst)
{
	const json_t *list = rec_get(r, "responses"), *one;
	size_t i;

	*best = *worst = (struct scored){ 0 };
	json_array_foreach(list, i, one) {
		const json_t *score = json_object_get(one, "safety");
		struct scored s = { json_string_value(json_object_get(one, "text")), json_number_value(score) };

		if (!json_is_number(score) || !s.text)
			continue;
		if (!best->text || s.safety >= best->safety)
			*best = s;
		if (!worst->text || s.safety < worst->safety)
			*worst = s;
	}
}

static int
reject(enum reason why)
{
	rejected[why]++;
	return TAKEN;
}

static int
ask(struct rec *r, struct asks *q)
{
	double ppl, prompt_safety;
	struct scored best, worst;
	struct pick *p;

	(void)q;
	seen++;
	if (rec_failed_by(r))
		return reject(FAILED);
	find_responses(r, &best, &worst);
	if (!rec_text(r, "prompt") || !best.text || !rec_num(r, "ppl", &ppl) || !rec_num(r, "prompt_safety", &prompt_safety))
		return reject(NO_SCORE);
	if (ppl > max_ppl)
		return reject(PPL);
	if (best.safety < min_safety)
		return reject(SAFETY);
	if (prompt_safety > max_prompt_safety)
		return reject(PROMPT_SAFETY);
	if (pairs && (best.safety - worst.safety < margin || strcmp(best.text, worst.text) == 0))
		return reject(MARGIN);
	if (npick == cap) {
		cap = cap ? 2 * cap : 1024;
		pick = xreallocarray(pick, cap, sizeof *pick);
	}
	p = &pick[npick++];
	*p = (struct pick){ .order = seen, .score = { ppl, -best.safety, prompt_safety } };
	add_sample(r, p, best.text, pairs ? worst.text : NULL);
	return TAKEN;
}

static int rank_by;	/* which score by_score() compares */

static int
by_score(const void *a, const void *b)
{
	const struct pick *x = a, *y = b;
	double d = x->score[rank_by] - y->score[rank_by];

	return d < 0 ? -1 : d > 0 ? 1 : x->order < y->order ? -1 : 1;
}

static int
by_rank(const void *a, const void *b)
{
	const struct pick *x = a, *y = b;

	return x->rank < y->rank ? -1 : x->rank > y->rank ? 1 : x->order < y->order ? -1 : 1;
}

/* Give every pick the sum of its ranks; records with equal scores share the lowest rank. */
static void
rank_all(void)
{
	for (rank_by = 0; rank_by < 3; rank_by++) {
		size_t rank = 0;

		qsort(pick, npick, sizeof *pick, by_score);
		for (size_t i = 0; i < npick; i++) {
			if (i == 0 || pick[i].score[rank_by] > pick[i - 1].score[rank_by])
				rank = i;
			pick[i].rank += (double)rank;
		}
	}
}

/* Keep the -n best. */
static void
keep_best(void)
{
	rank_all();
	qsort(pick, npick, sizeof *pick, by_rank);
	for (size_t i = (size_t)target; i < npick; i++) {
		free(pick[i].line);
		rejected[TARGET]++;
	}
	npick = (size_t)target;
}

/* ---- general data ---- */

static const char *
member(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

/* The user's first and the assistant's first message of {"messages":[{"role","content"}]}. */
static void
from_messages(const json_t *list, const char **prompt, const char **response)
{
	const json_t *m;
	size_t i;

	json_array_foreach(list, i, m) {
		const char *role = member(m, "role");

		if (role && strcmp(role, "user") == 0 && !*prompt)
			*prompt = member(m, "content");
		else if (role && strcmp(role, "assistant") == 0 && !*response)
			*response = member(m, "content");
	}
}

/* A general sample in the output's format: from alpaca, messages or prompt/response. False when it is none of these. */
static bool
general_sample(const json_t *o, struct buf *b)
{
	const char *instruction = member(o, "instruction"), *input = member(o, "input"), *output = member(o, "output");
	struct buf prompt = BUF_INIT(SIZE_MAX);

	if (!instruction) {
		instruction = member(o, "prompt");
		output = member(o, "response");
		input = NULL;
	}
	if (!instruction)
		from_messages(json_object_get(o, "messages"), &instruction, &output);
	if (!instruction || !output)
		return false;
	if (format == ALPACA) {
		add_alpaca(b, instruction, input ? input : "", output, NULL);
		return true;
	}
	buf_addf(&prompt, "%s%s%s", instruction, input && *input ? "\n" : "", input ? input : "");
	if (format != RECORD) {
		add_conversation(b, prompt.p, output, NULL);
	} else {
		buf_adds(b, "{\"prompt\":");
		buf_json(b, prompt.p, prompt.n);
		buf_adds(b, ",\"response\":");
		buf_json(b, output, strlen(output));
		buf_adds(b, ",\"category\":\"none\",\"source\":\"general\"}");
	}
	buf_free(&prompt);
	return true;
}

struct general {
	char **v;
	size_t n, cap;
};

static void
add_general(struct general *g, const json_t *o, const char *where, size_t at)
{
	struct buf b = BUF_INIT(SIZE_MAX);	/* what it is made of is in memory already */

	if (!json_is_object(o) || !general_sample(o, &b))
		die(STATUS_USAGE, "%s:%zu: no alpaca, messages or prompt/response sample", where, at);
	if (b.n > LINE_MAX_DEFAULT)
		die(STATUS_USAGE, "%s:%zu: the sample is too long", where, at);
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 256;
		g->v = xreallocarray(g->v, g->cap, sizeof *g->v);
	}
	g->v[g->n++] = buf_take(&b);
}

/* Read a JSON array or NDJSON. */
static void
read_general(struct general *g)
{
	int fd = open(general_path, O_RDONLY | O_CLOEXEC), too_long;
	struct lines *l = fd < 0 ? NULL : lines_open(fd, general_path, LINE_MAX_DEFAULT);
	json_error_t je;
	struct err e;
	json_t *o, *array = NULL;
	char *line;
	size_t n, i;
	int got;

	if (fd < 0)
		die(STATUS_USAGE, "%s: cannot open it", general_path);
	while ((got = lines_next(l, &line, &n, &too_long, &e)) > 0) {
		if (lines_at(l) - lines_blank(l) == 1 && line[strspn(line, " \t")] == '[') {
			array = json_load_file(general_path, JSON_REJECT_DUPLICATES, &je);
			if (!array)
				die(STATUS_USAGE, "%s:%d: %s", general_path, je.line, je.text);
			break;
		}
		o = json_loadb(line, n, 0, &je);
		if (!o || too_long)
			die(STATUS_USAGE, "%s:%zu: %s", general_path, lines_at(l), too_long ? "the line is too long" : je.text);
		add_general(g, o, general_path, lines_at(l));
		json_decref(o);
	}
	if (got < 0)
		die(STATUS_IO, "%s", e.msg);
	json_array_foreach(array, i, o)
		add_general(g, o, general_path, i + 1);
	json_decref(array);
	lines_free(l);
	close(fd);
}

static void
shuffle(void *base, size_t n, size_t size, uint64_t *state)
{
	char *p = base, *tmp = xmalloc(size);

	for (size_t i = n; i > 1; i--) {
		size_t k = (size_t)(text_random(state) % i);

		memcpy(tmp, p + (i - 1) * size, size);
		memcpy(p + (i - 1) * size, p + k * size, size);
		memcpy(p + k * size, tmp, size);
	}
	free(tmp);
}

static struct general general;

static void
begin(void)
{
	if (general_n >= 0 && !general_path)
		die(STATUS_USAGE, "--general-n needs --general FILE");
	if (general_path && pairs)
		die(STATUS_USAGE, "--general and --pairs exclude each other: a general sample has one response");
	if (general_path)
		read_general(&general);
}

/* Add general samples to the picks: --general-n, or a quarter of what was picked (40,000 beside 160,000 in the paper). */
static void
mix_general(uint64_t *state)
{
	size_t want = general_n >= 0 ? (size_t)general_n : npick / 4;

	if (want > general.n) {
		if (general_n >= 0)
			warn("%s: %zu general samples wanted, %zu there", general_path, want, general.n);
		want = general.n;
	}
	shuffle(general.v, general.n, sizeof *general.v, state);
	pick = xreallocarray(pick, npick + want + 1, sizeof *pick);
	for (ngeneral = 0; ngeneral < want; ngeneral++) {
		char *line = xstrdup(general.v[ngeneral]);

		pick[npick + ngeneral] = (struct pick){ .line = line, .n = strlen(line) };
	}
}

static void
finish(json_t *stats)
{
	uint64_t state = (uint64_t)run_seed();
	json_t *why = json_object();

	if (target >= 0 && (size_t)target < npick)
		keep_best();
	else if (target >= 0 && (size_t)target > npick)
		warn("%lld samples wanted, %zu passed the thresholds", target, npick);
	mix_general(&state);
	shuffle(pick, npick + ngeneral, sizeof *pick, &state);
	for (size_t i = 0; i < npick + ngeneral; i++) {
		emit(pick[i].line, pick[i].n);
		free(pick[i].line);
	}
	for (int i = 0; i < REASONS; i++)
		if (rejected[i])
			json_object_set_new(why, reason_name[i], json_integer(rejected[i]));
	json_object_set_new(stats, "picked", json_integer((json_int_t)npick));
	json_object_set_new(stats, "general", json_integer((json_int_t)ngeneral));
	json_object_set_new(stats, "rejected", why);
	for (size_t i = 0; i < general.n; i++)
		free(general.v[i]);
	free(general.v);
	free(pick);
}

static const struct opt opts[] = {
	{ "max-ppl", 0, OPT_NUM, &max_ppl, "X", "highest perplexity of the prompt (default: any)", 1, 1e300 },
	{ "min-safety", 0, OPT_NUM, &min_safety, "X", "lowest safety of the best response (default 0.8)", 0, 1 },
	{ "max-prompt-safety", 0, OPT_NUM, &max_prompt_safety, "X", "highest safety of the prompt (default 0.5)", 0, 1 },
	{ "count", 'n', OPT_INT, &target, "N", "keep the N best of those that pass (default: all)", 0, 1e12 },
	{ "pairs", 0, OPT_FLAG, &pairs, NULL, "write the best response as chosen and the worst as rejected, for sa-train --stage dpo or kto", 0, 0 },
	{ "margin", 0, OPT_NUM, &margin, "X", "with --pairs: how much safer the best must be than the worst (default 0.3)", 0, 1 },
	{ "general", 0, OPT_STR, &general_path, "FILE", "mix in samples of this file (alpaca, messages or prompt/response; JSON array or NDJSON)", 0, 0 },
	{ "general-n", 0, OPT_INT, &general_n, "N", "how many of them (default: a quarter of those picked)", 0, 1e12 },
	{ "format", 0, OPT_ENUM, &format, "alpaca|messages|sharegpt|record", "what is written (default alpaca)", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-pick", .synopsis = "[option ...] <records >samples",
		.about = "Selects well-formed attack prompts with safe responses, mixes general samples in and writes the fine-tuning file.",
		.opts = opts, .no_model = true, .selects = true, .begin = begin, .ask = ask, .finish = finish,
	});
}
