/* scores.c - a judge's reply, read by chat_scores()
 *
 * What is accepted is nothing but numbers, commas, brackets and a fence, as many numbers as asked for, each in 0..1. And a plain JSON array of
 * so many numbers in 0..1 (by jansson) is accepted, with those values. */
#include "fuzz.h"

#include <math.h>

#include "chat.h"

/* The text without white space around it and without a fence: what may be left are numbers in a list. */
static void
is_bare_list(const char *s, int want)
{
	int commas = 0;

	s += strspn(s, " \t\r\n");
	if (*s == '`') {
		s += strspn(s, "`");
		s += strspn(s, "abcdefghijklmnopqrstuvwxyz");
	}
	for (; *s; s++) {
		MUST(strchr("0123456789.+-eE, \t\r\n[]`", *s));
		commas += *s == ',';
	}
	MUST(commas == want - 1);
}

/* The numbers of a JSON array that must be accepted. False: it is none, or has numbers as no judge writes them. */
static bool
plain_array(const char *s, double *x, int want)
{
	json_t *v = json_loads(s, JSON_DECODE_INT_AS_REAL, NULL), *one;
	bool plain = json_is_array(v) && json_array_size(v) == (size_t)want && strlen(s) < 40;	/* one_score() takes 39 bytes */
	size_t i;

	json_array_foreach(v, i, one) {
		plain = plain && json_is_number(one) && json_number_value(one) >= 0 && json_number_value(one) <= 1;
		if (plain)
			x[i] = json_number_value(one);
	}
	json_decref(v);
	return plain;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int want = 1 + (int)(fuzz_byte(&data, &n) % 3);
	char *text = fuzz_string(data, n);
	double score[3], plain[3];
	struct err e;
	int rc = chat_scores(text, score, want, &e);

	if (rc == 0) {
		is_bare_list(text, want);
		for (int i = 0; i < want; i++)
			MUST(score[i] >= 0 && score[i] <= 1);
	} else {
		MUST(e.msg[0]);
	}
	if (plain_array(text, plain, want)) {
		MUST(rc == 0);
		for (int i = 0; i < want; i++)
			MUST(score[i] == plain[i]);
	}
	free(text);
	return 0;
}
