/* cudatrain.c - a GPU's forward, backward and update, run by the simulator (tests/cudasim), against the CPU's in float
 *
 * With beta1 = 0, lr = 0 and no clipping a step leaves the gradient, to the bit, in the first moments: so it is read, by the same calls as a run's. */
#include <math.h>

#include "cudaload.h"
#include "lora.h"
#include "simulator.h"
#include "t.h"
#include "train.h"

enum { T = 84, SEQUENCES = 3 };

struct family {
	const char *name;
	bool tied, bias, norms;
	int head_dim;
};

static const struct family families[] = {
	{ "llama", true, false, false, 16 }, { "qwen2", true, true, false, 32 }, { "qwen3", false, false, true, 16 },
};

/* A model whose weights are bf16 numbers, and a micro-batch. */
struct setting {
	struct config c;
	struct mach *mach;
	struct model *m;
	struct comm alone;
	struct batch b;
	int ids[T], pos[T], target[T], cu[SEQUENCES + 1];
	float weight[T], loss[T];
};

static const int ranks[] = { 0, 5, 8 };

#define RANKS (sizeof ranks / sizeof *ranks)

static uint64_t noise_state;

static float
noise(void)
{
	noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
	return (float)(noise_state >> 40) / (1 << 23) - 1;
}

static float
rounded(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
	memcpy(&f, &u, sizeof f);
	return f;
}

static void
make_batch(struct setting *s)
{
	static const int cu[SEQUENCES + 1] = { 0, 37, 38, T };

	memcpy(s->cu, cu, sizeof cu);
	for (int i = 0; i < SEQUENCES; i++)
		for (int t = cu[i]; t < cu[i + 1]; t++) {
			s->pos[t] = t - cu[i];
			s->ids[t] = t % 5 == 0 ? 7 : (t * 31 + 11) % s->c.vocab;
			s->target[t] = t % 3 == 0 || t + 1 == cu[i + 1] ? -1 : (t * 17 + 3) % s->c.vocab;
			s->weight[t] = 1 + (float)(t % 4) / 4;
		}
	s->b = (struct batch){ .T = T, .ids = s->ids, .pos = s->pos, .target = s->target, .cu = s->cu, .nseq = SEQUENCES, .weight = s->weight, .loss = s->loss };
}

/* Adapters of rank r, which need not be one that products take, B no zeros. Of rank 8 there are some, otherwise beside all projections. */
static void
adapt(struct setting *s, int r)
{
	struct lora l = { .r = r, .alpha = 1.5 * r, .targets = r == 8 ? 1u << PROJ_Q | 1u << PROJ_V | 1u << PROJ_DOWN : (1u << PROJECTIONS) - 1 };
	struct tensor_at at;

	lora_attach(s->m, &l, 3);
	s->c = s->m->c;
	for (int i = model_tensors(&s->c); model_tensor(&s->c, i, &at) == 0; i++)
		for (size_t k = 0; k < at.count; k++)
			s->m->w.all[at.offset + k] = rounded(s->m->w.all[at.offset + k] + 0.1f * noise());
}

/* With adapters of rank r, unless 0. */
static struct setting *
setting_new(const struct family *f, int r)
{
	struct setting *s = xcalloc(1, sizeof *s);
	struct tensor_at at;

	s->c = (struct config){ .hidden = 64, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = f->head_dim, .ffn = 104, .vocab = 300, .max_pos = 256, .eps = 1e-5f,
				.tied = f->tied, .qkv_bias = f->bias, .qk_norm = f->norms, .rope_theta = 10000, .init_range = 0.08f };
	s->alone = (struct comm){ .size = 1, .local = 1 };
	s->mach = mach_new(1);
	s->m = model_new(&s->c, 7, &ops_cpu, s->mach);
	noise_state = 1;
	for (int i = 0; model_tensor(&s->c, i, &at) == 0; i++)
		for (size_t k = 0; k < at.count; k++)
			s->m->w.all[at.offset + k] = rounded(s->m->w.all[at.offset + k] + (at.ndim == 1 ? 0.2f * noise() : 0));
	if (r)
		adapt(s, r);
	make_batch(s);
	return s;
}

static void
setting_free(struct setting *s)
{
	model_free(s->m);
	mach_free(s->mach);
	free(s);
}

static size_t
tensors(const struct config *c)
{
	struct tensor_at at;
	size_t n = 0;

	while (model_tensor(c, (int)n, &at) == 0)
		n++;
	return n;
}

