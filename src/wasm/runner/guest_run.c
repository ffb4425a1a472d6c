/* A guest's code on this thread: how it begins, and all the ways in which it ends.
 *
 * Traps that code sees itself come by a call. Accesses outside the memory and an exhausted stack
 * come as SIGSEGV or SIGBUS, the end of the time by a signal of the timer; their handler jumps
 * back to where the run began. That is sound because it only happens while the guest's own code
 * runs (host.in_host is 0): that code holds no lock and owns nothing but its instance. In host
 * code the timer only leaves a note, which is read when the call ends. */
#include "wasm/runner/guest_state.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    STACK_RESERVE = 256 << 10, /* of the thread's stack, for host functions */
    STACK_GUARD = 1 << 20      /* how far below the stack an overflow may strike */
};

typedef struct Run {
    LedgeGuest *guest;
    struct Run *outer; /* of another guest, further down this thread */
    sigjmp_buf back;
    uintptr_t stack_low; /* of this thread */
    LwmTrap trap;
    const void *pc;
    bool exited;
    uint32_t code;
} Run;

static _Thread_local Run *now;

LedgeGuest *ledge__guest_now(void)
{
    return now ? now->guest : NULL;
}

/* ---- ways out ---- */

__attribute__((noreturn)) static void leave(LwmTrap trap, const void *pc)
{
    now->trap = trap;
    now->pc = pc;
    siglongjmp(now->back, 1);
}

void ledge__guest_exit(LedgeGuest *guest, uint32_t code)
{
    (void)guest;
    now->exited = true;
    now->code = code;
    siglongjmp(now->back, 1);
}

static LwmHost *service_host(void)
{
    return &now->guest->host;
}

/* Tables are of the host's own memory: a signal waits meanwhile. */
static void *table_new(void *old, size_t old_bytes, size_t bytes)
{
    LedgeGuest *g = now ? now->guest : NULL;
    if (g)
        g->host.in_host = 1;
    char *p = ledge__calloc(NULL, bytes, 1);
    if (p && old) {
        memcpy(p, old, old_bytes);
        ledge__free(NULL, old);
    }
    if (g)
        g->host.in_host = 0;
    return p;
}

static void table_free(void *table)
{
    ledge__free(NULL, table);
}

const LwmServices ledge__guest_services = {
    .host = service_host,
    .trap = leave,
    .memory_new = ledge__guest_memory_new,
    .memory_grow = ledge__guest_memory_grow,
    .memory_free = ledge__guest_memory_free,
    .table_new = table_new,
    .table_free = table_free,
};

/* ---- signals ---- */

#define TIMER_SIGNAL (SIGRTMIN + 5)
static struct sigaction before_segv, before_bus;

static const void *pc_of(const void *context)
{
    const ucontext_t *u = context;
#if defined(__x86_64__)
    return (const void *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)(uintptr_t)u->uc_mcontext.pc;
#else
    (void)u;
    return NULL;
#endif
}

static LwmTrap trap_at(const Run *r, const void *address)
{
    const uintptr_t at = (uintptr_t)address;
    uint64_t bytes;
    if (ledge__guest_memory_has(ledge__guest_memory(r->guest, &bytes), address))
        return LWM_TRAP_MEMORY;
    if (at + STACK_GUARD >= r->stack_low && at < r->stack_low + LWM_PAGE)
        return LWM_TRAP_STACK;
    return LWM_TRAP_NONE;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const struct sigaction *before = signal == SIGBUS ? &before_bus : &before_segv;
    if (now && !now->guest->host.in_host) {
        const LwmTrap trap = trap_at(now, info->si_addr);
        if (trap != LWM_TRAP_NONE)
            leave(trap, pc_of(context));
    }
    /* Not a guest's: whoever handled it before does, or the process dies as it should. */
    if (before->sa_flags & SA_SIGINFO && before->sa_sigaction)
        before->sa_sigaction(signal, info, context);
    else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
        before->sa_handler(signal);
    else
        sigaction(signal, before, NULL);
}

static void on_timer(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    if (!now)
        return;
    now->guest->time_over = true;
    now->guest->host.pending = LWM_TRAP_TIME;
    if (!now->guest->host.in_host)
        leave(LWM_TRAP_TIME, pc_of(context));
}

/* Once per process. Blocking calls of the host return when the timer strikes: no SA_RESTART. */
static void install(void)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction timer = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&fault.sa_mask);
    sigaddset(&fault.sa_mask, TIMER_SIGNAL);
    sigemptyset(&timer.sa_mask);
    sigaction(SIGSEGV, &fault, &before_segv);
    sigaction(SIGBUS, &fault, &before_bus);
    sigaction(TIMER_SIGNAL, &timer, NULL);
}

/* ---- the thread's stack ---- */

/* Asked once per thread: for the first one it means reading /proc. */
static uintptr_t stack_low(void)
{
    static _Thread_local uintptr_t low;
    pthread_attr_t attr;
    void *begin;
    size_t size;
    if (low || pthread_getattr_np(pthread_self(), &attr) != 0)
        return low;
    if (pthread_attr_getstack(&attr, &begin, &size) == 0)
        low = (uintptr_t)begin;
    pthread_attr_destroy(&attr);
    return low;
}

