/* namespaces.c - see namespaces.h
 *
 * The new root is a tmpfs on /proc, of all places: a chroot's own / need not be a mount point, and only a mount point can be made
 * private, without which mounts would show in the rest of the system. /proc is one everywhere, and we have no use for it afterwards.
 * A root set by chroot() holds as well as one by pivot_root(): nothing outside stays open, and neither a capability nor a user namespace
 * (which the kernel refuses to a process in a chroot) is to be had. */

#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BASE "/proc"

/* The mount calls of Linux 5.12, which C libraries before 2.36 lack. */
#define OPEN_TREE 428
#define MOVE_MOUNT 429
#define MOUNT_SETATTR 442
#define TREE_CLONE 1
#define EMPTY_PATH 0x1000
#define RECURSIVE 0x8000
#define MOVE_FROM_EMPTY_PATH 4
enum { RDONLY = 1, NOSUID = 2, NODEV = 4 };
struct attributes {
	uint64_t set, clear, propagation, userns;
};

/* Whether the child is in a user namespace of its own, and who it is outside. Set before it is made. */
static struct {
	bool own;
	uid_t uid;
	gid_t gid;
} user;

pid_t
namespaces_fork(void)
{
	unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD;
	pid_t pid = -1;

	user.own = false;
	if (geteuid() == 0)
		pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
	if (pid >= 0)
		return pid;
	user.own = true;
	user.uid = geteuid();
	user.gid = getegid();
	return (pid_t)syscall(SYS_clone, flags | CLONE_NEWUSER, NULL, NULL, NULL, NULL);
}

static int
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	close(fd);
	return rc;
}

/* A new user namespace has no users yet: we are nobody there. A process that holds a key (lib/key.h) may not open its own files of
 * /proc; for the time of three writes it may. */
static const char *
map_ids(void)
{
	char uid[64], gid[64];
	int rc;

	snprintf(uid, sizeof uid, "%d %u 1", NOBODY, (unsigned)user.uid);
	snprintf(gid, sizeof gid, "%d %u 1", NOBODY, (unsigned)user.gid);
	prctl(PR_SET_DUMPABLE, 1);
	rc = write_text("/proc/self/setgroups", "deny") < 0 || write_text("/proc/self/gid_map", gid) < 0 ||
		write_text("/proc/self/uid_map", uid) < 0 ? -1 : 0;
	prctl(PR_SET_DUMPABLE, 0);
	return rc < 0 ? "map the user into a new user namespace" : NULL;
}

/* ---- the root ---- */

/* mkdir -p of the folders that `path` is in. */
static void
make_parents(char *path)
{
	for (char *p = path + strlen(BASE) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
}

static int
show_link(const char *path, const char *to)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof target - 1);

	if (n < 0)
		return -1;
	target[n] = '\0';
	return symlink(target, to) < 0 && errno != EEXIST ? -1 : 0;
}

static int
show(const char *path)
{
	struct attributes a = { .set = RDONLY | NOSUID | NODEV, .propagation = MS_PRIVATE };
	char to[PATH_MAX];
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (snprintf(to, sizeof to, "%s%s", BASE, path) >= (int)sizeof to)
		return -1;
	make_parents(to);
	if (S_ISLNK(st.st_mode))
		return show_link(path, to);
	if (S_ISCHR(st.st_mode))
		a.set = NOSUID;
	if (S_ISDIR(st.st_mode) ? mkdir(to, 0755) < 0 && errno != EEXIST : (fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0444)) < 0 || close(fd) < 0)
		return -1;
	fd = (int)syscall(OPEN_TREE, AT_FDCWD, path, TREE_CLONE | RECURSIVE | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = syscall(MOUNT_SETATTR, fd, "", EMPTY_PATH | RECURSIVE, &a, sizeof a) < 0 ||
		syscall(MOVE_MOUNT, fd, "", AT_FDCWD, to, MOVE_FROM_EMPTY_PATH) < 0 ? -1 : 0;
	close(fd);
	return rc;
}

static const char *
build_root(char *const *paths)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 && mount(NULL, BASE, NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "make mounts private";
	if (mount("tmpfs", BASE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") < 0)
		return "mount a new root";
	for (; *paths; paths++)
		if (show(*paths) < 0)
			return *paths;
	if (mkdir(BASE "/tmp", 0755) < 0 || mount("tmpfs", BASE "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=1k,mode=1777") < 0)
		return "mount /tmp";
	if (mount(NULL, BASE, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return "make the new root read-only";
	if (chdir(BASE) < 0 || chroot(".") < 0 || chdir("/tmp") < 0)
		return "enter the new root";
	return NULL;
}

const char *
namespaces_enter(char *const *paths)
{
	const char *failed = user.own ? map_ids() : NULL;

	return failed ? failed : build_root(paths);
}
