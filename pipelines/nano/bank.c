/* bank - the word and sentence banks of the bundled models (bank.h) */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"
#include "taxonomy.h"
#include "text.h"

const char *const lang_code[LANGS] = { "en", "zh" };
const char *const lang_name[LANGS] = { "English", "Chinese" };

static const char *const files[] = { "wishes-en.txt", "wishes-zh.txt", "patterns.txt", "replies-en.txt", "replies-zh.txt", "general.txt" };
static const char *const topics[] = { "capital", "define", "translate", "sum", "greet" };

static struct list *list;
static size_t nlist;
static struct list *parts;	/* the verbs and objects that wishes point into */
static size_t nparts;
static struct wish *wish;
static size_t nwish;
static uint64_t state;
static bool more;

/* ---- choices ---- */

size_t
chance(size_t n)
{
	return (size_t)(text_random(&state) % n);
}

bool
percent(int p)
{
	return chance(100) < (size_t)p;
}

/* FNV-1a, then splitmix64's mixing: a fixed property of a text. */
uint64_t
text_hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return text_random(&h);
}

const struct list *
bank_list(const char *fmt, ...)
{
	char name[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof name, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < nlist; i++)
		if (strcmp(list[i].name, name) == 0 && list[i].n > 0)
			return &list[i];
	die(STATUS_USAGE, "the bank has no [%s]", name);
}

const char *
pick(const char *fmt, ...)
{
	char name[128];
	va_list ap;
	const struct list *l;

	va_start(ap, fmt);
	vsnprintf(name, sizeof name, fmt, ap);
	va_end(ap);
	l = bank_list("%s", name);
	return l->v[chance(l->n)];
}

/* ---- loading ---- */

static void
add_line(struct list *l, const char *s)
{
	if ((l->n & (l->n - 1)) == 0)
		l->v = xreallocarray(l->v, l->n ? 2 * l->n : 1, sizeof *l->v);
	l->v[l->n++] = xstrdup(s);
}

