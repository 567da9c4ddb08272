/* request.c - bodies of requests to sa-serve, which come from anywhere
 *
 * A body is refused with a status of 4xx and an error that is JSON, in words and UTF-8, or every prompt has tokens of the vocabulary that fit
 * into the context, and every setting is within its range. The first byte says whether it is a chat. */
#include "fuzz.h"

#include "answer.h"
#include "request.h"

#define TINY "tests/goldens/train/tiny"

static struct serving serving = { .template = TEMPLATE_LLAMA3, .name = "tiny", .path = TINY, .max_context = 64 };

static void
setup(void)
{
	struct err e;

	if (serving.tok)
		return;
	serving.tok = tok_load(TINY, &e);
	if (!serving.tok)
		die(STATUS_USAGE, "%s (run it in the repository's root)", e.msg);
	serving.vocab = tok_size(serving.tok);
	serving.guides = guides_new(serving.tok, serving.vocab, &(int){ 0 }, 1);
}

static void
refused(const struct req_error *e)
{
	struct buf b = BUF_INIT(SIZE_MAX);
	json_t *root, *error;

	MUST(e->status >= 400 && e->status < 500 && e->message[0]);
	answer_error(&b, e);
	root = json_loadb(b.p, b.n, 0, NULL);
	error = json_object_get(root, "error");
	MUST(json_is_string(json_object_get(error, "message")) && json_is_string(json_object_get(error, "type")));
	json_decref(root);
	buf_free(&b);
}

static void
accepted(const struct request *r)
{
	MUST(r->nprompts >= 1 && r->n >= 1 && r->n <= REQ_CHOICES && r->nprompts * (size_t)r->n <= REQ_PROMPTS);
	for (size_t i = 0; i < r->nprompts; i++) {
		const struct ids *ids = &r->prompt[i].ids;

		MUST(ids->n >= 1 && ids->n <= (size_t)serving.max_context && r->prompt[i].hidden <= ids->n);
		for (size_t k = 0; k < ids->n; k++)
			MUST(ids->v[k] >= 0 && ids->v[k] < serving.vocab);
	}
	MUST(r->how.temperature >= 0 && r->how.temperature <= 2 && r->how.top_p >= 0 && r->how.top_p <= 1 && r->how.top_k >= 0);
	MUST(r->max_tokens >= -1 && r->logprobs >= -1 && r->logprobs <= REQ_TOP);
	MUST(r->prompt_logprobs >= -1 && r->prompt_logprobs <= REQ_TOP && !(r->stream && r->prompt_logprobs >= 0));
	MUST(r->max_tokens != 0 || r->echo);
	for (size_t i = 0; i < r->stop_ids.n; i++)
		MUST(r->stop_ids.v[i] >= 0 && r->stop_ids.v[i] < serving.vocab);
	MUST(r->stop.n >= 0 && r->stop.n <= STOP_MAX);
	for (int i = 0; i < r->stop.n; i++)
		MUST(r->stop.len[i] >= 1 && r->stop.len[i] <= STOP_BYTES && strlen(r->stop.s[i]) == r->stop.len[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum req_kind kind = fuzz_byte(&data, &n) & 1 ? REQ_CHAT : REQ_COMPLETION;
	struct req_error e = { 0 };
	struct request r;

	setup();
	if (req_parse(&r, kind, (const char *)data, n, &serving, &e) < 0) {
		refused(&e);
		return 0;
	}
	accepted(&r);
	req_free(&r);
	return 0;
}
