/* text.h - what replies in words need: trimming, labels, thought against answer, likeness of two texts. Pure. */
#ifndef SA_TEXT_H
#define SA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* s[0..*n) without ASCII white space at both ends: returns where it starts and shortens *n. */
const char *text_trim(const char *s, size_t *n);

/* True when it holds a Han character (U+3400..9FFF, U+F900..FAFF): how "zh" is told from "en". */
bool text_is_chinese(const char *s);

/* The labels of an intent reply: separated by , ; / | newline or their full-width forms, without list marks, quotes, brackets, a trailing stop
 * or a leading "label:"; ASCII lower-cased; each at most TEXT_LABEL bytes; repeated ones dropped. Returns how many (at most max),
 * or -1 when a piece is too long or has more than 6 words: then it is prose, not a label. */
#define TEXT_LABEL 64
int text_labels(const char *s, char (*out)[TEXT_LABEL + 1], int max);

/* Tell a safety chain of thought from its answer. The answer follows the heading "Answer:" (also 回答, 答案, 答复; any case; ** or # around;
 * full-width colon) at the start of a line; the thought is all before it, or the inside of <think>...</think>. 0 with both trimmed, or -1 when there is no heading or no
 * answer. Points into s. */
struct thought {
	const char *thought, *answer;
	size_t nthought, nanswer;
};
int text_thought(const char *s, struct thought *out);

/* The prompt in the reply of a model that was to write one: its first line, without a list mark and quotes. Malloc'd. */
char *text_candidate(const char *s);

/* The set of a text's character 3-grams (ASCII lower-cased, white space folded), hashed, sorted, each once. Free with free(). */
uint64_t *text_grams(const char *s, size_t *n);
/* Jaccard likeness of two such sets, 0..1: |a and b| / |a or b|; two empty ones are alike. */
double text_likeness(const uint64_t *a, size_t na, const uint64_t *b, size_t nb);

/* splitmix64 (Steele, Lea & Flood 2014): the next of a reproducible sequence. */
uint64_t text_random(uint64_t *state);

#endif
