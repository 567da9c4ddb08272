/* local.h - the server of a local checkpoint: found, or started, under a lock
 *
 * PREFIX is DIR/HASH: DIR the user's runtime directory (rundir.h), HASH of the checkpoint's path, device, inode,
 * of its files' sizes and times, and of SA_DEVICE, which says what the server computes on.
 *
 *     PREFIX.lock    held (flock) by whoever starts a server, and by a server that is about to end
 *     PREFIX.lease   the server's socket on which each client keeps one idle connection; no connection for 5 s: the server ends
 *     PREFIX.sock    HTTP
 *     PREFIX.log     the server's standard output and error
 *
 * Under the lock a client connects to PREFIX.lease, or starts `sa-serve DIR --shared PREFIX` and waits until it can. The kernel closes a lease also
 * after kill -9. The server takes the lock before it ends and looks once more, so that no client is left holding a lease on a server that has gone. */
#ifndef SA_LOCAL_H
#define SA_LOCAL_H

#include "err.h"

/* DIR is a checkpoint: it has config.json, tokenizer.json and *.safetensors. 0, or -1 with what is missing. */
int local_check(const char *dir, struct err *e);

/* Which checkpoint it is: "local:" and a hash of DIR's path, device and inode, of its files' sizes and times, and of SA_DEVICE. malloc'd. */
char *local_identity(const char *dir);
char *local_name(const char *dir);	/* what its server calls the model: DIR's last component, links followed; malloc'd */

/* The lease on a server that answers /health, with its HTTP socket in *sock and its model's name in *name (malloc'd). -1 with a message and
 * *status: STATUS_USAGE when the server did not accept the checkpoint, STATUS_ENDPOINT otherwise. */
int local_open(const char *dir, char **sock, char **name, enum exit_status *status, struct err *e);

#endif
