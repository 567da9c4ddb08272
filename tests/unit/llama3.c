/* The tokenizer with Llama-3's own vocabulary, where Meta's file is at hand: $SA_DATA/llama3/tokenizer.model, SA_DATA being ../shared/data.
 *
 * That file has the tokens and their ranks, no merges. Every way to split a token into two others is a merge, in the order of the token's rank and then
 * the parts': 280,147 of them, as in the published tokenizer.json. The ids below are Hugging Face tokenizers', from that. */
#include <jansson.h>
#include <unistd.h>

#include "buf.h"
#include "pretok.h"
#include "t.h"
#include "tokenizer.h"

static char dir[] = "/tmp/sa-llama3-XXXXXX";

static size_t
base64(const char *s, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0;
	size_t n = 0;
	int have = 0;

	for (; *s && *s != '='; s++) {
		bits = bits << 6 | (strchr(digits, *s) - digits);
		have += 6;
		if (have >= 8)
			out[n++] = bits >> (have -= 8);
	}
	return n;
}

/* The file's tokens, spelled in the byte alphabet, with their ranks; NULL when there is no file. */
static json_t *
vocabulary(void)
{
	const char *data = getenv("SA_DATA");
	struct buf path = BUF_INIT(4096), name = BUF_INIT(4096);
	char line[1024], bytes[1024];
	json_t *vocab = json_object();
	FILE *f;

	buf_addf(&path, "%s/llama3/tokenizer.model", data ? data : "../shared/data");
	f = fopen(path.p, "r");
	buf_free(&path);
	while (f && fgets(line, sizeof line, f)) {
		char *space = strchr(line, ' ');
		size_t n;

		*space = '\0';
		n = base64(line, bytes);
		buf_clear(&name);
		for (size_t i = 0; i < n; i++) {
			int c = alphabet_char(bytes[i]);

			if (c >= 0x80)
				buf_addc(&name, 0xc0 | c >> 6);
			buf_addc(&name, c >= 0x80 ? 0x80 | (c & 0x3f) : c);
		}
		json_object_set_new(vocab, name.p, json_integer(atoi(space + 1)));
	}
	buf_free(&name);
	if (f) {
		fclose(f);
		return vocab;
	}
	json_decref(vocab);
	return NULL;
}

struct split {
	int left, right;
	char *text;
};

static int
by_rank(const void *x, const void *y)
{
	const struct split *a = x, *b = y;

	return a->left != b->left ? (a->left > b->left) - (a->left < b->left) : (a->right > b->right) - (a->right < b->right);
}

/* Append the splits of one token. */
static void
add_merges(json_t *merges, json_t *vocab, const char *token)
{
	struct split s[256];
	size_t n = 0, len = strlen(token);
	char left[512];

	for (size_t i = 1; i < len && n < 256; i++) {
		const json_t *l, *r = json_object_get(vocab, token + i);

		memcpy(left, token, i);
		left[i] = '\0';
		l = (token[i] & 0xc0) == 0x80 || !r ? NULL : json_object_get(vocab, left);
		if (!l)
			continue;
		s[n] = (struct split){ json_integer_value(l), json_integer_value(r), xmalloc(len + 2) };
		sprintf(s[n++].text, "%s %s", left, token + i);
	}
	qsort(s, n, sizeof *s, by_rank);
	for (size_t i = 0; i < n; i++) {
		json_array_append_new(merges, json_string(s[i].text));
		free(s[i].text);
	}
}

static json_t *
merges_of(json_t *vocab)
{
	size_t n = json_object_size(vocab);
	const char **token = xcalloc(n, sizeof *token), *name;
	json_t *merges = json_array(), *rank;

	json_object_foreach(vocab, name, rank)
		token[json_integer_value(rank)] = name;
	for (size_t i = 0; i < n; i++)
		add_merges(merges, vocab, token[i]);
	free(token);
	return merges;
}

static struct tok *
load(json_t *vocab, json_t *merges, bool ignore_merges)
{
	json_t *root = json_pack("{s{ss s[{ss s{ss} ss} {ss sb sb}]} s{ss sb sO sO}}", "pre_tokenizer", "type", "Sequence", "pretokenizers", "type", "Split",
		"pattern", "Regex", pretok_llama3, "behavior", "Isolated", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0,
		"model", "type", "BPE", "ignore_merges", ignore_merges, "vocab", vocab, "merges", merges);
	char path[sizeof dir + 32];
	struct err e;
	struct tok *t;

	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	json_dump_file(root, path, JSON_COMPACT);
	json_decref(root);
	t = tok_load(dir, &e);
	if (!t)
		printf("# %s\n", e.msg);
	unlink(path);
	return t;
}

static void
check(const struct tok *t, const char *text, const int *want, size_t n)
{
	struct ids ids = { 0 };

	tok_encode(t, text, strlen(text), false, &ids);
	if (!CHECK(ids.n == n && memcmp(ids.v, want, n * sizeof *want) == 0))
		printf("#   \"%s\"\n", text);
	ids_free(&ids);
}

#define IDS(...) (int[]){ __VA_ARGS__ }, sizeof (int[]){ __VA_ARGS__ } / sizeof(int)

static void
llama_3s_vocabulary_gives_its_ids(void)
{
	json_t *vocab = vocabulary(), *merges;
	struct tok *t;

	if (!vocab)
		SKIP("no llama3/tokenizer.model");
	merges = merges_of(vocab);
	CHECK_INT(json_array_size(merges), 280147);
	t = load(vocab, merges, true);
	if (CHECK(t)) {
		check(t, " Việt", IDS(101798));
		check(t, "Hello world, it's 12345 o'clock!\n\n  ok", IDS(9906, 1917, 11, 433, 596, 220, 4513, 1774, 297, 63510, 2268, 220, 5509));
		check(t, "今天天气很好，我们去公园散步吧。",
			IDS(110916, 36827, 102146, 101600, 53901, 109806, 86436, 35417, 106143, 107471, 65782, 102445, 1811));
		check(t, "\xf0\x9f\x91\xa8\u200d\xf0\x9f\x91\xa9 naïve café\r\n\tx = 1;",
			IDS(9468, 239, 101, 102470, 9468, 239, 102, 95980, 588, 53050, 319, 10436, 284, 220, 16, 26));
	}
	tok_free(t);
	t = load(vocab, merges, false);
	if (CHECK(t))
		check(t, " Việt", IDS(11655, 26298, 83));
	tok_free(t);
	json_decref(merges);
	json_decref(vocab);
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 99;
	RUN(llama_3s_vocabulary_gives_its_ids);
	rmdir(dir);
	return t_done();
}
