/* tokenizer.c - tokenizer.json: what is known of it, and the order of work */
#include "tokenizer.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "added.h"
#include "bpe.h"
#include "buf.h"
#include "nfc.h"
#include "pretok.h"

#define FILE_MAX ((size_t)256 << 20)	/* Llama-3's is 9 MB, or 17 MB with merges as pairs */

struct tok {
	struct bpe *bpe;
	struct added *added;
	struct pretok *pretok;
	struct nfc *nfc;	/* NULL: texts are not normalized */
	int bos;
};

void
ids_add(struct ids *l, int id)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = xreallocarray(l->v, l->cap, sizeof *l->v);
	}
	l->v[l->n++] = id;
}

void
ids_free(struct ids *l)
{
	free(l->v);
	*l = (struct ids){ 0 };
}

/* ---- loading: every part is one that is known, or is refused by its name ---- */

static const char *
type_of(const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "type"));

	return type ? type : "without a type";
}

static bool
is_type(const json_t *o, const char *type)
{
	return strcmp(type_of(o), type) == 0;
}

/* A ByteLevel step that only spells bytes: no space put in front, no expression of its own. */
static bool
plain_bytes(const json_t *o)
{
	return is_type(o, "ByteLevel") && json_is_false(json_object_get(o, "add_prefix_space")) && json_is_false(json_object_get(o, "use_regex"));
}

static int
load_pretok(struct tok *t, const json_t *o, struct err *e)
{
	const json_t *steps = json_object_get(o, "pretokenizers"), *split = json_array_get(steps, 0);
	const char *regex = json_string_value(json_object_get(json_object_get(split, "pattern"), "Regex"));
	const char *behavior = json_string_value(json_object_get(split, "behavior"));

	if (!is_type(o, "Sequence"))
		return err_set(e, "pre-tokenizer %s is not known (known: Sequence of Split and ByteLevel)", json_is_object(o) ? type_of(o) : "null");
	if (json_array_size(steps) != 2 || !is_type(split, "Split") || !plain_bytes(json_array_get(steps, 1)))
		return err_set(e, "pre-tokenizer Sequence is not Split by a Regex, then ByteLevel without add_prefix_space and use_regex");
	if (!regex || !behavior || strcmp(behavior, "Isolated") != 0 || json_is_true(json_object_get(split, "invert")))
		return err_set(e, "pre-tokenizer Split is not by a Regex, Isolated, not inverted");
	t->pretok = pretok_new(regex, e);
	return t->pretok ? 0 : -1;
}

/* TemplateProcessing's template for one text: [BOS,] the text. */
static int
load_bos(struct tok *t, const json_t *o, struct err *e)
{
	const json_t *single = json_object_get(o, "single"), *last = json_array_get(single, json_array_size(single) - 1);
	const char *bos = json_string_value(json_object_get(json_object_get(json_array_get(single, 0), "SpecialToken"), "id"));

	if (!json_object_get(last, "Sequence") || json_array_size(single) > 2 || (json_array_size(single) == 2 && !bos))
		return err_set(e, "post-processor TemplateProcessing is not one special token before the text, or the text alone");
	if (json_array_size(single) == 1)
		return 0;
	t->bos = tok_id(t, bos);
	if (t->bos < 0)
		return err_set(e, "post-processor: \"%s\" is not an added token", bos);
	return 0;
}

static int
load_post(struct tok *t, const json_t *o, struct err *e)
{
	const json_t *step;
	size_t i;

	if (!o || json_is_null(o) || is_type(o, "ByteLevel"))	/* ByteLevel only moves offsets, which nobody asks for here */
		return 0;
	if (is_type(o, "TemplateProcessing"))
		return load_bos(t, o, e);
	if (!is_type(o, "Sequence"))
		return err_set(e, "post-processor %s is not known (known: TemplateProcessing, ByteLevel, Sequence of them)", type_of(o));
	json_array_foreach(json_object_get(o, "processors"), i, step)
		if (is_type(step, "Sequence") ? err_set(e, "post-processor: a Sequence within a Sequence") : load_post(t, step, e))
			return -1;
	return 0;
}

static int
load_normalizer(struct tok *t, const json_t *o, struct err *e)
{
	if (!o || json_is_null(o))
		return 0;
	if (!is_type(o, "NFC"))
		return err_set(e, "normalizer %s is not known (known: none, NFC)", type_of(o));
	t->nfc = nfc_new();
	return 0;
}

/* Tokens that are looked for in the normalized text could not be found there unless they are normalized too. */
static int
check_added(const struct tok *t, struct err *e)
{
	const struct added_token *a;

	for (int id = 0; t->nfc && id < added_size(t->added); id++)
		if ((a = added_by_id(t->added, id)) && a->normalized && !nfc_is(t->nfc, a->text, a->n))
			return err_set(e, "added_tokens: \"%s\" is to be normalized, which is not supported", a->text);
	return 0;
}

static int
load(struct tok *t, const json_t *root, struct err *e)
{
	const json_t *decoder = json_object_get(root, "decoder");

	if (!json_is_object(root))
		return err_set(e, "not a JSON object");
	if (load_normalizer(t, json_object_get(root, "normalizer"), e) < 0)
		return -1;
	if (decoder && !json_is_null(decoder) && !is_type(decoder, "ByteLevel"))
		return err_set(e, "decoder %s is not known (known: ByteLevel)", type_of(decoder));
	if (load_pretok(t, json_object_get(root, "pre_tokenizer"), e) < 0)
		return -1;
	t->bpe = bpe_new(json_object_get(root, "model"), e);
	t->added = t->bpe ? added_new(json_object_get(root, "added_tokens"), t->bpe, e) : NULL;
	if (!t->added || check_added(t, e) < 0)
		return -1;
	return load_post(t, json_object_get(root, "post_processor"), e);
}

