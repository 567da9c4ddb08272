/* syscalls.c - the filter of system calls: see namespaces.h */

#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "namespaces.h"

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#endif

#ifndef SYS_clone3
#define SYS_clone3 435	/* the same everywhere, as all that came after 423 */
#endif
#define X32 0x40000000	/* this bit and above: x86-64's other numbering */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
/* Two instructions: when the accumulator is `nr`, end with `what`. */
#define WHEN(nr, what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RETURN(what)
#define DENY(nr) WHEN(nr, SECCOMP_RET_ERRNO | EPERM)

const struct sock_filter *
syscall_filter(size_t *n)
{
#ifdef ARCH
	static const struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
		DENY(SYS_socket), DENY(SYS_unshare), DENY(SYS_setns), DENY(SYS_chroot), DENY(SYS_pivot_root),
		DENY(SYS_mount), DENY(SYS_umount2), DENY(428 /* open_tree */), DENY(429 /* move_mount */), DENY(430 /* fsopen */),
		DENY(432 /* fsmount */), DENY(433 /* fspick */), DENY(442 /* mount_setattr */),
		DENY(SYS_ptrace), DENY(SYS_process_vm_readv), DENY(SYS_process_vm_writev), DENY(SYS_perf_event_open), DENY(SYS_bpf),
		DENY(SYS_userfaultfd), DENY(425 /* io_uring_setup */), DENY(SYS_keyctl), DENY(SYS_add_key), DENY(SYS_request_key),
		DENY(SYS_shmget), DENY(SYS_msgget), DENY(SYS_semget),
		/* The C library falls back to clone, whose flags can be looked at. */
		WHEN(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1), RETURN(SECCOMP_RET_ERRNO | EPERM),
		RETURN(SECCOMP_RET_ALLOW),
	};

	*n = sizeof filter / sizeof *filter;
	return filter;
#else
	*n = 0;
	return NULL;
#endif
}