static size_t
count(const struct config *c, const bool *trained)
{
	struct tensor_at at;
	size_t n = 0;

	for (int i = 0; model_tensor(c, i, &at) == 0; i++)
		n += !trained || trained[i] ? at.count : 0;
	return n;
}

static void
setting_optim(const struct setting *s, struct optim *o, const bool *trained)
{
	optim_init(o, &s->alone, count(&s->c, trained));
	o->beta1 = 0;
	o->clip = 0;
}

/* The gradient of two passes over the batch, in the order of the trained tensors; the caller's. *loss and *norm unless NULL. NULL: it went wrong. */
static float *
gradient(struct setting *s, const bool *trained, int recompute, double *loss, double *norm)
{
	struct device d = { .cuda = true };
	struct optim o;
	struct engine *en;
	double own_loss, own_norm;
	struct err e = { "" };
	float *g = NULL;

	setting_optim(s, &o, trained);
	en = gpu_engine(s->m, &o, trained, T + 3, &d, recompute, &e);
	if (CHECK(en != NULL) && CHECK(!en->put(en, &e) && !en->zero(en, &e) && !en->pass(en, &s->b, true, 0.01f, loss ? loss : &own_loss, &e)) &&
	    CHECK(!en->pass(en, &s->b, true, 0.02f, loss ? loss : &own_loss, &e) && !en->norm(en, norm ? norm : &own_norm, &e) &&
		  !en->step(en, own_norm = 0, 0, &e) && !en->get(en, &e))) {
		g = o.m;
		o.m = NULL;
	}
	if (!g)
		printf("# %s\n", e.msg);
	if (en)
		en->close(en);
	optim_free(&o);
	return g;
}

static void
near(const char *name, const char *tensor, const float *got, const float *want, size_t n)
{
	double gw = 0, gg = 0, ww = 0;

	for (size_t i = 0; i < n; i++) {
		gw += (double)got[i] * want[i];
		gg += (double)got[i] * got[i];
		ww += (double)want[i] * want[i];
	}
	if (!CHECK(gw >= 0.999 * sqrt(gg * ww) && fabs(sqrt(gg / ww) - 1) < 0.01 && ww > 0))
		printf("#   %s, %s: cosine %.6f, norms %g and %g\n", name, tensor, gw / sqrt(gg * ww), sqrt(gg), sqrt(ww));
}

static void
compare(const struct family *f, int r)
{
	struct setting *s = setting_new(f, r);
	struct acts *a = acts_new(s->m, T, KEEP_ALL);
	struct weights want;
	struct tensor_at at;
	double loss, norm, sum = 0, wanted;
	float *got = gradient(s, NULL, 0, &loss, &norm), losses[T];

	memcpy(losses, s->loss, sizeof losses);
	weights_like(&want, &s->c);
	wanted = model_train(s->m, a, &s->b, &want, 0.03f);
	CHECK_NUM(loss, wanted, 2e-3 * wanted);
	for (int t = 0; t < T; t++)
		if (s->target[t] >= 0)
			CHECK_NUM(losses[t], s->loss[t], 0.05);
	for (int i = 0; got && model_tensor(&s->c, i, &at) == 0; i++)
		near(f->name, at.name, got + at.offset, want.all + at.offset, at.count);
	for (size_t i = 0; got && i < want.n; i++)
		sum += (double)got[i] * got[i];
	CHECK_NUM(norm, sqrt(sum), 1e-5 * norm);
	free(got);
	weights_free(&want);
	acts_free(a);
	setting_free(s);
}

static void
gradients_are_those_of_the_cpu(void)
{
	for (size_t f = 0; f < sizeof families / sizeof *families; f++)
		for (size_t r = 0; r < RANKS; r++)
			compare(&families[f], ranks[r]);
}

static void
make_again(const struct family *f, int r)
{
	struct setting *s = setting_new(f, r);
	float *all = gradient(s, NULL, RECOMPUTE_NONE, NULL, NULL), *norms = gradient(s, NULL, RECOMPUTE_NORMS, NULL, NULL);
	float *blocks = gradient(s, NULL, RECOMPUTE_BLOCKS, NULL, NULL);
	size_t bytes = s->m->w.n * sizeof *all;

	CHECK(all && norms && memcmp(all, norms, bytes) == 0);
	CHECK(all && blocks && memcmp(all, blocks, bytes) == 0);
	free(all);
	free(norms);
	free(blocks);
	setting_free(s);
}

static void
what_is_made_again_has_the_same_bits(void)
{
	for (size_t f = 0; f < sizeof families / sizeof *families; f++)
		for (size_t r = 0; r < RANKS; r++)
			make_again(&families[f], ranks[r]);
}

