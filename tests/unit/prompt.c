/* prompt: prompt files, and text compiled in */
#include "prompt.h"

#include <unistd.h>

#include "t.h"

EMBED(sample_txt, "filters/prompts/judge-pair.txt");

static const char *const known[] = { "prompt", "output", NULL };

static struct prompt *
parse(const char *text, struct err *e)
{
	return prompt_parse(text, strlen(text), "x.txt", known, e);
}

/* Parsing `text` fails with this message. */
static void
refused(const char *text, const char *says)
{
	struct err e = { "" };
	struct prompt *p = parse(text, &e);

	CHECK(p == NULL);
	CHECK_STR(e.msg, says);
	prompt_free(p);
}

static void
headings_start_messages(void)
{
	struct err e = { "" };
	struct prompt *p = parse("# note\n\n--- system\nYou are.\n\n# kept\n--- user \r\nHi\n--- assistant\n--- user\nBye", &e);
	struct msg *m;
	size_t n;

	CHECK_STR(e.msg, "");
	if (!CHECK(p))
		return;
	m = prompt_fill(p, NULL, &n);
	CHECK_INT(n, 4);
	CHECK_STR(m[0].role, "system");
	CHECK_STR(m[0].text, "You are.\n\n# kept");
	CHECK_STR(m[1].role, "user");
	CHECK_STR(m[1].text, "Hi");
	CHECK_STR(m[2].role, "assistant");
	CHECK_STR(m[2].text, "");
	CHECK_STR(m[3].text, "Bye");
	prompt_done(m, n);
	prompt_free(p);
}

/* The text of the one message of a prompt file. */
static void
fills(const char *text, const char *prompt, const char *output, const char *want)
{
	struct err e = { "" };
	struct prompt *p = parse(text, &e);
	const struct value v[] = { { "prompt", prompt }, { "output", output }, { NULL, NULL } };
	struct msg *m;
	size_t n;

	if (!CHECK_STR(e.msg, "") || !CHECK(p))
		return;
	m = prompt_fill(p, v, &n);
	CHECK_INT(n, 1);
	CHECK_STR(m[0].text, want);
	prompt_done(m, n);
	prompt_free(p);
}

static void
names_are_filled_in(void)
{
	fills("--- user\n{prompt}-{output}-{prompt}\n", "P", "O", "P-O-P");
	fills("--- user\na {prompt:json} b\n", "q\"\n", NULL, "a \"q\\\"\\n\" b");
	fills("--- user\n[{output}]\n", "x", NULL, "[]");
}

static void
values_are_not_scanned(void)
{
	fills("--- user\n{prompt}{output}", "{output}--- user\n", "{prompt}", "{output}--- user\n{prompt}");
}

static void
other_braces_stay(void)
{
	static const char text[] = "{} {\"a\":1} { prompt} {1} {{x y}} { {a:b c} {a:b} {";

	fills("--- user\n{} {\"a\":1} { prompt} {1} {{x y}} { {a:b c} {a:b} {", NULL, NULL, text);
	fills("--- user\n{{prompt}}", "x", NULL, "{x}");
}

static void
mistakes_are_found_when_loading(void)
{
	refused("", "x.txt: no heading (--- system, --- user)");
	refused("# only a comment\n", "x.txt: no heading (--- system, --- user)");
	refused("# c\nhello\n--- user\n", "x.txt:2: text before the first heading (--- system, --- user)");
	refused("--- user\na\n--- usr\n", "x.txt:3: 'usr' is no role (system, user or assistant)");
	refused("--- user\na\n\nb {promt}\n", "x.txt:4: unknown name {promt}");
	refused("--- system\na\nb\n--- user\n{promt:json}", "x.txt:5: unknown name {promt:json}");
	refused("--- user\n{prompt:jsn}", "x.txt:2: {prompt:jsn} has a format other than json");
}

/* The request would be no JSON, or the text of one message would end up in the next. */
static void
what_cannot_be_in_a_request_is_found_when_loading(void)
{
	static const char nul[] = "--- system\na\0b\n--- user\nc\n";
	struct err e = { "" };

	refused("--- user\na\n\xc1\n", "x.txt:3: no UTF-8");
	refused("# \xff\n--- user\n", "x.txt:1: no UTF-8");
	CHECK(!prompt_parse(nul, sizeof nul - 1, "x.txt", known, &e));
	CHECK_STR(e.msg, "x.txt:2: a NUL byte");
}

static void
a_file_is_loaded_by_its_path(void)
{
	char path[] = "/tmp/sa-prompt-XXXXXX";
	int fd = mkstemp(path);
	struct err e;
	struct prompt *p;

	CHECK(write(fd, "--- user\n{nope}\n", 16) == 16);
	close(fd);
	p = prompt_load(path, known, &e);
	CHECK(!p && strstr(e.msg, path) && strstr(e.msg, ":2: unknown name {nope}"));
	unlink(path);
	p = prompt_load(path, known, &e);
	CHECK(!p && strstr(e.msg, "No such file"));
}

static void
an_embedded_file_is_the_file(void)
{
	size_t n = sample_txt_end - sample_txt;
	struct buf b = BUF_INIT(100000);
	struct err e;

	CHECK_INT(sample_txt_end[0], 0);
	if (buf_read_file(&b, "filters/prompts/judge-pair.txt", &e) < 0)
		SKIP("not run from the repository's root");
	CHECK_BYTES(sample_txt, n, b.p, b.n);
	buf_free(&b);
}

int
main(void)
{
	RUN(headings_start_messages);
	RUN(names_are_filled_in);
	RUN(values_are_not_scanned);
	RUN(other_braces_stay);
	RUN(mistakes_are_found_when_loading);
	RUN(what_cannot_be_in_a_request_is_found_when_loading);
	RUN(a_file_is_loaded_by_its_path);
	RUN(an_embedded_file_is_the_file);
	return t_done();
}
