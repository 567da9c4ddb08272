/* nano-bpe - learns a byte-level BPE vocabulary from records and writes it as a Hugging Face tokenizer directory
 *
 * Sennrich et al. 2016 on bytes: the text is cut into words (the pre-tokenizer's pieces, each with how often it occurs), a word is a row of symbols,
 * and the pair of neighbours that occurs most often becomes a new symbol until the vocabulary is full. Ties go to the smaller ids, so
 * the same text gives the same bytes. A merge only visits the words that hold its pair; a pair's count can only fall after the merge that made
 * its symbols, so the heap's entries are upper bounds and a stale one is corrected when it comes up. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "err.h"
#include "line.h"
#include "opt.h"
#include "pretok.h"
#include "template.h"

static const char *const specials[] = {
	"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>",
};
#define SPECIALS (sizeof specials / sizeof *specials)

/* Byte strings, each once, numbered in order of arrival. */
struct table {
	struct string {
		char *p;
		size_t n;
	} *v;
	size_t n, cap;
	uint32_t *slot;		/* number + 1, 0: free; a power of two of them, at most half of them taken */
	size_t nslot;
};

struct word {
	int64_t count;
	int *sym;
	size_t n;
};

struct pair {
	int a, b;
	int64_t count;
	uint32_t *word;		/* the words that hold it, and perhaps some that no longer do */
	size_t n, cap;
};

struct entry {		/* of the heap */
	int64_t count;
	uint32_t pair;
};

struct learner {
	struct pretok *pretok;
	struct table words, pairs, tokens;	/* a pair's string is its two ids */
	struct word *word;
	struct pair *pair;
	size_t word_cap, pair_cap;
	struct entry *heap;
	size_t nheap, heap_cap;
	int (*merge)[2];	/* of token 256 + i */
};

/* Room for one more element in a list that doubles. */
static void *
room(void *v, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return v;
	*cap = *cap ? *cap * 2 : 16;
	return xreallocarray(v, *cap, size);
}

static size_t
slot_of(const struct table *t, const void *p, size_t n)
{
	size_t i = XXH3_64bits(p, n) & (t->nslot - 1);

	while (t->slot[i] && (t->v[t->slot[i] - 1].n != n || memcmp(t->v[t->slot[i] - 1].p, p, n) != 0))
		i = (i + 1) & (t->nslot - 1);
	return i;
}

static void
grow(struct table *t)
{
	t->nslot = t->nslot ? t->nslot * 2 : 1024;
	free(t->slot);
	t->slot = xcalloc(t->nslot, sizeof *t->slot);
	for (size_t i = 0; i < t->n; i++)
		t->slot[slot_of(t, t->v[i].p, t->v[i].n)] = i + 1;
}

/* The number of p[0..n), which is added when it is new (then it is t->n before the call). */
static size_t
number(struct table *t, const void *p, size_t n)
{
	size_t i;

	if (t->n * 2 >= t->nslot)
		grow(t);
	i = slot_of(t, p, n);
	if (t->slot[i])
		return t->slot[i] - 1;
	t->v = room(t->v, t->n, &t->cap, sizeof *t->v);
	t->v[t->n].p = memcpy(xmalloc(n), p, n);
	t->v[t->n].n = n;
	t->slot[i] = ++t->n;
	return t->n - 1;
}

static void
table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].p);
	free(t->v);
	free(t->slot);
}

/* ---- reading ---- */

static void
count_word(void *arg, const char *s, size_t n)
{
	struct learner *l = arg;
	size_t before = l->words.n, i = number(&l->words, s, n);

	if (i == before) {
		l->word = room(l->word, i, &l->word_cap, sizeof *l->word);
		l->word[i] = (struct word){ .sym = xmalloc(n * sizeof(int)), .n = n };
		for (size_t k = 0; k < n; k++)
			l->word[i].sym[k] = (unsigned char)s[k];
	}
	l->word[i].count++;
}

static void
learn_text(struct learner *l, const json_t *v)
{
	if (json_is_string(v))
		pretok_run(l->pretok, json_string_value(v), json_string_length(v), count_word, l);
}