/* Whatever is left out, single projections of one product too: what is trained has the gradient that it has among all. */
static void
freeze(const struct family *f, int r)
{
	static const char *const out[] = { "q_proj", "k_proj", "v_proj", "gate_proj", "norm", "embed", "layers.0", "bias", "lora_A", "lora_B", "" };	/* last: all but adapters */
	struct setting *s = setting_new(f, r);
	float *all = gradient(s, NULL, 0, NULL, NULL);
	struct tensor_at at;

	for (size_t k = r ? 8 : (size_t)(f - families); k < (r ? sizeof out / sizeof *out : 8); k += r ? 1 : 2) {
		bool *trained = xcalloc(tensors(&s->c), sizeof *trained);
		float *some, *p;

		for (int i = 0; model_tensor(&s->c, i, &at) == 0; i++)
			trained[i] = *out[k] ? !strstr(at.name, out[k]) : i >= model_tensors(&s->c);
		p = some = gradient(s, trained, 0, NULL, NULL);
		for (int i = 0; all && some && model_tensor(&s->c, i, &at) == 0; i++)
			if (trained[i]) {
				if (!CHECK(memcmp(p, all + at.offset, at.count * sizeof *p) == 0))
					printf("#   %s without %s: %s\n", f->name, out[k], at.name);
				p += at.count;
			}
		free(some);
		free(trained);
	}
	free(all);
	setting_free(s);
}

static void
frozen_tensors_change_no_other_gradient(void)
{
	for (size_t f = 0; f < sizeof families / sizeof *families; f++)
		for (size_t r = 0; r < RANKS - 1; r++)
			freeze(&families[f], ranks[r]);
}

/* What goes in comes out: weights that are no bf16 numbers, and moments. Frozen ones are not touched. */
static void
come_back(int r)
{
	struct setting *s = setting_new(&families[1], r);
	bool *trained = xcalloc(tensors(&s->c), sizeof *trained);
	struct device d = { .cuda = true };
	struct engine *en;
	struct optim o;
	struct err e = { "" };
	struct tensor_at at;
	float *w = xcalloc(s->m->w.n, sizeof *w), *m, *v;
	size_t n;

	for (int i = 0; model_tensor(&s->c, i, &at) == 0; i++)
		trained[i] = i % 3 != 1;
	setting_optim(s, &o, trained);
	n = o.zero.own;
	m = xcalloc(n, sizeof *m);
	v = xcalloc(n, sizeof *v);
	for (size_t i = 0; i < s->m->w.n; i++)
		w[i] = s->m->w.all[i] += 1e-4f * noise();
	for (size_t i = 0; i < n; i++) {
		m[i] = 0.9f * (o.m[i] = noise());	/* a step without a gradient does so */
		v[i] = 0.999f * (o.v[i] = 1e-20f * (1 + noise()));
	}
	o.beta1 = 0.9;
	en = gpu_engine(s->m, &o, trained, T, &d, 0, &e);
	if (CHECK(en != NULL)) {
		double norm;

		CHECK(!en->put(en, &e) && !en->zero(en, &e) && !en->norm(en, &norm, &e) && !en->step(en, norm, 0, &e));
		memset(o.m, 0, n * sizeof *m);
		memset(o.v, 0, n * sizeof *v);
		for (int i = 0; model_tensor(&s->c, i, &at) == 0; i++)
			if (trained[i])
				memset(s->m->w.all + at.offset, 0, at.count * sizeof *w);
		CHECK(!en->get(en, &e));
		CHECK(memcmp(w, s->m->w.all, s->m->w.n * sizeof *w) == 0);
		CHECK(memcmp(m, o.m, n * sizeof *m) == 0 && memcmp(v, o.v, n * sizeof *v) == 0);
		en->close(en);
	}
	optim_free(&o);
	free(m);
	free(v);
	free(w);
	free(trained);
	setting_free(s);
}

static void
weights_and_moments_come_back_exactly(void)
{
	come_back(0);
	come_back(5);
	come_back(8);
}

