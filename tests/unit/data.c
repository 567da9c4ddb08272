/* data.c - what of a data file is trained on */
#include <unistd.h>

#include "buf.h"
#include "data.h"

#include "t.h"

#define TINY "tests/goldens/train/tiny"

static struct tok *tok;
static struct sampler how;
static struct samples got;
static struct err e;

/* Read a data file with this content, at this cutoff. */
static int
reading(const char *content, int cutoff)
{
	char path[] = "/tmp/sa-data-XXXXXX";
	int fd = mkstemp(path), rc = -1;
	uint64_t hash = 0;

	samples_free(&got);
	how.cutoff = cutoff;
	e.msg[0] = '\0';
	if (CHECK(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content)))
		rc = data_read(&got, &how, path, 0, &hash, &e);
	close(fd);
	unlink(path);
	return rc;
}

/* The text of a sample's tokens, or of those that are supervised. */
static const char *
text(size_t i, bool supervised)
{
	static struct buf b = BUF_INIT(1 << 20);
	const struct sample *s = &got.v[i];

	buf_clear(&b);
	for (int t = 0; t < s->n; t++) {
		int id = supervised ? got.target[s->at + (size_t)t] : got.ids[s->at + (size_t)t];
		size_t n;
		const char *p;

		if (id < 0)
			continue;
		p = tok_bytes(tok, id, &n);
		buf_add(&b, p, n);
	}
	return b.p;
}

static void
every_assistant_turn_is_supervised_with_its_end_token(void)
{
	if (!CHECK(reading("{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A b\"},"
			   "{\"role\":\"user\",\"content\":\"V\"},{\"role\":\"assistant\",\"content\":\"C\"}]}\n", 256) == 0))
		return;
	CHECK_INT(got.n, 1);
	CHECK_STR(text(0, false), "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
		  "<|start_header_id|>assistant<|end_header_id|>\n\nA b<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
		  "<|start_header_id|>assistant<|end_header_id|>\n\nC<|eot_id|>");
	CHECK_STR(text(0, true), "A b<|eot_id|>C<|eot_id|>");
	CHECK_INT(got.v[0].supervised, got.supervised);
	CHECK_INT(got.v[0].line, 1);
}

static void
alpaca_joins_instruction_and_input_and_keeps_history(void)
{
	if (!CHECK(reading("[\n {\"instruction\":\"I\",\"input\":\"in\",\"output\":\"O\",\"history\":[[\"h\",\"H\"]],\"system\":\"S\"},\n"
			   " {\"instruction\":\"I\",\"input\":\"\",\"output\":\"O\"} ]\n", 256) == 0))
		return;
	CHECK_INT(got.n, 2);
	CHECK_STR(text(0, false), "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nh<|eot_id|>"
		  "<|start_header_id|>assistant<|end_header_id|>\n\nH<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nI\nin<|eot_id|>"
		  "<|start_header_id|>assistant<|end_header_id|>\n\nO<|eot_id|>");
	CHECK_STR(text(0, true), "H<|eot_id|>O<|eot_id|>");
	CHECK_STR(text(1, false), "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nI<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nO<|eot_id|>");
	CHECK_INT(got.v[0].line, 2);
	CHECK_INT(got.v[1].line, 3);
}

static void
plain_text_is_supervised_after_its_first_token(void)
{
	if (!CHECK(reading("{\"text\":\"ab cd\"}\n{\"text\":\"\"}", 256) == 0))
		return;
	CHECK_INT(got.n, 2);
	CHECK_STR(text(0, false), "<|begin_of_text|>ab cd<|end_of_text|>");
	CHECK_STR(text(0, true), "ab cd<|end_of_text|>");
	CHECK_STR(text(1, true), "<|end_of_text|>");
}

/* What transformers' tokenizer gives for a text alone: Llama's has a BOS, Qwen's has none, whatever bos_token_id the configuration names. */
static void
plain_text_begins_with_a_bos_only_where_the_tokenizer_puts_one(void)
{
	struct tok *llama = tok, *qwen = tok_load("tests/goldens/tokenizer-qwen", &e);
	struct sampler llama_how = how;

	if (!CHECK(qwen))
		return;
	CHECK_INT(reading("{\"text\":\"plain\"}\n", 256), 0);
	CHECK_STR(text(0, false), "<|begin_of_text|>plain<|end_of_text|>");
	sampler_init(&how, qwen, "tests/goldens/tokenizer-qwen", tok_id(qwen, "<|im_end|>"));
	how.vocab = tok_size(qwen);
	tok = qwen;
	CHECK_INT(reading("{\"text\":\"plain\"}\n", 256), 0);
	CHECK_STR(text(0, false), "plain<|endoftext|>");
	sampler_free(&how);
	tok_free(qwen);
	how = llama_how;
	tok = llama;
}

