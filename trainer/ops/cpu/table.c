/* table.c - ops_cpu */
#include "cpu.h"

const struct ops ops_cpu = {
	.name = "cpu",
	.embed = cpu_embed,
	.embed_back = cpu_embed_back,
	.rmsnorm = cpu_rmsnorm,
	.rmsnorm_back = cpu_rmsnorm_back,
	.linear = cpu_linear,
	.linear_back = cpu_linear_back,
	.gather = cpu_gather,
	.products = cpu_products,
	.rope = cpu_rope,
	.attend = cpu_attend,
	.attend_back = cpu_attend_back,
	.kv_floats = cpu_kv_floats,
	.kv_put = cpu_kv_put,
	.attend_cached = cpu_attend_cached,
	.swiglu = cpu_swiglu,
	.swiglu_back = cpu_swiglu_back,
	.cross_entropy = cpu_cross_entropy,
	.add = cpu_add,
	.scale = cpu_scale,
	.sumsq = cpu_sumsq,
	.adamw = cpu_adamw,
};
