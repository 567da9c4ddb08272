/* lease.h - how long a shared server lives (sa-serve --shared PREFIX)
 *
 * Every connection to the Unix socket PREFIX.lease is one client's lease: the kernel closes it when the client ends, also by kill -9. When none
 * has been open for LEASE_IDLE seconds (LEASE_FIRST when none ever came), nobody needs the server. Clients start a server and take their lease
 * while they hold flock(PREFIX.lock); so the server goes only when it gets that lock itself and no lease came meanwhile, and holds it
 * until its sockets are gone: no client ever connects to a server that is ending. */
#ifndef SA_LEASE_H
#define SA_LEASE_H

#include <stdbool.h>

#include "err.h"

#define LEASE_IDLE 5
#define LEASE_FIRST 30

struct leases;

/* Listen on PREFIX.lease. NULL with a message. */
struct leases *leases_open(const char *prefix, struct err *e);
/* Readable when a lease was taken or given back. */
int leases_fd(const struct leases *l);
/* Milliseconds until leases_over() should look again, or -1: not before something happens. */
int leases_wait(const struct leases *l);
/* Take in what happened. True when the server should end; PREFIX.lock is then held. */
bool leases_over(struct leases *l);
/* Unlink PREFIX.lease, close everything, let go of the lock. */
void leases_close(struct leases *l);

#endif
