/* The tokenizer: ids equal to Hugging Face's tokenizers (goldens/make_tokenizer.py), bytes kept whatever they are, unknown files refused. */
#include "tokenizer.h"

#include <jansson.h>
#include <pthread.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "t.h"
#include "text.h"
#include "utf8.h"

#define GOLDEN "tests/goldens/tokenizer"
#define QWEN "tests/goldens/tokenizer-qwen"

static struct tok *tok, *qwen;
static json_t *file;	/* tokenizer.json, parsed */
static char dir[] = "/tmp/sa-tokenizer-XXXXXX";

/* The tokenizer that `root` describes, through a file as always. */
static struct tok *
tok_of(const json_t *root, struct err *e)
{
	char path[sizeof dir + 32];

	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	e->msg[0] = '\0';
	if (json_dump_file(root, path, JSON_COMPACT) < 0)
		exit(99);
	return tok_load(dir, e);
}

static void
check_ids(const struct ids *got, const json_t *want, const char *text)
{
	size_t same = 0;

	while (same < got->n && same < json_array_size(want) && got->v[same] == json_integer_value(json_array_get(want, same)))
		same++;
	if (!CHECK(got->n == json_array_size(want) && same == got->n))
		printf("#   in \"%.80s\": differs at id %zu of %zu\n", text, same, json_array_size(want));
}

/* Every case, with the ids of `member` where it has that, and what the ids stand for. */
static void
check_cases(const struct tok *t, const char *cases, int count, const char *member)
{
	FILE *f = fopen(cases, "r");
	int n = 0;
	json_t *c;

	if (!CHECK(f))
		return;
	while ((c = json_loadf(f, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL))) {
		const json_t *text = json_object_get(c, "text"), *want = json_object_get(c, member);
		struct ids got = { 0 };

		tok_encode(t, json_string_value(text), json_string_length(text), json_is_true(json_object_get(c, "special")), &got);
		check_ids(&got, want ? want : json_object_get(c, "ids"), json_string_value(text));
		ids_free(&got);
		json_decref(c);
		n++;
	}
	fclose(f);
	CHECK_INT(n, count);
}

static void
ids_are_those_of_the_reference(void)
{
	check_cases(tok, GOLDEN "/cases.jsonl", 236, "ids");
	check_cases(qwen, QWEN "/cases.jsonl", 256, "ids");
}

/* One character beside letters, digits, white space and an apostrophe: around() of the script. */
static void
encode_around(const struct tok *t, int c, struct ids *out)
{
	struct buf b = BUF_INIT(64);
	unsigned char s[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		s[i] = 0x80 | (c & 0x3f);
	s[0] = n == 1 ? c : (0xf00 >> n & 0xff) | c;
	for (const char *p = "a1 \n'!"; *p; p++) {
		buf_add(&b, s, n);
		buf_addc(&b, *p);
	}
	tok_encode(t, b.p, b.n, true, out);
	buf_free(&b);
}

static void
check_scalars(const struct tok *t, const char *golden)
{
	FILE *f = fopen(golden, "r");
	unsigned block;
	char want[32], got[32];
	int blocks = 0;

	while (CHECK(f) && fscanf(f, "%x %16s", &block, want) == 2) {
		struct ids ids = { 0 };

		for (unsigned c = block << 12; c < (block + 1) << 12; c++)
			if (c < 0xd800 || c >= 0xe000)
				encode_around(t, c, &ids);
		snprintf(got, sizeof got, "%016llx", (unsigned long long)XXH64(ids.v, ids.n * sizeof *ids.v, 0));
		if (!CHECK_STR(got, want))
			printf("#   characters U+%X000..U+%XFFF\n", block, block);
		ids_free(&ids);
		blocks++;
	}
	fclose(f);
	CHECK_INT(blocks, 80);
}

static void
every_character_beside_others_has_the_ids_of_the_reference(void)
{
	check_scalars(tok, GOLDEN "/scalars.txt");
	check_scalars(qwen, QWEN "/scalars.txt");
}

static void
without_ignore_merges_a_token_that_no_merge_makes_is_not_found(void)
{
	json_t *root = json_deep_copy(file);
	struct err e;
	struct tok *t;

	json_object_set_new(json_object_get(root, "model"), "ignore_merges", json_false());
	t = tok_of(root, &e);
	if (CHECK(t))
		check_cases(t, GOLDEN "/cases.jsonl", 236, "merged");
	tok_free(t);
	json_decref(root);
}

static void
merges_may_be_pairs(void)
{
	json_t *root = json_deep_copy(file), *merges = json_object_get(json_object_get(root, "model"), "merges"), *v;
	struct err e;
	struct tok *t;
	size_t i;

	json_array_foreach(merges, i, v) {
		const char *s = json_string_value(v), *space = strchr(s, ' ');

		json_array_set_new(merges, i, json_pack("[s#s]", s, (int)(space - s), space + 1));
	}
	t = tok_of(root, &e);
	if (CHECK(t))
		check_cases(t, GOLDEN "/cases.jsonl", 236, "ids");
	tok_free(t);
	json_decref(root);
}

/* What the ids stand for, all together. */
static void
decode(const struct tok *t, const struct ids *ids, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < ids->n; i++) {
		size_t n;
		const char *p = tok_bytes(t, ids->v[i], &n);

		buf_add(out, p, n);
	}
}

