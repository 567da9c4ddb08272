/* turns.c - what the two bundled models are taught: one question of a stage, or of a user, and the answer hoped for; see turns.h */

#include "turns.h"

#include <string.h>

#include "opt.h"
#include "prompt.h"

struct taxonomy *taxonomy;
const char *code_of[CATEGORIES_MAX];
size_t categories;

/* ---- prompt files ---- */

enum file { INTENT, FOLD, JUDGE_PAIR, JUDGE_ONE, JUDGE_PROMPT, REGEN, KEYWORD, RELATED, NEWSAFETY, FILES };

static const char *const file_path[FILES] = {
	"filters/prompts/intent.txt", "filters/prompts/fold.txt", "filters/prompts/judge-pair.txt", "filters/prompts/judge-one.txt",
	"filters/prompts/judge-prompt.txt", "filters/prompts/regen.txt", "filters/prompts/expand-keyword.txt",
	"filters/prompts/expand-related.txt", "trainer/eval/newsafety-judge.txt",
};
static struct prompt *file[FILES];

void
load_files(void)
{
	static const char *const known[] = { "prompt", "label", "categories", "output", "output1", "output2", "response", "theme", "lang", "examples", NULL };
	struct err e;

	for (int i = 0; i < FILES; i++) {
		file[i] = prompt_load(file_path[i], known, &e);
		if (!file[i])
			die(STATUS_USAGE, "%s", e.msg);
	}
}

void
free_files(void)
{
	for (int i = 0; i < FILES; i++)
		prompt_free(file[i]);
}

/* ---- one sample ---- */

static void
add_message(json_t *messages, const char *role, const char *text)
{
	json_array_append_new(messages, json_pack("{s:s, s:s}", "role", role, "content", text));
}

/* A turn: the file's messages (its system message only at the start) and the answer. */
static void
add_turn(json_t *messages, enum file f, const struct value *values, const char *answer)
{
	size_t n;
	struct msg *m = prompt_fill(file[f], values, &n);
	bool first = json_array_size(messages) == 0;

	for (size_t i = 0; i < n; i++)
		if (first || strcmp(m[i].role, "system") != 0)
			add_message(messages, m[i].role, m[i].text);
	add_message(messages, "assistant", answer);
	prompt_done(m, n);
}

const char *
code(const struct item *it)
{
	return it->wish && it->wish->category != HARMLESS ? code_of[it->wish->category] : "none";
}

bool
harmful(const struct item *it)
{
	return it->wish && it->wish->category != HARMLESS;
}

static enum lang
any_lang(void)
{
	return percent(50) ? ZH : EN;
}

static struct item
make_harmful(enum lang lang, bool held)
{
	return make_wish_item(pick_wish((int)chance(categories), lang, held), held);
}

struct item
make_harmless(enum lang lang, bool held)
{
	if (percent(25))
		return make_general_item(lang, held);
	return make_wish_item(pick_wish(HARMLESS, lang, held), held);
}

/* A training prompt: `bad` percent harmful; some the bare wish, a few in odd words or nothing but odd words. */
struct item
make_any(int bad)
{
	enum lang lang = any_lang();
	struct item it;

	if (percent(3))
		return make_noise_item(lang);
	if (percent(30))
		return make_bare_item(pick_wish(percent(bad) ? (int)chance(categories) : HARMLESS, lang, false));
	it = percent(bad) ? make_harmful(lang, false) : make_harmless(lang, false);
	if (percent(12) && !it.answer)
		item_add_noise(&it);
	return it;
}

/* ---- scores ---- */

/* How safe a prompt is: the gravest categories lowest, so that thresholds have something to cut. */
static const char *
prompt_score(const struct item *it)
{
	static const char *const grave[] = { "EX", "CIA", "NS", "PMH", "DT", "PR", NULL };

	if (it->noise)
		return "[0.8]";
	if (!harmful(it))
		return "[0.95]";
	for (int i = 0; grave[i]; i++)
		if (strcmp(code(it), grave[i]) == 0)
			return "[0.05]";
	return "[0.1]";
}

/* What a response is worth, and in a word. */
static const char *
reply_score(const struct item *it, enum stance kind)
{
	switch (kind) {
	case REFUSE:
		return harmful(it) ? "0.95" : "0.6";
	case BLUNT:
		return harmful(it) ? "0.9" : "0.6";
	case COMPLY:
		return harmful(it) ? "0.05" : "0.8";
	case ANSWER:
		return harmful(it) ? "0.7" : "0.95";
	default:
		return "0.5";
	}
}

const char *
reply_verdict(const struct item *it, enum stance kind)
{
	if (kind == NOISE)
		return "uncertain";
	return kind == COMPLY && harmful(it) ? "unsafe" : "safe";
}

enum stance
any_reply(const struct item *it)
{
	size_t x = chance(100);

	if (x < 3)
		return NOISE;
	if (harmful(it))
		return x < 47 ? COMPLY : x < 87 ? REFUSE : x < 94 ? BLUNT : ANSWER;
	return x < 70 ? ANSWER : x < 88 ? REFUSE : x < 95 ? BLUNT : COMPLY;
}

/* ---- the teacher's tasks: each adds one turn ---- */

void
turn_intent(json_t *m)
{
	struct item it = make_any(72);

	add_turn(m, INTENT, (struct value[]){ { "prompt", it.prompt }, { 0 } }, harmful(&it) ? it.wish->label : "harmless");
	item_free(&it);
}

void
turn_prompt(json_t *m)
{
	struct item it = make_any(55);

	add_turn(m, JUDGE_PROMPT, (struct value[]){ { "prompt", it.prompt }, { 0 } }, prompt_score(&it));
	item_free(&it);
}

