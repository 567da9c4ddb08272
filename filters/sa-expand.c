/* sa-expand - diversity control: writes new prompts for the thin categories
 *
 * Every record passes through; the prompts with a category are remembered. At the end of the input the categories that are
 * short of their target get new prompts, by the paper's two methods: from the category's theme and examples of it (keyword), or related to
 * one existing prompt (related). A candidate is rejected when it is empty, too short or long, in another language, a refusal of the
 * writer, or too like a prompt that is already there; each rejection is counted by reason and asked again, up to --tries times what
 * is wanted. New records have prompt, lang, parent, method and theme (the category they were written for) and no category: the next sa-intent
 * labels them. All choices come from --seed in a fixed order, so the same input gives the same questions. Method, section 3.5. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "num.h"
#include "taxonomy.h"
#include "text.h"

#define LIKE 0.7		/* Jaccard likeness of 3-grams from which two prompts are the same; self-instruct and data-juicer use 0.7 */
#define EXAMPLES 3
#define OUTSTANDING 4096	/* questions asked at once; more are asked as replies come */
#define SHORTEST 6		/* bytes */
#define LONGEST 4000

enum { KEYWORD, RELATED, BOTH };
enum { LANG_EN, LANG_ZH };

EMBED(expand_keyword_txt, "filters/prompts/expand-keyword.txt");
EMBED(expand_related_txt, "filters/prompts/expand-related.txt");

/* A prompt that is known: read or accepted. */
struct known {
	char *id, *prompt;
	int lang;
	uint64_t *grams;
	size_t ngrams;
};

/* One category's prompts and how many are still wanted. */
struct pool {
	struct known *v;
	size_t n, cap, read;	/* read: how many of them came from the input */
	size_t target;
	size_t wanted, tries;	/* new prompts still to accept; questions still allowed */
};

enum reason { EMPTY, LENGTH, LANGUAGE, REFUSAL, DUPLICATE, ERROR, REASONS };
static const char *const reason_name[REASONS] = { "empty", "length", "language", "refusal", "duplicate", "error" };

/* A question under way: what its reply is checked against. The tag is its index. */
struct question {
	size_t category;
	int method, lang;
	char *parent;
};

static const char *keyword_path, *related_path, *taxonomy_path;
static int method = BOTH;
static long long per_category = -1;
static double factor = NAN;
static long long max_tries = 4;

static struct prompt *keyword_prompt, *related_prompt;
static struct taxonomy *taxonomy;
static struct pool pool[CATEGORIES_MAX];
static struct question *question;
static size_t nquestion, outstanding, made;
static long long rejected[REASONS];
static uint64_t random_state;

static void
begin(void)
{
	static const char *const keyword[] = { "theme", "lang", "examples", NULL }, *const related[] = { "prompt", "theme", "lang", NULL };
	struct err e;

	if (per_category >= 0 && !isnan(factor))
		die(STATUS_USAGE, "give --per-category or --factor, not both");
	if (per_category < 0 && isnan(factor))
		factor = 1.5;
	keyword_prompt = filter_prompt(keyword_path, expand_keyword_txt, expand_keyword_txt_end, "expand-keyword.txt", keyword);
	related_prompt = filter_prompt(related_path, expand_related_txt, expand_related_txt_end, "expand-related.txt", related);
	taxonomy = taxonomy_load(taxonomy_path, &e);
	if (!taxonomy)
		die(STATUS_USAGE, "%s", e.msg);
	random_state = (uint64_t)run_seed();
}

/* ---- known prompts ---- */

static void
remember(struct pool *p, const char *id, const char *text)
{
	struct known *k;

	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 64;
		p->v = xreallocarray(p->v, p->cap, sizeof *p->v);
	}
	k = &p->v[p->n++];
	k->id = xstrdup(id);
	k->prompt = xstrdup(text);
	k->lang = text_is_chinese(text) ? LANG_ZH : LANG_EN;
	k->grams = text_grams(text, &k->ngrams);
}

static int
ask(struct rec *r, struct asks *q)
{
	const char *prompt = rec_text(r, "prompt"), *code = rec_text(r, "category");
	int c = code ? taxonomy_category(taxonomy, code) : -1;

	(void)q;
	if (!prompt)
		return fail(r, BAD_RECORD, "no string \"prompt\"");
	if (c == -2)
		return fail(r, BAD_RECORD, "unknown category \"%.40s\"", code);
	if (c >= 0) {
		remember(&pool[c], rec_id(r), prompt);
		pool[c].read++;
	}
	return DONE;
}

