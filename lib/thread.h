/* thread.h - threads beside the loop's
 *
 * Signals are the loop's: one that interrupted a read of another thread would be lost. Only those of a fault stay open in it, since they belong to
 * whoever makes it. SIGXFSZ is among the blocked: a write past `ulimit -f` then fails with EFBIG instead of ending the program. */
#ifndef SA_THREAD_H
#define SA_THREAD_H

#include <pthread.h>

/* 0, or the errno of pthread_create(). */
int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
