/* files.h - files and folders that are there whole or not at all
 *
 * A file is written under a temporary name, synced and renamed; so is a folder, by its user. Paths that are returned are the caller's to free. */
#ifndef SA_FILES_H
#define SA_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

char *path_join(const char *dir, const char *name);	/* dir/name */
int dir_make(const char *path, struct err *e);		/* with its parents; there already is fine */
int dir_sync(const char *path, struct err *e);
double dir_room(const char *path);			/* bytes that may still be written there; 0: not known */
void dir_remove(const char *path);			/* with the plain files in it; nothing when it is not there */

int file_write(const char *path, const void *p, size_t n, struct err *e);
int file_copy(const char *from, const char *to, struct err *e);	/* 0; 1 when there is no `from`; -1 */
int file_hash(const char *path, uint64_t *hash, struct err *e);	/* XXH3 of its bytes */

#endif
