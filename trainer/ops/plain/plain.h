/* plain.h - the obvious operations behind ops_plain; shapes and meanings are op.h's. Sums are kept in double. */
#ifndef SA_PLAIN_H
#define SA_PLAIN_H

#include "op.h"

void plain_embed(struct mach *m, float *out, const float *table, const int *ids, int T, int C);
void plain_embed_back(struct mach *m, float *dtable_acc, const float *dout, const int *ids, int T, int C);
void plain_rmsnorm(struct mach *m, float *out, float *rstd, const float *x, const float *w, float eps, int T, int C);
void plain_rmsnorm_back(struct mach *m, float *dx_acc, float *dw_acc, const float *dout, const float *x, const float *w, const float *rstd, int T, int C);
void plain_linear(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N);
void plain_linear_back(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N);
void plain_gather(struct mach *m, float *out, const struct matrix *table, const int *ids, int T);
void plain_products(struct mach *m, const struct product *p, int n, const float *x, int T);
void plain_rope(struct mach *m, float *x, const int *pos, const float *inv_freq, int sign, int T, int heads, int D);
void plain_attend(struct mach *m, float *out, float *lse, const float *q, const float *k, const float *v, const int *cu, int nseq, int H, int G, int D);
void plain_attend_back(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
		       const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D);
size_t plain_kv_floats(int G, int D);
void plain_kv_put(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D);
void plain_attend_cached(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D);
void plain_swiglu(struct mach *m, float *out, const float *gate, const float *up, int T, int F);
void plain_swiglu_back(struct mach *m, float *dgate, float *dup, const float *dout, const float *gate, const float *up, int T, int F);
double plain_cross_entropy(struct mach *m, float *logits, float *loss, const int *target, const float *weight, float scale, int T, int V);
void plain_add(struct mach *m, float *out_acc, const float *x, size_t n);
void plain_scale(struct mach *m, float *x, float by, size_t n);
double plain_sumsq(struct mach *m, const float *x, size_t n);
void plain_adamw(struct mach *m, float *w, const float *g, float *mom, float *var, size_t n, float gscale, float lr, float b1, float b2, float eps, float decay, long step);

#endif
