/* batchlines: requests and results as OpenAI batch lines */
#include "batch.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rec.h"
#include "t.h"

static uint64_t seed = 11;

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % n);
}

/* A file of its own for every test, in $TMPDIR. */
static const char *
file(void)
{
	static char path[300];
	static int count;

	snprintf(path, sizeof path, "%s/batchlines-%d-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(), ++count);
	unlink(path);
	return path;
}

static void
put_file(const char *path, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	if (!CHECK(f != NULL))
		return;
	CHECK(fwrite(text, 1, n, f) == n);
	CHECK(fclose(f) == 0);
}

static void
a_request_line_is_what_the_batch_api_takes(void)
{
	static const char body[] = "{\"model\":\"m\", \"x\":0.10}";
	struct buf b = BUF_INIT(200), small = BUF_INIT(40);

	CHECK(batch_line(&b, "sa-1", "/chat/completions", body, strlen(body)) == 0);
	CHECK_STR(b.p, "{\"custom_id\":\"sa-1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\", \"x\":0.10}}\n");
	buf_adds(&small, "before");
	CHECK(batch_line(&small, "sa-1", "/chat/completions", body, strlen(body)) == -1);
	CHECK_STR(small.p, "before");
	buf_free(&b);
	buf_free(&small);
}

static void
the_id_depends_on_path_body_and_sample_alone(void)
{
	char a[BATCH_ID], b[BATCH_ID];

	batch_id(a, "/chat/completions", "{}", 2, 0);
	CHECK_INT(strlen(a), BATCH_ID - 1);
	CHECK(strncmp(a, "sa-", 3) == 0 && strspn(a + 3, "0123456789abcdef") == 32);
	batch_id(b, "/chat/completions", "{}", 2, 0);
	CHECK_STR(b, a);
	batch_id(b, "/completions", "{}", 2, 0);
	CHECK(strcmp(a, b) != 0);
	batch_id(b, "/chat/completions", "{ }", 3, 0);
	CHECK(strcmp(a, b) != 0);
	batch_id(b, "/chat/completions", "{}", 2, 1);
	CHECK(strcmp(a, b) != 0);
	/* For good: results of an earlier run are matched by it. */
	CHECK_STR(a, "sa-81ccc996cc970b53bb84a62e253c1b51");
}

static void
results_of_both_servers_are_read(void)
{
	static const struct { const char *line, *id; long status; const char *body, *error; } t[] = {
		{ "{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"request_id\":\"r\",\"body\":{\"id\":\"c\", \"x\":1.50}},\"error\":null}",
			"a", 200, "{\"id\":\"c\", \"x\":1.50}", NULL },
		{ "{\"id\":\"batch_req_2\",\"custom_id\":\"b\",\"response\":null,\"error\":{\"code\":\"batch_expired\",\"message\":\"too late\"}}",
			"b", 0, NULL, "batch_expired: too late" },
		{ "{\"custom_id\":\"c\",\"response\":{\"status_code\":400,\"request_id\":\"r\",\"body\":{\"error\":{\"message\":\"no\"}}},\"error\":null}",
			"c", 400, "{\"error\":{\"message\":\"no\"}}", NULL },
		{ "{\"custom_id\":\"d\",\"response\":{\"status_code\":400,\"request_id\":\"r\",\"body\":null},\"error\":\"Only POST\"}", "d", 400, NULL, "Only POST" },
		{ "{\"custom_id\":\"e\",\"response\":{\"status_code\":404,\"body\":null},\"error\":{\"object\":\"error\",\"message\":\"no model\",\"code\":404}}",
			"e", 404, NULL, "404: no model" },
		{ "{\"custom_id\":\"f\",\"response\":{\"status_code\":404,\"body\":null},\"error\":{\"error\":{\"message\":\"no model\",\"code\":404}}}",
			"f", 404, NULL, "404: no model" },
		{ " { \"error\" : null , \"response\" : { \"body\" : [ ] , \"status_code\" : 200 } , \"custom_id\" : \"\\u0067\" } \r", "g", 200, "[ ]", NULL },
		{ "{\"custom_id\":\"x\",\"custom_id\":\"h\",\"error\":{\"code\":\"c\"}}", "h", 0, NULL, "{\"code\":\"c\"}" },
	};
	struct batch_result r;
	struct err e = { "" };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		if (!CHECK(batch_result_parse(&r, t[i].line, strlen(t[i].line), &e) == 0)) {
			printf("#   %s: %s\n", t[i].line, e.msg);
			continue;
		}
		CHECK_STR(r.id, t[i].id);
		CHECK_INT(r.status, t[i].status);
		CHECK_STR(r.body, t[i].body);
		CHECK_INT(r.n, t[i].body ? strlen(t[i].body) : 0);
		CHECK_STR(r.error, t[i].error);
		batch_result_free(&r);
	}
}

