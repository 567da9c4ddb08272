/* listen.h - listening sockets: on an address, or on a path of the user's own */
#ifndef SA_LISTEN_H
#define SA_LISTEN_H

#include <stdbool.h>

#include "err.h"

/* A socket on host (an address or "localhost"; without a key only this machine's own) and port, 0 being the kernel's choice. The port is then in
 * *port. -1 with a message. */
int listen_tcp(const char *host, int *port, const char *key, struct err *e);

/* A socket at `path`, mode 0600. One that nobody listens on any more is replaced; with `force` any other too. -1 with a message. */
int listen_unix(const char *path, bool force, struct err *e);

#endif
