/* record.c - records as conversations: alpaca, sharegpt, messages; with the names of a dataset_info.json */
#include "dataset.h"

#include <unistd.h>

#include "t.h"

static struct err e;

/* "system:S user:U assistant:A", "text:...", "left out: why" or "error: why" */
static const char *
read_as(const struct shape *shape, const char *json)
{
	static char text[800];
	json_t *record = json_loads(json, JSON_DECODE_ANY, NULL);
	char *to = text;
	struct talk t;
	int rc = talk_read(&t, record, shape, &e);

	*to = '\0';
	if (rc != 0)
		snprintf(text, sizeof text, "%s: %s", rc > 0 ? "left out" : "error", e.msg);
	else if (t.text)
		snprintf(text, sizeof text, "text:%s", t.text);
	for (size_t i = 0; rc == 0 && i < t.n; i++)
		to += sprintf(to, "%s%s:%s", i ? " " : "", t.m[i].role, t.m[i].text);
	talk_free(&t);
	json_decref(record);
	return text;
}

#define ANY(json, want) CHECK_STR(read_as(&shape_any, json), want)

static void
every_kind_is_recognised_by_its_members(void)
{
	ANY("{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A\"}]}", "user:U assistant:A");
	ANY("{\"conversations\":[{\"from\":\"system\",\"value\":\"S\"},{\"from\":\"human\",\"value\":\"U\"},{\"from\":\"gpt\",\"value\":\"A\"}]}", "system:S user:U assistant:A");
	ANY("{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"},{\"from\":\"gpt\",\"value\":\"A\"}],\"system\":\"S\"}", "system:S user:U assistant:A");
	ANY("{\"instruction\":\"I\",\"input\":\"in\",\"output\":\"O\",\"system\":\"S\",\"history\":[[\"h\",\"H\"]]}", "system:S user:h assistant:H user:I\nin assistant:O");
	ANY("{\"instruction\":\"\",\"input\":\"in\",\"output\":\"O\"}", "user:in assistant:O");
	ANY("{\"instruction\":\"I\",\"input\":null,\"output\":\"O\"}", "user:I assistant:O");
	ANY("{\"prompt\":\"P\",\"response\":\"R\"}", "user:P assistant:R");
	ANY("{\"text\":\"T\"}", "text:T");
	ANY("{\"question\":\"Q\"}", "error: no known kind of record: it needs messages, conversations, instruction and output, prompt and response, or text");
	ANY("[1]", "error: not a JSON object");
}

/* LLaMA-Factory's converter calls these broken and goes on without them. */
static void
a_sharegpt_conversation_out_of_turn_is_left_out(void)
{
	ANY("{\"conversations\":[{\"from\":\"gpt\",\"value\":\"A\"},{\"from\":\"human\",\"value\":\"U\"}]}", "left out: turn 1 is of \"gpt\" where \"human\" was expected");
	ANY("{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"},{\"from\":\"human\",\"value\":\"U\"}]}", "left out: turn 2 is of \"human\" where \"gpt\" was expected");
	ANY("{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"}]}", "left out: the last turn is not the assistant's");
	ANY("{\"conversations\":[]}", "left out: there are no turns");
	ANY("{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"},{\"from\":\"function_call\",\"value\":\"{}\"}]}", "error: a turn of \"function_call\": calls of tools are not known");
	ANY("{\"conversations\":[{\"from\":\"human\"}]}", "error: conversations[0] has no \"from\" and \"value\" strings");
	ANY("{\"conversations\":7}", "error: no \"conversations\" array");
}

/* ---- dataset_info.json ---- */

static char dir[] = "/tmp/sa-record.XXXXXX", info[64];

static int
find(struct dataset *d, const char *content, const char *name)
{
	FILE *f = fopen(info, "w");

	if (CHECK(f)) {
		fputs(content, f);
		fclose(f);
	}
	return dataset_find(d, info, name, &e);
}

/* A record as data set "d" of this dataset_info.json names it. */
static const char *
as(const char *entry, const char *record)
{
	char content[1000];
	struct dataset d;
	const char *got = e.msg;

	snprintf(content, sizeof content, "{\"d\":%s}", entry);
	if (find(&d, content, "d") == 0)
		got = read_as(&d.shape, record);
	dataset_free(&d);
	return got;
}

