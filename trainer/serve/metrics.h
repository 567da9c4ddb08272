/* metrics.h - what the server counts, as Prometheus text (exposition format 0.0.4). Pure; the HTTP thread's alone. */
#ifndef SA_METRICS_H
#define SA_METRICS_H

#include <time.h>

#include "buf.h"
#include "engine.h"

#define METRICS_PATHS 9	/* the server's paths and one for all others */
#define METRICS_BUCKETS 18	/* of a histogram, but for the one without a limit */

struct histogram {
	long bucket[METRICS_BUCKETS + 1];
	double sum;	/* seconds */
};

struct metrics {
	struct {
		long status[600];	/* requests by it; 499: the client went away before its reply was whole */
		struct histogram seconds;	/* from the end of a request's header to the end of its reply */
	} path[METRICS_PATHS];
	struct histogram first;		/* from a request for text to its first token, seconds */
	struct histogram next;		/* each further token of a reply with one choice, on average, seconds */
};

/* What is not counted but looked at. */
struct metrics_now {
	const char *version, *model;
	time_t started;
	int connections;
	struct engine_stats engine;
};

/* path: its number, below METRICS_PATHS. */
void metrics_request(struct metrics *m, int path, int status, double seconds);
/* A request for text that came at `began` (clock_seconds()) was answered. */
void metrics_answer(struct metrics *m, const struct job *j, double began);

/* names[METRICS_PATHS]: how the paths are called. */
void metrics_text(struct buf *out, const struct metrics *m, const char *const *names, const struct metrics_now *now);

#endif
