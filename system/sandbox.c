/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -sandbox: a seccomp filter takes system calls away from the process that a machine does not
 * need, so that a guest that has broken out of it cannot use them either.
 */
#include "system/setup.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define HOST_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define HOST_ARCH AUDIT_ARCH_AARCH64
#else
#define HOST_ARCH 0
#endif

#define X32 0x40000000u /* x86-64: numbers from here on are of another set */
#define MAX_INSNS 512u

#define KILL SECCOMP_RET_KILL_PROCESS
/* For what the program itself tries if somebody asks for it: that fails with a message then. */
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

/* Of the host as a whole, of other processes and of mounts. */
static const uint16_t host_calls[] = {
    SYS_acct,
    SYS_adjtimex,
    SYS_add_key,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_kcmp,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_open_by_handle_at,
    SYS_perf_event_open,
    SYS_pidfd_getfd,
    SYS_pivot_root,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_ptrace,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_unshare,
    SYS_vhangup,
#ifdef SYS_iopl
    SYS_ioperm,
    SYS_iopl,
#endif
};

/* FUSE exports want them. */
static const uint16_t mount_calls[] = {SYS_mount, SYS_umount2};

static const uint16_t obsolete_calls[] = {
    SYS_lookup_dcookie, SYS_nfsservctl,      SYS_remap_file_pages,
#ifdef SYS_uselib
    SYS__sysctl,        SYS_afs_syscall,     SYS_create_module,    SYS_epoll_ctl_old,
    SYS_epoll_wait_old, SYS_get_kernel_syms, SYS_get_thread_area,  SYS_getpmsg,
    SYS_putpmsg,        SYS_query_module,    SYS_security,         SYS_set_thread_area,
    SYS_sysfs,          SYS_tuxcall,         SYS_uselib,           SYS_ustat,
    SYS_vserver,
#endif
};

static const uint16_t rights_calls[] = {
    SYS_capset,   SYS_setfsgid,  SYS_setfsuid,  SYS_setgid,   SYS_setgroups, SYS_setpgid,
    SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setsid,    SYS_setuid,
};

/* clone() by what it is asked for, see spawn_rules(). */
static const uint16_t spawn_calls[] = {
    SYS_execve,
    SYS_execveat,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
};

/* sched_setattr() stays: GLib starts the threads of its pools with it. */
static const uint16_t resource_calls[] = {
    SYS_ioprio_set,         SYS_sched_setaffinity, SYS_sched_setparam,
    SYS_sched_setscheduler, SYS_setpriority,       SYS_setrlimit,
};

typedef struct Program {
    struct sock_filter insns[MAX_INSNS];
    unsigned n;
} Program;

static void emit(Program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    g_assert(p->n < MAX_INSNS);
    p->insns[p->n++] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
}

static void load(Program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(Program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, 0, 0, action);
}

/* The number is in the accumulator. */
static void deny(Program *p, const uint16_t *calls, size_t n, uint32_t action)
{
    for (size_t i = 0; i < n; i++) {
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, calls[i]);
        answer(p, action);
    }
}
#define DENY(p, calls, action) deny(p, calls, G_N_ELEMENTS(calls), action)

/* Threads are no processes; what clone3() wants lies in memory, so the C library is to use clone. */
static void spawn_rules(Program *p)
{
    static const uint16_t unreadable[] = {SYS_clone3};

    DENY(p, spawn_calls, REFUSE);
    DENY(p, unreadable, SECCOMP_RET_ERRNO | ENOSYS);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_clone);
    load(p, offsetof(struct seccomp_data, args)); /* its low half; hosts are little-endian */
    emit(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_THREAD);
    answer(p, SECCOMP_RET_ALLOW);
    answer(p, REFUSE);
}

static void write_program(Program *p, const SandboxRules *r)
{
    load(p, offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, HOST_ARCH);
    answer(p, KILL);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32);
    answer(p, KILL);
#endif
    DENY(p, host_calls, KILL);
    DENY(p, mount_calls, REFUSE);
    if (!r->allow_obsolete) {
        DENY(p, obsolete_calls, KILL);
    }
    if (r->deny_rights) {
        DENY(p, rights_calls, KILL);
    }
    if (r->deny_resources) {
        DENY(p, resource_calls, REFUSE);
    }
    if (r->deny_spawn) { /* the last: it loses the number */
        spawn_rules(p);
    }
    answer(p, SECCOMP_RET_ALLOW);
}

bool sandbox_enter(const SandboxRules *r, Error **errp)
{
    Program p = {.n = 0};
    struct sock_fprog f = {.filter = p.insns};
    long ret;

    if (!HOST_ARCH) {
        error_set(errp, "-sandbox: there is no filter for this kind of host");
        return false;
    }
    if ((r->deny_rights || r->deny_rights_of_children) &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        error_set_errno(errp, errno, "-sandbox: could not give up new rights");
        return false;
    }
    write_program(&p, r);
    f.len = (unsigned short)p.n;
    ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
    if (ret < 0 &&
        errno == EACCES) { /* not for those without root's rights, unless they can gain none */
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
    }
    if (ret < 0) {
        error_set_errno(errp, errno, "-sandbox: the kernel does not take the filter");
    } else if (ret) {
        error_set(errp, "-sandbox: thread %ld has a filter of its own", ret);
    }
    return ret == 0;
}