static void
lines_that_are_no_results_are_refused(void)
{
	static const struct { const char *line, *says; } t[] = {
		{ "", "no JSON object" }, { "[]", "no JSON object" }, { "{", "expected a key" }, { "{}", "no custom_id" },
		{ "{\"custom_id\":1,\"error\":\"x\"}", "no custom_id" }, { "{\"custom_id\":\"a\\u0000b\",\"error\":\"x\"}", "no custom_id" },
		{ "{\"custom_id\":\"a\"}", "neither a response nor an error" },
		{ "{\"custom_id\":\"a\",\"response\":{\"status_code\":200},\"error\":null}", "neither a response nor an error" },
		{ "{\"custom_id\":\"a\",\"response\":\"yes\"}", "response is no object" },
		{ "{\"custom_id\":\"a\",\"response\":{\"status_code\":\"200\",\"body\":{}}}", "no HTTP status" },
		{ "{\"custom_id\":\"a\",\"response\":{\"status_code\":0,\"body\":{}}}", "no HTTP status" },
		{ "{\"custom_id\":\"sa-1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{}}", "neither a response nor an error" },
	};
	struct batch_result r;
	struct err e;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		e.msg[0] = 0;
		CHECK(batch_result_parse(&r, t[i].line, strlen(t[i].line), &e) == -1);
		if (!CHECK(strstr(e.msg, t[i].says)))
			printf("#   %s: %s\n", t[i].line, e.msg);
	}
}

/* Any bytes: refused, or a result whose body is JSON that stands in the line. */
static void
random_lines_are_read_or_refused(void)
{
	static const char good[] = "{\"custom_id\":\"ab\",\"response\":{\"status_code\":200,\"body\":{\"a\":[1,\"x\"]}},\"error\":{\"code\":\"c\",\"message\":\"m\"}}";
	struct batch_result r;
	size_t taken = 0;
	struct err e;

	for (int i = 0; i < 50000; i++) {
		size_t n = sizeof good - 1;
		char *line = strdup(good);

		for (unsigned k = rnd(4); k-- > 0;)
			line[rnd((unsigned)n)] = rnd(3) ? good[rnd((unsigned)n)] : (char)rnd(256);
		if (rnd(8) == 0)
			n = rnd((unsigned)n);
		if (batch_result_parse(&r, line, n, &e) == 0) {
			taken++;
			CHECK(r.id && (r.body || r.error));
			if (r.body)
				CHECK(json_valid(r.body, r.n, &e) == 0 && memmem(line, n, r.body, r.n));
			batch_result_free(&r);
		} else {
			CHECK(!r.id && !r.body && !r.error && e.msg[0]);
		}
		free(line);
	}
	CHECK(taken > 1000 && taken < 49000);
}

