/* Chat templates: ids equal to transformers' (goldens/make_template.py), special-token text that stays text, recognition. */
#include "template.h"

#include <jansson.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "nfc.h"
#include "t.h"

#define GOLDEN "tests/goldens/template"
#define MAX_MESSAGES 8

static struct tok *llama, *qwen;
static char dir[] = "/tmp/sa-template-XXXXXX";

static const struct tok *
tok_for(enum template which)
{
	return which < TEMPLATE_CHATML ? llama : qwen;
}

static const char *
text_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static size_t
messages_of(const json_t *c, struct msg *m)
{
	const json_t *list = json_object_get(c, "messages"), *v;
	size_t i;

	json_array_foreach(list, i, v)
		m[i] = (struct msg){ text_of(v, "role"), text_of(v, "content") };
	return json_array_size(list);
}

static struct render
render_of(const json_t *c)
{
	return (struct render){ .add_generation = json_is_true(json_object_get(c, "generation")), .date = text_of(c, "date"),
		.no_thinking = json_is_false(json_object_get(c, "thinking")) };
}

/* Call `check` with every case and what template_ids() makes of it. */
static void
each_case(void (*check)(const json_t *c, enum template which, const struct ids *ids, const struct ids *mark))
{
	FILE *f = fopen(GOLDEN "/cases.jsonl", "r");
	int n = 0;
	json_t *c;

	if (!CHECK(f))
		return;
	for (; (c = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); n++) {
		struct render r = render_of(c);
		struct ids ids = { 0 }, mark = { 0 };
		struct msg m[MAX_MESSAGES];
		enum template which;
		struct err e;
		int bad = t_bad;

		if (CHECK(template_by_name(text_of(c, "template"), &which, &e) == 0) &&
			CHECK(template_ids(tok_for(which), which, m, messages_of(c, m), &r, &ids, &mark, &e) == 0))
			check(c, which, &ids, &mark);
		if (t_bad > bad)
			printf("#   case %d: %s\n", n + 1, text_of(c, "rendered"));
		ids_free(&ids);
		ids_free(&mark);
		json_decref(c);
	}
	fclose(f);
	CHECK_INT(n, 297);
}

static void
check_ids(const json_t *c, enum template which, const struct ids *ids, const struct ids *mark)
{
	const json_t *want = json_object_get(c, "ids");
	const char *marks = text_of(c, "mark");
	int same = ids->n == json_array_size(want) && mark->n == ids->n;

	(void)which;
	if (!want)
		return;
	for (size_t i = 0; same && i < ids->n; i++)
		same = ids->v[i] == json_integer_value(json_array_get(want, i)) && mark->v[i] == marks[i] - '0';
	CHECK(same);
}

static void
ids_and_marks_are_those_of_the_reference(void)
{
	each_case(check_ids);
}

/* What the ids stand for, and how many of them are special. */
static size_t
decode(enum template which, const struct ids *ids, struct buf *b)
{
	size_t special = 0;

	for (size_t i = 0; i < ids->n; i++) {
		size_t len;
		const char *p = tok_bytes(tok_for(which), ids->v[i], &len);

		buf_add(b, p, len);
		special += tok_is_special(tok_for(which), ids->v[i]);
	}
	return special;
}

static void
check_rendered(const json_t *c, enum template which, const struct ids *ids, const struct ids *mark)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT), want = BUF_INIT(BUF_MAX_TEXT);
	bool generation = json_is_true(json_object_get(c, "generation")), block;
	struct msg m[MAX_MESSAGES];
	size_t n = messages_of(c, m), special = decode(which, ids, &b);

	(void)mark;
	block = (which == TEMPLATE_LLAMA32 || which == TEMPLATE_QWEN25) && strcmp(m[0].role, "system") != 0;
	if (which < TEMPLATE_CHATML)
		buf_addf(&want, "%s", text_of(c, "rendered"));
	else	/* the ids are those of the normalized text */
		nfc_add(&want, text_of(c, "rendered"), strlen(text_of(c, "rendered")));
	CHECK_STR(b.p, want.p);
	CHECK_INT(special, which < TEMPLATE_CHATML ? 1 + 3 * (n + block) + 2 * generation : 2 * (n + block) + generation);
	buf_free(&b);
	buf_free(&want);
}

