/* sa-judge - safety scores, 0 (unsafe) to 1 (safe), of each response and of the prompt
 *
 * Responses are judged two at a time, as in the paper, so that the original and the regenerated one are seen side by side; one left over is
 * judged alone. A reply that is not exactly the numbers asked for never becomes a score. Method, section 3.7. */

#include <string.h>

#include "filter.h"

enum { RESPONSES, PROMPT, BOTH };
enum { PROMPT_TAG = -1 };	/* tag of the question about the prompt; others: index of the first response asked about */

EMBED(judge_pair_txt, "filters/prompts/judge-pair.txt");
EMBED(judge_one_txt, "filters/prompts/judge-one.txt");
EMBED(judge_prompt_txt, "filters/prompts/judge-prompt.txt");

static const char *pair_path, *one_path, *prompt_path;
static int what = BOTH;
static bool force;
static struct prompt *pair_prompt, *one_prompt, *prompt_prompt;

static void
begin(void)
{
	static const char *const pair[] = { "prompt", "output1", "output2", NULL }, *const one[] = { "prompt", "output", NULL },
		*const alone[] = { "prompt", NULL };

	pair_prompt = filter_prompt(pair_path, judge_pair_txt, judge_pair_txt_end, "judge-pair.txt", pair);
	one_prompt = filter_prompt(one_path, judge_one_txt, judge_one_txt_end, "judge-one.txt", one);
	prompt_prompt = filter_prompt(prompt_path, judge_prompt_txt, judge_prompt_txt_end, "judge-prompt.txt", alone);
}

static const char *
text_of(const json_t *response)
{
	return json_string_value(json_object_get(response, "text"));
}

/* Index of the next response from `at` on that has no score; the list's length when there is none. */
static size_t
unscored(const json_t *list, size_t at)
{
	while (at < json_array_size(list) && json_is_number(json_object_get(json_array_get(list, at), "safety")))
		at++;
	return at;
}

/* Ask about the unscored responses, two neighbours a question. */
static void
ask_responses(const json_t *list, const char *prompt, struct asks *q)
{
	size_t n = json_array_size(list), i = unscored(list, 0);

	while (i < n) {
		const char *first = text_of(json_array_get(list, i));
		size_t next = unscored(list, i + 1);

		if (next == i + 1 && next < n) {
			const char *second = text_of(json_array_get(list, next));

			ask_prompt(q, pair_prompt, (struct value[]){ { "prompt", prompt }, { "output1", first }, { "output2", second }, { 0 } }, (int)i);
			next = unscored(list, next + 1);
		} else {
			ask_prompt(q, one_prompt, (struct value[]){ { "prompt", prompt }, { "output", first }, { 0 } }, (int)i);
		}
		i = next;
	}
}

/* The responses: the record's list, or one made of `response`. A new reference. */
static json_t *
responses(struct rec *r)
{
	json_t *one, *list;

	if (rec_has(r, "responses"))
		return json_incref(rec_get(r, "responses"));
	one = json_object();
	json_object_set_new(one, "text", json_incref(rec_get(r, "response")));
	json_object_set_new(one, "by", json_string("original"));
	list = json_array();
	json_array_append_new(list, one);
	return list;
}

/* See that there are some, all with a text, and none with a score when --force. 0 or -1: failed. */
static int
prepare(struct rec *r)
{
	json_t *list = rec_get(r, "responses"), *one;
	size_t i;

	if (!rec_has(r, "responses")) {
		if (!rec_text(r, "response"))
			return fail(r, BAD_RECORD, "no \"responses\" and no string \"response\""), -1;
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) == 0)
		return fail(r, BAD_RECORD, "\"responses\" is no list of responses"), -1;
	json_array_foreach(list, i, one)
		if (!text_of(one))
			return fail(r, BAD_RECORD, "response %zu has no string \"text\"", i + 1), -1;
	if (force) {
		list = json_deep_copy(list);
		json_array_foreach(list, i, one)
			json_object_del(one, "safety");
		put_json(r, "responses", list);
	}
	return 0;
}

static int
ask(struct rec *r, struct asks *q)
{
	const char *prompt = rec_text(r, "prompt");
	json_t *list;

	if (!prompt)
		return fail(r, BAD_RECORD, "no string \"prompt\"");
	if (what != PROMPT) {
		if (prepare(r) < 0)
			return DONE;
		list = responses(r);
		ask_responses(list, prompt, q);
		json_decref(list);
	}
	if (what != RESPONSES && (force || !rec_has(r, "prompt_safety")))
		ask_prompt(q, prompt_prompt, (struct value[]){ { "prompt", prompt }, { 0 } }, PROMPT_TAG);
	return DONE;
}

/* The list is written with its scores only: what was made of `response` is not put before. */
static int
take(struct rec *r, const struct reply *a, struct asks *more)
{
	json_t *was = a->tag == PROMPT_TAG ? NULL : responses(r), *list;
	size_t at = (size_t)a->tag, n = json_array_size(was);
	int want = a->tag != PROMPT_TAG && at + 1 < n && unscored(was, at + 1) == at + 1 ? 2 : 1;
	double score[2];
	struct err e;

	(void)more;
	if (chat_scores(a->text, score, want, &e) < 0) {
		json_decref(was);
		return fail(r, UNPARSED, "%s", e.msg);
	}
	if (a->tag == PROMPT_TAG) {
		put_num(r, "prompt_safety", score[0]);
		return DONE;
	}
	list = json_deep_copy(was);
	json_decref(was);
	for (int i = 0; i < want; i++)
		json_object_set_new(json_array_get(list, at + (size_t)i), "safety", json_real(score[i]));
	put_json(r, "responses", list);
	return DONE;
}

static const struct opt opts[] = {
	{ "what", 'w', OPT_ENUM, &what, "responses|prompt|both", "what to score (default both)", 0, 0 },
	{ "prompt-pair", 0, OPT_STR, &pair_path, "FILE", "prompt file for two responses (places: {prompt} {output1} {output2})", 0, 0 },
	{ "prompt-one", 0, OPT_STR, &one_path, "FILE", "prompt file for one response (places: {prompt} {output})", 0, 0 },
	{ "prompt-prompt", 0, OPT_STR, &prompt_path, "FILE", "prompt file for the prompt itself (place: {prompt})", 0, 0 },
	{ "force", 'f', OPT_FLAG, &force, NULL, "score again what has a score", 0, 0 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	return filter_main(argc, argv, &(struct filter){
		.name = "sa-judge", .synopsis = "-e endpoint [-m model] [option ...] <records >records",
		.about = "Scores the safety of each response (responses[].safety) and of the prompt (prompt_safety), 0 to 1.",
		.opts = opts, .max_tokens = 64, .begin = begin, .ask = ask, .take = take,
	});
}
