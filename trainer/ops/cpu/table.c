/* table.c - ops_cpu, ops_cpu_bf16 */
#include "cpu.h"
#include "dots.h"

#define BOTH \
	.embed = cpu_embed, \
	.embed_back = cpu_embed_back, \
	.rmsnorm = cpu_rmsnorm, \
	.rmsnorm_back = cpu_rmsnorm_back, \
	.gather = cpu_gather, \
	.products = cpu_products, \
	.rope = cpu_rope, \
	.swiglu = cpu_swiglu, \
	.swiglu_back = cpu_swiglu_back, \
	.cross_entropy = cpu_cross_entropy, \
	.add = cpu_add, \
	.scale = cpu_scale, \
	.sumsq = cpu_sumsq, \
	.adamw = cpu_adamw,

const struct ops ops_cpu = {
	.name = "cpu", .linear = cpu_linear, .linear_back = cpu_linear_back, .attend = cpu_attend, .attend_back = cpu_attend_back,
	.kv_floats = cpu_kv_floats, .kv_put = cpu_kv_put, .attend_cached = cpu_attend_cached, BOTH
};
const struct ops ops_cpu_bf16 = {
	.name = "cpu, bf16", .linear = cpu_linear_bf16, .linear_back = cpu_linear_back_bf16, .attend = cpu_attend, .attend_back = cpu_attend_back_bf16,
	.kv_floats = cpu_kv_floats_bf16, .kv_put = cpu_kv_put_bf16, .attend_cached = cpu_attend_cached_bf16, BOTH
};

const struct ops *
ops_cpu_for(const struct matrix *w)
{
	return dots_for(isa_now(), w)->native == DT_BF16 ? &ops_cpu_bf16 : &ops_cpu;
}

bool
ops_cpu_has_bf16(void)
{
	return isa_now() >= ISA_AVX512BF16;
}