/* Every text of a record that a model will see: also the roles, which the chat template writes out. */
static void
learn_record(struct learner *l, const json_t *record)
{
	static const struct {
		const char *member, *role;
	} texts[] = {
		{ "text", NULL }, { "prompt", "user" }, { "response", "assistant" }, { "instruction", "user" }, { "input", NULL },
		{ "output", "assistant" },
	};
	const json_t *message;
	size_t i;

	for (i = 0; i < sizeof texts / sizeof *texts; i++) {
		const json_t *v = json_object_get(record, texts[i].member);

		learn_text(l, v);
		if (json_is_string(v) && texts[i].role)
			count_word(l, texts[i].role, strlen(texts[i].role));
	}
	json_array_foreach(json_object_get(record, "messages"), i, message) {
		learn_text(l, json_object_get(message, "role"));
		learn_text(l, json_object_get(message, "content"));
	}
}

static void
learn_file(struct learner *l, const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO, too_long, rc;
	const char *name = path ? path : "stdin";
	struct lines *in;
	struct err e;
	json_t *record;
	json_error_t je;
	char *p;
	size_t n;

	if (fd < 0)
		die(STATUS_IO, "%s: %s", path, strerror(errno));
	in = lines_open(fd, name, LINE_MAX_DEFAULT);
	while ((rc = lines_next(in, &p, &n, &too_long, &e)) > 0) {
		record = too_long ? NULL : json_loadb(p, n, JSON_ALLOW_NUL, &je);
		if (!json_is_object(record))
			die(STATUS_FAILED, "%s:%zu: not a JSON object", name, lines_at(in));
		learn_record(l, record);
		json_decref(record);
	}
	if (rc < 0)
		die(STATUS_IO, "%s", e.msg);
	lines_free(in);
	if (path)
		close(fd);
}

/* ---- learning ---- */

/* Whether x comes up before y. */
static int
before(const struct learner *l, const struct entry *x, const struct entry *y)
{
	const struct pair *p = &l->pair[x->pair], *q = &l->pair[y->pair];

	if (x->count != y->count)
		return x->count > y->count;
	return p->a != q->a ? p->a < q->a : p->b < q->b;
}

static void
heap_push(struct learner *l, uint32_t pair)
{
	struct entry new = { l->pair[pair].count, pair };
	size_t i, up;

	l->heap = room(l->heap, l->nheap, &l->heap_cap, sizeof *l->heap);
	for (i = l->nheap++; i > 0 && before(l, &new, &l->heap[up = (i - 1) / 2]); i = up)
		l->heap[i] = l->heap[up];
	l->heap[i] = new;
}

static struct entry
heap_pop(struct learner *l)
{
	struct entry top = l->heap[0], last = l->heap[--l->nheap];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < l->nheap) {
		if (down + 1 < l->nheap && before(l, &l->heap[down + 1], &l->heap[down]))
			down++;
		if (!before(l, &l->heap[down], &last))
			break;
		l->heap[i] = l->heap[down];
		i = down;
	}
	l->heap[i] = last;
	return top;
}

/* Take the pairs of a word out of the counts (sign -1) or put them in (1). A word is noted at a pair when the pair holds symbol `c`, which the
 * merge has just made, or always when c is -1: it is noted at all others already. */
static void
count_pairs(struct learner *l, uint32_t w, int sign, int c)
{
	const struct word *word = &l->word[w];

	for (size_t i = 0; i + 1 < word->n; i++) {
		int key[2] = { word->sym[i], word->sym[i + 1] };
		size_t known = l->pairs.n, k = number(&l->pairs, key, sizeof key);
		struct pair *p;

		if (k == known) {
			l->pair = room(l->pair, k, &l->pair_cap, sizeof *l->pair);
			l->pair[k] = (struct pair){ .a = key[0], .b = key[1] };
		}
		p = &l->pair[k];
		p->count += sign * word->count;
		if (sign < 0 || (c >= 0 && p->a != c && p->b != c) || (p->n && p->word[p->n - 1] == w))
			continue;
		p->word = room(p->word, p->n, &p->cap, sizeof *p->word);
		p->word[p->n++] = w;
	}
}

