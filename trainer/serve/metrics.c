/* metrics.c - see metrics.h */
#include "metrics.h"

#include <string.h>

static const double limits[METRICS_BUCKETS] = { .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 60, 150, 300, 600 };

static void
add(struct histogram *h, double seconds)
{
	int i = 0;

	while (i < METRICS_BUCKETS && seconds > limits[i])
		i++;
	h->bucket[i]++;
	h->sum += seconds;
}

void
metrics_request(struct metrics *m, int path, int status, double seconds)
{
	m->path[path].status[status]++;
	add(&m->path[path].seconds, seconds);
}

void
metrics_answer(struct metrics *m, const struct job *j, double began)
{
	if (j->first == 0)
		return;
	add(&m->first, j->first - began);
	if (j->nseq == 1 && j->generated > 1)
		add(&m->next, (j->ended - j->first) / (j->generated - 1));
}

/* ---- text ---- */

static void
head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
single(struct buf *out, const char *name, const char *type, const char *help, double value)
{
	head(out, name, type, help);
	buf_addf(out, "%s %.15g\n", name, value);
}

/* A label's value. */
static void
quoted(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_addc(out, '\\');
		if (*s == '\n')
			buf_adds(out, "\\n");
		else
			buf_addc(out, *s);
	}
	buf_addc(out, '"');
}

/* label: "" or name="value", */
static void
histogram(struct buf *out, const char *name, const char *label, const struct histogram *h)
{
	size_t n = strlen(label);
	long count = 0;

	for (int i = 0; i < METRICS_BUCKETS; i++) {
		count += h->bucket[i];
		buf_addf(out, "%s_bucket{%sle=\"%g\"} %ld\n", name, label, limits[i], count);
	}
	count += h->bucket[METRICS_BUCKETS];
	buf_addf(out, "%s_bucket{%sle=\"+Inf\"} %ld\n", name, label, count);
	buf_addf(out, n ? "%s_sum{%.*s} %.15g\n" : "%s_sum%.*s %.15g\n", name, n ? (int)n - 1 : 0, label, h->sum);
	buf_addf(out, n ? "%s_count{%.*s} %ld\n" : "%s_count%.*s %ld\n", name, n ? (int)n - 1 : 0, label, count);
}

static void
requests(struct buf *out, const struct metrics *m, const char *const *names)
{
	static const char total[] = "sa_serve_requests_total", seconds[] = "sa_serve_request_duration_seconds";
	struct buf label = BUF_INIT(1024);

	head(out, total, "counter", "Requests by path and status; 499: the client went away.");
	for (int p = 0; p < METRICS_PATHS; p++)
		for (int s = 0; s < 600; s++)
			if (m->path[p].status[s])
				buf_addf(out, "%s{path=\"%s\",status=\"%d\"} %ld\n", total, names[p], s, m->path[p].status[s]);
	head(out, seconds, "histogram", "From the end of a request's header to the end of its reply.");
	for (int p = 0; p < METRICS_PATHS; p++) {
		buf_clear(&label);
		buf_addf(&label, "path=\"%s\",", names[p]);
		histogram(out, seconds, label.p, &m->path[p].seconds);
	}
	buf_free(&label);
}

static void
engine(struct buf *out, const struct engine_stats *e)
{
	const struct {
		const char *name, *type, *help;
		long value;
	} all[] = {
		{ "sa_serve_requests_waiting", "gauge", "Requests for text that wait.", e->waiting },
		{ "sa_serve_sequences_running", "gauge", "Choices of requests that are being computed.", e->running },
		{ "sa_serve_queue_requests_total", "counter", "Requests for text that were queued.", e->taken },
		{ "sa_serve_queue_refused_total", "counter", "Requests for text that found the queue full.", e->refused },
		{ "sa_serve_cancelled_total", "counter", "Requests for text whose client went away.", e->cancelled },
		{ "sa_serve_prompt_tokens_total", "counter", "Tokens of prompts that were computed.", e->prompt_tokens },
		{ "sa_serve_prompt_tokens_cached_total", "counter", "Tokens of prompts that were found in the cache.", e->found_tokens },
		{ "sa_serve_generated_tokens_total", "counter", "Tokens that were generated.", e->generated_tokens },
		{ "sa_serve_turns_total", "counter", "Passes of the model.", e->turns },
		{ "sa_serve_preemptions_total", "counter", "Sequences that lost their place or cache for a while.", e->put_back },
		{ "sa_serve_kv_pages", "gauge", "Limit of the key-value caches, in pages.", e->pages },
		{ "sa_serve_kv_pages_used", "gauge", "Pages of sequences.", e->pages_held },
		{ "sa_serve_kv_pages_kept", "gauge", "Pages that are kept for prompts to come.", e->pages_kept },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		single(out, all[i].name, all[i].type, all[i].help, all[i].value);
}

void
metrics_text(struct buf *out, const struct metrics *m, const char *const *names, const struct metrics_now *now)
{
	static const char first[] = "sa_serve_time_to_first_token_seconds", next[] = "sa_serve_time_per_output_token_seconds";

	head(out, "sa_serve_build_info", "gauge", "The program's version and the model that it serves.");
	buf_addf(out, "sa_serve_build_info{version=\"%s\",model=", now->version);
	quoted(out, now->model);
	buf_adds(out, "} 1\n");
	single(out, "process_start_time_seconds", "gauge", "Start time of the process since the epoch in seconds.", now->started);
	single(out, "sa_serve_connections", "gauge", "Open connections.", now->connections);
	engine(out, &now->engine);
	requests(out, m, names);
	head(out, first, "histogram", "From a request for text to its first token.");
	histogram(out, first, "", &m->first);
	head(out, next, "histogram", "From one token to the next, the average of a reply with one choice.");
	histogram(out, next, "", &m->next);
}