static void
a_message_cannot_forge_a_turn(void)
{
	each_case(check_rendered);
}

/* A golden without normalization is compared with a vocabulary without one. */
static struct tok *
without_normalizer(void)
{
	json_t *root = json_load_file("tests/goldens/tokenizer-qwen/tokenizer.json", 0, NULL);
	char path[sizeof dir + 32];
	struct err e;
	struct tok *t;

	json_object_set_new(root, "normalizer", json_null());
	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	json_dump_file(root, path, 0);
	t = tok_load(dir, &e);
	unlink(path);
	json_decref(root);
	return t;
}

static void
check_hash(const json_t *c, enum template which, const struct tok *t, struct render r, const char *want)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct msg m[MAX_MESSAGES];
	struct ids ids = { 0 };
	char got[32];
	struct err e;

	CHECK(template_ids(t, which, m, messages_of(c, m), &r, &ids, NULL, &e) == 0);
	buf_clear(&b);
	for (size_t i = 0; i < ids.n; i++) {
		size_t len;
		const char *p = tok_bytes(t, ids.v[i], &len);

		buf_add(&b, p, len);
	}
	snprintf(got, sizeof got, "%016llx", (unsigned long long)XXH64(b.p, b.n, 0));
	if (!CHECK_STR(got, want))
		printf("#   %s: %s\n", template_name(which), b.p);
	ids_free(&ids);
	buf_free(&b);
}

/* As it is, and with its last message to be continued where the reference does that. */
static void
check_both(const json_t *c, enum template which, const struct tok *t)
{
	char name[32];

	check_hash(c, which, t, render_of(c), text_of(c, template_name(which)));
	snprintf(name, sizeof name, "%s+", template_name(which));
	if (text_of(c, name))
		check_hash(c, which, t, (struct render){ .continue_final = true, .date = text_of(c, "date") }, text_of(c, name));
}

static void
two_hundred_conversations_are_rendered_byte_for_byte(void)
{
	FILE *f = fopen(GOLDEN "/many.jsonl", "r");
	struct tok *plain = without_normalizer();
	int n = 0;
	json_t *c;

	if (!CHECK(f && plain))
		return;
	for (; (c = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); n++) {
		for (int which = TEMPLATE_LLAMA3; which <= TEMPLATE_QWEN3; which++)
			check_both(c, which, which < TEMPLATE_CHATML ? llama : plain);
		json_decref(c);
	}
	fclose(f);
	tok_free(plain);
	CHECK_INT(n, 200);
}

static void
the_date_is_todays_unless_given(void)
{
	struct msg m = { "user", "Hi" };
	struct ids given = { 0 }, today = { 0 };
	char before[32], after[32];
	time_t now = time(NULL);
	struct err e;

	do {	/* midnight may pass between the two */
		strftime(before, sizeof before, "%d %b %Y", localtime(&now));
		today.n = given.n = 0;
		CHECK(template_ids(llama, TEMPLATE_LLAMA32, &m, 1, &(struct render){ 0 }, &today, NULL, &e) == 0);
		CHECK(template_ids(llama, TEMPLATE_LLAMA32, &m, 1, &(struct render){ .date = before }, &given, NULL, &e) == 0);
		now = time(NULL);
		strftime(after, sizeof after, "%d %b %Y", localtime(&now));
	} while (strcmp(before, after) != 0);
	CHECK_BYTES((char *)today.v, today.n * sizeof(int), (char *)given.v, given.n * sizeof(int));
	ids_free(&given);
	ids_free(&today);
}

static void
what_cannot_be_rendered_is_refused(void)
{
	struct msg m[] = { { "user", "a" }, { "wizard", "b" } };
	struct ids ids = { 0 };
	struct err e;

	CHECK(template_ids(llama, TEMPLATE_LLAMA3, m, 2, &(struct render){ 0 }, &ids, NULL, &e) < 0);
	CHECK_STR(e.msg, "messages[1]: unknown role \"wizard\" (known: system, user, assistant)");
	CHECK(template_ids(llama, TEMPLATE_LLAMA3, m, 0, &(struct render){ 0 }, &ids, NULL, &e) < 0);
	CHECK_STR(e.msg, "no messages");
	CHECK_INT(ids.n, 0);
	ids_free(&ids);
}

