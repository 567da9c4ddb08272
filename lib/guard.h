/* guard.h - a message and an exit status where a library faults on a damaged file
 *
 * LMDB reads its file through a memory map and trusts what is in it: a page that is cut off or overwritten makes it touch memory that is not
 * there, or abort. Between guard_enter() and guard_leave() such a fault ends the program by _exit(STATUS_IO) with the message of guard_on();
 * one anywhere else has the effect that it had before. Several may have it on; the message is that of the last. */
#ifndef SA_GUARD_H
#define SA_GUARD_H

/* `dir` is the cache's: "cache DIR is damaged: ...; remove DIR/data.mdb". Installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT. */
void guard_on(const char *dir);
void guard_off(void);	/* the last one puts the former handlers back */

/* Of the calling thread; they nest. These signals may not be blocked in it. */
void guard_enter(void);
void guard_leave(void);

/* End the program as a fault would, with a reason in words. Safe in a signal handler. */
_Noreturn void guard_fail(const char *why);

#endif
