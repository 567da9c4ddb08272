/* nccl.cpp - the functions of trainer/train/cuda/ncclload.h: simulated devices of several processes of this machine
 *
 * A communicator is a file in /dev/shm that all ranks map: of each its process and how far it is, and a slot. A call puts two pieces of work into its stream.
 * The first waits until all ranks have taken what was in the slots before, and leaves what this rank sends; the second waits until all ranks have left
 * theirs, and makes the result. Neither blocks a process or what does not depend on it, as on a GPU. The first call of each kind and size does block the
 * process, until all ranks have made it: NCCL connects them then. A piece's sum is taken in the order of a ring that ends at the rank whose it is. A rank is
 * gone when its process is. */
#include <errno.h>
#include <fcntl.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <tuple>

#include "ncclload.h"
#include "sim.h"

using namespace cudasim;

enum { RANKS = 16 };
static const size_t SLOT = 256 << 20;	/* nothing of it is there before it is written */

struct rank {
	std::atomic<int> pid;
	std::atomic<unsigned> left, taken;	/* calls whose data is in the slot, whose data of all was read */
	std::atomic<unsigned> kinds;	/* of calls that it has made */
};

struct shared {
	struct rank rank[RANKS];
	std::atomic<int> joined;
};

struct ncclComm {
	struct shared *shared;
	char *slots;
	int rank, size;
	unsigned calls;
	std::set<std::tuple<char, unsigned, size_t>> kinds;
	int last;		/* the newest work, -1: none */
	bool sum;		/* the last call was one */
	bool aborted;
};

static size_t
size_of(unsigned type)
{
	return type == NCCL_INT8 ? 1 : 4;
}

static bool
gone(const struct ncclComm *c)
{
	for (int r = 0; r < c->size; r++)
		if (kill(c->shared->rank[r].pid, 0) < 0 && errno == ESRCH)
			return true;
	return false;
}

/* ---- joining ---- */

extern "C" unsigned
ncclGetUniqueId(struct nccl_id *id)
{
	int fd;

	snprintf(id->bytes, sizeof id->bytes, "/dev/shm/cudasim-XXXXXX");
	fd = mkstemp(id->bytes);
	if (fd < 0 || ftruncate(fd, (off_t)(sizeof(struct shared) + RANKS * SLOT)) < 0)
		fail("NCCL: %s: %s", id->bytes, strerror(errno));
	close(fd);
	return NCCL_SUCCESS;
}

