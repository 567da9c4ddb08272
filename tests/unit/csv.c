/* csv.c - rows of comma-separated values, and the exams that are read from them */

#include "csv.h"
#include "subjects.h"
#include "t.h"

#include <sys/stat.h>
#include <unistd.h>

/* The rows as text: cells in <>, rows ended by "/". */
static const char *
rows(const char *text, size_t n)
{
	static char out[4096];
	struct err e;
	struct csv c;
	int got;

	out[0] = '\0';
	csv_init(&c, text, n);
	while ((got = csv_next(&c, &e)) > 0) {
		for (size_t i = 0; i < c.cells; i++)
			sprintf(out + strlen(out), "<%s>", c.cell[i]);
		strcat(out, "/");
	}
	if (got < 0)
		sprintf(out + strlen(out), "%zu: %s", c.line, e.msg);
	csv_free(&c);
	return out;
}

static void
cells_are_read_as_pythons_csv_reads_them(void)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "", "" },
		{ "a,b\nc,d\n", "<a><b>/<c><d>/" },
		{ "a,b\r\nc,d", "<a><b>/<c><d>/" },
		{ "\xef\xbb\xbf" "a,b\n\n\r\nc,\n", "<a><b>/<c><>/" },
		{ "\"a,\"\"b\"\"\",\"x\ny\"\n1,None\n", "<a,\"b\"><x\ny>/<1><None>/" },
		{ "\"\",\"\"\"\"\n", "<><\">/" },
		{ "a \"b\", c\n", "<a \"b\">< c>/" },
		{ "\"x\r\ny\"\r\nz\n", "<x\r\ny>/<z>/" },
		{ "a\n\"b\n", "<a>/2: a quote that is not closed" },
		{ "\"a\"b\n", "1: text behind a closing quote" },
		{ "\"a\nb\"\nc\n\"d\"e", "<a\nb>/<c>/4: text behind a closing quote" },
		{ "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "1: more than 16 cells" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		CHECK_STR(rows(t[i].text, strlen(t[i].text)), t[i].want);
	CHECK_STR(rows("a\0b", 3), "1: a NUL");
}

/* ---- exams ---- */

static char dir[] = "/tmp/sa-csv.XXXXXX";

static void
put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

static const struct wording english = { "About %s.\n\n", false, "", "\nAnswer:", "" };
static const struct wording spaced = { "About %s.\n\n", true, "Question: ", "\nAnswer:", " " };
static const struct wording bare = { NULL, false, "问题：", "\n答案：", "" };

static void
prompts_are_built_byte_for_byte(void)
{
	struct buf b = BUF_INIT(1 << 20);
	struct exam x;
	struct err e;

	put("mapping.json", "{\"b_two\":{\"name\":\"zwei\",\"category\":\"Odd\"},\"a_one\":{\"name\":\"eins\",\"category\":\"STEM\"}}");
	put("dev/a_one_dev.csv", "1+1?,1,2,\"3,0\",None,B\n");
	put("test/a_one_test.csv", "2+2?,4,B,C,D,A\n\"3?\n\",x,y,z,B,D\n");
	put("dev/b_two.csv", ",Question,A,B,C,D,Answer\n0,甲？,一,二,三,四,C\n");
	put("test/b_two.csv", ",Question,A,B,C,D,Answer\n0,乙？,一,二,三,四,D\n");
	if (!CHECK(exam_load(&x, dir, "test", 1, &e) == 0))
		return;
	CHECK_INT(x.list.n, 3);
	CHECK_STR(x.list.v[1].id, "a_one-2");
	CHECK_INT(x.list.v[1].answer, 3);
	CHECK_STR(x.group[x.subject[1].group], "Odd");
	exam_prompt(&x, &english, 1, &x.list.v[0], &b);
	CHECK_STR(b.p, "About eins.\n\n1+1?\nA. 1\nB. 2\nC. 3,0\nD. None\nAnswer:B\n\n2+2?\nA. 4\nB. B\nC. C\nD. D\nAnswer:");
	buf_clear(&b);
	exam_prompt(&x, &english, 0, &x.list.v[1], &b);
	CHECK_STR(b.p, "About eins.\n\n3?\n\nA. x\nB. y\nC. z\nD. B\nAnswer:");
	buf_clear(&b);
	exam_prompt(&x, &spaced, 1, &x.list.v[0], &b);
	CHECK_STR(b.p, "About a one.\n\nQuestion: 1+1?\nA. 1\nB. 2\nC. 3,0\nD. None\nAnswer: B\n\n"
		"Question: 2+2?\nA. 4\nB. B\nC. C\nD. D\nAnswer:");
	buf_clear(&b);
	exam_prompt(&x, &bare, 1, &x.list.v[2], &b);
	CHECK_STR(b.p, "问题：甲？\nA. 一\nB. 二\nC. 三\nD. 四\n答案：C\n\n问题：乙？\nA. 一\nB. 二\nC. 三\nD. 四\n答案：");
	exam_free(&x);
	buf_free(&b);
}

/* What exam_load() says, without the directory. */
static const char *
trouble(size_t shots)
{
	static struct err e;
	struct exam x;

	e.msg[0] = '\0';
	CHECK(exam_load(&x, dir, "test", shots, &e) < 0);
	exam_free(&x);
	return strncmp(e.msg, dir, strlen(dir)) == 0 ? e.msg + strlen(dir) : e.msg;
}

static void
wrong_files_are_named_with_their_line(void)
{
	put("mapping.json", "{\"a_one\":{\"name\":\"eins\",\"category\":\"STEM\"}}");
	put("dev/a_one_dev.csv", "1+1?,1,2,3,4,B\n");
	put("test/a_one_test.csv", "q,1,2,3,4,A\n\nq,1,2,3,4,E\n");
	CHECK_STR(trouble(1), "/test/a_one_test.csv:3: the answer 'E' is none of A to D");
	put("test/a_one_test.csv", "q,1,2,3,A\n");
	CHECK_STR(trouble(1), "/test/a_one_test.csv:1: no answer");
	put("test/a_one_test.csv", "q,1,2,,4,A\n");
	CHECK_STR(trouble(1), "/test/a_one_test.csv:1: no C");
	put("test/a_one_test.csv", "q,1,2,3,4,A\n\"");
	CHECK_STR(trouble(1), "/test/a_one_test.csv:2: a quote that is not closed");
	CHECK_STR(trouble(2), "/dev/a_one_dev.csv: 1 examples, not 2");
	put("test/a_one_test.csv", "");
	CHECK_STR(trouble(1), ": no questions in it");
	put("mapping.json", "{\"a_one\":{\"name\":\"eins\"}}");
	CHECK_STR(trouble(1), "/mapping.json: subject 'a_one' has no category");
	put("mapping.json", "{\"none\":{\"name\":\"x\",\"category\":\"STEM\"}}");
	CHECK(strstr(trouble(1), "/dev/none.csv: "));
	put("mapping.json", "{\n\"a\"");
	CHECK(strncmp(trouble(1), "/mapping.json:2: ", 17) == 0);
	put("mapping.json", "[]");
	CHECK_STR(trouble(1), "/mapping.json: not an object");
	put("mapping.json", "{}");
	CHECK_STR(trouble(1), "/mapping.json: no subjects in it");
}

int
main(void)
{
	char path[300];

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/dev", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/test", dir);
	mkdir(path, 0700);
	RUN(cells_are_read_as_pythons_csv_reads_them);
	RUN(prompts_are_built_byte_for_byte);
	RUN(wrong_files_are_named_with_their_line);
	snprintf(path, sizeof path, "rm -r %s", dir);
	return system(path) != 0 || t_done();
}