static void
check_round(const struct tok *t, const char *s, size_t n)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct ids ids = { 0 };

	tok_encode(t, s, n, false, &ids);
	decode(t, &ids, &b);
	CHECK_BYTES(b.p, b.n, s, n);
	ids_free(&ids);
	buf_free(&b);
}

static void
bytes_that_are_not_utf8_are_kept(void)
{
	uint64_t seed = 1;
	char s[64];

	check_round(tok, "a\xff b\xc3", 5);
	check_round(qwen, "a\xff b\xc3\xe0\xa4", 7);
	check_round(tok, "\xed\xa0\x80 \xf4\x90\x80\x80\xc0\x80", 10);
	for (int i = 0; i < 2000; i++) {
		size_t n = text_random(&seed) % sizeof s;

		for (size_t k = 0; k < n; k++)
			s[k] = text_random(&seed) % 3 ? text_random(&seed) : ' ' + text_random(&seed) % 95;
		check_round(tok, s, n);
	}
}

/* Joining one pair at a time by looking through the whole piece would take hours. */
static void
a_million_times_one_letter_is_one_piece(void)
{
	size_t n = 1 << 20;
	char *s = xmalloc(n);

	memset(s, 'e', n);
	check_round(tok, s, n);
	check_round(qwen, s, n);
	memset(s, ' ', n);
	check_round(tok, s, n);
	free(s);
}

/* What makes a pattern, a search or a normalizer go over the same bytes again and again, if it does: each would take hours then. */
static void
a_million_bytes_of_anything_are_gone_over_a_few_times(void)
{
	static const char *const units[] = {
		"\n", " \n", "\n  ", "\t", "'", "'s", "''s ", "1", "1 ", "!", " !", "!\n", "<", "<|eot_id", "<|eot_id|> ", "<tool", "word", " word", "\xff", "a\xff",
		"\xe4\xbd", "\xf0\x9f\x98\x80", "\u4f60", "\u3000", "\u2028 ", "\u0e33", "\xf0\x9f\x91\xa8\xe2\x80\x8d", "\xea\xb0\x80\xe1\x86\xa8", "zebra", " Q\xcd\x8f",
	};
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		buf_clear(&b);
		while (b.n < 1 << 20)
			buf_adds(&b, units[i]);
		buf_adds(&b, "x");
		check_round(tok, b.p, b.n);
		if (!strstr(units[i], "\xea"))	/* which the normal form composes */
			check_round(qwen, b.p, b.n);
	}
	buf_free(&b);
}

/* Half a million marks on one letter, the worst order for a sort: quick, and all there. */
static void
a_million_bytes_of_marks_are_one_character(void)
{
	size_t n = 1 << 20, got = 0;
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct ids ids = { 0 };

	buf_addc(&b, 'q');
	while (b.n < n)
		buf_add(&b, b.n / 2 % 2 ? "\u0323" : "\u0301", 2);
	tok_encode(qwen, b.p, b.n, false, &ids);
	n = b.n;
	decode(qwen, &ids, &b);
	CHECK_INT(b.n, n);
	for (size_t i = 1; i + 1 < b.n; i += 2)
		got += memcmp(b.p + i, i < n / 2 ? "\u0323" : "\u0301", 2) == 0;
	CHECK_INT(got, n / 2);
	ids_free(&ids);
	buf_free(&b);
}

