/* cpu.h - the threaded operations behind ops_cpu; shapes and meanings are op.h's */
#ifndef SA_CPU_H
#define SA_CPU_H

#include "op.h"

void cpu_embed(struct mach *m, float *out, const float *table, const int *ids, int T, int C);
void cpu_embed_back(struct mach *m, float *dtable_acc, const float *dout, const int *ids, int T, int C);
void cpu_rmsnorm(struct mach *m, float *out, float *rstd, const float *x, const float *w, float eps, int T, int C);
void cpu_rmsnorm_back(struct mach *m, float *dx_acc, float *dw_acc, const float *dout, const float *x, const float *w, const float *rstd, int T, int C);
void cpu_linear(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N);
void cpu_linear_back(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N);
void cpu_linear_bf16(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N);
void cpu_linear_back_bf16(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N);
void cpu_gather(struct mach *m, float *out, const struct matrix *table, const int *ids, int T);
void cpu_products(struct mach *m, const struct product *p, int n, const float *x, int T);
void cpu_rope(struct mach *m, float *x, const int *pos, const float *inv_freq, int sign, int T, int heads, int D);
void cpu_attend(struct mach *m, float *out, float *lse, const float *q, const float *k, const float *v, const int *cu, int nseq, int H, int G, int D);
void cpu_attend_back(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		       const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D);
void cpu_attend_back_bf16(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		       const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D);
size_t cpu_kv_floats(int G, int D);
void cpu_kv_put(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D);
void cpu_attend_cached(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D);
size_t cpu_kv_floats_bf16(int G, int D);
void cpu_kv_put_bf16(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D);
void cpu_attend_cached_bf16(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D);
void cpu_swiglu(struct mach *m, float *out, const float *gate, const float *up, int T, int F);
void cpu_swiglu_back(struct mach *m, float *dgate, float *dup, const float *dout, const float *gate, const float *up, int T, int F);
double cpu_cross_entropy(struct mach *m, float *logits, float *loss, const int *target, const float *weight, float scale, int T, int V);
void cpu_add(struct mach *m, float *out_acc, const float *x, size_t n);
void cpu_scale(struct mach *m, float *x, float by, size_t n);
double cpu_sumsq(struct mach *m, const float *x, size_t n);
void cpu_adamw(struct mach *m, float *w, const float *g, float *mom, float *var, size_t n, float gscale, float lr, float b1, float b2, float eps, float decay, long step);

#endif