static void
an_entry_names_the_columns(void)
{
	static const char alpaca[] = "{\"instruction\":\"I\",\"input\":\"in\",\"output\":\"O\",\"system\":\"S\",\"history\":[[\"h\",\"H\"]],\"q\":\"Q\",\"a\":\"A\"}";

	CHECK_STR(as("{\"file_name\":\"x\"}", alpaca), "user:I\nin assistant:O");	/* no history, no system: LLaMA-Factory's defaults */
	CHECK_STR(as("{\"file_name\":\"x\",\"columns\":{\"prompt\":\"q\",\"response\":\"a\"}}", alpaca), "user:Q assistant:A");
	CHECK_STR(as("{\"file_name\":\"x\",\"columns\":{\"prompt\":\"q\",\"query\":\"input\",\"response\":\"a\",\"system\":\"system\",\"history\":\"history\"}}", alpaca),
		  "system:S user:h assistant:H user:Q\nin assistant:A");
	CHECK_STR(as("{\"file_name\":\"x\",\"columns\":{\"prompt\":\"q\"}}", alpaca), "error: the dataset has no response column");
	CHECK_STR(as("{\"file_name\":\"x\",\"columns\":{\"prompt\":\"q\",\"response\":\"b\"}}", alpaca), "error: no \"b\" string");
}

static void
an_entry_names_tags(void)
{
	static const char openai[] = "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A\"}]}";

	CHECK_STR(as("{\"file_name\":\"x\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"messages\"},\"tags\":{\"role_tag\":\"role\",\"content_tag\":\"content\","
		     "\"user_tag\":\"user\",\"assistant_tag\":\"assistant\",\"system_tag\":\"system\"}}", openai), "system:S user:U assistant:A");
	CHECK_STR(as("{\"file_name\":\"x\",\"formatting\":\"sharegpt\"}", "{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"},{\"from\":\"gpt\",\"value\":\"A\"}]}"),
		  "user:U assistant:A");
	/* "tags" without a system_tag: then there is none */
	CHECK_STR(as("{\"file_name\":\"x\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"messages\"},\"tags\":{\"role_tag\":\"role\",\"content_tag\":\"content\","
		     "\"user_tag\":\"user\",\"assistant_tag\":\"assistant\"}}", openai), "left out: turn 1 is of \"system\" where \"user\" was expected");
}

static void
what_is_not_known_is_refused_by_name(void)
{
	static const struct { const char *entry, *why; } bad[] = {
		{ "{\"hf_hub_url\":\"a/b\"}", "\"hf_hub_url\": nothing is downloaded here" },
		{ "{\"file_name\":\"x\",\"subset\":\"a\"}", "\"subset\" is not known here" },
		{ "{\"file_name\":\"x\",\"ranking\":true}", "\"ranking\", but \"columns\" does not name" },
		{ "{\"file_name\":\"x\",\"columns\":{\"images\":\"i\"}}", "\"columns\": \"images\" is not known here" },
		{ "{\"file_name\":\"x\",\"columns\":{\"prompt\":1}}", "\"columns\": \"prompt\" is not a string" },
		{ "{\"file_name\":\"x\",\"formatting\":\"other\"}", "\"formatting\" is neither alpaca nor sharegpt" },
		{ "{\"formatting\":\"alpaca\"}", "no \"file_name\"" },
		{ "{\"file_name\":\"x\",\"num_samples\":0}", "\"num_samples\" is not a whole number above 0" },
		{ "7", "not an object" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *got = as(bad[i].entry, "{}");

		if (!CHECK(strstr(got, bad[i].why) && strncmp(got, info, strlen(info)) == 0 && strstr(got, ": d: ")))
			printf("#   %s\n", got);
	}
}

static void
the_file_lies_beside_its_list(void)
{
	struct dataset d;
	char want[100];

	CHECK_INT(find(&d, "{\"a\":{\"file_name\":\"a.json\",\"num_samples\":7},\"b\":{\"file_name\":\"/b.json\"}}", "a"), 0);
	snprintf(want, sizeof want, "%s/a.json", dir);
	CHECK_STR(d.path, want);
	CHECK_INT(d.most, 7);
	dataset_free(&d);
	CHECK_INT(dataset_find(&d, info, "b", &e), 0);
	CHECK_STR(d.path, "/b.json");
	CHECK_INT(d.most, 0);
	dataset_free(&d);
	CHECK_INT(dataset_find(&d, info, "c", &e), -1);
	CHECK(strstr(e.msg, "there is no data set \"c\"") != NULL);
	dataset_free(&d);
	CHECK_INT(dataset_find(&d, "/nowhere/dataset_info.json", "c", &e), -1);
	CHECK(strstr(e.msg, "/nowhere/dataset_info.json") != NULL);
	dataset_free(&d);
	CHECK_INT(find(&d, "{\n\"a\":\n", "a"), -1);
	CHECK(strstr(e.msg, "dataset_info.json:3: ") != NULL);
	dataset_free(&d);
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 99;
	snprintf(info, sizeof info, "%s/dataset_info.json", dir);
	RUN(every_kind_is_recognised_by_its_members);
	RUN(a_sharegpt_conversation_out_of_turn_is_left_out);
	RUN(an_entry_names_the_columns);
	RUN(an_entry_names_tags);
	RUN(what_is_not_known_is_refused_by_name);
	RUN(the_file_lies_beside_its_list);
	unlink(info);
	rmdir(dir);
	return t_done();
}
