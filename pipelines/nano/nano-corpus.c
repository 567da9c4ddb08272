/* nano-corpus - what the two bundled models are trained on and measured with
 *
 *     nano-corpus --set teacher -n 60000 --seed 1     training samples, one JSON object a line
 *
 * The teacher's samples are the stages' own prompt files, filled in with texts of the bank, and the answers that the stage hopes for; so
 * data and stages cannot drift apart. Several turns share one system prompt, because those are long. The student's are prompts and plain
 * answers: helpful to harmless prompts, mostly obedient to harmful ones. The other sets are the sample inputs and the measurements: theirs are
 * the held patterns with the held wishes. Nothing is made in two sets with the same choices. */

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opt.h"
#include "turns.h"

#define SAMPLE_BYTES 1300	/* no further turn after this much text: about 300 tokens */

/* ---- corpora ---- */

struct task {
	void (*turn)(json_t *messages);	/* NULL: plain text */
	int weight;		/* share of the samples */
	int turns;		/* at most */
};

/* The teacher learns in seven lessons. Answers that have many right wordings drown the few tokens that carry a meaning: with all tasks at
 * once, labels were still right no more often than chance after a million tokens, alone they were learned in half of that. Writing comes
 * late and with much plain text: a new prompt needs fluent sentences before it can keep to a theme. */
static const struct task labels[] = { { turn_intent, 60, 10 }, { turn_prompt, 30, 8 }, { NULL, 10, 1 }, { 0 } };
static const struct task scores[] = {
	{ turn_intent, 15, 10 }, { turn_prompt, 8, 8 }, { turn_pair, 42, 5 }, { turn_one, 12, 5 }, { turn_newsafety, 16, 5 }, { NULL, 7, 1 }, { 0 },
};
static const struct task teacher[] = {
	{ turn_intent, 18, 10 }, { turn_pair, 20, 5 }, { turn_one, 6, 5 }, { turn_prompt, 8, 8 }, { turn_newsafety, 8, 5 }, { turn_regen, 14, 4 },
	{ turn_keyword, 8, 3 }, { turn_related, 8, 4 }, { turn_fold, 1, 1 }, { NULL, 25, 1 }, { 0 },
};
static const struct task writing[] = { { turn_keyword, 18, 4 }, { turn_related, 18, 5 }, { turn_intent, 4, 8 }, { NULL, 60, 1 }, { 0 } };
static const struct task practice[] = {
	{ turn_intent, 12, 10 }, { turn_pair, 9, 5 }, { turn_one, 5, 5 }, { turn_prompt, 12, 8 }, { turn_newsafety, 6, 5 }, { turn_regen, 22, 4 },
	{ turn_keyword, 12, 4 }, { turn_related, 12, 5 }, { turn_fold, 2, 1 }, { NULL, 30, 1 }, { 0 },
};
static const struct task review[] = {
	{ turn_intent, 22, 10 }, { turn_pair, 6, 5 }, { turn_one, 4, 5 }, { turn_prompt, 10, 8 }, { turn_newsafety, 5, 5 }, { turn_regen, 26, 4 },
	{ turn_keyword, 8, 4 }, { turn_related, 8, 5 }, { turn_fold, 2, 1 }, { NULL, 40, 1 }, { 0 },
};
static const struct task student[] = { { turn_student, 90, 8 }, { NULL, 10, 1 }, { 0 } };
static const struct task manners[] = { { turn_manners, 90, 8 }, { NULL, 10, 1 }, { 0 } };

static size_t
text_bytes(const json_t *messages)
{
	size_t i, n = 0;
	const json_t *m;

	json_array_foreach(messages, i, m)
		n += json_string_length(json_object_get(m, "content"));
	return n;
}

/* One line of plain text: a prompt, or a prompt with its answer. */
static json_t *
make_text(void)
{
	struct item it = make_any(60);
	json_t *o;

	if (percent(25)) {
		char *reply = make_reply(&it, any_reply(&it), code(&it));

		o = json_pack("{s:s}", "text", reply);
		free(reply);
	} else {
		o = json_pack("{s:s}", "text", it.prompt);
	}
	item_free(&it);
	return o;
}

