/* opener.h - endpoint_open() on a thread of its own, because it may wait minutes for a local server while the loop goes on */
#ifndef SA_OPENER_H
#define SA_OPENER_H

#include <stdbool.h>
#include <uv.h>

#include "endpoint.h"

struct opener;

/* Strings are copied. `wake` is sent when it is through. */
struct opener *opener_start(const char *spec, const char *model, const char *key, bool insecure, uv_async_t *wake);

/* True once it is through; *rc is then endpoint_open()'s result and *ep the caller's to close. */
bool opener_take(struct opener *o, struct endpoint *ep, int *rc, struct err *e);

/* No more wakes; what it still opens is closed again. *o is gone. */
void opener_stop(struct opener *o);

#endif
