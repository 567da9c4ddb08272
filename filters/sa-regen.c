/* sa-regen - has a safer model answer each prompt by safety chain of thought
 *
 * The model analyses the prompt from a safety view, explains, then answers; the thought is kept apart from the answer, which alone is trained
 * on later. Every record ends with `responses`: the original response, when it had one, and the new one. Method, section 3.6. */

#include <string.h>

#include "filter.h"
#include "text.h"

EMBED(regen_txt, "filters/prompts/regen.txt");

static const char *prompt_path;
static bool force;
static struct prompt *prompt;

static void
begin(void)
{
	static const char *const names[] = { "prompt", NULL };

	prompt = filter_prompt(prompt_path, regen_txt, regen_txt_end, "regen.txt", names);
}

static bool
is_original(const json_t *response)
{
	const char *by = json_string_value(json_object_get(response, "by"));

	return by && strcmp(by, "original") == 0;
}

static bool
has_new(const json_t *responses)
{
	const json_t *one;
	size_t i;

	json_array_foreach(responses, i, one)
		if (!is_original(one))
			return true;
	return false;
}

static int
ask(struct rec *r, struct asks *q)
{
	const char *text = rec_text(r, "prompt");

	if (!text)
		return fail(r, BAD_RECORD, "no string \"prompt\"");
	if (rec_has(r, "responses") && !json_is_array(rec_get(r, "responses")))
		return fail(r, BAD_RECORD, "\"responses\" is no list");
	if (!force && has_new(rec_get(r, "responses")))
		return DONE;
	ask_prompt(q, prompt, (struct value[]){ { "prompt", text }, { 0 } }, 0);
	return DONE;
}

/* Texts of records and replies are known to be UTF-8. jansson's own check of that goes byte by byte. */
static void
set_text(json_t *response, const char *name, const char *s, size_t n)
{
	json_object_set_new_nocheck(response, name, json_stringn_nocheck(s, n));
}

/* The responses that stay: the original ones, from `responses` or else from `response`. A new list, the caller's. */
static json_t *
originals(struct rec *r)
{
	json_t *list = json_array(), *one;
	const char *response = rec_text(r, "response");
	size_t i;

	json_array_foreach(rec_get(r, "responses"), i, one)
		if (is_original(one))
			json_array_append(list, one);
	if (json_array_size(list) == 0 && response && *response) {
		one = json_object();
		json_object_set(one, "text", rec_get(r, "response"));
		set_text(one, "by", "original", strlen("original"));
		json_array_append_new(list, one);
	}
	return list;
}

static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	const char *model = run_model();
	json_t *list, *one;
	struct thought t;

	(void)more;
	if (text_thought(a->text, &t) < 0)
		return fail(r, UNPARSED, "no \"Answer:\" part in the reply: %.80s", a->text);
	one = json_object();
	set_text(one, "text", t.answer, t.nanswer);
	set_text(one, "by", model, strlen(model));
	set_text(one, "thought", t.thought, t.nthought);
	list = originals(r);
	json_array_append_new(list, one);
	put_json(r, "responses", list);
	return DONE;
}

static const struct opt opts[] = {
	{ "prompt", 0, OPT_STR, &prompt_path, "FILE", "ask with this prompt file (place: {prompt})", 0, 0 },
	{ "force", 'f', OPT_FLAG, &force, NULL, "answer again, in the place of the earlier new response", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-regen", .synopsis = "-e endpoint [-m model] [option ...] <records >records",
		.about = "Answers each prompt by safety chain of thought (responses).",
		.opts = opts, .max_tokens = 1024, .begin = begin, .ask = ask, .take = take,
	});
}