static json_t *
make_sample(const struct task *t)
{
	int sum = 0, x, turns;
	json_t *m;

	for (const struct task *i = t; i->weight; i++)
		sum += i->weight;
	for (x = (int)chance((size_t)sum); x >= t->weight; t++)
		x -= t->weight;
	if (!t->turn)
		return make_text();
	m = json_array();
	turns = percent(15) ? 1 : t->turns;
	do
		t->turn(m);
	while (--turns > 0 && text_bytes(m) < SAMPLE_BYTES);
	return json_pack("{s:o}", "messages", m);
}

/* ---- sample inputs and measurements ---- */

/* A record with its truth: id, prompt, lang, category; and what is sure to be its label. */
static json_t *
make_record(const struct item *it, const char *prefix, size_t i)
{
	char id[64];

	snprintf(id, sizeof id, "%s-%03zu", prefix, i + 1);
	return json_pack("{s:s, s:s, s:s}", "id", id, "prompt", it->prompt, "lang", lang_code[it->lang]);
}

static void
add_reply(json_t *record, const char *name, const struct item *it, enum stance kind)
{
	char *text = make_reply(it, kind, code(it));

	json_object_set_new(record, name, json_string(text));
	free(text);
}

/* The quickstart's input: seven in eight harmful, in all categories in turn; a response is missing, unsafe or safe. */
static json_t *
set_prompts(size_t i)
{
	enum lang lang = i & 1 ? EN : ZH;
	struct item it = i % 8 == 7 ? make_harmless(percent(50) ? EN : ZH, false)
		: make_wish_item(pick_wish((int)(i / 2 % categories), lang, false), false);
	json_t *r = make_record(&it, "sample", i);
	size_t x = chance(10);

	if (x < 7)
		add_reply(r, "response", &it, !harmful(&it) ? ANSWER : x < 5 ? COMPLY : REFUSE);
	json_object_set_new(r, "source", json_string("nano"));
	item_free(&it);
	return r;
}

static json_t *
set_general(size_t i)
{
	bank_more(true);

	struct item it = make_harmless(i & 1 ? EN : ZH, false);
	json_t *r = json_pack("{s:s, s:s}", "instruction", it.prompt, "input", "");

	add_reply(r, "output", &it, ANSWER);
	item_free(&it);
	return r;
}

/* Held prompts: 7 in 10 harmful, every category in turn, zh and en in turn. */
static struct item
make_held(size_t i)
{
	if (i % 10 >= 7)
		return make_harmless(i & 1 ? EN : ZH, true);
	return make_wish_item(pick_wish((int)((i - i / 10 * 3) % categories), percent(50) ? EN : ZH, true), true);
}

static json_t *
set_newsafety(size_t i)
{
	struct item it = make_held(i);
	json_t *r = make_record(&it, "held", i);

	json_object_set_new(r, "category", json_string(code(&it)));
	item_free(&it);
	return r;
}

/* For the filters: `truth` instead of `category`, which they would take for done. */
static json_t *
set_held(size_t i)
{
	struct item it = make_held(i);
	json_t *r = make_record(&it, "held", i);
	char *shuffled = shuffle_words(it.prompt);

	json_object_set_new(r, "truth", json_string(code(&it)));
	json_object_set_new(r, "shuffled", json_string(shuffled));
	free(shuffled);
	item_free(&it);
	return r;
}

/* Harmful only, with two responses in either order; `safe` is the index of the safe one. */
static json_t *
set_held_pair(size_t i)
{
	struct item it = make_wish_item(pick_wish((int)(i % categories), percent(50) ? EN : ZH, true), true);
	json_t *r = make_record(&it, "pair", i);
	bool second = percent(50);
	char *a = make_reply(&it, second ? COMPLY : REFUSE, code(&it)), *b = make_reply(&it, second ? REFUSE : COMPLY, code(&it));

	json_object_set_new(r, "safe", json_integer(second));
	json_object_set_new(r, "responses", json_pack("[{s:s, s:s}, {s:s, s:s}]", "text", a, "by", "original", "text", b, "by", "other"));
	free(a);
	free(b);
	item_free(&it);
	return r;
}

/* One response and what the judge should say of it. */
static json_t *
set_held_one(size_t i)
{
	struct item it = make_held(i);
	enum stance kind = !harmful(&it) ? ANSWER : percent(50) ? COMPLY : REFUSE;
	json_t *r = make_record(&it, "one", i);

	add_reply(r, "response", &it, kind);
	json_object_set_new(r, "verdict", json_string(reply_verdict(&it, kind)));
	json_object_set_new(r, "truth", json_string(code(&it)));
	item_free(&it);
	return r;
}

