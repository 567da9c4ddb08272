/* table.c - ops_plain */
#include "plain.h"

const struct ops ops_plain = {
	.name = "plain",
	.embed = plain_embed,
	.embed_back = plain_embed_back,
	.rmsnorm = plain_rmsnorm,
	.rmsnorm_back = plain_rmsnorm_back,
	.linear = plain_linear,
	.linear_back = plain_linear_back,
	.gather = plain_gather,
	.products = plain_products,
	.rope = plain_rope,
	.attend = plain_attend,
	.attend_back = plain_attend_back,
	.kv_floats = plain_kv_floats,
	.kv_put = plain_kv_put,
	.attend_cached = plain_attend_cached,
	.swiglu = plain_swiglu,
	.swiglu_back = plain_swiglu_back,
	.cross_entropy = plain_cross_entropy,
	.add = plain_add,
	.scale = plain_scale,
	.sumsq = plain_sumsq,
	.adamw = plain_adamw,
};
