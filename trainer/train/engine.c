/* engine.c - the CPU as an engine */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct cpu {
	struct engine en;
	struct model *model;
	struct optim *optim;
	struct weights *grad;
	struct acts *acts;
};

static struct cpu *
cpu_of(struct engine *en)
{
	return (struct cpu *)en;	/* its first member */
}

static int
cpu_same(struct engine *en, struct err *e)
{
	(void)en, (void)e;
	return 0;
}

static void
cpu_last(struct engine *en)
{
	(void)en;
}

static int
cpu_zero(struct engine *en, struct err *e)
{
	struct weights *grad = cpu_of(en)->grad;

	(void)e;
	memset(grad->all, 0, grad->n * sizeof *grad->all);
	return 0;
}

static int
cpu_pass(struct engine *en, const struct batch *b, bool back, float scale, double *loss, struct err *e)
{
	struct cpu *cpu = cpu_of(en);

	(void)e;
	*loss = model_train(cpu->model, cpu->acts, b, back ? cpu->grad : NULL, scale);
	return 0;
}

static int
cpu_back(struct engine *en, const struct batch *b, float scale, struct err *e)
{
	struct cpu *cpu = cpu_of(en);

	(void)e;
	model_back(cpu->model, cpu->acts, b, cpu->grad, scale);
	return 0;
}

static int
cpu_norm(struct engine *en, double *norm, struct err *e)
{
	struct cpu *cpu = cpu_of(en);

	(void)e;
	*norm = optim_reduce(cpu->optim, cpu->model, cpu->grad);
	return 0;
}

static int
cpu_step(struct engine *en, double norm, double lr, struct err *e)
{
	struct cpu *cpu = cpu_of(en);

	(void)e;
	optim_step(cpu->optim, cpu->model, cpu->grad, norm, lr);
	return 0;
}

static int
cpu_inspect(struct engine *en, const struct batch *b, float scale, bool *bad, char name[MODEL_BAD], struct err *e)
{
	struct cpu *cpu = cpu_of(en);
	double loss;

	cpu_zero(en, e);
	cpu_pass(en, b, true, scale, &loss, e);
	*bad = model_first_bad(cpu->model, cpu->acts, b, cpu->grad, name) || !isfinite(loss);
	return 0;
}

static void
cpu_close(struct engine *en)
{
	acts_free(cpu_of(en)->acts);
	free(en);
}

struct engine *
engine_cpu(struct model *m, struct optim *o, struct weights *grad, int tokens, enum keep keep)
{
	struct cpu *cpu = xmalloc(sizeof *cpu);

	*cpu = (struct cpu){
		.en = { .put = cpu_same, .get = cpu_same, .zero = cpu_zero, .last = cpu_last, .pass = cpu_pass, .back = cpu_back, .norm = cpu_norm,
			.step = cpu_step, .settle = cpu_same, .inspect = cpu_inspect, .close = cpu_close },
		.model = m, .optim = o, .grad = grad, .acts = acts_new(m, tokens, keep),
	};
	cpu->en.bytes = (m->w.n + grad->n + 2 * o->zero.own) * sizeof(float) + acts_bytes(cpu->acts);
	return &cpu->en;
}