static uintptr_t stack_floor(const LedgeGuest *g, uintptr_t low)
{
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0), least = low + STACK_RESERVE;
    const size_t most = g->o.stack_bytes;
    return most && here > most && here - most > least ? here - most : least;
}

/* ---- timers ---- */

typedef struct Timers {
    timer_t timer[2];
    int n;
} Timers;

static bool arm(Timers *t, clockid_t clock, uint64_t ns)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TIMER_SIGNAL};
    /* Again and again: one that strikes just before a call blocks would be lost. */
    const struct itimerspec when = {
        .it_value = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)},
        .it_interval = {0, 10000000}};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (!ns)
        return true;
    if (timer_create(clock, &event, &t->timer[t->n]) != 0)
        return false;
    return timer_settime(t->timer[t->n++], 0, &when, NULL) == 0;
}

static void disarm(Timers *t)
{
    while (t->n)
        timer_delete(t->timer[--t->n]);
}

/* ---- sentences ---- */

static const char *what_of(LwmTrap trap)
{
    static const char *const texts[] = {
        [LWM_TRAP_NONE] = "nothing",
        [LWM_TRAP_MEMORY] = "access outside its memory or table",
        [LWM_TRAP_OVERFLOW] = "integer overflow",
        [LWM_TRAP_DIVISION] = "integer division by zero",
        [LWM_TRAP_CONVERSION] = "conversion of NaN to an integer",
        [LWM_TRAP_UNREACHABLE] = "unreachable code reached (an abort or panic)",
        [LWM_TRAP_INDIRECT] = "indirect call of no function or of another type",
        [LWM_TRAP_STACK] = "call stack exhausted",
        [LWM_TRAP_TIME] = "time limit reached",
        [LWM_TRAP_HOST_MEMORY] =
            "no host memory or addresses for it (a lower limit of its pages may do)",
        [LWM_TRAP_OTHER] = "trap",
    };
    return (size_t)trap < sizeof texts / sizeof *texts ? texts[trap] : "trap";
}

static void tell_place(const Run *r, char *out, size_t room)
{
    const LedgeGuestModule *m = r->guest->module;
    Dl_info info;
    char name[128];
    uint64_t into;
    out[0] = '\0';
    if (!r->pc || !dladdr(r->pc, &info))
        return;
    const uint64_t offset = (uint64_t)((const char *)r->pc - (const char *)info.dli_fbase);
    Dl_info own;
    if (!dladdr(m->code, &own) || own.dli_fbase != info.dli_fbase)
        return;
    if (ledge__guest_symbol(m->target->code, m->target->size, offset, name, sizeof name, &into))
        snprintf(out, room, " in function %s, at offset 0x%llx of its code", name,
                 (unsigned long long)into);
    else
        snprintf(out, room, " at offset 0x%llx of its code", (unsigned long long)offset);
}

static void tell(const Run *r, LedgeGuestResult *result)
{
    const LedgeGuest *g = r->guest;
    char place[200], more[200] = "";
    if (r->exited) {
        *result = (LedgeGuestResult){.end = LEDGE_GUEST_EXITED, .code = r->code};
        return;
    }
    tell_place(r, place, sizeof place);
    if (g->grow_refused) {
        strcpy(more, "; ");
        ledge__guest_tell_memory(g, more + 2, sizeof more - 2);
    }
    *result = (LedgeGuestResult){.end = LEDGE_GUEST_TRAPPED, .time_over = r->trap == LWM_TRAP_TIME};
    snprintf(result->sentence, sizeof result->sentence, "the guest was ended: %s%s%s",
             what_of(r->trap), place, more);
}

/* ---- */

static void enter(Run *r, void (*body)(LedgeGuest *guest, void *arg), void *arg,
                  LedgeGuestResult *result)
{
    LedgeGuest *g = r->guest;
    if (!sigsetjmp(r->back, 1)) {
        g->host.in_host = 0;
        body(g, arg);
        g->host.in_host = 1;
        *result = (LedgeGuestResult){.end = LEDGE_GUEST_RETURNED};
        return;
    }
    g->host.in_host = 1;
    g->dead = true;
    tell(r, result);
}

void ledge__guest_run(LedgeGuest *guest, void (*body)(LedgeGuest *guest, void *arg), void *arg,
                      LedgeGuestResult *result)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    Timers timers = {.n = 0};
    Run r = {.guest = guest, .outer = now};
    stack_t mine = {.ss_sp = guest->signal_stack, .ss_size = GUEST_SIGNAL_STACK}, theirs;
    pthread_once(&once, install);
    r.stack_low = stack_low();
    guest->host.stack_floor = stack_floor(guest, r.stack_low);
    guest->host.pending = 0;
    guest->host.in_host = 1;
    guest->time_over = false;
    sigaltstack(&mine, &theirs);
    now = &r;
    if (arm(&timers, CLOCK_MONOTONIC, guest->o.time_ns) &&
        arm(&timers, CLOCK_THREAD_CPUTIME_ID, guest->o.cpu_ns)) {
        enter(&r, body, arg, result);
    } else {
        *result = (LedgeGuestResult){.end = LEDGE_GUEST_TRAPPED};
        snprintf(result->sentence, sizeof result->sentence, "no timer for the time limit: %s",
                 strerror(errno));
    }
    disarm(&timers);
    now = r.outer;
    sigaltstack(&theirs, NULL);
}