static void
merge_word(struct learner *l, uint32_t w, int a, int b, int c)
{
	struct word *word = &l->word[w];
	size_t n = 0;

	count_pairs(l, w, -1, c);
	for (size_t i = 0; i < word->n; n++) {
		int both = i + 1 < word->n && word->sym[i] == a && word->sym[i + 1] == b;

		word->sym[n] = both ? c : word->sym[i];
		i += 1 + both;
	}
	word->n = n;
	count_pairs(l, w, 1, c);
}

/* Make the pair a token, unless its string is one already (reached by another pair): then it stays two symbols. */
static void
merge_pair(struct learner *l, uint32_t k)
{
	int a = l->pair[k].a, b = l->pair[k].b, c = l->tokens.n;
	const struct string *s = l->tokens.v;
	size_t n = s[a].n + s[b].n, known = l->pairs.n;
	char *both = xmalloc(n);
	int fresh;

	memcpy(both, s[a].p, s[a].n);
	memcpy(both + s[a].n, s[b].p, s[b].n);
	fresh = (int)number(&l->tokens, both, n) == c;
	free(both);
	if (!fresh)
		return;
	l->merge[c - 256][0] = a;
	l->merge[c - 256][1] = b;
	for (size_t i = 0; i < l->pair[k].n; i++)
		merge_word(l, l->pair[k].word[i], a, b, c);
	for (size_t i = known; i < l->pairs.n; i++)
		heap_push(l, i);
}

/* Until there are `size` tokens. */
static void
learn(struct learner *l, size_t size)
{
	for (int b = 0; b < 256; b++)
		number(&l->tokens, &(unsigned char){ b }, 1);
	for (size_t w = 0; w < l->words.n; w++)
		count_pairs(l, w, 1, -1);
	for (size_t k = 0; k < l->pairs.n; k++)
		heap_push(l, k);
	while (l->tokens.n < size) {
		struct entry top;

		if (l->nheap == 0)
			die(STATUS_FAILED, "the text gives only %zu tokens; ask for --vocab %zu or give more text", l->tokens.n, l->tokens.n + SPECIALS);
		top = heap_pop(l);
		if (top.count == l->pair[top.pair].count)
			merge_pair(l, top.pair);
		else if (l->pair[top.pair].count > 0)
			heap_push(l, top.pair);
	}
}

/* ---- writing ---- */

/* A token in the byte alphabet. */
static void
spell(struct buf *b, const struct string *s)
{
	for (size_t i = 0; i < s->n; i++) {
		int c = alphabet_char(s->p[i]);

		if (c >= 0x80)
			buf_addc(b, 0xc0 | c >> 6);
		buf_addc(b, c >= 0x80 ? 0x80 | (c & 0x3f) : c);
	}
}

static json_t *
packed(json_t *v)
{
	if (!v)
		die(STATUS_IO, "out of memory");
	return v;
}

