/* num.c - numbers from text and to text
 *
 * No program here calls setlocale(), so strtod() and printf() use the C locale whatever the environment says. */
#include "num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
digits(const char *s)
{
	while (*s >= '0' && *s <= '9')
		s++;
	return s;
}

int
num_int(const char *s, long long lo, long long hi, long long *out, struct err *e)
{
	const char *first = *s == '-' || *s == '+' ? s + 1 : s, *end = digits(first);
	long long x;

	errno = 0;
	x = strtoll(s, NULL, 10);
	if (end == first || *end || errno || x < lo || x > hi)
		return err_set(e, "'%s' is no integer from %lld to %lld", s, lo, hi);
	*out = x;
	return 0;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before or after the point: strtod() also takes hex, inf and nan. */
static int
is_decimal(const char *s)
{
	const char *p, *q;
	size_t n;

	if (*s == '-' || *s == '+')
		s++;
	p = digits(s);
	n = p - s;
	if (*p == '.') {
		q = digits(p + 1);
		n += q - (p + 1);
		p = q;
	}
	if (n == 0)
		return 0;
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '-' || *p == '+')
			p++;
		q = digits(p);
		if (q == p)
			return 0;
		p = q;
	}
	return *p == '\0';
}

int
num_real(const char *s, double lo, double hi, double *out, struct err *e)
{
	char from[NUM_TEXT], to[NUM_TEXT];
	double x = is_decimal(s) ? strtod(s, NULL) : NAN;

	if (isfinite(x) && x >= lo && x <= hi) {
		*out = x;
		return 0;
	}
	snprintf(from, sizeof from, "%.17g", lo);
	snprintf(to, sizeof to, "%.17g", hi);
	if (isfinite(lo))
		num_text(from, lo);
	if (isfinite(hi))
		num_text(to, hi);
	return err_set(e, "'%s' is no number from %s to %s", s, from, to);
}

char *
num_text(char buf[NUM_TEXT], double x)
{
	if (x == trunc(x) && fabs(x) < 1e15) {
		snprintf(buf, NUM_TEXT, "%.0f", x);
		return buf;
	}
	for (int digits_wanted = 1; digits_wanted <= 17; digits_wanted++) {
		snprintf(buf, NUM_TEXT, "%.*g", digits_wanted, x);
		if (strtod(buf, NULL) == x)
			break;
	}
	return buf;
}
