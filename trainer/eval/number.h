/* number.h - the number that a worked answer ends in, as the published scripts for GSM8K find it, quirks included. Pure.
 *
 * Each function names its source. Where a source evaluates what it found as Python, so do these: a whole number with a leading
 * zero ("05") or a digit outside ASCII is a syntax error there, and so no number. \d is any decimal digit of Unicode, as in Python's re. */
#ifndef SA_EVAL_NUMBER_H
#define SA_EVAL_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

#define NUMBER_MAX 64	/* bytes of a number with its NUL; a longer one is none: no answer of GSM8K has more than 10 */

/* lm-evaluation-harness, gsm8k.yaml, strict-match: the first `#### (\-?[0-9\.\,]+)`. false: there is none. */
bool number_strict(const char *text, char out[NUMBER_MAX]);
/* The same, flexible-extract: the last `(-?[$0-9.,]{2,})|(-?[0-9]+)`. */
bool number_flexible(const char *text, char out[NUMBER_MAX]);
/* Its exact_match of two such numbers: without commas, dollar signs and one full stop at the end they are the same text. */
bool number_same_text(const char *a, const char *b);

/* QwenLM/Qwen, evaluate_gsm8k.py: the last `\d+`. It breaks on 20,800 (800), on decimals and on negative numbers. */
bool number_last_digits(const char *text, double *out);
/* QwenLM/Qwen, evaluate_chat_gsm8k.py: the last match of
 * `([+-])?(?=([0-9]|\.[0-9]))(0|([1-9](\d{0,2}(,\d{3})*)|\d*))?(\.\d*)?(?=\D|$)`, commas and + taken out. */
bool number_last(const char *text, double *out);

#endif
