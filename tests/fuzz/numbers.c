/* numbers.c - numbers and dates from text: options, a judge's scores, the headers Retry-After and retry-after-ms
 *
 * An integer is taken exactly when strtoll() takes the whole text, without white space. A wait is -1 or a finite number of seconds >= 0; a
 * whole number is itself, a date in HTTP's form (by strptime) is measured from now. A double's text is a JSON number that reads back the same. */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <time.h>

#include "num.h"
#include "retry.h"

#define NOW 1700000000

static void
integer(const char *s)
{
	long long x, y;
	char *end;
	int rc = num_int(s, LLONG_MIN, LLONG_MAX, &x, NULL);

	errno = 0;
	y = strtoll(s, &end, 10);
	if (*s && !isspace((unsigned char)*s) && *end == '\0' && errno == 0)
		MUST(rc == 0 && x == y);
	else
		MUST(rc < 0);
}

static void
real(const char *s)
{
	char text[NUM_TEXT];
	double x, y;

	if (num_real(s, -INFINITY, INFINITY, &x, NULL) < 0)
		return;
	MUST(isfinite(x) && strspn(s, "+-.0123456789eE") == strlen(s) && x == strtod(s, NULL));
	MUST(num_real(num_text(text, x), x, x, &y, NULL) == 0 && y == x);
}

static void
text_of(const uint8_t *data, size_t n)
{
	char text[NUM_TEXT];
	json_t *v;
	double x;

	if (n < sizeof x)
		return;
	memcpy(&x, data, sizeof x);
	if (!isfinite(x))
		return;
	v = json_loads(num_text(text, x), JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	MUST(json_is_number(v) && json_number_value(v) == x);
	json_decref(v);
}

static void
wait(const char *s)
{
	double seconds = retry_after(s, NOW), ms = retry_after_ms(s);
	struct tm tm = { 0 };
	char same[40] = "", *end;
	time_t date;

	MUST(seconds == -1 || (seconds >= 0 && isfinite(seconds)));
	MUST(ms == -1 || (ms >= 0 && isfinite(ms)));
	if (*s && strlen(s) < 10 && strspn(s, "0123456789") == strlen(s))
		MUST(seconds == atoi(s) && fabs(ms - seconds / 1000) < 1e-6);
	end = strptime(s, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	date = timegm(&tm);	/* and mends tm: a day's name or a 31st that is not so is another text */
	strftime(same, sizeof same, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (end && *end == '\0' && strcmp(s, same) == 0 && date > 0)
		MUST(seconds == (date > NOW ? (double)(date - NOW) : 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *s = fuzz_string(data, n);

	integer(s);
	real(s);
	text_of(data, n);
	wait(s);
	free(s);
	return 0;
}