static void
each_id_is_written_once(void)
{
	struct buf got = BUF_INIT(1 << 22);
	const char *path = file();
	struct batch_out *b;
	char id[BATCH_ID], body[40];
	long long lines;
	size_t newlines = 0;
	struct err e;

	put_file(path, "what was there before", 21);
	if (!CHECK((b = batch_out_open(path, &e)) != NULL))
		return;
	for (int i = 0; i < 12000; i++) {
		snprintf(body, sizeof body, "{\"x\":%d}", i % 5000);
		batch_id(id, "/completions", body, strlen(body), 0);
		CHECK(batch_out_add(b, id, "/completions", body, strlen(body), &e) == 0);
	}
	CHECK(batch_out_close(b, &lines, &e) == 0);
	CHECK_INT(lines, 5000);
	CHECK(buf_read_file(&got, path, &e) == 0);
	for (size_t i = 0; i < got.n; i++)
		newlines += got.p[i] == '\n';
	CHECK_INT(newlines, 5000);
	CHECK(strncmp(got.p, "{\"custom_id\":\"sa-", 17) == 0 && strstr(got.p, "\"body\":{\"x\":4999}}\n"));
	buf_free(&got);
	unlink(path);
}

static void
where_requests_cannot_go_is_said(void)
{
	static const char body[] = "{}";
	struct batch_out *b;
	struct err e;

	CHECK(batch_out_open("-", &e) == NULL);
	CHECK(strstr(e.msg, "standard output is for the records"));
	CHECK(batch_out_open("/nowhere/x", &e) == NULL);
	CHECK(strstr(e.msg, "/nowhere/x: "));
	if (!CHECK((b = batch_out_open("/dev/full", &e)) != NULL))
		return;
	CHECK(batch_out_add(b, "a", "/completions", body, 2, &e) == 0);
	e.msg[0] = 0;
	CHECK(batch_out_close(b, NULL, &e) == -1);
	CHECK(strstr(e.msg, "/dev/full: No space left"));
}

/* The file that standard output is appended to keeps what it has, whatever name it is given by. */
static void
the_file_of_standard_output_is_not_emptied(void)
{
	int old = dup(STDOUT_FILENO), fd;
	const char *path = file();
	struct stat st;
	struct err e;

	put_file(path, "records\n", 8);
	fflush(stdout);
	fd = open(path, O_WRONLY | O_APPEND);
	dup2(fd, STDOUT_FILENO);
	CHECK(batch_out_open(path, &e) == NULL);
	CHECK(batch_out_open("/dev/stdout", &e) == NULL);
	fflush(stdout);
	dup2(old, STDOUT_FILENO);
	close(old);
	close(fd);
	CHECK(strstr(e.msg, "standard output is for the records"));
	CHECK(stat(path, &st) == 0 && st.st_size == 8);
	unlink(path);
}

static void
results_are_found_in_any_order(void)
{
	struct buf text = BUF_INIT(1 << 22);
	const char *path = file();
	struct batch_result r;
	struct batch_in *b;
	char id[40], body[40];
	struct err e;

	buf_adds(&text, "\xef\xbb\xbf");
	for (int i = 2999; i >= 0; i--) {
		buf_addf(&text, "{\"custom_id\":\"id %d\",\"response\":{\"status_code\":200,\"body\":{\"n\": %d}},\"error\":null}%s", i, i, i % 3 ? "\n" : "\r\n");
		if (i % 100 == 0)
			buf_adds(&text, " \n\n");
	}
	text.n--;	/* the last line has no newline */
	while (text.p[text.n - 1] != '}')
		text.n--;
	put_file(path, text.p, text.n);
	buf_free(&text);
	if (!CHECK((b = batch_in_open(path, &e)) != NULL)) {
		printf("#   %s\n", e.msg);
		return;
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(id, sizeof id, "id %d", i);
		snprintf(body, sizeof body, "{\"n\": %d}", i);
		if (CHECK_INT(batch_in_get(b, id, &r, &e), 1)) {
			CHECK_STR(r.id, id);
			CHECK_STR(r.body, body);
			batch_result_free(&r);
		}
	}
	CHECK_INT(batch_in_get(b, "id 3000", &r, &e), 0);
	CHECK_INT(batch_in_get(b, "", &r, &e), 0);
	batch_in_close(b);
	unlink(path);
}