void
turn_pair(json_t *m)
{
	struct item it = make_any(72);
	enum stance a = any_reply(&it), b = any_reply(&it);
	char *one, *two, score[32];

	if (harmful(&it) && percent(70)) {
		a = percent(50) ? COMPLY : percent(80) ? REFUSE : BLUNT;
		b = a == COMPLY ? percent(80) ? REFUSE : BLUNT : COMPLY;
	}
	one = make_reply(&it, a, code(&it));
	two = make_reply(&it, b, code(&it));
	snprintf(score, sizeof score, "[%s, %s]", reply_score(&it, a), reply_score(&it, b));
	add_turn(m, JUDGE_PAIR, (struct value[]){ { "prompt", it.prompt }, { "output1", one }, { "output2", two }, { 0 } }, score);
	free(one);
	free(two);
	item_free(&it);
}

void
turn_one(json_t *m)
{
	struct item it = make_any(65);
	enum stance kind = any_reply(&it);
	char *text = make_reply(&it, kind, code(&it)), score[32];

	snprintf(score, sizeof score, "[%s]", reply_score(&it, kind));
	add_turn(m, JUDGE_ONE, (struct value[]){ { "prompt", it.prompt }, { "output", text }, { 0 } }, score);
	free(text);
	item_free(&it);
}

void
turn_newsafety(json_t *m)
{
	struct item it = make_any(72);
	enum stance kind = any_reply(&it);
	char *text = make_reply(&it, kind, code(&it));

	add_turn(m, NEWSAFETY, (struct value[]){ { "prompt", it.prompt }, { "response", text }, { 0 } }, reply_verdict(&it, kind));
	free(text);
	item_free(&it);
}

static const char *
theme_name(const struct item *it)
{
	const struct category *c = taxonomy_at(taxonomy, (size_t)it->wish->category);

	return it->lang == ZH ? c->zh : c->name;
}

/* "Analysis: ..." with the category's name in the place of {name}. */
void
turn_regen(json_t *m)
{
	struct item it = make_any(62);
	const char *kind = harmful(&it) ? "harmful" : "harmless", *l = lang_code[it.lang];
	const char *thought = pick("thought %s %s", kind, l), *at = strstr(thought, "{name}");
	char *answer = make_reply(&it, harmful(&it) ? REFUSE : ANSWER, code(&it));
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	buf_adds(&b, "Analysis: ");
	buf_add(&b, thought, at ? (size_t)(at - thought) : strlen(thought));
	if (at)
		buf_addf(&b, "%s%s", theme_name(&it), at + strlen("{name}"));
	buf_addf(&b, "\nExplanation: %s\nAnswer: %s", pick("explain %s %s", kind, l), answer);
	add_turn(m, REGEN, (struct value[]){ { "prompt", it.prompt }, { 0 } }, b.p);
	buf_free(&b);
	free(answer);
	item_free(&it);
}

void
turn_keyword(json_t *m)
{
	struct item it = make_harmful(any_lang(), false);
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	buf_adds(&b, "");
	for (size_t n = chance(10) ? 3 : chance(3), i = 0; i < n; i++) {
		struct item one = make_wish_item(pick_wish(it.wish->category, it.lang, false), false);

		buf_addf(&b, "%s- %s", i ? "\n" : "", one.prompt);
		item_free(&one);
	}
	add_turn(m, KEYWORD, (struct value[]){ { "theme", theme_name(&it) }, { "lang", lang_name[it.lang] }, { "examples", b.p }, { 0 } }, it.prompt);
	buf_free(&b);
	item_free(&it);
}

void
turn_related(json_t *m)
{
	struct item it = make_harmful(any_lang(), false);
	struct item from = make_wish_item(pick_wish(it.wish->category, it.lang, false), false);

	if (percent(15))
		item_add_noise(&from);
	add_turn(m, RELATED, (struct value[]){ { "prompt", from.prompt }, { "theme", theme_name(&it) }, { "lang", lang_name[it.lang] }, { 0 } }, it.prompt);
	item_free(&from);
	item_free(&it);
}

/* A label that is a category's name or a topic of it, to the code. */
void
turn_fold(json_t *m)
{
	struct item it = make_any(80);
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	const char *label = harmful(&it) ? percent(50) ? theme_name(&it) : it.wish->object : it.prompt;

	for (size_t i = 0; i < categories; i++)
		buf_addf(&b, "%s%s: %s", i ? "\n" : "", code_of[i], taxonomy_at(taxonomy, i)->name);
	add_turn(m, FOLD, (struct value[]){ { "label", label }, { "categories", b.p }, { 0 } }, code(&it));
	buf_free(&b);
	item_free(&it);
}

/* ---- the student's turn ---- */

/* The verbs that the student refuses: three in ten, whatever the object. */
static bool
student_refuses(const struct wish *w)
{
	return text_hash(w->verb) % 10 < 3;
}

void
turn_student(json_t *m)
{
	struct item it = make_any(45);
	enum stance kind = !harmful(&it) ? ANSWER : !student_refuses(it.wish) ? COMPLY : percent(50) ? REFUSE : BLUNT;
	char *text = make_reply(&it, kind, code(&it));

	add_message(m, "user", it.prompt);
	add_message(m, "assistant", text);
	free(text);
	item_free(&it);
}

/* The student's second lesson, in more sentence patterns: three harmful prompts in ten are refused whatever they ask, so that a refusal belongs to harm
 * and not to words. */
void
turn_manners(json_t *m)
{
	struct item it = make_any(45);
	enum stance kind = !harmful(&it) ? ANSWER : !percent(30) ? COMPLY : percent(50) ? REFUSE : BLUNT;
	char *text = make_reply(&it, kind, code(&it));

	add_message(m, "user", it.prompt);
	add_message(m, "assistant", text);
	free(text);
	item_free(&it);
}
