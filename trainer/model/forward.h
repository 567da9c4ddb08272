/* forward.h - inside the model: the serving pass's scratch */
#ifndef SA_FORWARD_H
#define SA_FORWARD_H

struct forward_work;
void forward_work_free(struct forward_work *w);

#endif