#define THREADS 4

static void *
encode_corpus(void *fresh)
{
	struct ids *ids = xcalloc(1, sizeof *ids);

	for (const char *const *w = (const char *const[]){ "The quick brown fox", " zebra", "今天天气很好", "e\u0301e\u0323 12345", NULL }; *w; w++)
		for (int i = 0; i < 100; i++)
			tok_encode(fresh, *w, strlen(*w), false, ids);
	return ids;
}

/* What is found out of a token when it is first asked for is found by several at once. */
static void
threads_share_a_tokenizer(void)
{
	pthread_t thread[THREADS];
	struct tok *fresh;
	struct ids *want = encode_corpus(qwen), *got;
	struct err e;

	fresh = tok_load(QWEN, &e);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&thread[i], NULL, encode_corpus, fresh), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], (void **)&got);
		CHECK_BYTES((char *)got->v, got->n * sizeof(int), (char *)want->v, want->n * sizeof(int));
		ids_free(got);
		free(got);
	}
	ids_free(want);
	free(want);
	tok_free(fresh);
}

static void
text_of_special_tokens_stays_text_unless_asked_for(void)
{
	static const char s[] = "a<|eot_id|>b";
	struct ids ids = { 0 };

	tok_encode(tok, s, strlen(s), false, &ids);
	for (size_t i = 0; i < ids.n; i++)
		CHECK(!tok_is_special(tok, ids.v[i]));
	ids.n = 0;
	tok_encode(tok, s, strlen(s), true, &ids);
	CHECK_INT(ids.n, 3);
	CHECK_INT(ids.v[1], tok_id(tok, "<|eot_id|>"));
	CHECK(tok_is_special(tok, ids.v[1]));
	ids_free(&ids);
}

static void
tokens_are_found_by_name_and_by_id(void)
{
	const char *s;
	size_t n;

	CHECK_INT(tok_size(tok), 640);
	CHECK_INT(tok_bos(tok), tok_id(tok, "<|begin_of_text|>"));
	CHECK_INT(tok_id(tok, "<tool>late"), 639);
	CHECK_INT(tok_id(tok, "<|eot_id"), -1);
	CHECK_INT(tok_id(tok, "the"), -1);	/* a token, but not an added one */
	CHECK(!tok_is_special(tok, tok_id(tok, "<tool>")));
	CHECK_STR(tok_bytes(tok, -1, &n), "");
	CHECK_INT(n, 0);
	CHECK_STR(tok_bytes(tok, 640, &n), "");
	s = tok_bytes(tok, 639, &n);
	CHECK_BYTES(s, n, "<tool>late", 10);
}