static void
a_success_wins_else_the_last(void)
{
	static const char text[] =
		"{\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{\"n\":1}}}\n"
		"{\"custom_id\":\"b\",\"error\":\"first\"}\n"
		"{\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{\"n\":2}}}\n"
		"{\"custom_id\":\"b\",\"error\":\"last\"}\n"
		"{\"custom_id\":\"a\",\"response\":{\"status_code\":500,\"body\":{}}}\n"
		"{\"custom_id\":\"a\",\"error\":{\"code\":\"x\",\"message\":\"y\"}}\n";
	const char *path = file();
	struct batch_result r;
	struct batch_in *b;
	struct err e;

	put_file(path, text, sizeof text - 1);
	if (!CHECK((b = batch_in_open(path, &e)) != NULL))
		return;
	if (CHECK_INT(batch_in_get(b, "a", &r, &e), 1)) {
		CHECK_STR(r.body, "{\"n\":2}");
		batch_result_free(&r);
	}
	if (CHECK_INT(batch_in_get(b, "b", &r, &e), 1)) {
		CHECK_STR(r.error, "last");
		batch_result_free(&r);
	}
	batch_in_close(b);
	unlink(path);
}

static void
a_broken_file_is_named_with_its_line(void)
{
	static const char text[] = "{\"custom_id\":\"a\",\"error\":\"x\"}\n\n{\"custom_id\":\"b\",\n";
	const char *path = file();
	char says[400];
	struct err e;

	put_file(path, text, sizeof text - 1);
	CHECK(batch_in_open(path, &e) == NULL);
	snprintf(says, sizeof says, "%s:3: no line of batch results: ", path);
	CHECK(strstr(e.msg, says));
	unlink(path);
	CHECK(batch_in_open(path, &e) == NULL);
	CHECK(strstr(e.msg, "No such file"));
	CHECK(batch_in_open("/dev/null", &e) == NULL);
	CHECK(strstr(e.msg, "from a regular file"));
}

static void
an_empty_file_has_no_results(void)
{
	const char *path = file();
	struct batch_result r;
	struct batch_in *b;
	struct err e;

	put_file(path, "", 0);
	if (!CHECK((b = batch_in_open(path, &e)) != NULL))
		return;
	CHECK_INT(batch_in_get(b, "a", &r, &e), 0);
	batch_in_close(b);
	unlink(path);
}

static void
a_file_that_changes_under_it_is_an_error(void)
{
	static const char was[] = "{\"custom_id\":\"a\",\"error\":\"x\"}\n", is[] = "{\"custom_id\":\"b\",\"error\":\"x\"}\n";
	const char *path = file();
	struct batch_result r;
	struct batch_in *b;
	struct err e;

	put_file(path, was, sizeof was - 1);
	if (!CHECK((b = batch_in_open(path, &e)) != NULL))
		return;
	put_file(path, is, sizeof is - 1);
	CHECK_INT(batch_in_get(b, "a", &r, &e), -1);
	CHECK(strstr(e.msg, "changed while it was in use"));
	CHECK(truncate(path, 9) == 0);
	CHECK_INT(batch_in_get(b, "a", &r, &e), -1);
	CHECK(strstr(e.msg, "it ends early"));
	batch_in_close(b);
	unlink(path);
}

int
main(void)
{
	RUN(a_request_line_is_what_the_batch_api_takes);
	RUN(the_id_depends_on_path_body_and_sample_alone);
	RUN(results_of_both_servers_are_read);
	RUN(lines_that_are_no_results_are_refused);
	RUN(random_lines_are_read_or_refused);
	RUN(each_id_is_written_once);
	RUN(where_requests_cannot_go_is_said);
	RUN(the_file_of_standard_output_is_not_emptied);
	RUN(results_are_found_in_any_order);
	RUN(a_success_wins_else_the_last);
	RUN(a_broken_file_is_named_with_its_line);
	RUN(an_empty_file_has_no_results);
	RUN(a_file_that_changes_under_it_is_an_error);
	return t_done();
}
