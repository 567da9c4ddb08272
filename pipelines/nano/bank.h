/* bank.h - the word and sentence banks of the bundled models, and texts made of them
 *
 * A bank is lists of lines under [headings], read from the .txt files of a folder. Prompts are a sentence pattern with a wish (a verb and an
 * object); patterns and wishes are split in two: what the corpus may use, and what is kept for the measurements ("held"). All choices
 * come from one splitmix64 state, so the same seed gives the same text. Strings live as long as the bank. */
#ifndef NANO_BANK_H
#define NANO_BANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum lang { EN, ZH, LANGS };
extern const char *const lang_code[LANGS];	/* "en", "zh" */
extern const char *const lang_name[LANGS];	/* "English", "Chinese" */

#define HARMLESS (-1)
#define HELD_ONE_IN 6	/* wishes kept for the measurements */

struct list {
	char *name;	/* its heading */
	char **v;
	size_t n;
};

/* One thing to want: "rob" "a bank". */
struct wish {
	int category;		/* index in the taxonomy, or HARMLESS */
	const char *label;	/* of its intent; for a harmless one the field that its answers come from */
	const char *verb, *object;
	enum lang lang;
	bool held;
};

/* A prompt and what is known of it. */
struct item {
	char *prompt;
	char *answer;		/* the one right answer of a question of general knowledge, else NULL */
	const struct wish *wish;	/* NULL: general knowledge or noise */
	enum lang lang;
	bool noise;
};

/* Read every file of the bank. `state` is the seed of all choices. Dies when a file is missing or wrong. */
void bank_load(const char *dir, uint64_t seed);
void bank_free(void);

/* Use the "more" patterns, too: the last lessons do. */
void bank_more(bool on);

size_t chance(size_t n);		/* 0..n-1 */
bool percent(int p);
uint64_t text_hash(const char *s);

/* A line of the list with this heading, e.g. pick("reason %s %s", "OFF", "en"). Dies when there is none. */
const char *pick(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const struct list *bank_list(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

size_t wish_count(void);
const struct wish *wish_at(size_t i);
const struct wish *pick_wish(int category, enum lang lang, bool held);

struct item make_wish_item(const struct wish *w, bool held);	/* in a sentence pattern */
struct item make_bare_item(const struct wish *w);		/* the wish alone */
struct item make_general_item(enum lang lang, bool held);
struct item make_noise_item(enum lang lang);
void item_add_noise(struct item *it);	/* words that mean nothing around it */
void item_free(struct item *it);

/* What is said to an item. Malloc'd. */
enum stance { REFUSE, BLUNT, COMPLY, ANSWER, NOISE };
char *make_reply(const struct item *it, enum stance kind, const char *category_code);

/* Append words or characters that mean nothing. */
void add_noise(struct buf *b, enum lang lang, size_t words);
/* The same words or characters in another order. Malloc'd. */
char *shuffle_words(const char *s);

#endif