extern "C" unsigned
ncclCommInitRank(struct ncclComm **comm, int size, struct nccl_id id, int rank)
{
	struct ncclComm *c = new ncclComm{};
	int fd = open(id.bytes, O_RDWR);
	void *in_mpi;

	if (fd < 0 || size > RANKS)
		fail("NCCL: %s: %s", id.bytes, fd < 0 ? strerror(errno) : "too many ranks");
	c->slots = (char *)mmap(nullptr, sizeof(struct shared) + RANKS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	close(fd);
	if (c->slots == MAP_FAILED)
		fail("NCCL: %s", strerror(errno));
	c->shared = (struct shared *)c->slots;
	c->slots += sizeof(struct shared);
	c->rank = rank;
	c->size = size;
	c->last = -1;
	c->shared->rank[rank].pid = getpid();
	for (c->shared->joined++; c->shared->joined < size;)
		usleep(100);
	unlink(id.bytes);
	in_mpi = dlsym(RTLD_DEFAULT, "cudasim_in_mpi");	/* mpi.c, where it is preloaded */
	if (in_mpi)
		*(void (**)(void))in_mpi = work_goes_on;
	*comm = c;
	return NCCL_SUCCESS;
}

extern "C" unsigned
ncclCommGetAsyncError(struct ncclComm *c, unsigned *state)
{
	*state = gone(c) ? NCCL_REMOTE_ERROR : NCCL_SUCCESS;
	return NCCL_SUCCESS;
}

/* What waits for the others will not be, nor what was to be made of it: the work runs without doing anything. */
extern "C" unsigned
ncclCommAbort(struct ncclComm *c)
{
	c->aborted = true;
	return NCCL_SUCCESS;
}

extern "C" unsigned
ncclCommDestroy(struct ncclComm *c)
{
	if (c->shared->rank[c->rank].taken != c->calls)
		fail("ncclCommDestroy: calls are not done");
	munmap(c->shared, sizeof(struct shared) + RANKS * SLOT);
	delete c;
	return NCCL_SUCCESS;
}

extern "C" const char *
ncclGetErrorString(unsigned e)
{
	return e == NCCL_SUCCESS ? "no error" : e == NCCL_REMOTE_ERROR ? "remote process exited or there was a network error" : "another error";
}

/* ---- calls ---- */

static char *
slot(const struct ncclComm *c, int r)
{
	return c->slots + (size_t)r * SLOT;
}

static bool
all_have(const struct ncclComm *c, std::atomic<unsigned> rank::*what, unsigned calls)
{
	for (int r = 0; r < c->size; r++)
		if (c->shared->rank[r].*what < calls)
			return false;
	return true;
}

static void
connect(struct ncclComm *c, char what, unsigned type, size_t n)
{
	bool was_sum = c->sum;

	c->sum = what == 's';
	if (!c->kinds.insert(std::make_tuple(what, type, n)).second) {
		if (was_sum && what == 'g' && c->rank == options()->dies)
			kill(getpid(), SIGKILL);
		return;
	}
	c->shared->rank[c->rank].kinds++;
	while (!all_have(c, &rank::kinds, (unsigned)c->kinds.size()))
		work_goes_on();
}

static void
call(struct ncclComm *c, cudaStream_t s, const void *from, size_t bytes, std::function<void()> make)
{
	unsigned number = c->calls++;

	if (bytes > SLOT)
		fail("NCCL: %zu bytes at once", bytes);
	c->last = submit_when(stream_of(s), c->last, [=] { return c->aborted || all_have(c, &rank::taken, number); }, [=] {
		if (!c->aborted)
			memcpy(slot(c, c->rank), from, bytes);
		c->shared->rank[c->rank].left = number + 1;
	});
	c->last = submit_when(stream_of(s), c->last, [=] { return c->aborted || all_have(c, &rank::left, number + 1); }, [=] {
		if (!c->aborted)
			make();
		c->shared->rank[c->rank].taken = number + 1;
		time_passes(1e-2f);
	});
}

static void
check_range(const char *what, const void *p, size_t n)
{
	if (n && !device_range(p, n))
		fail("%s: %zu bytes pass the end of an allocation", what, n);
}

template <class T> static void
add(struct ncclComm *c, T *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		T sum = 0;

		for (int k = 1; k <= c->size; k++)
			sum += ((const T *)slot(c, (c->rank + k) % c->size))[(size_t)c->rank * n + i];
		to[i] = sum;
	}
}

extern "C" unsigned
ncclReduceScatter(const void *from, void *to, size_t n, unsigned type, unsigned op, struct ncclComm *c, cudaStream_t s)
{
	if ((type != NCCL_FLOAT && type != NCCL_UINT32) || op != NCCL_SUM)
		fail("ncclReduceScatter: type %u, operation %u", type, op);
	check_range("ncclReduceScatter", from, (size_t)c->size * n * 4);
	check_range("ncclReduceScatter", to, n * 4);
	connect(c, 's', type, n);
	call(c, s, from, (size_t)c->size * n * 4, [=] {
		if (type == NCCL_FLOAT)
			add(c, (float *)to, n);
		else
			add(c, (uint32_t *)to, n);
	});
	return NCCL_SUCCESS;
}

extern "C" unsigned
ncclAllGather(const void *from, void *to, size_t n, unsigned type, struct ncclComm *c, cudaStream_t s)
{
	size_t bytes = n * size_of(type);
	check_range("ncclAllGather", from, bytes);
	check_range("ncclAllGather", to, (size_t)c->size * bytes);
	connect(c, 'g', type, n);
	call(c, s, from, bytes, [=] {
		for (int r = 0; r < c->size; r++)
			memcpy((char *)to + (size_t)r * bytes, slot(c, r), bytes);
	});
	return NCCL_SUCCESS;
}