static bool
is_known(const struct pool *p, const char *text)
{
	size_t n;
	uint64_t *grams = text_grams(text, &n);
	bool found = false;

	for (size_t i = 0; i < p->n && !found; i++)
		found = text_likeness(grams, n, p->v[i].grams, p->v[i].ngrams) >= LIKE;
	free(grams);
	return found;
}

/* ---- targets ---- */

/* The level up to which every category is filled so that the total reaches `total`: the thin ones first (water-filling). */
static size_t
fill_level(size_t total)
{
	size_t level = 0, sum = 0;

	while (sum < total) {
		level++;
		sum = 0;
		for (size_t i = 0; i < taxonomy_size(taxonomy); i++)
			sum += pool[i].read > level ? pool[i].read : level;
	}
	return level;
}

static void
set_targets(void)
{
	size_t n = taxonomy_size(taxonomy), read = 0, left;
	size_t level = per_category >= 0 ? (size_t)per_category : 0;

	for (size_t i = 0; i < n; i++)
		read += pool[i].read;
	left = per_category >= 0 ? SIZE_MAX : (size_t)ceil((factor - 1) * (double)read);
	if (per_category < 0)
		level = fill_level(read + left);
	for (size_t i = 0; i < n; i++) {
		size_t gap = level > pool[i].read ? level - pool[i].read : 0;

		pool[i].wanted = gap < left ? gap : left;
		left -= left == SIZE_MAX ? 0 : pool[i].wanted;
		pool[i].target = pool[i].wanted;
		pool[i].tries = pool[i].wanted * (size_t)max_tries;
	}
}

/* ---- questions ---- */

static const struct known *
choose(const struct pool *p, size_t among)
{
	return among ? &p->v[text_random(&random_state) % among] : NULL;
}

/* Up to EXAMPLES prompts of the input in one language, "- " before each, none twice. */
static char *
examples(const struct pool *p, int lang)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	size_t used[EXAMPLES], n = 0;

	buf_adds(&b, "");
	for (int try = 0; try < 4 * EXAMPLES && n < EXAMPLES && p->read; try++) {
		size_t i = (size_t)(text_random(&random_state) % p->read), k = 0;

		while (k < n && used[k] != i)
			k++;
		if (k < n || p->v[i].lang != lang)
			continue;
		buf_addf(&b, "%s- %s", n ? "\n" : "", p->v[i].prompt);
		used[n++] = i;
	}
	return buf_take(&b);
}

static void
ask_one(struct asks *q, size_t category)
{
	struct pool *p = &pool[category];
	const struct category *c = taxonomy_at(taxonomy, category);
	const struct known *parent = choose(p, p->read);
	struct question *one;

	if ((nquestion & (nquestion - 1)) == 0)
		question = xreallocarray(question, nquestion ? 2 * nquestion : 1, sizeof *question);
	one = &question[nquestion];
	one->category = category;
	one->method = !parent ? KEYWORD : method == BOTH ? (int)(nquestion & 1) : method;
	one->lang = parent ? parent->lang : (int)(nquestion >> 1 & 1);
	one->parent = parent && one->method == RELATED ? xstrdup(parent->id) : NULL;
	const char *lang = one->lang == LANG_ZH ? "Chinese" : "English", *theme = one->lang == LANG_ZH ? c->zh : c->name;
	if (one->method == RELATED) {
		ask_prompt(q, related_prompt, (struct value[]){ { "prompt", parent->prompt }, { "theme", theme }, { "lang", lang }, { 0 } },
			   (int)nquestion);
	} else {
		char *list = examples(p, one->lang);

		ask_prompt(q, keyword_prompt, (struct value[]){ { "theme", theme }, { "lang", lang }, { "examples", list }, { 0 } }, (int)nquestion);
		free(list);
	}
	nquestion++;
	outstanding++;
	p->tries--;
}

/* Ask for what is wanted and not yet under way. */
static void
ask_more(struct asks *q)
{
	size_t n = taxonomy_size(taxonomy), under_way[CATEGORIES_MAX] = { 0 };

	for (size_t i = nquestion - outstanding; i < nquestion; i++)
		under_way[question[i].category]++;
	for (size_t i = 0; i < n; i++)
		for (; under_way[i] < pool[i].wanted && pool[i].tries > 0 && outstanding < OUTSTANDING; under_way[i]++)
			ask_one(q, i);
}

static void
end(struct asks *q)
{
	set_targets();
	ask_more(q);
}

