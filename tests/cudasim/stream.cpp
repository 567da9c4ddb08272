/* stream.cpp - work that is put off, and its order
 *
 * Nothing runs when it is submitted. When someone waits, what that needs is run, and a random part of what else could run, in a random
 * order that obeys streams and events; so a missing wait is seen in some seeds. Streams of their own and the legacy stream order each
 * other, unless they are made non-blocking: as in CUDA. Work that depends on other processes (nccl.cpp) runs when it can; nothing is blocked by it but
 * what comes after it. */
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sim.h"

namespace cudasim {

struct work {
	std::function<void()> run;
	std::function<bool()> can;	/* none: always */
	std::vector<int> after;
	bool done;
};

struct stream {
	int last;	/* its newest work, -1: none */
	bool nonblocking;
};

struct event {
	int at;		/* the work that records it, -1: none */
	float ms;
};

/* Work i of the program is works[i - first]; all before `first` is done. */
static std::vector<struct work> works;
static std::vector<int> waiting;
static int first;
static std::vector<struct stream *> streams;
static struct stream legacy = { -1, false };
static float clock_ms;

static struct work *
work_of(int id)
{
	return &works[id - first];
}

static bool
done(int id)
{
	return id < first || work_of(id)->done;
}

static void
run_work(int id)
{
	std::function<void()> run = std::move(work_of(id)->run);

	run();
	work_of(id)->done = true;
}

static bool
ready(const struct work *w)
{
	return std::all_of(w->after.begin(), w->after.end(), done) && (!w->can || w->can());
}

/* What must run before `id` has; waiting is in order of submission, and nothing waits for what was submitted later. */
static std::vector<char>
needed(int id)
{
	std::vector<char> need(works.size());

	need[id - first] = 1;
	for (size_t k = waiting.size(); k-- > 0;)
		if (need[waiting[k] - first])
			for (int before : work_of(waiting[k])->after)
				if (!done(before))
					need[before - first] = 1;
	return need;
}

static void
run_one_of(const std::vector<int> &can)
{
	int pick = can[random_bits() % can.size()];

	waiting.erase(std::find(waiting.begin(), waiting.end(), pick));
	run_work(pick);
}

static void
forget_what_is_done(void)
{
	if (waiting.empty()) {
		first += (int)works.size();
		works.clear();
	}
}

static std::vector<int>
what_can_run(void)
{
	std::vector<int> can;

	for (int w : waiting)
		if (ready(work_of(w)))
			can.push_back(w);
	return can;
}

/* Some of what can run, about a hundred; false: nothing can. */
static bool
run_some(void)
{
	std::vector<int> can = what_can_run();

	if (can.empty())
		return false;
	device_open();
	do
		run_one_of(can);
	while (random_bits() % 128 != 0 && (can = what_can_run()).size() > 0);
	device_close();
	forget_what_is_done();
	return true;
}

void
work_goes_on(void)
{
	if (!run_some())
		usleep(50);
}

/* Device memory is opened once for all that is run: closing gigabytes after each of thousands of kernels takes longer than they do. */
static void
wait_for(int id)
{
	if (done(id))
		return;
	device_open();
	while (!done(id)) {
		std::vector<char> need = needed(id);
		std::vector<int> can;

		for (int w : waiting)
			if (ready(work_of(w)) && (need[w - first] || random_bits() % 4 == 0))
				can.push_back(w);
		if (can.empty())
			usleep(50);	/* until another process has done its part */
		else
			run_one_of(can);
	}
	device_close();
	forget_what_is_done();
}

static int
submit_after(struct stream *s, std::function<void()> run, int other, std::function<bool()> can = nullptr)
{
	struct work w = { std::move(run), std::move(can), {}, false };
	int id = first + (int)works.size();

	options();	/* seeds random_bits() */
	for (int before : { s->last, other })
		if (before >= 0)
			w.after.push_back(before);
	if (s == &legacy) {
		for (struct stream *t : streams)
			if (!t->nonblocking && t->last >= 0)
				w.after.push_back(t->last);
	} else if (!s->nonblocking && legacy.last >= 0) {
		w.after.push_back(legacy.last);
	}
	works.push_back(std::move(w));
	waiting.push_back(id);
	s->last = id;
	while (!options()->lazy && run_some())
		;
	return id;
}

void
submit(struct stream *s, std::function<void()> run)
{
	submit_after(s, std::move(run), -1);
}

int
submit_when(struct stream *s, int after, std::function<bool()> can, std::function<void()> run)
{
	return submit_after(s, std::move(run), after, std::move(can));
}

struct stream *
stream_new(bool nonblocking)
{
	streams.push_back(new stream{ -1, nonblocking });
	return streams.back();
}

struct stream *
stream_of(cudaStream_t s)
{
	if (s == nullptr || s == cudaStreamLegacy)
		return &legacy;
	if (std::find(streams.begin(), streams.end(), (struct stream *)s) == streams.end())
		fail("a stream that was not made, or is destroyed");
	return (struct stream *)s;
}

void
stream_free(struct stream *s)
{
	stream_wait(s);
	streams.erase(std::find(streams.begin(), streams.end(), s));
	delete s;
}

void
stream_wait(struct stream *s)
{
	if (s->last >= 0)
		wait_for(s->last);
}

bool
stream_idle(struct stream *s)
{
	return s->last < 0 || done(s->last);
}

void
all_wait(void)
{
	while (!waiting.empty())
		wait_for(waiting.back());
}

struct event *
event_new(void)
{
	return new event{ -1, 0 };
}

/* Work that is to record it may still wait. */
void
event_free(struct event *e)
{
	event_wait(e);
	delete e;
}

void
event_record(struct event *e, struct stream *s)
{
	e->at = submit_after(s, [e] { e->ms = clock_ms; }, -1);
}

void
event_follow(struct stream *s, struct event *e)
{
	if (e->at >= 0)
		submit_after(s, [] {}, e->at);
}

void
event_wait(struct event *e)
{
	if (e->at >= 0)
		wait_for(e->at);
}

bool
event_done(struct event *e)
{
	return e->at < 0 || done(e->at);
}

void
time_passes(float ms)
{
	clock_ms += ms * options()->slow;
}

bool
event_elapsed(float *ms, struct event *from, struct event *to)
{
	if (from->at < 0 || to->at < 0 || !event_done(from) || !event_done(to))
		return false;
	*ms = to->ms - from->ms;
	return true;
}

}