static void
a_vocabulary_without_the_templates_tokens_is_refused(void)
{
	json_t *root = json_load_file("tests/goldens/tokenizer/tokenizer.json", 0, NULL);
	char path[sizeof dir + 32];
	struct ids ids = { 0 };
	struct tok *t;
	struct err e;

	json_object_set_new(json_array_get(json_object_get(root, "added_tokens"), 4), "content", json_string("<|im_end|>"));
	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	json_dump_file(root, path, 0);
	t = tok_load(dir, &e);
	if (CHECK(t)) {
		CHECK(template_ids(t, TEMPLATE_LLAMA3, &(struct msg){ "user", "a" }, 1, &(struct render){ 0 }, &ids, NULL, &e) < 0);
		CHECK_STR(e.msg, "the vocabulary has no token <|eot_id|>, which chat template llama3 needs");
	}
	tok_free(t);
	json_decref(root);
	unlink(path);
}

static void
templates_have_names(void)
{
	enum template which;
	struct err e;

	CHECK(template_by_name("llamafactory", &which, &e) == 0);
	CHECK_INT(which, TEMPLATE_LLAMAFACTORY);
	CHECK_STR(template_name(TEMPLATE_LLAMA32), "llama3.2");
	CHECK(template_by_name("qwen2.5", &which, &e) == 0);
	CHECK_INT(which, TEMPLATE_QWEN25);
	CHECK(template_by_name("alpaca", &which, &e) < 0);
	CHECK_STR(e.msg, "unknown chat template \"alpaca\" (known: llama3, llama3.2, llamafactory, chatml, qwen2.5, qwen3)");
}

static void
the_models_own_templates_are_recognised(void)
{
	enum template which;
	struct err e;

	CHECK(template_detect(GOLDEN "/llama3", &which, &e) == 0 && which == TEMPLATE_LLAMA3);
	CHECK(template_detect(GOLDEN "/llama3.2", &which, &e) == 0 && which == TEMPLATE_LLAMA32);
	CHECK(template_detect(GOLDEN "/qwen2.5", &which, &e) == 0 && which == TEMPLATE_QWEN25);
	CHECK(template_detect(GOLDEN "/qwen3", &which, &e) == 0 && which == TEMPLATE_QWEN3);
	CHECK(template_detect(GOLDEN "/qwen3-first", &which, &e) == 0 && which == TEMPLATE_QWEN3);
	CHECK(template_detect(GOLDEN "/qwen3-2507", &which, &e) == 0 && which == TEMPLATE_CHATML);
}

/* Detect in a directory with these files; "" on success, else the message. */
static const char *
detect(const char *jinja, const char *config, enum template *which)
{
	static struct err e;
	char path[2][sizeof dir + 32];
	const char *content[2] = { jinja, config };

	snprintf(path[0], sizeof path[0], "%s/chat_template.jinja", dir);
	snprintf(path[1], sizeof path[1], "%s/tokenizer_config.json", dir);
	for (int i = 0; i < 2; i++) {
		FILE *f = content[i] ? fopen(path[i], "w") : NULL;

		if (f) {
			fputs(content[i], f);
			fclose(f);
		}
	}
	e.msg[0] = '\0';
	template_detect(dir, which, &e);
	for (int i = 0; i < 2; i++)
		unlink(path[i]);
	return e.msg;
}

static void
chatml_is_recognised_however_its_line_ends_are_written(void)
{
	static const char *const ends[] = { "\\n", "\n" };
	enum template which;
	char jinja[1024];

	for (int i = 0; i < 2; i++) {
		snprintf(jinja, sizeof jinja, "{%% for message in messages %%}{{'<|im_start|>' + message['role'] + '%s' + message['content'] + '<|im_end|>' + '%s'}}"
			"{%% endfor %%}{%% if add_generation_prompt %%}{{ '<|im_start|>assistant%s' }}{%% endif %%}", ends[i], ends[i], ends[i]);
		CHECK_STR(detect(jinja, NULL, &which), "");
		CHECK_INT(which, TEMPLATE_CHATML);
		jinja[strlen(jinja) - 1] = ' ';
		CHECK(strstr(detect(jinja, NULL, &which), "none of those known"));
	}
}

