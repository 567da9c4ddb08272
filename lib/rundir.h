/* rundir.h - the user's runtime directory: what processes of one user share (sockets and locks of local servers, rate buckets)
 *
 * $XDG_RUNTIME_DIR/sa, or /tmp/sa-UID where that is not set, cannot be written or is too long for the path of a socket in it. Mode 0700; a link,
 * somebody else's directory or one that others can enter is refused: /tmp is everybody's. */
#ifndef SA_RUNDIR_H
#define SA_RUNDIR_H

#include "err.h"

#define RUNDIR_BYTES 60		/* of its path: a socket's has 108 in all */

/* Its path into `out`, made where it is not there. 0, or -1 with the reason. */
int rundir_open(char out[RUNDIR_BYTES], struct err *e);

/* Make DIR, or see that it is a directory of ours that nobody else can enter. 0, or -1 with the reason. */
int rundir_private(const char *dir, struct err *e);

#endif
