/* See isolate.h. */
#include "wasm/runner/isolate.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef THIS_ARCH
/* Memory, threads of the engine, clocks, signals of the timer; descriptors that are open, and files
 * below the folders that were given (the guest's runner sees to that). No sockets, no programs,
 * no other processes. */
static const int allowed[] = {
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_lseek,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_openat,
    SYS_openat2,
    SYS_readlinkat,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_utimensat,
    SYS_getdents64,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fcntl,
    SYS_dup,
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_futex,
    SYS_clone,
#ifdef SYS_clone3
    SYS_clone3,
#endif
    SYS_set_robust_list,
    SYS_exit,
    SYS_exit_group,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_timer_create,
    SYS_timer_settime,
    SYS_timer_delete,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_getrandom,
    SYS_ppoll,
    SYS_gettid,
    SYS_getpid,
    SYS_tgkill,
    SYS_restart_syscall,
    SYS_sysinfo,
    SYS_getcpu,
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_stat
    SYS_stat,
    SYS_lstat,
    SYS_open,
    SYS_access,
    SYS_readlink,
    SYS_arch_prctl,
#endif
};
enum { N_ALLOWED = sizeof allowed / sizeof *allowed };

#define AT(member) offsetof(struct seccomp_data, member)

/* What is not allowed gives EPERM: the C library asks for things that it can do without. A call of
 * another architecture's table ends the process. */
static bool filter(void)
{
    struct sock_filter f[N_ALLOWED * 2 + 10];
    unsigned short n = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(arch));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(nr));
    for (int i = 0; i < N_ALLOWED; i++) {
        f[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    /* Streams ask whether they are terminals. */
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    const struct sock_fprog program = {n, f};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
#else
static bool filter(void)
{
    errno = ENOSYS;
    return false;
}
#endif

static bool bound(int what, uint64_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return false;
    const rlim_t to = most < now.rlim_max ? most : now.rlim_max;
    return setrlimit(what, &(struct rlimit){to, to}) == 0;
}

static LedgeStatus confine(const LedgeIsolation *how, LedgeError *err)
{
    bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 &&
              bound(RLIMIT_CORE, 0) && bound(RLIMIT_NOFILE, how->files ? how->files : 256);
    if (ok && how->cpu_seconds)
        ok = bound(RLIMIT_CPU, how->cpu_seconds);
    if (!ok)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL, "the child cannot be confined: %s",
                           strerror(errno));
    if (!filter())
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "system calls cannot be filtered here (%s); run without --isolate",
                           strerror(errno));
    return LEDGE_OK;
}

static void wait_for(pid_t child, uint64_t seconds, int *status)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const time_t end = t.tv_sec + (time_t)seconds + 1;
    while (waitpid(child, status, seconds ? WNOHANG : 0) != child) {
        const struct timespec moment = {0, 2000000};
        clock_gettime(CLOCK_MONOTONIC, &t);
        if (seconds && t.tv_sec > end)
            kill(child, SIGKILL);
        if (seconds)
            nanosleep(&moment, NULL);
    }
}

LedgeStatus ledge__isolate(const LedgeIsolation *how, LedgeError *err, int *child, int *code)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid < 0)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL, "no child process: %s", strerror(errno));
    *child = (int)pid;
    if (pid == 0)
        return confine(how, err);
    wait_for(pid, how->wall_seconds, &status);
    if (WIFEXITED(status)) {
        *code = WEXITSTATUS(status);
        return LEDGE_OK;
    }
    const int signal = WTERMSIG(status);
    const bool time = signal == SIGKILL || signal == SIGXCPU;
    return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL,
                       "the guest's process was ended by signal %d (%s)%s", signal,
                       strsignal(signal), time ? ": its time is used up" : "");
}
