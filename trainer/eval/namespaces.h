/* namespaces.h - a process that sees little and can do less: what bubblewrap does, for where it is not installed
 *
 * For confine.c only. namespaces_fork() is fork() into new namespaces, where the child has process id 1; namespaces_enter(), there, builds a root of
 * the given paths. Root needs no user namespace for that, and still is root afterwards; another user is nobody in one of its own, with
 * capabilities there until exec(). Works in a chroot that has /proc. Linux 5.12. */
#ifndef SA_EVAL_NAMESPACES_H
#define SA_EVAL_NAMESPACES_H

#include <linux/filter.h>
#include <stddef.h>
#include <sys/types.h>

#define NOBODY 65534

/* As fork(). errno is left when it fails. */
pid_t namespaces_fork(void);

/* In the child. `paths` are shown read-only where they are now, symbolic links as links, those that do not exist not; devices with
 * leave to use them. Ends in /tmp. NULL, or the step that failed, with errno. */
const char *namespaces_enter(char *const *paths);

/* A filter that answers EPERM to the system calls that a program has no need of and that have been ways out: sockets, namespaces,
 * mounts, tracing, keys, System V memory. Its instructions in *n; 0 on an architecture that it does not know. */
const struct sock_filter *syscall_filter(size_t *n);

#endif