/* ---- replies ---- */

static bool
is_refusal(const char *s)
{
	static const char *const start[] = { "I'm sorry", "I am sorry", "Sorry", "I can't", "I cannot", "I can not", "抱歉", "对不起", "很抱歉", "我不能", "我无法" };

	for (size_t i = 0; i < sizeof start / sizeof *start; i++)
		if (strncmp(s, start[i], strlen(start[i])) == 0)
			return true;
	return false;
}

/* Why not, or REASONS: accepted. */
static enum reason
check(const struct question *q, const char *s)
{
	size_t n = strlen(s);

	if (n == 0)
		return EMPTY;
	if (n < SHORTEST || n > LONGEST)
		return LENGTH;
	if (text_is_chinese(s) != (q->lang == LANG_ZH))
		return LANGUAGE;
	if (is_refusal(s))
		return REFUSAL;
	return is_known(&pool[q->category], s) ? DUPLICATE : REASONS;
}

static void
add_record(const struct question *q, const char *prompt)
{
	struct buf line = BUF_INIT(BUF_MAX_TEXT);
	struct rec *r = rec_parse("{}", 2, NULL);
	const char *id;

	put_text(r, "prompt", prompt);
	id = rec_id(r);
	put_text(r, "id", id);
	put_text(r, "lang", q->lang == LANG_ZH ? "zh" : "en");
	put_text(r, "source", "sa-expand");
	if (q->parent)
		put_text(r, "parent", q->parent);
	put_text(r, "method", q->method == RELATED ? "related" : "keyword");
	put_text(r, "theme", taxonomy_code(taxonomy, (int)q->category));
	remember(&pool[q->category], id, prompt);
	rec_write(r, &line);
	emit(line.p, line.n - 1);
	buf_free(&line);
	rec_free(r);
	pool[q->category].wanted--;
	made++;
}

static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	struct question *q = &question[a->tag];
	char *prompt = a->error ? NULL : text_candidate(a->text);
	enum reason why = a->error ? ERROR : check(q, prompt);

	(void)r;
	outstanding--;
	if (why != REASONS)
		rejected[why]++;
	else if (pool[q->category].wanted > 0)
		add_record(q, prompt);
	free(prompt);
	free(q->parent);
	q->parent = NULL;
	ask_more(more);
	return DONE;
}

static void
finish(json_t *stats)
{
	json_t *why = json_object();

	for (int i = 0; i < REASONS; i++)
		if (rejected[i])
			json_object_set_new(why, reason_name[i], json_integer(rejected[i]));
	json_object_set_new(stats, "asked", json_integer((json_int_t)nquestion));
	json_object_set_new(stats, "accepted", json_integer((json_int_t)made));
	json_object_set_new(stats, "rejected", why);
	for (size_t i = 0; taxonomy && i < taxonomy_size(taxonomy); i++)
		if (pool[i].wanted > 0)
			warn("%s: %zu of %zu new prompts accepted, no tries left (--tries %lld)", taxonomy_at(taxonomy, i)->code,
			     pool[i].target - pool[i].wanted, pool[i].target, max_tries);
}

static const struct opt opts[] = {
	{ "per-category", 0, OPT_INT, &per_category, "N", "fill every category up to N prompts", 0, 1e9 },
	{ "factor", 0, OPT_NUM, &factor, "X", "fill the thin categories until there are X times as many prompts in all (default 1.5)", 1, 1000 },
	{ "method", 0, OPT_ENUM, &method, "keyword|related|both", "how new prompts are written (default both, in turn)", 0, 0 },
	{ "tries", 0, OPT_INT, &max_tries, "N", "questions asked at most for each prompt wanted (default 4)", 1, 1000 },
	{ "prompt-keyword", 0, OPT_STR, &keyword_path, "FILE", "prompt file for keyword (places: {theme} {lang} {examples})", 0, 0 },
	{ "prompt-related", 0, OPT_STR, &related_path, "FILE", "prompt file for related (places: {prompt} {theme} {lang})", 0, 0 },
	{ "taxonomy", 0, OPT_STR, &taxonomy_path, "FILE", "categories from this file instead of the built-in 14", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-expand", .synopsis = "-e endpoint [-m model] [option ...] <records >records",
		.about = "Passes every record on and adds new prompts for the thin categories (parent, method, theme).",
		.opts = opts, .temperature = 1.0, .max_tokens = 256, .begin = begin, .ask = ask, .take = take, .end = end, .finish = finish,
	});
}
