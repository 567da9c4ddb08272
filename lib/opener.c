/* opener.c - endpoint_open() on a thread of its own */

#include "opener.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

struct opener {
	pthread_mutex_t lock;
	int owners;		/* the loop and the thread; the last one frees */
	bool stopped, ended, taken;
	uv_async_t *wake;
	char *spec, *model, *key;
	struct endpoint ep;
	int rc;
	struct err err;
};

static char *
copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* Called with the lock held, which it lets go. */
static void
disown(struct opener *o)
{
	bool last = --o->owners == 0;

	pthread_mutex_unlock(&o->lock);
	if (!last)
		return;
	if (!o->taken && o->rc == 0)
		endpoint_close(&o->ep);
	if (o->key)
		explicit_bzero(o->key, strlen(o->key));
	free(o->key);
	free(o->spec);
	free(o->model);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static void *
open_it(void *arg)
{
	struct opener *o = arg;

	o->rc = endpoint_open(&o->ep, o->spec, o->model, &o->err);
	pthread_mutex_lock(&o->lock);
	o->ended = true;
	if (!o->stopped)
		uv_async_send(o->wake);
	disown(o);
	return NULL;
}

struct opener *
opener_start(const char *spec, const char *model, const char *key, bool insecure, uv_async_t *wake)
{
	struct opener *o = xcalloc(1, sizeof *o);
	pthread_t thread;

	pthread_mutex_init(&o->lock, NULL);
	o->owners = 2;
	o->wake = wake;
	o->spec = copy(spec);
	o->model = copy(model);
	o->key = copy(key);
	o->ep.target.key = o->key;
	o->ep.target.insecure = insecure;
	if (thread_start(&thread, open_it, o) != 0)
		die(STATUS_IO, "cannot start a thread");
	pthread_detach(thread);
	return o;
}

bool
opener_take(struct opener *o, struct endpoint *ep, int *rc, struct err *e)
{
	bool ended;

	pthread_mutex_lock(&o->lock);
	ended = o->ended;
	if (ended) {
		o->taken = true;
		*ep = o->ep;
		*rc = o->rc;
		*e = o->err;
	}
	pthread_mutex_unlock(&o->lock);
	return ended;
}

void
opener_stop(struct opener *o)
{
	pthread_mutex_lock(&o->lock);
	o->stopped = true;
	disown(o);
}
