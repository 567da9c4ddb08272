/* cudaranks.c - two ranks with a simulated GPU each: a step that is left in the middle, on both or on one of them
 *
 * Each test is done by two processes, forked off; what they say to one another besides NCCL goes through a pipe. */
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cudaload.h"
#include "simulator.h"
#include "t.h"

enum { T = 24 };

static const struct config shape = { .hidden = 64, .layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 104, .vocab = 300, .max_pos = 64, .eps = 1e-5f,
				     .rope_theta = 10000, .init_range = 0.08f };
static int through[2];

static void
broadcast(void *p, size_t n)
{
	CHECK(read(through[0], p, n) == (ssize_t)n);
}

static void
send_out(void *p, size_t n)
{
	CHECK(write(through[1], p, n) == (ssize_t)n);
}

static const struct comm_way ways[] = { { .broadcast = send_out }, { .broadcast = broadcast } };

/* A rank: its model, engine and micro-batch. */
struct rank {
	struct comm comm;
	struct mach *mach;
	struct model *m;
	struct optim o;
	struct engine *en;
	struct batch b;
	int ids[T], pos[T], target[T], cu[2];
	struct err e;
};

static void
fill(struct rank *r, int which)
{
	for (int t = 0; t < T; t++) {
		r->pos[t] = t;
		r->ids[t] = (t * 31 + 11 + 100 * which) % shape.vocab;
		r->target[t] = (t * 17 + 3 + 50 * which) % shape.vocab;
	}
	r->cu[1] = T;
	r->b = (struct batch){ .T = T, .ids = r->ids, .pos = r->pos, .target = r->target, .cu = r->cu, .nseq = 1 };
}

static bool
open_rank(struct rank *r, int rank, int size)
{
	struct device d = { .cuda = true };
	struct config c = shape;

	*r = (struct rank){ .comm = { .rank = rank, .size = size, .local = size, .local_rank = rank, .way = &ways[rank] } };
	r->mach = mach_new(1);
	r->m = model_new(&c, 7, &ops_cpu, r->mach);
	optim_init(&r->o, &r->comm, r->m->w.n);
	fill(r, rank);
	r->en = gpu_engine(r->m, &r->o, NULL, T, &d, 0, &r->e);
	if (!CHECK(r->en && r->en->put(r->en, &r->e) == 0))
		printf("# %s\n", r->e.msg);
	return r->en != NULL;
}

static void
close_rank(struct rank *r)
{
	if (r->en)
		r->en->close(r->en);
	optim_free(&r->o);
	model_free(r->m);
	mach_free(r->mach);
}

/* One forward and backward, the step's last. */
static void
pass(struct rank *r, float scale)
{
	double loss;

	r->en->last(r->en);
	CHECK(r->en->pass(r->en, &r->b, true, scale, &loss, &r->e) == 0);
}

static double
norm(struct rank *r)
{
	double n = NAN;

	CHECK(r->en->norm(r->en, &n, &r->e) == 0);
	return n;
}

static void
zero(struct rank *r)
{
	CHECK(r->en->zero(r->en, &r->e) == 0);
}

/* ---- by two ---- */

static void
norms_are_of_the_sum(int rank)
{
	struct rank one, r;
	double want;

	if (!open_rank(&one, 0, 1))
		return;
	zero(&one);
	pass(&one, 0.1f);
	fill(&one, 1);
	pass(&one, 0.1f);
	want = norm(&one);
	close_rank(&one);
	if (!open_rank(&r, rank, 2))
		return;
	for (int k = 0; k < 3; k++) {
		zero(&r);
		pass(&r, 0.1f);
		CHECK_NUM(norm(&r), want, 1e-6 * want);
	}
	close_rank(&r);
}

/* Rank 1's gradients are not finite, and the sums of both are under way: rank 0 must not find them in what it looks at alone. Then a step of the right ones. */
static void
a_step_is_settled_before_it_is_looked_into(int rank)
{
	char name[MODEL_BAD];
	struct rank r;
	double want;

	if (!open_rank(&r, rank, 2))
		return;
	zero(&r);
	pass(&r, 0.1f);
	want = norm(&r);
	for (int k = 0; k < 6; k++) {
		bool bad = true;

		zero(&r);
		pass(&r, rank == 1 ? NAN : 0.1f);
		CHECK(r.en->settle(r.en, &r.e) == 0 && r.en->inspect(r.en, &r.b, 0.1f, &bad, name, &r.e) == 0 && !bad);
	}
	zero(&r);
	pass(&r, 0.1f);
	CHECK(norm(&r) == want);
	close_rank(&r);
}

/* Only rank 0 has sent its gradients: rank 1 had a signal, or none to send. */
static void
a_step_that_one_has_left_is_settled_or_closed(int rank)
{
	struct rank r;
	double want;

	if (!open_rank(&r, rank, 2))
		return;
	zero(&r);
	pass(&r, 0.1f);
	want = norm(&r);
	for (int k = 0; k < 3; k++) {
		zero(&r);
		if (rank == 0)
			pass(&r, 0.1f);
		CHECK(r.en->settle(r.en, &r.e) == 0);
	}
	zero(&r);
	pass(&r, 0.1f);
	CHECK(norm(&r) == want);
	zero(&r);
	if (rank == 0)
		pass(&r, 0.1f);
	close_rank(&r);
}

static void
by_two(void (*test)(int))
{
	pid_t pid[2];
	int status;

	CHECK(pipe(through) == 0);
	fflush(stdout);
	for (int rank = 0; rank < 2; rank++) {
		pid[rank] = fork();
		if (pid[rank] == 0) {
			alarm(100);	/* what waits for the other one for ever */
			test(rank);
			fflush(stdout);
			_exit(t_bad > 0);
		}
	}
	for (int rank = 0; rank < 2; rank++)
		CHECK(waitpid(pid[rank], &status, 0) == pid[rank] && status == 0);
	close(through[0]);
	close(through[1]);
}

static void
two_ranks_have_the_gradient_of_one(void)
{
	by_two(norms_are_of_the_sum);
}

static void
what_is_under_way_is_not_what_is_looked_at(void)
{
	by_two(a_step_is_settled_before_it_is_looked_into);
}

static void
a_step_that_one_rank_left_holds_nobody_up(void)
{
	by_two(a_step_that_one_has_left_is_settled_or_closed);
}

int
main(int argc, char **argv)
{
	(void)argc;
	use_simulator(argv[0]);
	setenv("SA_NCCL", getenv("SA_CUDA"), 1);
	RUN(two_ranks_have_the_gradient_of_one);
	RUN(what_is_under_way_is_not_what_is_looked_at);
	RUN(a_step_that_one_rank_left_holds_nobody_up);
	return t_done();
}
