/* block.cpp - one block: its threads, their barriers and warp operations, its shared memory
 *
 * A thread runs until it waits for others or ends. Those that can run are taken warp by warp and lane by lane, forwards, backwards, or at
 * random with a random number of turns each. When none can, either all that are left wait at one __syncthreads(), or they never go on. */
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "sim.h"

namespace cudasim {

uint3 thread_index, block_index;
dim3 block_dim, grid_dim;

enum state { READY, AT_BARRIER, AT_WARP, ENDED };

enum { COPIES_MAX = 512 };	/* of one thread under way: an array that grows is moved by memmove(3), which ThreadSanitizer sees */

struct copy {
	void *to;
	const void *from;
	int n;
	void (*land)(void *to, const void *from, int n);
	int group;
};

struct thread {
	struct fiber *fiber;
	uint3 index;
	int lane, warp;
	enum state state;
	struct place at;	/* where it waits */
	unsigned mask;		/* AT_WARP: with whom */
	struct lane_part *part;
	int predicate;
	std::vector<struct copy> copies;	/* cp.async that have not landed */
	int group;		/* how many groups of them were committed */
};

/* Lanes that meet in one warp operation. */
struct meeting {
	unsigned mask, here;
	enum warp_op op;
	struct place at;
	char *token;
};

struct warp {
	unsigned runnable, alive;	/* lanes */
	std::vector<struct meeting> meetings;
	unsigned met;
	char tokens[4];		/* for ACQUIRE and RELEASE, a meeting after the other */
};

struct variable {
	const void *key;
	char *at;
};

static struct block {
	const struct grid *grid;
	std::vector<struct thread> threads;
	std::vector<struct warp> warps;
	int alive, waiting, barriers, count;
	char tokens[2], begun, ended;
	char *shared;
	size_t shared_used, static_used;
	std::vector<struct variable> variables;
} b;

static struct thread *me;

static std::string
who(const struct thread *t)
{
	char name[200];

	snprintf(name, sizeof name, "kernel %s block (%u,%u,%u) thread (%u,%u,%u)", b.grid->name, block_index.x, block_index.y, block_index.z,
		 t->index.x, t->index.y, t->index.z);
	return name;
}

static bool
same(struct place p, struct place q)
{
	return p.line == q.line && !strcmp(p.file, q.file);
}

/* ---- __syncthreads ---- */

void
block_barrier(struct place at)
{
	char *token = &b.tokens[b.barriers & 1];

	me->at = at;
	me->state = AT_BARRIER;
	b.warps[me->warp].runnable &= ~(1u << me->lane);
	b.waiting++;
	RELEASE(token);
	fiber_yield();
	ACQUIRE(token);
}

int
block_count(int predicate, int *threads, struct place at)
{
	me->predicate = predicate != 0;
	block_barrier(at);
	*threads = (int)b.threads.size();
	return b.count;
}

static void
check_barrier(void)
{
	const struct thread *first = nullptr;

	for (const struct thread &t : b.threads)
		if (t.state == AT_BARRIER && !first)
			first = &t;
	for (const struct thread &t : b.threads)
		if (t.state == ENDED)
			fail("barrier divergence: %s waits at __syncthreads %s:%d, thread (%u,%u,%u) has ended", who(first).c_str(),
			     first->at.file, first->at.line, t.index.x, t.index.y, t.index.z);
		else if (!same(t.at, first->at))
			fail("barrier divergence: %s at %s:%d, thread (%u,%u,%u) at %s:%d", who(first).c_str(), first->at.file, first->at.line,
			     t.index.x, t.index.y, t.index.z, t.at.file, t.at.line);
}

static void
release_barrier(void)
{
	check_barrier();
	b.count = 0;
	for (struct thread &t : b.threads) {
		b.count += t.predicate;
		t.predicate = 0;
		t.state = READY;
		b.warps[t.warp].runnable |= 1u << t.lane;
	}
	b.waiting = 0;
	b.barriers++;
}

/* ---- warp operations ---- */

static int
shuffle_source(enum warp_op op, int lane, const struct lane_part *p)
{
	int first = lane & ~(p->width - 1), end = first + p->width;

	switch (op) {
	case SHFL_IDX:
		return first | (p->source & (p->width - 1));
	case SHFL_UP:
		return lane - p->source < first ? lane : lane - p->source;
	case SHFL_DOWN:
		return lane + p->source >= end ? lane : lane + p->source;
	default:
		return (lane ^ p->source) >= end ? lane : lane ^ p->source;
	}
}

static void
shuffle_lanes(enum warp_op op, unsigned mask, struct lane_part **lanes)
{
	for (int l = 0; l < 32; l++) {
		if (!lanes[l])
			continue;
		int from = shuffle_source(op, l, lanes[l]);
		if (!lanes[from])
			fail("%s: lane %d reads lane %d by a shuffle, which is not in the mask %08x", who(me).c_str(), l, from, mask);
		lanes[l]->result = lanes[from]->value;
	}
}

static unsigned
matching(struct lane_part **lanes, uint64_t value)
{
	unsigned found = 0;

	for (int l = 0; l < 32; l++)
		if (lanes[l] && lanes[l]->value == value)
			found |= 1u << l;
	return found;
}

static void
vote_lanes(enum warp_op op, unsigned mask, struct lane_part **lanes)
{
	unsigned yes = mask & ~matching(lanes, 0), sum = 0;
	uint64_t most = 0, least = ~0ull;

	for (int l = 0; l < 32; l++)
		if (lanes[l]) {
			sum += (unsigned)lanes[l]->value;
			most = std::max(most, lanes[l]->value);
			least = std::min(least, lanes[l]->value);
		}
	for (int l = 0; l < 32; l++)
		if (lanes[l])
			lanes[l]->result = op == ANY ? yes != 0 : op == ALL ? yes == mask : op == BALLOT ? yes : op == ADD ? sum : op == MAX ? most :
					   op == MIN ? least : matching(lanes, lanes[l]->value);
}

static void
do_meeting(enum warp_op op, unsigned mask, struct lane_part **lanes)
{
	if (op <= SHFL_XOR)
		shuffle_lanes(op, mask, lanes);
	else if (op == TOGETHER)
		me->part->fn(lanes);
	else if (op != SYNCWARP)
		vote_lanes(op, mask, lanes);
}

/* The meeting of this mask that is under way, or a new one. */
static struct meeting *
meeting_of(struct warp *w, enum warp_op op, unsigned mask, struct place at)
{
	unsigned gone = mask & ~w->alive;

	for (struct meeting &m : w->meetings)
		if (m.mask == mask) {
			if (m.op != op || !same(m.at, at))
				fail("warp divergence: %s at %s:%d, another lane of mask %08x at %s:%d", who(me).c_str(), at.file, at.line, mask, m.at.file, m.at.line);
			return &m;
		}
	if (gone)
		fail("%s: the mask %08x at %s:%d names lane %d, which has ended or never was", who(me).c_str(), mask, at.file, at.line, __builtin_ctz(gone));
	w->meetings.push_back({ mask, 0, op, at, &w->tokens[w->met++ % sizeof w->tokens] });
	return &w->meetings.back();
}

/* All lanes are there: the last one does it for all. */
static void
finish_meeting(struct warp *w, struct meeting *m)
{
	struct thread *lane0 = &b.threads[me->warp * 32];
	struct lane_part *lanes[32];
	struct meeting done = *m;

	*m = w->meetings.back();
	w->meetings.pop_back();
	for (int l = 0; l < 32; l++)
		lanes[l] = done.mask >> l & 1 ? lane0[l].part : nullptr;
	do_meeting(done.op, done.mask, lanes);
	for (int l = 0; l < 32; l++)
		if (lanes[l])
			lane0[l].state = READY;
	w->runnable |= done.mask;
}

void
warp_meet(enum warp_op op, unsigned mask, struct lane_part *part, struct place at)
{
	struct warp *w = &b.warps[me->warp];

	if (!(mask >> me->lane & 1))
		fail("%s: the mask %08x at %s:%d lacks the lane that gives it", who(me).c_str(), mask, at.file, at.line);
	if (op <= SHFL_XOR && (part->width < 1 || part->width > 32 || (part->width & (part->width - 1))))
		fail("%s: a shuffle of width %d at %s:%d", who(me).c_str(), part->width, at.file, at.line);
	struct meeting *m = meeting_of(w, op, mask, at);
	char *token = m->token;

	me->at = at;
	me->mask = mask;
	me->part = part;
	me->state = AT_WARP;
	w->runnable &= ~(1u << me->lane);
	m->here |= 1u << me->lane;
	if (op == SYNCWARP)	/* the only one that orders memory */
		RELEASE(token);
	bool last = m->here == mask;
	if (last)
		finish_meeting(w, m);
	if (!last || options()->order != FORWARD)
		fiber_yield();
	if (op == SYNCWARP)
		ACQUIRE(token);
}

unsigned
lanes_alive(void)
{
	return b.warps[me->warp].alive;
}

/* ---- shared memory, and copies into it ---- */

enum { GAP = 256 };	/* between shared variables: AddressSanitizer's redzone */

static size_t
with_gap(size_t n)
{
	return (n + GAP + 255) & ~(size_t)255;
}

/* Fresh shared memory is NaN, so that what was never written shows. */
static char *
shared_take(size_t n)
{
	char *p = b.shared + b.shared_used;

	if (b.shared_used + with_gap(n) > SHARED_ARENA)
		fail("kernel %s: too much shared memory", b.grid->name);
	b.shared_used += with_gap(n);
	UNPOISON(p, n);
	fill(p, 0xff, n);
	return p;
}

void *
shared_dynamic(void)
{
	if (b.grid->shared == 0)
		fail("%s: dynamic shared memory is used, but the launch gave none", who(me).c_str());
	return b.shared;
}

void *
shared_static(const void *key, size_t size)
{
	for (const struct variable &v : b.variables)
		if (v.key == key)
			return v.at;
	b.static_used += size;
	if (b.static_used > SHARED_STATIC_MAX)
		fail("kernel %s: more than 48 KiB of static shared memory", b.grid->name);
	b.variables.push_back({ key, shared_take(size) });
	return b.variables.back().at;
}

void
async_copy(void *shared, const void *src, int n, void (*land)(void *to, const void *from, int n))
{
	enum landing when = options()->async;
	struct copy c = { shared, src, n, land, me->group };

	if ((uintptr_t)shared % 16 || (uintptr_t)src % 16 || n < 0 || n > 16)
		fail("%s: cp.async of %d bytes from %p to %p: both must be multiples of 16", who(me).c_str(), n, src, shared);
	if (when == EARLY || (when == EITHER && random_bits() & 1))
		land(shared, src, n);
	else if (me->copies.size() == COPIES_MAX)
		fail("%s: more than %d cp.async are under way", who(me).c_str(), COPIES_MAX);
	else
		me->copies.push_back(c);
}

void
async_commit(void)
{
	me->group++;
}

void
async_wait(int pending)
{
	size_t left = 0;

	for (const struct copy &c : me->copies)
		if (c.group < me->group - pending)
			c.land(c.to, c.from, c.n);
		else
			me->copies[left++] = c;
	me->copies.resize(left);
}

/* ---- running it ---- */

void
thread_main(void)
{
	ACQUIRE(&b.begun);
	b.grid->thread();
	RELEASE(&b.ended);
	if (!me->copies.empty())
		fail("%s ends with cp.async copies that nobody waited for", who(me).c_str());
	me->state = ENDED;
	b.alive--;
	b.warps[me->warp].alive &= ~(1u << me->lane);
	b.warps[me->warp].runnable &= ~(1u << me->lane);
}

static void
run_thread(struct thread *t)
{
	me = t;
	thread_index = t->index;
	fiber_run(t->fiber);
}

static int
pick_lane(unsigned lanes)
{
	if (options()->order == FORWARD)
		return __builtin_ctz(lanes);
	if (options()->order == REVERSE)
		return 31 - __builtin_clz(lanes);
	for (int skip = random_bits() % __builtin_popcount(lanes); skip > 0; skip--)
		lanes &= lanes - 1;
	return __builtin_ctz(lanes);
}

/* A warp that can run, -1 when none can. */
static int
pick_warp(void)
{
	int n = (int)b.warps.size(), from = options()->order == RANDOM ? random_bits() % n : 0;

	for (int i = 0; i < n; i++) {
		int w = options()->order == REVERSE ? n - 1 - i : (from + i) % n;

		if (b.warps[w].runnable)
			return w;
	}
	return -1;
}

static void
run_warp(int w)
{
	int turns = options()->order == RANDOM ? 1 + random_bits() % 96 : -1;

	while (b.warps[w].runnable && turns-- != 0)
		run_thread(&b.threads[w * 32 + pick_lane(b.warps[w].runnable)]);
}

/* Nobody can run: who waits for whom. */
[[noreturn]] static void
deadlock(void)
{
	for (const struct thread &t : b.threads) {
		if (t.state != AT_WARP)
			continue;
		for (int l = 0; l < 32; l++) {
			if (!(t.mask >> l & 1))
				continue;
			const struct thread &other = b.threads[t.warp * 32 + l];
			if (other.state != AT_WARP || other.mask != t.mask)
				fail("deadlock: %s waits at %s:%d with mask %08x for lane %d, which %s", who(&t).c_str(), t.at.file, t.at.line, t.mask, l,
				     other.state == ENDED ? "has ended" : other.state == AT_BARRIER ? "is at __syncthreads" : "waits with another mask");
		}
	}
	fail("deadlock in kernel %s", b.grid->name);
}

static void
set_up(const struct grid *g, int set)
{
	int n = (int)(g->block.x * g->block.y * g->block.z), i;

	b.threads.resize(n);
	b.warps.resize((n + 31) / 32);
	for (i = 0; i < n; i++) {
		struct thread *t = &b.threads[i];
		unsigned x = g->block.x, y = g->block.y;

		t->fiber = fiber_get(set, i);
		t->index = { (unsigned)i % x, (unsigned)i / x % y, (unsigned)i / (x * y) };
		t->lane = i % 32;
		t->warp = i / 32;
		t->state = READY;
		t->predicate = t->group = 0;
		t->copies.clear();
		t->copies.reserve(COPIES_MAX);
	}
	for (struct warp &w : b.warps) {
		int lanes = std::min(n, 32);

		w.alive = w.runnable = lanes == 32 ? ~0u : (1u << lanes) - 1;
		w.met = 0;
		n -= lanes;
	}
	b.alive = (int)b.threads.size();
	b.waiting = b.barriers = 0;
}

void
block_run(const struct grid *g, uint3 index, int set, char *shared)
{
	int w;

	b.grid = g;
	block_index = index;
	block_dim = g->block;
	grid_dim = g->grid;
	set_up(g, set);
	b.shared = shared;
	b.shared_used = b.static_used = 0;
	b.variables.clear();
	POISON(shared, SHARED_ARENA);
	if (g->shared)
		shared_take(g->shared);
	while (b.alive > 0) {
		if ((w = pick_warp()) >= 0)
			run_warp(w);
		else if (b.waiting == b.alive)
			release_barrier();
		else
			deadlock();
	}
}

/* The order of memory between the launch and its blocks. */
void
blocks_begin(void)
{
	RELEASE(&b.begun);
}

void
blocks_end(void)
{
	ACQUIRE(&b.ended);
}

}
