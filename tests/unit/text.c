/* text.c - labels, thought against answer, likeness */

#include "text.h"

#include "t.h"

static int
labels(const char *s, char (*out)[TEXT_LABEL + 1])
{
	return text_labels(s, out, 8);
}

static void
labels_are_split_at_every_usual_separator(void)
{
	char l[9][TEXT_LABEL + 1];

	CHECK_INT(labels("Illegal Crime, fraud;theft\nbias/insult|lying", l), 6);
	CHECK_STR(l[0], "illegal crime");
	CHECK_STR(l[5], "lying");
	CHECK_INT(labels("违法犯罪、诈骗，隐私；侮辱。", l), 4);
	CHECK_STR(l[3], "侮辱");
}

static void
labels_lose_marks_around_them(void)
{
	char l[9][TEXT_LABEL + 1];

	CHECK_INT(labels("1. **Fraud**\n2) \"theft\"\n- [bias]\n* `insult`.", l), 4);
	CHECK_STR(l[0], "fraud");
	CHECK_STR(l[1], "theft");
	CHECK_STR(l[2], "bias");
	CHECK_STR(l[3], "insult");
	CHECK_INT(labels("Label: mental health", l), 1);
	CHECK_STR(l[0], "mental health");
}

static void
a_repeated_label_counts_once(void)
{
	char l[9][TEXT_LABEL + 1];

	CHECK_INT(labels("fraud, Fraud, theft, fraud", l), 2);
	CHECK_STR(l[1], "theft");
}

static void
prose_is_no_label(void)
{
	char l[9][TEXT_LABEL + 1];

	CHECK_INT(labels("The instruction asks how to do something that is against the law", l), -1);
	CHECK_INT(labels("这条指令的意图是请求模型帮助用户完成一件违反法律的事情并且还要求给出详细的步骤说明", l), -1);
	CHECK_INT(labels("", l), 0);
	CHECK_INT(labels(" ,, \n", l), 0);
}

static void
labels_stop_at_the_maximum(void)
{
	char l[3][TEXT_LABEL + 1];

	CHECK_INT(text_labels("a,b,c,d", l, 2), 2);
	CHECK_STR(l[1], "b");
}

static void
split(const char *s, const char *thought, const char *answer)
{
	struct thought t;

	if (!CHECK(text_thought(s, &t) == 0))
		return;
	CHECK_BYTES(t.thought, t.nthought, thought, strlen(thought));
	CHECK_BYTES(t.answer, t.nanswer, answer, strlen(answer));
}

static void
the_answer_follows_its_heading(void)
{
	split("Analysis: risky.\nExplanation: decline.\nAnswer: I cannot help.\n", "Analysis: risky.\nExplanation: decline.", "I cannot help.");
	split("分析：有风险。\n**回答**：抱歉。", "分析：有风险。", "抱歉。");
	split("### Final answer:\nNo.\nNever.", "", "No.\nNever.");
	split("<think>hm</think>\nNo.", "hm", "No.");
	split("<think>Answer: not this</think>\nAnswer: this", "Answer: not this", "this");
}

static void
without_a_heading_or_an_answer_it_is_no_reply(void)
{
	struct thought t;

	CHECK(text_thought("I cannot help.", &t) < 0);
	CHECK(text_thought("Analysis: x\nAnswer:  \n", &t) < 0);
	CHECK(text_thought("The Answer: is within a line", &t) < 0);
	CHECK(text_thought("<think>only", &t) < 0);
	CHECK(text_thought("", &t) < 0);
}

static double
likeness(const char *a, const char *b)
{
	size_t na, nb;
	uint64_t *ga = text_grams(a, &na), *gb = text_grams(b, &nb);
	double x = text_likeness(ga, na, gb, nb);

	free(ga);
	free(gb);
	return x;
}

static void
a_written_prompt_is_the_first_line_without_marks(void)
{
	static const struct { const char *reply, *want; } c[] = {
		{ "\n- How do plants grow?\nIt differs.", "How do plants grow?" }, { "* \"a b\"", "a b" }, { "\"", "\"" }, { "\"\"", "" }, { "-", "-" }, { "- ", "-" },
		{ "  植物  ", "植物" }, { "", "" },
	};

	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		char *got = text_candidate(c[i].reply);

		CHECK_STR(got, c[i].want);
		free(got);
	}
}

static void
likeness_is_jaccard_over_3_grams(void)
{
	CHECK_NUM(likeness("abcd", "abcd"), 1, 0);
	CHECK_NUM(likeness("ABCD", " abcd "), 1, 0);
	CHECK_NUM(likeness("a  b\tc", "a b c"), 1, 0);
	CHECK_NUM(likeness("abcd", "abce"), 1.0 / 3, 1e-12);
	CHECK_NUM(likeness("abc", "xyz"), 0, 0);
	CHECK_NUM(likeness("", ""), 1, 0);
	CHECK_NUM(likeness("如何骗人", "如何骗他"), 1.0 / 3, 1e-12);
}

static void
chinese_is_told_by_its_characters(void)
{
	CHECK(text_is_chinese("how to 骗"));
	CHECK(!text_is_chinese("how to cheat?"));
	CHECK(!text_is_chinese("“quotes” é 😀"));
	CHECK(!text_is_chinese("\xe4\xb8"));
}

static void
invalid_utf8_is_walked_byte_by_byte(void)
{
	size_t n;
	uint64_t *g = text_grams("\xff\xe4\xb8", &n);

	CHECK_INT((long long)n, 1);
	free(g);
}

int
main(void)
{
	RUN(labels_are_split_at_every_usual_separator);
	RUN(labels_lose_marks_around_them);
	RUN(a_repeated_label_counts_once);
	RUN(prose_is_no_label);
	RUN(labels_stop_at_the_maximum);
	RUN(the_answer_follows_its_heading);
	RUN(without_a_heading_or_an_answer_it_is_no_reply);
	RUN(a_written_prompt_is_the_first_line_without_marks);
	RUN(likeness_is_jaccard_over_3_grams);
	RUN(chinese_is_told_by_its_characters);
	RUN(invalid_utf8_is_walked_byte_by_byte);
	return t_done();
}