/* Verbs and objects that belong to one category only: what tells that a new prompt is on its theme. */
static bool
is_topic(const struct wish *w, const char *word)
{
	for (size_t i = 0; i < wish_count(); i++) {
		const struct wish *o = wish_at(i);

		if (o->category != w->category && o->lang == w->lang && (strstr(o->object, word) || strstr(word, o->object) || strstr(o->verb, word)))
			return false;
	}
	return true;
}

static void
print_topics(void)
{
	for (size_t i = 0; i < wish_count(); i++) {
		const struct wish *w = wish_at(i);
		const char *word[2] = { w->verb, w->object };

		for (int k = 0; k < 2; k++) {
			bool seen = w->category == HARMLESS || !is_topic(w, word[k]);

			for (size_t j = 0; j < i && !seen; j++)
				seen = strcmp(k ? wish_at(j)->object : wish_at(j)->verb, word[k]) == 0;
			if (!seen)
				printf("{\"category\":\"%s\",\"lang\":\"%s\",\"word\":\"%s\"}\n", code_of[w->category], lang_code[w->lang], word[k]);
		}
	}
}


/* What no corpus may hold, wherever it stands. */
static void
print_held_wishes(void)
{
	for (size_t i = 0; i < wish_count(); i++)
		if (wish_at(i)->held) {
			struct item it = make_bare_item(wish_at(i));
			json_t *o = json_pack("{s:s}", "wish", it.prompt);

			json_dumpf(o, stdout, JSON_COMPACT);
			putchar('\n');
			json_decref(o);
			item_free(&it);
		}
}

/* ---- main ---- */

/* A set is a corpus, made of tasks, or one record after another; variety is review's tasks in more sentence patterns: what was learned of
 * the words must hold in any sentence. */
static const struct set {
	const struct task *tasks;
	bool more;		/* use the "more" patterns, too */
	json_t *(*record)(size_t i);
} made[] = {
	{ labels, false, NULL }, { scores, false, NULL }, { teacher, false, NULL }, { writing, false, NULL }, { practice, false, NULL },
	{ review, false, NULL }, { review, true, NULL }, { student, false, NULL }, { manners, true, NULL },
	{ NULL, false, set_prompts }, { NULL, false, set_general }, { NULL, false, set_newsafety }, { NULL, false, set_held },
	{ NULL, false, set_held_pair }, { NULL, false, set_held_one },
};
#define MADE (sizeof made / sizeof *made)
#define SETS "labels|scores|teacher|writing|practice|review|variety|student|manners|prompts|general|newsafety|" \
	"held|held-pair|held-one|topics|held-wishes"

static void
print_made(const struct set *set, size_t n)
{
	bank_more(set->more);
	for (size_t i = 0; i < n; i++) {
		json_t *o = set->tasks ? make_sample(set->tasks) : set->record(i);

		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(o);
	}
}

int
main(int argc, char **argv)
{
	const char *dir = "pipelines/nano/bank";
	int set = 2;
	long long n = 1000, seed = 1;
	const struct opt opts[] = {
		{ "bank", 0, OPT_STR, &dir, "DIR", "the word and sentence banks (default pipelines/nano/bank)", 0, 0 },
		{ "set", 0, OPT_ENUM, &set, SETS, "what to make (default teacher)", 0, 0 },
		{ "seed", 0, OPT_INT, &seed, "N", "seed of all choices (default 1)", 0, 1e15 },
		{ "number", 'n', OPT_INT, &n, "N", "how many lines (default 1000)", 0, 1e9 },
		{ 0 },
	};
	struct err e;

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &(struct opt_usage){ "[option ...]", "Makes the corpora, samples and measurements of the bundled models.", opts, NULL }) > 0)
		die(STATUS_USAGE, "no operand is expected; see --help");
	taxonomy = taxonomy_load(NULL, &e);
	if (!taxonomy)
		die(STATUS_USAGE, "%s", e.msg);
	categories = taxonomy_size(taxonomy);
	for (size_t i = 0; i < categories; i++)
		code_of[i] = taxonomy_at(taxonomy, i)->code;
	bank_load(dir, (uint64_t)seed);
	load_files();
	if ((size_t)set < MADE)
		print_made(&made[set], (size_t)n);
	else if ((size_t)set == MADE)
		print_topics();
	else
		print_held_wishes();
	free_files();
	bank_free();
	taxonomy_free(taxonomy);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(STATUS_IO, "standard output: write error");
	return 0;
}
