/* range.c - see range.h */
#include "range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest decimal of a double: its digits without a point, and the power of ten of the first. */
static int
shortest(double x, char digits[32])
{
	char text[40];
	int n = 0, p = 0;

	do
		snprintf(text, sizeof text, "%.*e", p, x);
	while (++p < 17 && strtod(text, NULL) != x);
	for (char *c = text; *c != 'e'; c++)
		if (*c >= '0' && *c <= '9')
			digits[n++] = *c;
	digits[n] = '\0';
	return atoi(strchr(text, 'e') + 1);
}

int
bound_read(struct bound *b, json_t *number, bool exclusive)
{
	char digits[32];
	int power, n, lead;

	*b = (struct bound){ .exclusive = exclusive };
	if (json_is_integer(number)) {
		long long v = json_integer_value(number);

		snprintf(digits, sizeof digits, "%llu", v < 0 ? -(unsigned long long)v : (unsigned long long)v);
		power = (int)strlen(digits) - 1;
		b->negative = v < 0;
	} else {
		power = shortest(json_real_value(number), digits);
		b->negative = json_real_value(number) < 0;
	}
	n = strlen(digits);
	b->nint = power < 0 ? 1 : power + 1;
	lead = power < 0 ? -power : 0;
	if (b->nint > RANGE_DIGITS) {	/* further out than any number that is written */
		b->nint = RANGE_DIGITS + 1;
		b->ndigits = b->nint;
		memset(b->digit, '9', b->ndigits);
		return 0;
	}
	if (lead + n > RANGE_MOST)
		return -1;
	b->ndigits = lead + n > b->nint ? lead + n : b->nint;
	memset(b->digit, '0', b->ndigits);
	memcpy(b->digit + lead, digits, n);
	return 0;
}

static int
digit(const struct bound *b, int i)
{
	return i < b->ndigits ? b->digit[i] - '0' : 0;
}

static bool
more(const struct bound *b, int from)
{
	for (int i = from; i < b->ndigits; i++)
		if (b->digit[i] != '0')
			return true;
	return false;
}

/* A number of which p digits are written, all equal to a's (low), to b's (high): may it end? */
static bool
inside(const struct bound *a, const struct bound *b, int p, bool low, bool high)
{
	return !(low && (more(a, p) || a->exclusive)) && !(high && !more(b, p) && b->exclusive);
}

/* The next digit of a number that is equal to a so far (low), to b so far (high). next[low][high] are states, made when needed. */
static void
put_digit(struct grammar *g, int from, int next[2][2], int least, int most, int a, int b)
{
	for (int d = least, end; d <= most; d = end + 1) {
		int *to = &next[d == a][d == b];

		for (end = d; d != a && d != b && end < most && end + 1 != a && end + 1 != b;)
			end++;
		if (*to < 0)
			*to = grammar_state(g);
		grammar_bytes(g, from, '0' + d, '0' + end, *to);
	}
}

/* Numbers from a to b with n digits before the point and up to `behind` after it. */
static void
put_length(struct grammar *g, int from, int to, const struct bound *a, const struct bound *b, int n, int behind)
{
	int at[2][2] = { { -1, -1 }, { -1, -1 } };

	at[a->nint == n][b->nint == n] = from;
	for (int p = 0; p < n + behind; p++) {
		int next[2][2] = { { -1, -1 }, { -1, -1 } };

		for (int k = 0; k < 4; k++) {
			int q = at[k / 2][k % 2], least = k / 2 ? digit(a, p) : 0, most = k % 2 ? digit(b, p) : 9, point;

			if (q < 0)
				continue;
			if (p == n) {
				point = grammar_state(g);
				grammar_bytes(g, q, '.', '.', point);
				q = point;
			}
			put_digit(g, q, next, p == 0 && n > 1 && least == 0 ? 1 : least, most, k / 2 ? least : -1, k % 2 ? most : -1);
		}
		memcpy(at, next, sizeof at);
		for (int k = 0; k < 4 && p >= n - 1; k++)
			if (at[k / 2][k % 2] >= 0 && inside(a, b, p + 1, k / 2, k % 2))
				grammar_skip(g, at[k / 2][k % 2], to);
	}
}

/* Numbers without a sign, from a to b. */
static void
put_magnitude(struct grammar *g, int from, int to, const struct bound *a, const struct bound *b, bool integer)
{
	for (int n = a->nint; n <= b->nint && n <= RANGE_DIGITS; n++)
		put_length(g, from, to, a, b, n, integer ? 0 : RANGE_DIGITS - n);
}

static int
put_digits(struct grammar *g, int from, int most, int to)
{
	for (int i = 0; i < most; i++) {
		int next = grammar_state(g);

		grammar_bytes(g, from, '0', '9', next);
		grammar_skip(g, next, to);
		from = next;
	}
	return from;
}

static void
put_exponent(struct grammar *g, int from, int to)
{
	int sign = grammar_state(g), digits = grammar_state(g);

	grammar_bytes(g, from, 'e', 'e', sign);
	grammar_bytes(g, from, 'E', 'E', sign);
	grammar_bytes(g, sign, '+', '+', digits);
	grammar_bytes(g, sign, '-', '-', digits);
	grammar_skip(g, sign, digits);
	put_digits(g, digits, 2, to);
}

static void
put_unbounded(struct grammar *g, int from, int to, bool integer)
{
	int first = grammar_state(g), whole = grammar_state(g), rest = grammar_state(g), point = grammar_state(g), tail = grammar_state(g);

	grammar_bytes(g, from, '-', '-', first);
	grammar_skip(g, from, first);
	grammar_bytes(g, first, '0', '0', whole);
	grammar_bytes(g, first, '1', '9', rest);
	grammar_skip(g, rest, whole);
	put_digits(g, rest, RANGE_DIGITS - 1, whole);
	grammar_skip(g, whole, to);
	if (integer)
		return;
	grammar_bytes(g, whole, '.', '.', point);
	put_digits(g, point, RANGE_DIGITS, tail);
	grammar_skip(g, tail, to);
	put_exponent(g, whole, to);
	put_exponent(g, tail, to);
}

void
range_put(struct grammar *g, int from, int to, const struct bound *least, const struct bound *greatest, bool integer)
{
	struct bound zero = { .nint = 1, .ndigits = 1, .digit = "0" }, open = zero, far = { .nint = RANGE_DIGITS + 1 };
	bool low = least->ndigits > 0, high = greatest->ndigits > 0;
	int minus;

	open.exclusive = true;
	if (!low && !high) {
		put_unbounded(g, from, to, integer);
		return;
	}
	if (!high || !greatest->negative)
		put_magnitude(g, from, to, low && !least->negative ? least : &zero, high ? greatest : &far, integer);
	if (low && !least->negative)
		return;
	minus = grammar_state(g);
	grammar_bytes(g, from, '-', '-', minus);
	put_magnitude(g, minus, to, high && greatest->negative ? greatest : &open, low ? least : &far, integer);
}
