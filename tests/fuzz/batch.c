/* batch.c - result lines of a batch, which come from anywhere
 *
 * A line is refused with a reason, or it has an id, and a body that is JSON as it stands in the line, with a status, or an error in words. A JSON
 * body put into a request line is found in it as it was. */
#include "fuzz.h"

#include "batch.h"
#include "rec.h"

static void
result(const char *line, size_t n)
{
	struct batch_result r;
	struct err e = { "" };
	json_t *v, *id;

	if (batch_result_parse(&r, line, n, &e) < 0) {
		MUST(e.msg[0] && !r.id && !r.body && !r.error);
		return;
	}
	MUST(r.id && (r.body || r.error));
	MUST(r.status == 0 || (r.status >= 100 && r.status <= 999));
	MUST(!r.error || fuzz_utf8(r.error, strlen(r.error)));
	if (r.body) {
		MUST(r.status && r.body[r.n] == '\0' && memmem(line, n, r.body, r.n));
		MUST(json_valid(r.body, r.n, &e) == 0);
	}
	v = json_loadb(line, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	id = json_object_get(v, "custom_id");
	if (v && !memchr(line, '\\', n))	/* a key with escapes is not taken for what it spells */
		MUST(json_is_string(id) && strcmp(json_string_value(id), r.id) == 0);
	json_decref(v);
	batch_result_free(&r);
}

static void
request(const char *body, size_t n)
{
	struct buf line = BUF_INIT(SIZE_MAX);
	char id[BATCH_ID], again[BATCH_ID];
	json_t *v;

	if (json_valid(body, n, NULL) < 0 || memchr(body, '\n', n))
		return;
	batch_id(id, "/chat/completions", body, n, 0);
	batch_id(again, "/chat/completions", body, n, 1);
	MUST(strlen(id) == BATCH_ID - 1 && strcmp(id, again) != 0);
	MUST(batch_line(&line, id, "/chat/completions", body, n) == 0);
	MUST(memchr(line.p, '\n', line.n) == line.p + line.n - 1 && memmem(line.p, line.n, body, n));
	MUST(json_valid(line.p, line.n, NULL) == 0);
	v = json_loadb(line.p, line.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	MUST(!v || strcmp(json_string_value(json_object_get(v, "custom_id")), id) == 0);
	json_decref(v);
	buf_free(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	result((const char *)data, n);
	request((const char *)data, n);
	return 0;
}
