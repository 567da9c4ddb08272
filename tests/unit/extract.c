/* extract.c - which option a reply chooses; the wanted values are what the published script's own function returned */

#include "extract.h"
#include "t.h"

static const struct {
	const char *reply, *options[4];
	size_t n;
	int want;
} vector[] = {
	{ "(A)", { "是。", "否。" }, 2, 0 },
	{ " (B) 因为", { "是。", "否。" }, 2, 1 },
	{ "不是", { "是。", "否。" }, 2, 0 },
	{ "否", { "是。", "否。" }, 2, 1 },
	{ "选项B正确", { "是。", "否。" }, 2, -1 },
	{ "**B**", { "是。", "否。" }, 2, -1 },
	{ "USA", { "是。", "否。" }, 2, 0 },
	{ "yes, sure", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "MAYBE SO then", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 2 },
	{ "ÜNDER the bed", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 3 },
	{ "是的", { "对", "不" }, 2, 0 },
	{ "否定", { "对", "不" }, 2, 1 },
	{ "我不知道", { "对", "不" }, 2, 1 },
	{ "我不知道\n\n答案：C", { "x", "y" }, 2, 2 },
	{ "\n\n  (D)\n(A)", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 3 },
	{ "", { "是。", "否。" }, 2, -1 },
	{ "我不知道", { "是。", "否。" }, 2, -1 },
	{ "A", { "是。", "否。" }, 2, 0 },
	{ "B!", { "是。", "否。" }, 2, 1 },
	{ "B！", { "是。", "否。" }, 2, 1 },
	{ "C。", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 2 },
	{ "D：", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 3 },
	{ "A(因为)", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "A B", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "\u3000\u00a0B.\u3000", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 1 },
	{ "我\n\nB. x\n(A)", { "x", "y" }, 2, 1 },
	{ "我\r\n(A)", { "x", "y" }, 2, 0 },
	{ "答案\n \n(A)", { "x", "y" }, 2, -1 },
	{ "The answer is D.", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 3 },
	{ "。", { "。", "x" }, 2, 0 },
	{ "AB", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "BA", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "K)\u212a", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, -1 },
	{ "(D) 和 (A)", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 0 },
	{ "C 是", { "Yes.", "No.", "Maybe so", "Ünder" }, 4, 2 },
};

static void
every_vector_gives_what_the_script_gives(void)
{
	for (size_t i = 0; i < sizeof vector / sizeof *vector; i++)
		if (!CHECK_INT(extract_option(vector[i].reply, vector[i].options, vector[i].n), vector[i].want))
			printf("#   reply '%s'\n", vector[i].reply);
}

static void
strip_takes_off_what_python_calls_space(void)
{
	const char *s = "\xe3\x80\x80\xc2\xa0 \t\x1c(A)\xe2\x80\xa9\n";
	size_t n = strlen(s);
	const char *got = extract_strip(s, &n);

	CHECK_BYTES(got, n, "(A)", 3);
	n = 3;
	extract_strip("\xe3\x80\x80", &n);
	CHECK_INT(n, 0);
}

static void
bytes_that_are_no_utf_8_do_no_harm(void)
{
	const char *options[] = { "\xff.", "b" };

	CHECK_INT(extract_option("\xe3\x80", options, 2), -1);
	CHECK_INT(extract_option("\xff", options, 2), 0);
}

int
main(void)
{
	RUN(every_vector_gives_what_the_script_gives);
	RUN(strip_takes_off_what_python_calls_space);
	RUN(bytes_that_are_no_utf_8_do_no_harm);
	return t_done();
}