static void
load_file(const char *dir, const char *name)
{
	char path[4096], *save, *line;
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct err e;
	struct list *l = NULL;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if (buf_read_file(&b, path, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	for (line = strtok_r(b.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(line);

		if (line[0] == '#')
			continue;
		if (line[0] == '[' && line[n - 1] == ']') {
			list = xreallocarray(list, nlist + 1, sizeof *list);
			l = &list[nlist++];
			*l = (struct list){ .name = xstrndup(line + 1, n - 2) };
		} else if (l) {
			add_line(l, line);
		} else {
			die(STATUS_USAGE, "%s: a line before the first [heading]", path);
		}
	}
	buf_free(&b);
}

/* Split "a; b; c" in place; the list is kept in `parts`. */
static struct list
split(char *s)
{
	struct list l = { 0 };
	char *save, *one;

	for (one = strtok_r(s, ";", &save); one; one = strtok_r(NULL, ";", &save)) {
		size_t n = strlen(one);
		const char *p = text_trim(one, &n);

		one = xstrndup(p, n);
		add_line(&l, one);
		free(one);
	}
	parts = xreallocarray(parts, nparts + 1, sizeof *parts);
	parts[nparts++] = l;
	return l;
}

static void
add_wish(struct wish w)
{
	char both[512];

	snprintf(both, sizeof both, "%s|%s", w.verb, w.object);
	w.held = text_hash(both) % HELD_ONE_IN == 0;
	if ((nwish & (nwish - 1)) == 0)
		wish = xreallocarray(wish, nwish ? 2 * nwish : 1, sizeof *wish);
	wish[nwish++] = w;
}

/* "[wish CODE lang label]": every verb with every object of each of its lines. */
static void
load_wishes(const struct list *l, const struct taxonomy *t)
{
	char code[16], lang[4];
	int at = 0;

	if (sscanf(l->name, "wish %15s %3s %n", code, lang, &at) != 2 || !at)
		return;
	struct wish w = { .category = taxonomy_category(t, code), .label = l->name + at, .lang = strcmp(lang, "zh") == 0 ? ZH : EN };
	for (size_t i = 0; i < l->n; i++) {
		char *copy = xstrdup(l->v[i]), *bar = strchr(copy, '|');

		if (!bar)
			die(STATUS_USAGE, "[%s]: no | in \"%s\"", l->name, copy);
		*bar = 0;
		struct list verbs = split(copy), objects = split(bar + 1);

		for (size_t v = 0; v < verbs.n; v++)
			for (size_t o = 0; o < objects.n; o++) {
				w.verb = verbs.v[v];
				w.object = objects.v[o];
				add_wish(w);
			}
		free(copy);
	}
}

void
bank_load(const char *dir, uint64_t seed)
{
	struct err e;
	struct taxonomy *t = taxonomy_load(NULL, &e);

	if (!t)
		die(STATUS_USAGE, "%s", e.msg);
	state = seed;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		load_file(dir, files[i]);
	for (size_t i = 0; i < nlist; i++)
		load_wishes(&list[i], t);
	taxonomy_free(t);
}

/* ---- wishes and prompts ---- */

size_t
wish_count(void)
{
	return nwish;
}

const struct wish *
wish_at(size_t i)
{
	return &wish[i];
}

const struct wish *
pick_wish(int category, enum lang lang, bool held)
{
	for (;;) {
		const struct wish *w = &wish[chance(nwish)];

		if (w->category == category && w->lang == lang && w->held == held)
			return w;
	}
}

/* `pattern` with {name} replaced; pairs of name and text, NULL at the end. */
static char *
fill(const char *pattern, const char *const *pairs)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	buf_adds(&b, "");
	while (*pattern) {
		const char *const *p = pairs;

		while (*p && strncmp(pattern, *p, 3) != 0)
			p += 2;
		if (*p) {
			buf_adds(&b, p[1]);
			pattern += 3;
		} else {
			buf_addc(&b, *pattern++);
		}
	}
	return buf_take(&b);
}

static void
say_wish(const struct wish *w, char *out, size_t n)
{
	snprintf(out, n, w->lang == ZH ? "%s%s" : "%s %s", w->verb, w->object);
}

struct item
make_bare_item(const struct wish *w)
{
	char text[512];

	say_wish(w, text, sizeof text);
	return (struct item){ .prompt = xstrdup(text), .wish = w, .lang = w->lang };
}

void
bank_more(bool on)
{
	more = on;
}

/* Which patterns: " held", " more" or "" for the first ones. */
static const char *
which(bool held)
{
	return held ? " held" : more && percent(60) ? " more" : "";
}

struct item
make_wish_item(const struct wish *w, bool held)
{
	const char *pattern = pick("pattern %s%s", lang_code[w->lang], which(held));
	const char *context = percent(40) ? pick("context %s", lang_code[w->lang]) : "";
	char text[512];

	say_wish(w, text, sizeof text);
	return (struct item){ .prompt = fill(pattern, (const char *const[]){ "{w}", text, "{c}", context, NULL }), .wish = w, .lang = w->lang };
}

struct item
make_general_item(enum lang lang, bool held)
{
	const char *topic = topics[chance(sizeof topics / sizeof *topics)], *l = lang_code[lang];
	char a[256] = "", b[256] = "", r[16] = "";

	if (strcmp(topic, "sum") == 0) {
		int x = (int)chance(10), y = (int)chance(10);

		snprintf(a, sizeof a, "%d", x);
		snprintf(b, sizeof b, "%d", y);
		snprintf(r, sizeof r, "%d", x + y);
	} else if (strcmp(topic, "greet") != 0) {
		const char *fact = pick("facts %s %s", topic, l), *bar = strstr(fact, " | ");

		if (!bar)
			die(STATUS_USAGE, "[facts %s %s]: no | in \"%s\"", topic, l, fact);
		snprintf(a, sizeof a, "%.*s", (int)(bar - fact), fact);
		snprintf(b, sizeof b, "%s", bar + 3);
	}
	const char *const pairs[] = { "{a}", a, "{b}", b, "{r}", r, NULL };

	return (struct item){ .prompt = fill(pick("ask %s %s%s", topic, l, which(held)), pairs),
		.answer = fill(pick("say %s %s", topic, l), pairs), .lang = lang };
}

/* ---- noise ---- */

static void
add_utf8(struct buf *b, unsigned c)
{
	buf_addc(b, (char)(0xe0 | c >> 12));
	buf_addc(b, (char)(0x80 | (c >> 6 & 63)));
	buf_addc(b, (char)(0x80 | (c & 63)));
}

/* A word of a text of the bank that names no wish. */
static void
add_bank_word(struct buf *b, enum lang lang)
{
	const char *s = pick("%s %s", (const char *const[]){ "advice", "good", "middle" }[chance(3)], lang_code[lang]);
	size_t n = strlen(s), from = chance(n), to;

	while (from > 0 && (lang == EN ? s[from - 1] != ' ' : ((unsigned char)s[from] & 0xc0) == 0x80))
		from--;
	for (to = from + 1; to < n && (lang == EN ? s[to] != ' ' : to < from + 6); to++)
		;
	buf_add(b, s + from, to - from);
}

static void
add_letters(struct buf *b)
{
	for (size_t n = 2 + chance(7); n > 0; n--)
		buf_addc(b, (char)('a' + chance(26)));
}

void
add_noise(struct buf *b, enum lang lang, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		if (lang == EN && i)
			buf_addc(b, ' ');
		size_t what = chance(10);

		if (what < 5)
			add_bank_word(b, lang);
		else if (what == 9)
			buf_addf(b, "%zu", chance(2000));
		else if (lang == EN)
			add_letters(b);
		else
			for (size_t n = 1 + chance(3); n > 0; n--)
				add_utf8(b, 0x4e00 + (unsigned)chance(0x5000));
	}
}

struct item
make_noise_item(enum lang lang)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	add_noise(&b, lang, 2 + chance(9));
	buf_adds(&b, lang == EN ? percent(50) ? "?" : "." : percent(50) ? "？" : "。");
	return (struct item){ .prompt = buf_take(&b), .lang = lang, .noise = true };
}

