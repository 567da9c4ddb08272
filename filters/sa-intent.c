/* sa-intent - labels each prompt with its security intents and folds them into a category
 *
 * The labels are open: whatever the model calls the prompt's intents, several allowed. The first one that the taxonomy knows decides the
 * category; when it knows none, the model is asked once more to choose a category for the first label. A reply that is
 * prose, or that names no category, never becomes a label. Method, section 3.4. */

#include <string.h>

#include "filter.h"
#include "taxonomy.h"
#include "text.h"

#define LABELS_MAX 8

enum { LABEL, FOLD };	/* tags of the two questions */

EMBED(intent_txt, "filters/prompts/intent.txt");
EMBED(fold_txt, "filters/prompts/fold.txt");

static const char *prompt_path, *taxonomy_path;
static bool force;
static struct prompt *label_prompt, *fold_prompt;
static struct taxonomy *taxonomy;
static struct buf categories = BUF_INIT(BUF_MAX_TEXT);

static void
begin(void)
{
	static const char *const names[] = { "prompt", NULL }, *const fold_names[] = { "label", "categories", NULL };
	struct err e;

	label_prompt = filter_prompt(prompt_path, intent_txt, intent_txt_end, "intent.txt", names);
	fold_prompt = filter_prompt(NULL, fold_txt, fold_txt_end, "fold.txt", fold_names);
	taxonomy = taxonomy_load(taxonomy_path, &e);
	if (!taxonomy)
		die(STATUS_USAGE, "%s", e.msg);
	for (size_t i = 0; i < taxonomy_size(taxonomy); i++) {
		const struct category *c = taxonomy_at(taxonomy, i);

		buf_addf(&categories, "%s%s: %s", i ? "\n" : "", c->code, c->name);
	}
}

/* Put the category of the record's labels, or ask for it: the taxonomy does not know them. */
static int
fold(struct rec *r, struct asks *q)
{
	json_t *intents = rec_get(r, "intents"), *l;
	size_t i;

	json_array_foreach(intents, i, l) {
		int c = json_is_string(l) ? taxonomy_fold(taxonomy, json_string_value(l)) : -2;

		if (c != -2) {
			put_text(r, "category", taxonomy_code(taxonomy, c));
			return DONE;
		}
	}
	l = json_array_get(intents, 0);
	if (!json_is_string(l))
		return fail(r, BAD_RECORD, "\"intents\" is no list of strings");
	ask_prompt(q, fold_prompt, (struct value[]){ { "label", json_string_value(l) }, { "categories", categories.p }, { 0 } }, FOLD);
	return DONE;
}

static int
ask(struct rec *r, struct asks *q)
{
	const char *prompt = rec_text(r, "prompt");

	if (!prompt)
		return fail(r, BAD_RECORD, "no string \"prompt\"");
	if (!force && rec_has(r, "intents"))
		return rec_has(r, "category") ? DONE : fold(r, q);
	ask_prompt(q, label_prompt, (struct value[]){ { "prompt", prompt }, { 0 } }, LABEL);
	return DONE;
}

static int
take_labels(struct rec *r, const char *text, struct asks *more)
{
	char label[LABELS_MAX + 1][TEXT_LABEL + 1];
	int n = text_labels(text, label, LABELS_MAX);
	json_t *list;

	if (n <= 0)
		return fail(r, UNPARSED, "the reply is no list of labels: %.80s", text);
	list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_string(label[i]));
	put_json(r, "intents", list);
	return fold(r, more);
}

static int
take_category(struct rec *r, const char *text)
{
	char word[2][TEXT_LABEL + 1];
	int c = text_labels(text, word, 1) == 1 ? taxonomy_category(taxonomy, word[0]) : -2;

	if (c == -2)
		return fail(r, UNPARSED, "the reply names no category: %.80s", text);
	put_text(r, "category", taxonomy_code(taxonomy, c));
	return DONE;
}

static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	return a->tag == LABEL ? take_labels(r, a->text, more) : take_category(r, a->text);
}

static const struct opt opts[] = {
	{ "prompt", 0, OPT_STR, &prompt_path, "FILE", "ask with this prompt file (place: {prompt})", 0, 0 },
	{ "taxonomy", 0, OPT_STR, &taxonomy_path, "FILE", "fold labels by this file instead of the built-in 14 categories", 0, 0 },
	{ "force", 'f', OPT_FLAG, &force, NULL, "label again where \"intents\" is already there", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-intent", .synopsis = "-e endpoint [-m model] [option ...] <records >records",
		.about = "Labels each prompt with its security intents (intents) and folds them into a category (category).",
		.opts = opts, .max_tokens = 64, .begin = begin, .ask = ask, .take = take,
	});
}
