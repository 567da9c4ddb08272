/* signals.h - SIGINT and SIGTERM while a loop runs: the first wakes the loop, the second ends the process */
#ifndef SA_SIGNALS_H
#define SA_SIGNALS_H

#include <uv.h>

/* Also ignores SIGPIPE, for the sockets' sake: an output that nobody reads is seen by EPIPE. What was ignored before (nohup, a shell's
 * background job) stays so. */
void signals_take(uv_async_t *wake);
int signals_caught(void);	/* the first signal since signals_take(), or 0 */
void signals_no_wake(void);	/* before `wake` is closed: from now on the first is only noted */
void signals_give_back(void);
_Noreturn void signals_die(int sig);	/* as if it had never been handled */

#endif
