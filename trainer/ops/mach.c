/* mach.c - a machine's threads and scratch: a pool that runs one function on all of them and waits
 *
 * A token's forward pass at batch 1 is some fifty operations of a few tens of microseconds, so a worker spins for about as long
 * before it sleeps in the kernel; it yields while it spins, because the processors are not ours alone. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cpu/isa.h"
#include "err.h"
#include "mach.h"

#define SPINS 200		/* yields before sleeping: 20-60 microseconds on an idle machine */
#define MAX_THREADS 256
#define WORTH_WAKING 60e3	/* multiply-adds: about 4 microseconds of one core, what handing over costs */

struct part {
	float *scratch;
	size_t cap;
};

struct worker {
	struct mach *m;
	int part;
	pthread_t thread;
};

struct mach {
	int threads;
	struct part *parts;
	struct worker *workers;		/* threads - 1 */
	void (*fn)(void *arg, int part, int parts);
	void *arg;
	atomic_uint round;		/* counts mach_run calls; a worker has work when it changes */
	atomic_int left;		/* workers still at work */
	atomic_bool quit;
	pthread_mutex_t lock;
	pthread_cond_t start, done;
};

/* Until *v is no longer `was` (round) or is `was` (left): spin, then sleep on the condition. */
static unsigned
wait_round(struct mach *m, unsigned was)
{
	unsigned now;
	int i;

	for (i = 0; i < SPINS; i++) {
		now = atomic_load_explicit(&m->round, memory_order_acquire);
		if (now != was)
			return now;
		sched_yield();
	}
	pthread_mutex_lock(&m->lock);
	while ((now = atomic_load(&m->round)) == was)
		pthread_cond_wait(&m->start, &m->lock);
	pthread_mutex_unlock(&m->lock);
	return now;
}

static void
wait_done(struct mach *m)
{
	int i;

	for (i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&m->left, memory_order_acquire) == 0)
			return;
		sched_yield();
	}
	pthread_mutex_lock(&m->lock);
	while (atomic_load(&m->left) != 0)
		pthread_cond_wait(&m->done, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct mach *m = w->m;
	unsigned seen = 0;

	for (;;) {
		seen = wait_round(m, seen);
		if (atomic_load(&m->quit))
			return NULL;
		m->fn(m->arg, w->part, m->threads);
		if (atomic_fetch_sub(&m->left, 1) == 1) {
			pthread_mutex_lock(&m->lock);
			pthread_cond_signal(&m->done);
			pthread_mutex_unlock(&m->lock);
		}
	}
}

static void
new_round(struct mach *m)
{
	pthread_mutex_lock(&m->lock);
	atomic_fetch_add(&m->round, 1);
	pthread_cond_broadcast(&m->start);
	pthread_mutex_unlock(&m->lock);
}

static int
usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	return CPU_COUNT(&set);
}

struct mach *
mach_new(int threads)
{
	struct mach *m = xcalloc(1, sizeof *m);
	int i;

	isa_now();	/* a wrong SA_CPU ends the program here and not later */
	if (threads <= 0)
		threads = usable_cpus();
	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	m->threads = threads;
	m->parts = xcalloc(threads, sizeof *m->parts);
	m->workers = xcalloc(threads, sizeof *m->workers);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->start, NULL);
	pthread_cond_init(&m->done, NULL);
	for (i = 0; i < threads - 1; i++) {
		m->workers[i] = (struct worker){ .m = m, .part = i + 1 };
		if (pthread_create(&m->workers[i].thread, NULL, work, &m->workers[i]) != 0)
			die(STATUS_IO, "cannot start a thread");
	}
	return m;
}

void
mach_free(struct mach *m)
{
	int i;

	if (!m)
		return;
	atomic_store(&m->quit, true);
	new_round(m);
	for (i = 0; i < m->threads - 1; i++)
		pthread_join(m->workers[i].thread, NULL);
	for (i = 0; i < m->threads; i++)
		free(m->parts[i].scratch);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->start);
	pthread_cond_destroy(&m->done);
	free(m->parts);
	free(m->workers);
	free(m);
}

int
mach_threads(const struct mach *m)
{
	return m->threads;
}

void
mach_run(struct mach *m, void (*fn)(void *arg, int part, int parts), void *arg)
{
	if (m->threads == 1) {
		fn(arg, 0, 1);
		return;
	}
	m->fn = fn;
	m->arg = arg;
	atomic_store(&m->left, m->threads - 1);
	new_round(m);
	fn(arg, 0, m->threads);
	wait_done(m);
}

void
mach_run_if(struct mach *m, double work_amount, void (*fn)(void *arg, int part, int parts), void *arg)
{
	if (work_amount < WORTH_WAKING)
		fn(arg, 0, 1);
	else
		mach_run(m, fn, arg);
}

float *
mach_scratch(struct mach *m, int part, size_t n)
{
	struct part *p = &m->parts[part];

	if (p->cap < n) {
		free(p->scratch);
		p->scratch = NULL;
		if (n > SIZE_MAX / sizeof(float) || posix_memalign((void **)&p->scratch, 64, n * sizeof(float)) != 0)
			die(STATUS_IO, "out of memory");
		p->cap = n;
	}
	return p->scratch;
}