static void
a_jinja_file_comes_before_the_configuration(void)
{
	char jinja[sizeof "\n" + 2048];
	enum template which;

	snprintf(jinja, sizeof jinja, "%s\n", template_llama3_jinja);
	CHECK_STR(detect(jinja, "{\"chat_template\":\"other\"}", &which), "");
	CHECK_INT(which, TEMPLATE_LLAMA3);
}

static void
of_named_templates_the_default_counts(void)
{
	json_t *config = json_pack("{s[{ssss}{ssss}]}", "chat_template", "name", "tool_use", "template", "other", "name", "default", "template",
		template_llama3_jinja);
	char *text = json_dumps(config, 0);
	enum template which;

	CHECK_STR(detect(NULL, text, &which), "");
	CHECK_INT(which, TEMPLATE_LLAMA3);
	free(text);
	json_decref(config);
}

static void
an_unknown_template_is_refused_with_the_list(void)
{
	static const char end[] = "known: llama3, llama3.2, llamafactory, chatml, qwen2.5, qwen3)";
	char near[2048];
	const char *says;
	enum template which;

	says = detect(NULL, "{\"chat_template\":\"{{ messages }}\"}", &which);
	CHECK(strstr(says, "/tokenizer_config.json: the chat template is none of those known (llama3, llama3.2, llamafactory, chatml, qwen2.5, qwen3)") && strstr(says, "--template"));
	snprintf(near, sizeof near, "%s!", template_llama3_jinja);
	CHECK(strstr(detect(near, NULL, &which), "/chat_template.jinja: the chat template is none of those known"));
	CHECK(strstr(detect(NULL, "{}", &which), end));
	CHECK(strstr(detect(NULL, "{\"chat_template\":7}", &which), end));
	CHECK(strstr(detect(NULL, "{", &which), "/tokenizer_config.json: line 1: "));
	CHECK(strstr(detect(NULL, NULL, &which), "/tokenizer_config.json: No such file"));
}

/* Llama-3.1's takes a fixed date where there is no date_string; it is not taken for Llama-3.2's. */
static void
a_template_that_lacks_a_statement_of_llama_3_2_is_not_it(void)
{
	json_t *config = json_load_file(GOLDEN "/llama3.2/tokenizer_config.json", 0, NULL);
	char *jinja = xstrdup(text_of(config, "chat_template")), *at = strstr(jinja, "strftime_now(");
	enum template which;

	if (CHECK(at)) {
		CHECK_STR(detect(jinja, NULL, &which), "");
		*at = 'S';
		CHECK(strstr(detect(jinja, NULL, &which), "none of those known"));
	}
	free(jinja);
	json_decref(config);
}

int
main(void)
{
	struct err e;

	llama = tok_load("tests/goldens/tokenizer", &e);
	qwen = tok_load("tests/goldens/tokenizer-qwen", &e);
	if (!llama || !qwen || !mkdtemp(dir))
		return 99;
	RUN(ids_and_marks_are_those_of_the_reference);
	RUN(a_message_cannot_forge_a_turn);
	RUN(two_hundred_conversations_are_rendered_byte_for_byte);
	RUN(the_date_is_todays_unless_given);
	RUN(what_cannot_be_rendered_is_refused);
	RUN(a_vocabulary_without_the_templates_tokens_is_refused);
	RUN(templates_have_names);
	RUN(the_models_own_templates_are_recognised);
	RUN(chatml_is_recognised_however_its_line_ends_are_written);
	RUN(a_jinja_file_comes_before_the_configuration);
	RUN(of_named_templates_the_default_counts);
	RUN(an_unknown_template_is_refused_with_the_list);
	RUN(a_template_that_lacks_a_statement_of_llama_3_2_is_not_it);
	tok_free(llama);
	tok_free(qwen);
	rmdir(dir);
	return t_done();
}