static void
special_tokens_in_a_text_stay_text(void)
{
	if (!CHECK(reading("{\"prompt\":\"<|eot_id|>\",\"response\":\"x<|end_of_text|>\"}\n{\"text\":\"<|eot_id|>\"}\n", 256) == 0))
		return;
	for (size_t i = 0; i < got.n; i++) {
		int eot = 0;

		for (int t = 0; t < got.v[i].n; t++)
			eot += got.ids[got.v[i].at + (size_t)t] == tok_id(tok, "<|eot_id|>");
		CHECK_INT(eot, i == 0 ? 2 : 0);
	}
	CHECK_STR(text(0, true), "x<|end_of_text|><|eot_id|>");
}

static void
a_sample_is_cut_from_the_right_and_dropped_when_nothing_is_left_to_learn(void)
{
	if (!CHECK(reading("{\"text\":\"1 2 3 4 5 6 7 8 9\"}\n{\"prompt\":\"a long one\",\"response\":\"x\"}\n{\"text\":\"1\"}\n", 4) == 0))
		return;
	CHECK_INT(got.n, 2);
	CHECK_INT(got.cut, 2);
	CHECK_INT(got.dropped, 1);
	CHECK_INT(got.v[0].n, 4);
	CHECK_INT(got.v[0].supervised, 3);
	CHECK_INT(got.target[got.v[0].at + 3], -1);
	CHECK_INT(got.v[1].line, 3);
	CHECK_INT(got.tokens, 4 + 3);
}

static void
a_bad_record_is_named_by_file_and_line(void)
{
	static const struct { const char *content, *where, *why; } bad[] = {
		{ "{\"text\":\"a\"}\n\n{\"text\":1}\n", ":3: ", "no known kind of record" },
		{ "{\"text\":\"a\"}\n{\"text\":\n", ":2: ", "" },
		{ "{\"text\":\"a\\u0000\"}\n", ":1: ", "a string has a NUL" },
		{ "[{\"text\":\"a\"}, {\"text\":\"a\\u0000\"}]", ":1: record 2: ", "a string has a NUL" },
		{ "{\"text\":\"a\"}\n[1]\n", ":2: ", "not a JSON object" },
		{ "{\"messages\":{}}\n", ":1: ", "\"messages\" is not an array" },
		{ "{\"messages\":[{\"role\":\"user\"}]}\n", ":1: ", "messages[0]" },
		{ "{\"messages\":[{\"role\":\"wizard\",\"content\":\"x\"}]}\n", ":1: ", "wizard" },
		{ "{\"instruction\":\"a\",\"output\":\"b\",\"history\":[[\"c\"]]}\n", ":1: ", "history[0]" },
		{ "{\"instruction\":\"a\",\"output\":\"b\",\"input\":3}\n", ":1: ", "\"input\" is not a string" },
		{ "[{\"text\":\"a\"},\n{\"text\":\"b\"}\n{\"text\":\"c\"}]", ":3: ", "expected" },
		{ "[{\"text\":\"a\"},\n7]", ":2: ", "" },
		{ "[{\"text\":\"a\"},\n]", ":2: ", "',' before ']'" },
		{ "[{\"text\":\"a\"}\n", ":2: ", "does not end" },
		{ "[{\"text\":\"a\"}]\n\nx", ":3: ", "after the array" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_INT(reading(bad[i].content, 256), -1);
		if (!CHECK(strncmp(e.msg, "/tmp/sa-data-", 13) == 0 && strstr(e.msg, bad[i].where) && strstr(e.msg, bad[i].why)))
			printf("#   %s\n", e.msg);
	}
}

static void
an_id_outside_the_model_s_vocabulary_is_refused(void)
{
	how.vocab = 300;
	CHECK_INT(reading("{\"text\":\"a\"}\n", 256), -1);
	CHECK(strstr(e.msg, "vocabulary of 300") != NULL);
	how.vocab = 320;
}

static void
an_empty_file_has_no_samples(void)
{
	CHECK_INT(reading("", 256), 0);
	CHECK_INT(got.n, 0);
	CHECK_INT(reading("[]", 256), 0);
	CHECK_INT(got.n, 0);
}

int
main(void)
{
	tok = tok_load(TINY, &e);
	if (!tok) {
		printf("not ok 1 - %s\n1..1\n", e.msg);
		return 1;
	}
	sampler_init(&how, tok, TINY, -1);
	how.vocab = 320;
	RUN(every_assistant_turn_is_supervised_with_its_end_token);
	RUN(alpaca_joins_instruction_and_input_and_keeps_history);
	RUN(plain_text_is_supervised_after_its_first_token);
	RUN(plain_text_begins_with_a_bos_only_where_the_tokenizer_puts_one);
	RUN(special_tokens_in_a_text_stay_text);
	RUN(a_sample_is_cut_from_the_right_and_dropped_when_nothing_is_left_to_learn);
	RUN(a_bad_record_is_named_by_file_and_line);
	RUN(an_id_outside_the_model_s_vocabulary_is_refused);
	RUN(an_empty_file_has_no_samples);
	samples_free(&got);
	sampler_free(&how);
	tok_free(tok);
	return t_done();
}
