/* stats.c - what a run counts, its summary and its progress line */

#include "stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

#define SHORTEST 1e-5
#define WIDTH 1.02

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
stats_start(struct stats *s)
{
	memset(s, 0, sizeof *s);
	s->start = now();
}

double
stats_seconds(const struct stats *s)
{
	return (double)(now() - s->start) / 1e9;
}

void
stats_latency(struct stats *s, double seconds)
{
	double at = seconds > SHORTEST ? log(seconds / SHORTEST) / log(WIDTH) : 0;

	s->latency[at < LATENCIES ? (int)at : LATENCIES - 1]++;
}

double
stats_quantile(const struct stats *s, double q)
{
	long long total = 0, below = 0;

	for (int i = 0; i < LATENCIES; i++)
		total += s->latency[i];
	for (int i = 0; i < LATENCIES && total > 0; i++) {
		below += s->latency[i];
		if ((double)below >= q * (double)total)
			return SHORTEST * pow(WIDTH, i + 0.5);
	}
	return 0;
}

static void
set(json_t *o, const char *name, long long x)
{
	json_object_set_new(o, name, json_integer(x));
}

/* Seconds to the microsecond: more digits would be noise. */
static void
set_seconds(json_t *o, const char *name, double x)
{
	json_object_set_new(o, name, json_real(round(x * 1e6) / 1e6));
}

json_t *
stats_json(const struct stats *s, const char *program)
{
	json_t *o = json_object(), *by = json_object();

	for (int i = 0; i < CLASSES; i++)
		if (s->by_class[i])
			set(by, rec_class_name((enum rec_class)i), s->by_class[i]);
	json_object_set_new(o, "program", json_string(program));
	set(o, "in", s->in);
	set(o, "out", s->out);
	set(o, "taken", s->taken);
	set(o, "made", s->made);
	set(o, "diverted", s->diverted);
	set(o, "pending", s->pending);
	set(o, "failed", s->failed);
	json_object_set_new(o, "failed_by_class", by);
	set(o, "blank", s->blank);
	set(o, "passed", s->passed);
	set(o, "requests", s->requests);
	set(o, "retries", s->retries);
	set(o, "rate_limited", s->paced);
	set(o, "cached", s->cached);
	set(o, "tokens_in", s->tokens_in);
	set(o, "tokens_out", s->tokens_out);
	if (s->priced)
		set_seconds(o, "usd", s->usd);
	set(o, "concurrency", s->concurrency);
	set_seconds(o, "seconds", stats_seconds(s));
	set_seconds(o, "p50", stats_quantile(s, 0.50));
	set_seconds(o, "p99", stats_quantile(s, 0.99));
	return o;
}

void
stats_failures(const struct stats *s, char *out, size_t max)
{
	int n = snprintf(out, max, "%lld of %lld records failed", s->failed, s->in);
	const char *sep = ": ";

	for (int i = 0; i < CLASSES; i++) {
		if (!s->by_class[i] || n < 0 || (size_t)n >= max)
			continue;
		n += snprintf(out + n, max - (size_t)n, "%s%lld %s", sep, s->by_class[i], rec_class_name((enum rec_class)i));
		sep = ", ";
	}
}

/* ---- progress ---- */

static bool shown;

bool
progress_wanted(void)
{
	const char *term = getenv("TERM");

	return term && *term && strcmp(term, "dumb") != 0 && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
}

static void
put(const char *s, int n)
{
	if (n > 0 && write(STDERR_FILENO, s, (size_t)n) < 0)
		shown = false;
}

/* " 1:02:03 left", of an input that is a file; "" when that is not known. */
static void
time_left(const struct stats *s, double seconds, char *text, size_t max)
{
	double left = s->size > 0 && s->bytes > 0 && seconds > 1 ? seconds * (double)(s->size - s->bytes) / (double)s->bytes : -1;

	*text = 0;
	if (left >= 0 && left < 3.6e7)
		snprintf(text, max, ", %ld:%02ld:%02ld left", (long)left / 3600, (long)left / 60 % 60, (long)left % 60);
}

/* What matters most first: a terminal cuts it. */
static void
progress_text(const struct stats *s, int in_flight, char *text, size_t max)
{
	double seconds = stats_seconds(s);
	long long done = s->out + s->taken + s->dropped + s->diverted;
	char left[40], usd[40] = "";

	time_left(s, seconds, left, sizeof left);
	if (s->priced)
		snprintf(usd, sizeof usd, ", $%.4g", s->usd);
	snprintf(text, max, "%s: %lld done, %.1f/s, %d in flight, %lld failed%s%s, %lld retries, %lld+%lld tokens", progname, done,
		 seconds > 0 ? (double)done / seconds : 0, in_flight, s->failed, left, usd, s->retries, s->tokens_in, s->tokens_out);
}

/* Columns that a line may have so that it never wraps. */
static int
columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1 : 79;
}

/* No colours, so NO_COLOR is honoured. */
void
progress_show(const struct stats *s, int in_flight)
{
	char text[300], line[320];

	progress_text(s, in_flight, text, sizeof text);
	shown = true;
	put(line, snprintf(line, sizeof line, "\r%.*s\033[K", columns(), text));
}

void
progress_line(const struct stats *s, int in_flight)
{
	char text[300], line[320];

	progress_text(s, in_flight, text, sizeof text);
	progress_clear();
	put(line, snprintf(line, sizeof line, "%s\n", text));
}

void
progress_clear(void)
{
	if (shown)
		put("\r\033[K", 4);
	shown = false;
}