static json_t *
bpe_model(const struct learner *l)
{
	json_t *vocab = packed(json_object()), *merges = packed(json_array());
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	for (size_t i = 0; i < l->tokens.n; i++) {
		buf_clear(&b);
		spell(&b, &l->tokens.v[i]);
		json_object_set_new(vocab, b.p, packed(json_integer(i)));
	}
	for (size_t i = 0; i + 256 < l->tokens.n; i++) {
		buf_clear(&b);
		spell(&b, &l->tokens.v[l->merge[i][0]]);
		buf_addc(&b, ' ');
		spell(&b, &l->tokens.v[l->merge[i][1]]);
		json_array_append_new(merges, packed(json_string(b.p)));
	}
	buf_free(&b);
	return packed(json_pack("{ss sn sn sn sn sb sb sb so so}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
		"end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 1, "vocab", vocab, "merges", merges));
}

static json_t *
tokenizer_json(const struct learner *l)
{
	json_t *added = packed(json_array());
	int bos = l->tokens.n;

	for (size_t i = 0; i < SPECIALS; i++)
		json_array_append_new(added, packed(json_pack("{sI ss sb sb sb sb sb}", "id", (json_int_t)(l->tokens.n + i), "content", specials[i],
			"single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1)));
	return packed(json_pack("{ss sn sn so sn s{ss s[{ss s{ss} ss sb} {ss sb sb sb}]} s{ss s[{s{ss si}} {s{ss si}}] "
		"s[{s{ss si}} {s{ss si}} {s{ss si}} {s{ss si}}] s{s{ss s[i] s[s]}}} s{ss sb sb sb} so}",
		"version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer",
		"pre_tokenizer", "type", "Sequence", "pretokenizers",
			"type", "Split", "pattern", "Regex", pretok_llama3, "behavior", "Isolated", "invert", 0,
			"type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0,
		"post_processor", "type", "TemplateProcessing",
			"single", "SpecialToken", "id", specials[0], "type_id", 0, "Sequence", "id", "A", "type_id", 0,
			"pair", "SpecialToken", "id", specials[0], "type_id", 0, "Sequence", "id", "A", "type_id", 0,
				"SpecialToken", "id", specials[0], "type_id", 1, "Sequence", "id", "B", "type_id", 1,
			"special_tokens", specials[0], "id", specials[0], "ids", bos, "tokens", specials[0],
		"decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1,
		"model", bpe_model(l)));
}

static json_t *
config_json(void)
{
	return packed(json_pack("{ss ss ss ss ss sb}", "tokenizer_class", "PreTrainedTokenizerFast", "bos_token", specials[0], "eos_token", "<|eot_id|>",
		"pad_token", "<|pad|>", "chat_template", template_llama3_jinja, "clean_up_tokenization_spaces", 0));
}

static void
write_json(const char *dir, const char *name, json_t *v)
{
	char path[4096];
	FILE *f;

	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
		die(STATUS_USAGE, "%s: path too long", dir);
	f = fopen(path, "w");
	if (!f || json_dumpf(v, f, JSON_INDENT(1)) < 0 || fputc('\n', f) == EOF || fclose(f) != 0)
		die(STATUS_IO, "%s: %s", path, strerror(errno));
	json_decref(v);
}

static void
learner_free(struct learner *l)
{
	for (size_t i = 0; i < l->words.n; i++)
		free(l->word[i].sym);
	for (size_t i = 0; i < l->pairs.n; i++)
		free(l->pair[i].word);
	table_free(&l->words);
	table_free(&l->pairs);
	table_free(&l->tokens);
	pretok_free(l->pretok);
	free(l->word);
	free(l->pair);
	free(l->heap);
	free(l->merge);
}

int
main(int argc, char **argv)
{
	const char *out = NULL;
	long long vocab = 4096;
	const struct opt own[] = {
		{ .name = "vocab", .kind = OPT_INT, .to = &vocab, .arg = "N", .help = "entries of the vocabulary, special tokens included (default 4096)",
			.lo = 256 + SPECIALS, .hi = 1 << 20 },
		{ .name = "out", .kind = OPT_STR, .to = &out, .arg = "DIR", .help = "directory for tokenizer.json and tokenizer_config.json (made when absent)" },
		{ .name = NULL },
	};
	struct learner l = { 0 };
	struct err e;
	int n;

	prog_init(argv[0]);
	n = opt_parse(argc, argv, &(struct opt_usage){ .synopsis = "[--vocab N] --out DIR [file ...]",
		.about = "Learn a byte-level BPE vocabulary from records (text, prompt, response, instruction, input, output, messages).", .own = own });
	if (!out)
		die(STATUS_USAGE, "no --out directory given (try --help)");
	if (mkdir(out, 0777) < 0 && errno != EEXIST)
		die(STATUS_IO, "%s: %s", out, strerror(errno));
	l.pretok = pretok_new(pretok_llama3, &e);
	if (!l.pretok)
		die(STATUS_FAILED, "%s", e.msg);
	l.merge = xcalloc(vocab, sizeof *l.merge);
	for (int i = 1; i <= n; i++)
		learn_file(&l, strcmp(argv[i], "-") == 0 ? NULL : argv[i]);
	if (n == 0)
		learn_file(&l, NULL);
	learn(&l, vocab - SPECIALS);
	write_json(out, "tokenizer.json", tokenizer_json(&l));
	write_json(out, "tokenizer_config.json", config_json());
	learner_free(&l);
	return STATUS_OK;
}