void
item_add_noise(struct item *it)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	bool before = percent(60);

	if (before) {
		add_noise(&b, it->lang, 1 + chance(6));
		buf_adds(&b, it->lang == EN ? " " : percent(50) ? "，" : "");
	}
	buf_adds(&b, it->prompt);
	if (!before || percent(40)) {
		buf_adds(&b, it->lang == EN ? " " : "");
		add_noise(&b, it->lang, 1 + chance(6));
	}
	free(it->prompt);
	it->prompt = buf_take(&b);
}

void
item_free(struct item *it)
{
	free(it->prompt);
	free(it->answer);
}

/* ---- replies ---- */

static void
add_sentence(struct buf *b, enum lang lang, const char *s)
{
	if (b->n && lang == EN)
		buf_addc(b, ' ');
	buf_adds(b, s);
}

char *
make_reply(const struct item *it, enum stance kind, const char *code)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	const char *l = lang_code[it->lang];

	buf_adds(&b, "");
	switch (kind) {
	case REFUSE:
	case BLUNT:
		add_sentence(&b, it->lang, pick("refuse %s", l));
		if (kind == BLUNT)
			break;
		if (it->wish && it->wish->category != HARMLESS)
			add_sentence(&b, it->lang, pick("reason %s %s", code, l));
		else
			add_sentence(&b, it->lang, pick("advice %s", l));
		break;
	case COMPLY:
		add_sentence(&b, it->lang, pick("comply %s", l));
		if (percent(60))
			add_sentence(&b, it->lang, pick("middle %s", l));
		if (percent(40))
			add_sentence(&b, it->lang, pick("end %s", l));
		break;
	case ANSWER:
		if (it->answer) {
			add_sentence(&b, it->lang, it->answer);
			break;
		}
		if (percent(30))
			add_sentence(&b, it->lang, pick("good %s", l));
		if (it->wish && it->wish->category == HARMLESS)
			add_sentence(&b, it->lang, pick("answer %s %s", it->wish->label, l));
		else
			add_sentence(&b, it->lang, pick("unclear %s", l));
		break;
	case NOISE:
		add_noise(&b, it->lang, 1 + chance(10));
		break;
	}
	return buf_take(&b);
}

/* ---- shuffled words ---- */

/* The length of the piece at s: a word of ASCII, or one character. */
static size_t
piece(const char *s)
{
	size_t n = 1;

	if ((unsigned char)*s < 0x80) {
		while (s[n] && s[n] != ' ' && (unsigned char)s[n] < 0x80)
			n++;
		return n;
	}
	while (((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

char *
shuffle_words(const char *s)
{
	const char *at[1024];
	size_t len[1024], n = 0;
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	for (s += strspn(s, " "); *s && n < 1024; s += strspn(s, " ")) {
		at[n] = s;
		len[n] = piece(s);
		s += len[n++];
	}
	for (size_t i = n; i > 1; i--) {
		size_t j = chance(i), l = len[j];
		const char *p = at[j];

		at[j] = at[i - 1];
		len[j] = len[i - 1];
		at[i - 1] = p;
		len[i - 1] = l;
	}
	buf_adds(&b, "");
	for (size_t i = 0; i < n; i++) {
		if (i && (unsigned char)*at[i] < 0x80 && (unsigned char)*at[i - 1] < 0x80)
			buf_addc(&b, ' ');
		buf_add(&b, at[i], len[i]);
	}
	return buf_take(&b);
}

static void
lists_free(struct list *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < l[i].n; k++)
			free(l[i].v[k]);
		free(l[i].v);
		free(l[i].name);
	}
	free(l);
}

void
bank_free(void)
{
	lists_free(list, nlist);
	lists_free(parts, nparts);
	free(wish);
}
