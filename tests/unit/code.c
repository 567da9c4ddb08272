/* code.c - the code in a reply; the wanted values are what the published script's own extract_code() returned for the entry point f */

#include "code.h"
#include "t.h"

static const struct {
	const char *reply, *code;
} row[] = {
	{ "Here:\n```python\ndef f(x):\n    return x\n```\nDone.",
		"    return x" },
	{ "```\nimport math\ndef g(y):\n    return y\n\ndef  f(x: int) -> int:\n    \"\"\"Doc:\n    more\"\"\"\n    return g(x)\n```",
		"    \"\"\"Doc:\n    more\"\"\"\n    return g(x)" },
	{ "```python\nprint(1)\n```\nand\n```python\ndef f(x):\n    return 2\n```",
		"    return 2" },
	{ "def f(x):\n    return 3\n\n    # more\nthat is it",
		"    return 3\n\n    # more" },
	{ "def f(x):\n\treturn 4\n",
		"\treturn 4" },
	{ "def other(x):\n    return 5\nend",
		"    return 5" },
	{ "return 6\n\n  x\n",
		"    return 6\n\n      x\n" },
	{ "",
		"" },
	{ "```python\ndef f(x):\n    return 7",
		"    return 7" },
	{ "def f(x): return 8",
		"    def f(x): return 8" },
	{ "def fx(a):\n    return 9\n",
		"    return 9" },
	{ "```def f():\n\n```\n```",
		"" },
};

static void
every_reply_gives_what_the_script_finds(void)
{
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char *code = code_in_chat(row[i].reply, "f");

		CHECK_STR(code, row[i].code);
		free(code);
	}
}

static void
a_completion_ends_at_the_first_stop_string(void)
{
	static const struct {
		const char *text, *code;
	} cut[] = {
		{ "    return 1\n\nprint(f())\ndef g(): pass", "    return 1\n" }, { "    x = 1\n    if x: return 2", "    x = 1\n    if x: return 2" },
		{ "\nclass A:", "" }, { "    pass\n# end", "    pass" }, { "    pass\nif 1:", "    pass" }, { "", "" },
	};

	for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
		char *code = code_completion(cut[i].text);

		CHECK_STR(code, cut[i].code);
		free(code);
	}
}

int
main(void)
{
	RUN(every_reply_gives_what_the_script_finds);
	RUN(a_completion_ends_at_the_first_stop_string);
	return t_done();
}