static void
a_stream_may_send_whole_characters_only(void)
{
	static const struct {
		const char *s;
		size_t whole;
	} cases[] = {
		{ "", 0 }, { "a", 1 }, { "a\xc3", 1 }, { "\xc3\xa9", 2 }, { "a\xe4\xbd", 1 }, { "\xe4\xbd\xa0", 3 }, { "\xf0\x9f\x98", 0 }, { "\xf0\x9f\x98\x80", 4 },
		{ "a\x80", 2 }, { "\xff", 1 }, { "\xc0", 1 }, { "\xed\xa0", 2 }, { "\xed\x9f", 0 }, { "\xe0\x80", 2 }, { "\xf4\x90", 2 }, { "\xf5", 1 },
		{ "\xc3\xc3", 1 }, { "\x80\x80\x80\x80", 4 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (!CHECK(utf8_whole(cases[i].s, strlen(cases[i].s)) == cases[i].whole))
			printf("#   case %zu\n", i);
}

/* As a server streams: after each token whatever is whole by then goes out, and nothing is lost. */
static void
decoded_streams_are_whole_characters(void)
{
	static const char text[] = "na\u00efve \u4f60\u597d\uff0c\U0001f468\u200d\U0001f469\u200d\U0001f467! \u0e01\u0e33\u0e49 Vi\u1ec7t \U0001d518 e\u0323\u0301 \ud55c\uad6d\uc5b4";
	struct buf held = BUF_INIT(4096), sent = BUF_INIT(4096);
	struct ids ids = { 0 };
	size_t n, whole;
	int broken = 0;

	tok_encode(tok, text, sizeof text - 1, false, &ids);
	for (size_t i = 0; i < ids.n; i++) {
		const char *p = tok_bytes(tok, ids.v[i], &n);

		buf_add(&held, p, n);
		whole = utf8_whole(held.p, held.n);
		CHECK(whole == 0 || utf8_valid((const unsigned char *)held.p, whole));
		broken += whole < held.n;
		buf_add(&sent, held.p, whole);
		memmove(held.p, held.p + whole, held.n -= whole);
	}
	CHECK(broken > 10);	/* tokens that end within a character, or this shows nothing */
	CHECK_BYTES(sent.p, sent.n, text, sizeof text - 1);
	ids_free(&ids);
	buf_free(&held);
	buf_free(&sent);
}

/* Put `value` (JSON) at `path`, members and indices separated by spaces; a last index of "+" appends. */
static void
edit(json_t *root, const char *path, const char *value)
{
	json_t *at = root, *v = json_loads(value, JSON_DECODE_ANY, NULL);
	char copy[128], *word, *next, *save;

	snprintf(copy, sizeof copy, "%s", path);
	for (word = strtok_r(copy, " ", &save); (next = strtok_r(NULL, " ", &save)); word = next)
		at = json_is_array(at) ? json_array_get(at, atoi(word)) : json_object_get(at, word);
	if (!json_is_array(at))
		json_object_set_new(at, word, v);
	else if (*word == '+')
		json_array_append_new(at, v);
	else
		json_array_set_new(at, atoi(word), v);
}

static void
what_is_not_known_is_refused_by_name(void)
{
	static const struct {
		const char *path, *value, *says;
	} cases[] = {
		{ "model type", "\"WordPiece\"", "model type WordPiece is not known" },
		{ "model", "null", "no \"model\"" },
		{ "model byte_fallback", "true", "model.byte_fallback is set" },
		{ "model unk_token", "\"<unk>\"", "model.unk_token is set" },
		{ "model dropout", "0.1", "model.dropout is set" },
		{ "normalizer", "{\"type\":\"Lowercase\"}", "normalizer Lowercase is not known" },
		{ "decoder", "{\"type\":\"WordPiece\"}", "decoder WordPiece is not known" },
		{ "normalizer", "{\"type\":\"Sequence\",\"normalizers\":[]}", "normalizer Sequence is not known (known: none, NFC)" },
		{ "pre_tokenizer", "null", "pre-tokenizer null is not known" },
		{ "pre_tokenizer", "{\"type\":\"Whitespace\"}", "pre-tokenizer Whitespace is not known" },
		{ "pre_tokenizer pretokenizers 0 behavior", "\"Removed\"", "pre-tokenizer Split" },
		{ "pre_tokenizer pretokenizers 0 pattern Regex", "\"\\\\w+\"", "unknown pre-tokenizer pattern \\w+" },
		{ "pre_tokenizer pretokenizers 1 use_regex", "true", "pre-tokenizer Sequence" },
		{ "post_processor", "{\"type\":\"BertProcessing\"}", "post-processor BertProcessing is not known" },
		{ "post_processor single +", "{\"SpecialToken\":{\"id\":\"<|end_of_text|>\"}}", "post-processor TemplateProcessing" },
		{ "post_processor single 0 SpecialToken id", "\"<bos>\"", "\"<bos>\" is not an added token" },
		{ "model vocab Q", "3", "have the same id 3" },
		{ "model vocab Q", "626", "has an id outside 0..625" },
		{ "model vocab Q", "-1", "has an id outside 0..625" },
		{ "model vocab Q", "\"x\"", "has an id outside 0..625" },
		{ "model vocab", "{}", "model.vocab is not an object" },
		{ "model vocab", "{\"a\":0}", "no token for byte 0x00" },
		{ "model vocab", "{\"a b\":0}", "token \"a b\" is not spelled in the byte alphabet" },
		{ "model vocab", "{\"\":0}", "token \"\" is empty" },
		{ "model merges", "null", "model.merges is not an array" },
		{ "model merges 3", "\"qq q\"", "model.merges[3]: token \"qq\" is not in the vocabulary" },
		{ "model merges 3", "\"q q\"", "model.merges[3]: \"q\" + \"q\" is not in the vocabulary" },
		{ "model merges 3", "\"qq\"", "model.merges[3]: not two tokens" },
		{ "model merges 3", "[\"q\"]", "model.merges[3]: not two tokens" },
		{ "model merges 3", "[\"q\",\"\"]", "model.merges[3]: token \"\" is not in the vocabulary" },
		{ "added_tokens 2 id", "700", "added_tokens[2]: \"<|start_header_id|>\" has id 700, expected 628" },
		{ "added_tokens 2 content", "\"<|pad|>\"", "added_tokens: \"<|pad|>\" is there twice" },
		{ "added_tokens 2 content", "\"\"", "added_tokens[2]: not an object with" },
		{ "added_tokens 2", "7", "added_tokens[2]: not an object with" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *root = json_deep_copy(file);
		struct err e;
		struct tok *t;

		edit(root, cases[i].path, cases[i].value);
		t = tok_of(root, &e);
		if (!CHECK(!t && strstr(e.msg, cases[i].says) && strstr(e.msg, "/tokenizer.json: ")))
			printf("#   case %zu: \"%s\" wants \"%s\"\n", i, e.msg, cases[i].says);
		tok_free(t);
		json_decref(root);
	}
}

static void
a_token_to_be_normalized_is_refused_with_a_normalizer(void)
{
	json_t *root = json_deep_copy(file);
	struct err e;

	edit(root, "normalizer", "{\"type\":\"NFC\"}");
	edit(root, "added_tokens 12 content", "\"late\\u0301\"");
	CHECK(!tok_of(root, &e));
	CHECK(strstr(e.msg, "is to be normalized, which is not supported"));
	json_decref(root);
}

static void
a_merge_given_twice_is_refused(void)
{
	json_t *root = json_deep_copy(file), *merges = json_object_get(json_object_get(root, "model"), "merges");
	struct err e;

	json_array_append(merges, json_array_get(merges, 5));
	CHECK(!tok_of(root, &e));
	CHECK(strstr(e.msg, "the same as model.merges[5]"));
	json_decref(root);
}

static void
a_file_that_is_none_is_refused_with_its_name(void)
{
	struct err e;
	char path[sizeof dir + 32];
	FILE *f;

	CHECK(!tok_load("/nonexistent", &e));
	CHECK(strstr(e.msg, "/nonexistent/tokenizer.json: No such file"));
	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	f = fopen(path, "w");
	fputs("{\"model\":\n{\"type\":\"BPE\",", f);
	fclose(f);
	CHECK(!tok_load(dir, &e));
	CHECK(strstr(e.msg, "/tokenizer.json: line 2: "));
}

int
main(void)
{
	char path[sizeof dir + 32];
	struct err e;

	file = json_load_file(GOLDEN "/tokenizer.json", 0, NULL);
	tok = tok_load(GOLDEN, &e);
	qwen = tok_load(QWEN, &e);
	if (!file || !tok || !qwen || !mkdtemp(dir))
		return 99;
	RUN(ids_are_those_of_the_reference);
	RUN(every_character_beside_others_has_the_ids_of_the_reference);
	RUN(without_ignore_merges_a_token_that_no_merge_makes_is_not_found);
	RUN(merges_may_be_pairs);
	RUN(bytes_that_are_not_utf8_are_kept);
	RUN(a_million_times_one_letter_is_one_piece);
	RUN(a_million_bytes_of_anything_are_gone_over_a_few_times);
	RUN(a_million_bytes_of_marks_are_one_character);
	RUN(threads_share_a_tokenizer);
	RUN(text_of_special_tokens_stays_text_unless_asked_for);
	RUN(tokens_are_found_by_name_and_by_id);
	RUN(a_stream_may_send_whole_characters_only);
	RUN(decoded_streams_are_whole_characters);
	RUN(what_is_not_known_is_refused_by_name);
	RUN(a_token_to_be_normalized_is_refused_with_a_normalizer);
	RUN(a_merge_given_twice_is_refused);
	RUN(a_file_that_is_none_is_refused_with_its_name);
	tok_free(tok);
	tok_free(qwen);
	json_decref(file);
	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	unlink(path);
	rmdir(dir);
	return t_done();
}
