/* recompute.c - what the backward makes again is what was there: the same bits, in less memory */
#include "small.h"

#define TOKENS 90

struct setting {
	struct model *m;
	int ids[TOKENS], pos[TOKENS], target[TOKENS], cu[3];
	struct batch b;
};

static void
begin(struct setting *s, const struct config *c, const struct ops *ops)
{
	*s = (struct setting){ .m = model_new(c, 3, ops, mach), .cu = { 0, 37, TOKENS } };
	fill_ids(s->ids, TOKENS, c->vocab, 4);
	for (int t = 0; t < TOKENS; t++) {
		s->pos[t] = t < 37 ? t : t - 37;
		s->target[t] = t % 4 ? s->ids[(t + 1) % TOKENS] : -1;
	}
	s->b = (struct batch){ .T = TOKENS, .ids = s->ids, .pos = s->pos, .target = s->target, .cu = s->cu, .nseq = 2 };
}

/* Two steps' gradients; by model_back() when `back`. */
static double
gradients(struct setting *s, enum keep keep, bool back, struct weights *grad)
{
	struct acts *a = acts_new(s->m, TOKENS + 7, keep);
	double loss = 0;

	for (int i = 0; i < 2; i++) {
		loss += model_train(s->m, a, &s->b, back ? NULL : grad, 0.1f);
		if (back)
			model_back(s->m, a, &s->b, grad, 0.1f);
	}
	acts_free(a);
	return loss;
}

static void
check_rungs(const struct config *c, const struct ops *ops, const bool *some)
{
	struct weights kept, again;
	struct setting s;
	double loss;

	begin(&s, c, ops);
	weights_some(&kept, &s.m->c, some);
	loss = gradients(&s, KEEP_ALL, false, &kept);
	for (enum keep k = KEEP_ALL; k < KEEPS; k++)
		for (int back = 0; back < 2; back++) {
			weights_some(&again, &s.m->c, some);
			CHECK(gradients(&s, k, back, &again) == loss);
			if (!CHECK(memcmp(kept.all, again.all, kept.n * sizeof(float)) == 0))
				printf("#   rung %d%s\n", (int)k, back ? ", backward alone" : "");
			weights_free(&again);
		}
	weights_free(&kept);
	model_free(s.m);
}

static void
gradients_are_the_same_bits_whatever_is_kept(void)
{
	struct config c = mid_config();

	c.layers = 3;
	check_rungs(&c, &ops_cpu, NULL);
	check_rungs(&c, &ops_cpu_bf16, NULL);
	c.qkv_bias = c.qk_norm = true;
	c.tied = false;
	check_rungs(&c, &ops_cpu, NULL);
}

static void
with_adapters_and_frozen_layers_too(void)
{
	struct config c = mid_config();
	bool some[128];
	struct tensor_at t;
	int i;

	c.layers = 3;
	for (i = 0; model_tensor(&c, i, &t) == 0; i++)
		some[i] = strstr(t.name, "layers.1.") != NULL;
	check_rungs(&c, &ops_cpu, some);
	c.lora = (struct lora){ .r = 4, .alpha = 8, .targets = 1 << PROJ_Q | 1 << PROJ_DOWN };
	for (i = 0; model_tensor(&c, i, &t) == 0; i++)
		some[i] = strstr(t.name, "lora") != NULL;
	check_rungs(&c, &ops_cpu, some);
}

/* Floats of a layer and token: x, h1, x2, h2 of C; q, att of H D, k, v of G D; gate, up, act of F; two rstd and lse. */
static void
each_rung_keeps_less(void)
{
	struct config c = mid_config(), more = c;
	size_t C = 64, q = 64, kv = 32, F = 96, kept[KEEPS] = { 4 * C + 2 * q + 2 * kv + 3 * F + 2 + 4, 2 * C + 2 * q + 2 * kv + 2 * F + 2 + 4, C };

	more.layers = c.layers + 5;
	for (enum keep k = KEEP_ALL; k < KEEPS; k++)
		CHECK_INT(acts_size(&more, 1024, k) - acts_size(&c, 1024, k), 5 * 1024 * kept[k] * sizeof(float));
}

static void
what_was_not_finite_first_is_found_whatever_is_kept(void)
{
	struct config c = mid_config();
	struct weights grad;
	struct setting s;
	char name[MODEL_BAD];

	c.layers = 3;
	begin(&s, &c, &ops_cpu);
	for (int i = 0; i < 96 * 64; i++)
		s.m->w.layer[1].wup[i] = 3e38f;
	weights_like(&grad, &c);
	for (enum keep k = KEEP_ALL; k < KEEPS; k++) {
		struct acts *a = acts_new(s.m, TOKENS, k);

		model_train(s.m, a, &s.b, &grad, 1);
		CHECK(model_first_bad(s.m, a, &s.b, &grad, name));
		CHECK_STR(name, "the output of model.layers.1.mlp.up_proj");
		acts_free(a);
	}
	weights_free(&grad);
	model_free(s.m);
}

int
main(void)
{
	mach = mach_new(3);
	RUN(gradients_are_the_same_bits_whatever_is_kept);
	RUN(with_adapters_and_frozen_layers_too);
	RUN(each_rung_keeps_less);
	RUN(what_was_not_finite_first_is_found_whatever_is_kept);
	mach_free(mach);
	return t_done();
}