/* The device gets what the plan says, to the byte, and a byte less is not enough. */
static void
taken(int r)
{
	for (enum keep keep = KEEP_ALL; keep < KEEPS; keep++) {
		struct setting *s = setting_new(&families[2], r);
		struct gpu_run run = { .c = &s->c, .tokens = T, .keep = keep };
		struct device d = { .cuda = true };
		struct engine *en;
		struct optim o;
		struct err e = { "" };
		struct gpu_tensor *table = gpu_tensors(&s->c, NULL, NULL, &run.count);
		size_t plan;

		run.tensors = table;
		plan = gpu_place_plan(&run, NULL);
		setting_optim(s, &o, NULL);
		d.memory = (double)(plan + CUDA_CONTEXT);
		en = gpu_engine(s->m, &o, NULL, T, &d, (int)keep + 1, &e);
		CHECK(en && en->bytes == plan);
		if (en)
			en->close(en);
		d.memory--;
		en = gpu_engine(s->m, &o, NULL, T, &d, (int)keep + 1, &e);
		CHECK(!en && strstr(e.msg, "GiB, ") && strstr(e.msg, "lower --batch"));
		en = gpu_engine(s->m, &o, NULL, T, &d, 0, &e);	/* the next rung */
		CHECK(keep == KEEP_BLOCKS ? !en : en && en->bytes < plan);
		if (en)
			en->close(en);
		optim_free(&o);
		free(table);
		setting_free(s);
	}
}

static void
the_plan_is_what_is_taken(void)
{
	taken(0);
	taken(5);
}

static bool
inspected(struct engine *en, struct setting *s, char name[MODEL_BAD])
{
	bool bad = false;
	struct err e;

	CHECK(en->put(en, &e) == 0 && en->inspect(en, &s->b, 1, &bad, name, &e) == 0);
	return bad;
}

static void
what_is_not_finite_is_found(void)
{
	struct setting *s = setting_new(&families[0], 0);
	struct device d = { .cuda = true };
	struct engine *en;
	struct optim o;
	struct err e = { "" };
	char name[MODEL_BAD];
	float *gate = s->m->w.layer[1].wgate, was = *gate;

	setting_optim(s, &o, NULL);
	en = gpu_engine(s->m, &o, NULL, T, &d, RECOMPUTE_BLOCKS, &e);
	if (CHECK(en != NULL)) {
		CHECK(!inspected(en, s, name));
		*gate = NAN;
		CHECK(inspected(en, s, name));
		CHECK_STR(name, "the weights model.layers.1.mlp.gate_proj.weight");
		for (int k = 0; k < 64; k++)
			gate[k] = 3e38f;
		CHECK(inspected(en, s, name));
		CHECK_STR(name, "the output of model.layers.1.mlp.gate_proj");
		*gate = was;
		en->close(en);
	}
	optim_free(&o);
	setting_free(s);
}

static void
what_cannot_be_done_is_told(void)
{
	struct setting *s = setting_new(&families[0], 0);
	struct device d = { .cuda = true, .index = 3 };
	struct optim o;
	struct err e = { "" };
	char *so = xstrdup(getenv("SA_CUDA"));

	setting_optim(s, &o, NULL);
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "CUDA device 3"));
	d.index = 0;
	setenv("SA_CUDA", "/nowhere/sa-cuda.so", 1);
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "/nowhere/sa-cuda.so is not there"));
	unsetenv("SA_CUDA");
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "`make cuda` builds it"));
	setenv("SA_CUDA", "/proc/self/exe", 1);
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "--device cuda: "));
	setenv("SA_CUDA", so, 1);
	s->c.head_dim = s->m->c.head_dim = 24;
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "heads of 24"));
	s->c.head_dim = s->m->c.head_dim = 16;
	s->alone.size = 2;
	setenv("SA_NCCL", "/nowhere/libnccl.so.2", 1);
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "needs NCCL: /nowhere/libnccl.so.2"));
	setenv("SA_NCCL", "libm.so.6", 1);
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "libm.so.6 has no nccl"));
	d.index = 1;
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "--device cuda:1 is for one process"));
	d.index = 0;
	s->alone.local = 3;
	CHECK(!gpu_engine(s->m, &o, NULL, T, &d, 0, &e) && strstr(e.msg, "3 processes on this machine, and 2 GPUs: start one process a GPU"));
	optim_free(&o);
	free(so);
	setting_free(s);
}

int
main(int argc, char **argv)
{
	(void)argc;
	use_simulator(argv[0]);
	setenv("CUDASIM_DEVICES", "2", 1);
	RUN(gradients_are_those_of_the_cpu);
	RUN(what_is_made_again_has_the_same_bits);
	RUN(frozen_tensors_change_no_other_gradient);
	RUN(weights_and_moments_come_back_exactly);
	RUN(the_plan_is_what_is_taken);
	RUN(what_is_not_finite_is_found);
	RUN(what_cannot_be_done_is_told);
	return t_done();
}