struct tok *
tok_load(const char *dir, struct err *e)
{
	struct tok *t = xcalloc(1, sizeof *t);
	struct buf file = BUF_INIT(FILE_MAX), path = BUF_INIT(PATH_MAX);
	json_t *root = NULL;
	json_error_t je;
	struct err why;
	int rc = -1;

	t->bos = -1;
	if (buf_addf(&path, "%s/tokenizer.json", dir) < 0) {
		err_set(e, "%.200s: path too long", dir);
		goto out;
	}
	if (buf_read_file(&file, path.p, e) < 0)
		goto out;
	root = json_loadb(file.p, file.n, JSON_REJECT_DUPLICATES, &je);
	if (!root) {
		err_set(e, "%s: line %d: %s", path.p, je.line, je.text);
		goto out;
	}
	rc = load(t, root, &why);
	if (rc < 0)
		err_set(e, "%s: %s", path.p, why.msg);
out:
	json_decref(root);
	buf_free(&file);
	buf_free(&path);
	if (rc == 0)
		return t;
	tok_free(t);
	return NULL;
}

void
tok_free(struct tok *t)
{
	if (!t)
		return;
	pretok_free(t->pretok);
	nfc_free(t->nfc);
	added_free(t->added);
	bpe_free(t->bpe);
	free(t);
}

/* ---- encoding ---- */

struct pass {
	const struct tok *t;
	bool special;
	struct ids *out;
};

static void
piece(void *arg, const char *s, size_t n)
{
	const struct pass *p = arg;

	bpe_piece(p->t->bpe, s, n, p->out);
}

static void encode(struct pass *p, int step, const char *s, size_t n);

/* Normalization comes between the first two steps. */
static void
encode_next(struct pass *p, int step, const char *s, size_t n)
{
	struct buf b = BUF_INIT(3 * n);	/* Unicode promises no more of form C in UTF-8 (UAX 15) */

	if (step == 0 && p->t->nfc && !nfc_is(p->t->nfc, s, n)) {
		nfc_add(&b, s, n);
		s = b.p;
		n = b.n;
	}
	encode(p, step + 1, s, n);
	buf_free(&b);
}

/* Added tokens as they are written (step 0), then those of the normalized text (step 1), then everything between. */
static void
encode(struct pass *p, int step, const char *s, size_t n)
{
	size_t taken = 0, next = 0;
	struct hit h;

	if (n == 0)
		return;
	if (step == 2) {
		pretok_run(p->t->pretok, s, n, piece, p);
		return;
	}
	while (added_find(p->t->added, step == 1, p->special, s, n, next, taken, &h)) {
		encode_next(p, step, s + taken, h.start - taken);
		ids_add(p->out, h.id);
		taken = h.end;
		next = h.next;
	}
	encode_next(p, step, s + taken, n - taken);
}

void
tok_encode(const struct tok *t, const char *s, size_t n, bool special, struct ids *out)
{
	struct pass p = { t, special, out };

	encode(&p, 0, s, n);
}

/* ---- looking up ---- */

int
tok_size(const struct tok *t)
{
	return added_size(t->added);
}

int
tok_id(const struct tok *t, const char *token)
{
	const struct added_token *a = added_by_text(t->added, token, strlen(token));

	return a ? a->id : -1;
}

int
tok_bos(const struct tok *t)
{
	return t->bos;
}

bool
tok_is_special(const struct tok *t, int id)
{
	const struct added_token *a = added_by_id(t->added, id);

	return a && a->special;
}

const char *
tok_bytes(const struct tok *t, int id, size_t *n)
{
	const struct added_token *a = added_by_id(t->added, id);

	*n = a ? a->n : 0;
	if (a)
		return a->text;
	return id >= 0 && id < bpe_size(t->bpe) ? bpe_bytes(t->bpe, id, n) : "";
}

void
tok_spell(const struct tok *t, int id, struct buf *out)
{
	size_t n;
	const char *p = tok_bytes(t, id, &n);

	if (added_by_id(t->added, id)) {
		buf_add(out, p, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		int c = alphabet_char(p[i]);	/* at most U+0143 */

		if (c >= 0x80)
			buf_addc(out, 0xc0 | c >> 6);
		buf_addc(out, c < 0x80 ? c : 0x80 | (c & 0x3f));
	}
}

/* How long the character is that begins with s[0], as far as s[0..n) shows: 0 when it cannot be one (Unicode 15, table 3-7). */
static size_t
promised(const unsigned char *s, size_t n)
{
	unsigned lo = 0x80, hi = 0xbf;
	size_t len = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;

	if (s[0] == 0xe0)
		lo = 0xa0;
	if (s[0] == 0xed)
		hi = 0x9f;
	if (s[0] == 0xf0)
		lo = 0x90;
	if (s[0] == 0xf4)
		hi = 0x8f;
	for (size_t i = 1; i < n && i < len; i++, lo = 0x80, hi = 0xbf)
		if (s[i] < lo || s[i] > hi)
			return 0;
	return len;
}

size_t
utf8_whole(const char *s, size_t n)
{
	for (size_t k = 1; k <= 3 && k <= n; k++)
		if (promised((const unsigned char *)s + n - k, k) > k)
			return n - k;
	return n;
}
