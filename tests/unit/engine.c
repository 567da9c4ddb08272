/* engine.c - the engine without a server: clients that want more pages than there are */
#include <semaphore.h>
#include <time.h>

#include "engine.h"
#include "model.h"
#include "t.h"

#define TEACHER "pipelines/nano/teacher"

enum { PAGES = 4, JOBS = 4 };

static struct engine *engine;
static struct job *jobs[JOBS];
static sem_t started, done;

static void
wake(struct job *j)
{
	if (j->done)
		sem_post(&done);
}

/* A completion of `n` tokens, the first of which is `first`, by `generate` more. */
static struct job *
submit(uint64_t client, int first, int n, int generate)
{
	struct req_error why;
	struct request r;
	struct job *j;
	char body[512];
	int len = snprintf(body, sizeof body, "{\"model\":\"m\",\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":%d,\"prompt\":[[%d", generate, first);

	for (int i = 1; i < n; i++)
		len += snprintf(body + len, sizeof body - len, ",%d", 100 + i);
	len += snprintf(body + len, sizeof body - len, "]]}");
	if (!CHECK(req_parse(&r, REQ_COMPLETION, body, len, engine_serving(engine), &why) == 0))
		return NULL;
	j = job_new(&r);
	j->wake = wake;
	CHECK(engine_submit(engine, j, client, &why) == 0);
	return j;
}

/* On the engine's thread before it admits anybody, so that the turns are the same in every run. Places go first to client 1, who came last, then to 2, in
 * turn: to jobs[2], [0], [3] and [1], a page each.
 *
 * Turn 1: all prompts are computed; jobs[0] has its only token and gives its page back.
 * Turn 2: jobs[2] needs a second page and takes that one; jobs[1] needs a second one, finds none and, being the last, is put back.
 * Then client 2 has no place, jobs[1] needs two pages and there is one, so client 1, who has two places, gives that of jobs[3] up. */
static void
submit_all(void *arg, const char *why)
{
	(void)arg;
	sem_wait(&started);
	if (!CHECK(!why))
		return;
	jobs[0] = submit(2, 10, 2, 1);
	jobs[1] = submit(2, 11, KV_PAGE, 8);
	jobs[2] = submit(1, 12, KV_PAGE, 8);
	jobs[3] = submit(1, 13, 2, 8);
}

/* Whether all jobs are done; an engine that goes round for ever takes the seconds. */
static bool
all_done(int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	for (int i = 0; i < JOBS; i++)
		if (sem_timedwait(&done, &until) < 0)
			return false;
	return true;
}

static void
who_is_made_room_for_is_not_overtaken_by_what_was_put_back_for_it(void)
{
	struct engine_options o = { .dir = TEACHER, .name = "m", .weights = WEIGHTS_F32, .threads = 2, .max_active = JOBS, .turn_tokens = 256,
				    .queue = JOBS };
	struct engine_stats s;
	struct config c;
	struct err e;

	if (!CHECK(config_read(&c, TEACHER, &e) == 0))
		return;
	o.kv_bytes = PAGES * kv_page_bytes(&c, &ops_cpu);	/* float weights' */
	sem_init(&started, 0, 0);
	sem_init(&done, 0, 0);
	engine = engine_start(&o, submit_all, NULL);
	sem_post(&started);
	if (!CHECK(all_done(60)))
		return;		/* it holds its lock: it cannot be stopped */
	engine_stats(engine, &s);
	CHECK_INT(s.pages, PAGES);
	CHECK_INT(s.put_back, 2);
	CHECK_INT(s.generated_tokens, 1 + 3 * 8);
	engine_stop(engine);
	for (int i = 0; i < JOBS; i++) {
		CHECK_INT(jobs[i]->status, 200);
		job_release(engine, jobs[i]);
	}
	engine_free(engine);
}

int
main(void)
{
	RUN(who_is_made_room_for_is_not_overtaken_by_what_was_put_back_for_it);
	return t_done();
}
