/* freeze.c - gradients and updates of some tensors only: the same bits as in a run that trains all, and no memory for the others */
#include "optim.h"
#include "small.h"

#define TOKENS 48

struct setting {
	struct config c;
	struct model *m;
	struct acts *a;
	int ids[TOKENS], pos[TOKENS], target[TOKENS], cu[2];
};

static void
begin(struct setting *s, const struct ops *ops)
{
	*s = (struct setting){ .c = mid_config(), .cu = { 0, TOKENS } };
	s->c.qkv_bias = s->c.qk_norm = true;
	s->c.tied = false;
	s->m = model_new(&s->c, 3, ops, mach);
	s->a = acts_new(s->m, TOKENS, KEEP_ALL);
	fill_ids(s->ids, TOKENS, s->c.vocab, 4);
	for (int t = 0; t < TOKENS; t++) {
		s->pos[t] = t;
		s->target[t] = t % 4 ? s->ids[(t + 1) % TOKENS] : -1;
	}
}

static void
end(struct setting *s)
{
	acts_free(s->a);
	model_free(s->m);
}

static double
step(struct setting *s, struct weights *grad)
{
	return model_train(s->m, s->a, &(struct batch){ .T = TOKENS, .ids = s->ids, .pos = s->pos, .target = s->target, .cu = s->cu, .nseq = 1 }, grad, 0.1f);
}

/* Tensors whose number has the remainder `rest` by `by`. */
static int
choose(const struct config *c, bool *some, int by, int rest)
{
	struct tensor_at t;
	int n = 0;

	for (; model_tensor(c, n, &t) == 0; n++)
		some[n] = n % by == rest;
	return n;
}

static void
check_some(struct setting *s, const struct weights *all, const bool *some)
{
	struct weights grad;
	struct tensor_at t;
	size_t n = 0;

	weights_some(&grad, &s->c, some);
	step(s, &grad);
	for (int i = 0; model_tensor(&s->c, i, &t) == 0; i++) {
		const float *g = weights_tensor(&grad, &s->c, i);

		CHECK((g != NULL) == some[i]);
		if (g && !CHECK(memcmp(g, all->all + t.offset, t.count * sizeof *g) == 0))
			printf("#   %s\n", t.name);
		n += g ? t.count : 0;
	}
	CHECK_INT(grad.n, n);
	weights_free(&grad);
}

static void
gradients_of_some_tensors_have_the_bits_that_they_have_among_all(void)
{
	const struct ops *const tables[] = { &ops_cpu, &ops_plain };
	bool some[64];

	for (int k = 0; k < 2; k++) {
		struct weights all;
		struct setting s;
		int n;

		begin(&s, tables[k]);
		weights_like(&all, &s.c);
		step(&s, &all);
		n = choose(&s.c, some, 1, 0);
		for (int by = 2; by <= n; by += by < 6 ? 1 : 5)
			for (int rest = 0; rest < by; rest += by < 6 ? 1 : 3) {
				choose(&s.c, some, by, rest);
				check_some(&s, &all, some);
			}
		weights_free(&all);
		end(&s);
	}
}

/* One AdamW step by the gradients of all tensors, or of some. */
static void
train_once(struct setting *s, const bool *some)
{
	const struct comm alone = { .size = 1, .local = 1 };
	struct weights grad;
	struct optim o;

	begin(s, &ops_cpu);
	weights_some(&grad, &s->c, some);
	optim_init(&o, &alone, grad.n);
	o.clip = 0;
	step(s, &grad);
	CHECK(o.zero.own == grad.n);
	optim_step(&o, s->m, &grad, optim_reduce(&o, s->m, &grad), 1e-2);
	optim_free(&o);
	weights_free(&grad);
}

static void
a_frozen_tensor_keeps_its_bits_and_the_others_go_as_without(void)
{
	struct setting all, part, fresh;
	bool some[64];
	struct tensor_at t;

	begin(&fresh, &ops_cpu);
	train_once(&all, NULL);
	choose(&fresh.c, some, 3, 1);
	train_once(&part, some);
	for (int i = 0; model_tensor(&fresh.c, i, &t) == 0; i++) {
		const float *was = fresh.m->w.all + t.offset, *is = part.m->w.all + t.offset, *would = all.m->w.all + t.offset;

		CHECK(memcmp(is, some[i] ? would : was, t.count * sizeof *is) == 0);
		CHECK(memcmp(would, was, t.count * sizeof *is) != 0);
	}
	end(&all);
	end(&part);
	end(&fresh);
}

int
main(void)
{
	mach = mach_new(2);
	RUN(gradients_of_some_tensors_have_the_bits_that_they_have_among_all);
	RUN(a_frozen_tensor_keeps_its_bits_and_the_others_go_as_without);
	mach_free(mach);
	return t_done();
}
