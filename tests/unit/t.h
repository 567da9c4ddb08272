/* t.h - a tiny TAP harness: one program per module, one function per behaviour
 *
 *     static void
 *     a_line_may_end_in_crlf(void)
 *     {
 *             CHECK_STR(got, "a");
 *     }
 *
 *     int
 *     main(void)
 *     {
 *             RUN(a_line_may_end_in_crlf);
 *             return t_done();
 *     }
 *
 * A failed check is reported and the function goes on; a check is worth 1 when it held, so `if (!CHECK(p)) return;` reads well.
 * SKIP(why) leaves the function. With T_NAME in the environment only the tests whose name holds it are run (tests/run.sh). */
#ifndef T_H
#define T_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int t_tests, t_failed, t_bad;
static const char *t_skip;

static inline int
t_report(int ok, const char *file, int line, const char *what)
{
	if (!ok) {
		printf("# %s:%d: %s\n", file, line, what);
		t_bad++;
	}
	return ok;
}

static inline int
t_bytes(const char *file, int line, const char *what, const char *got, size_t n, const char *want, size_t m)
{
	if (got && want && n == m && memcmp(got, want, n) == 0)
		return 1;
	t_report(0, file, line, what);
	printf("#   got  %.*s\n#   want %.*s\n", got ? (int)n : 6, got ? got : "(null)", want ? (int)m : 6, want ? want : "(null)");
	return 0;
}

static inline int
t_str(const char *file, int line, const char *what, const char *got, const char *want)
{
	if (!got && !want)
		return 1;
	return t_bytes(file, line, what, got, got ? strlen(got) : 0, want, want ? strlen(want) : 0);
}

static inline int
t_int(const char *file, int line, const char *what, long long got, long long want)
{
	if (got == want)
		return 1;
	t_report(0, file, line, what);
	printf("#   got  %lld\n#   want %lld\n", got, want);
	return 0;
}

static inline int
t_num(const char *file, int line, const char *what, double got, double want, double tol)
{
	if (fabs(got - want) <= tol)
		return 1;
	t_report(0, file, line, what);
	printf("#   got  %.17g\n#   want %.17g within %g\n", got, want, tol);
	return 0;
}

static inline void
t_run(void (*fn)(void), const char *fn_name)
{
	const char *only = getenv("T_NAME");
	char name[256];

	snprintf(name, sizeof name, "%s", fn_name);
	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = ' ';
	if (only && !strstr(name, only))
		return;
	t_bad = 0;
	t_skip = NULL;
	fn();
	t_failed += t_bad > 0;
	printf("%sok %d - %s%s%s\n", t_bad ? "not " : "", ++t_tests, name, t_skip ? " # SKIP " : "", t_skip ? t_skip : "");
	fflush(stdout);
}

static inline int
t_done(void)
{
	printf("1..%d\n", t_tests);
	return t_failed > 0;
}

#define RUN(fn) t_run(fn, #fn)
#define CHECK(expr) t_report(!!(expr), __FILE__, __LINE__, #expr)
#define CHECK_STR(got, want) t_str(__FILE__, __LINE__, #got, got, want)
#define CHECK_BYTES(got, n, want, m) t_bytes(__FILE__, __LINE__, #got, got, n, want, m)
#define CHECK_INT(got, want) t_int(__FILE__, __LINE__, #got, got, want)
#define CHECK_NUM(got, want, tol) t_num(__FILE__, __LINE__, #got, got, want, tol)
#define SKIP(why) do { t_skip = (why); return; } while (0)

#endif
