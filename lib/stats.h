/* stats.h - what a run counts, its summary (--stats) and its progress line */
#ifndef SA_STATS_H
#define SA_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "rec.h"

#define CLASSES (BUDGET + 1)
#define LATENCIES 1200	/* buckets 2% wide from 10 microseconds up */

struct stats {
	uint64_t start;			/* ns, monotonic */
	long long in, out, taken, made;	/* records read, written, kept by the filter; lines that the filter made */
	long long dropped;		/* records of a selecting filter that failed: not written */
	long long diverted;		/* records that failed, written to --failed */
	long long pending;		/* written as they came, their questions being in the batch file */
	long long cached;		/* replies from the cache or from batch results */
	long long size, bytes;		/* of an input that is a file: all of it, else 0; what was read */
	long long passed;		/* written without a question */
	long long blank;		/* blank lines */
	long long failed, by_class[CLASSES];
	long long requests, retries;
	long long paced;		/* attempts that met a 429 */
	long long tokens_in, tokens_out;
	double usd;			/* spent, when there is a price */
	bool priced;
	int concurrency;		/* requests in flight that the endpoints were thought to bear at the end */
	long long latency[LATENCIES];
};

void stats_start(struct stats *s);
double stats_seconds(const struct stats *s);
void stats_latency(struct stats *s, double seconds);
double stats_quantile(const struct stats *s, double q);	/* seconds, 2% exact; 0 when nothing was counted */
json_t *stats_json(const struct stats *s, const char *program);

/* "12 of 664 records failed: 10 net, 2 unparsed" */
void stats_failures(const struct stats *s, char *out, size_t max);

/* One line on standard error, written over the one before. progress_wanted: standard error is a terminal that can do it and standard output
 * is not that terminal. */
bool progress_wanted(void);
void progress_show(const struct stats *s, int in_flight);
void progress_line(const struct stats *s, int in_flight);	/* the same as a line of a log, whatever standard error is */
void progress_clear(void);	/* nothing when no line is shown */

#endif
