/* WASI preview 1: an instance's life, and all that has nothing to do with files. */
#include "wasm/runner/wasi_state.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* ---- shared ---- */

WasiErrno ledge__wasi_errno(int host)
{
    switch (host) {
    case 0:
        return WASI_SUCCESS;
#define W(code, NAME, from)                                                                        \
    case from:                                                                                     \
        return WASI_##NAME;
#include "wasm/runner/wasi_errno.def"
#undef W
    default:
        return WASI_IO;
    }
}

uint8_t *ledge__wasi_at(LedgeGuest *g, uint64_t address, uint64_t count, uint32_t size)
{
    /* Both are words of 32 bits, or the size of something small. */
    return ledge__guest_at(g, (uint32_t)address, count * size);
}

/* ---- the table of functions ---- */

#define F(fname, signature)                                                                        \
    static void run_##fname(LedgeGuest *g, uint64_t *values, const GuestFunction *self)            \
    {                                                                                              \
        (void)self;                                                                                \
        values[0] = (uint64_t)ledge__wasi_##fname(g, values);                                      \
    }
#include "wasm/runner/wasi_functions.def"
#undef F

const GuestFunction ledge__wasi_functions[] = {
#define F(fname, text) {"wasi_snapshot_preview1", #fname, text, run_##fname, NULL},
#include "wasm/runner/wasi_functions.def"
#undef F
    {0},
};

/* ---- life ---- */

static LedgeStatus open_dirs(LedgeWasi *w, LedgeError *err)
{
    for (size_t i = 0; i < w->o->n_dirs; i++) {
        const LedgeGuestDir *d = &w->o->dirs[i];
        const int fd = open(d->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO,
                               d->host, "cannot be opened as a folder: %s", strerror(errno));
        w->fds[3 + i] = (WasiFd){.kind = WASI_DIR,
                                 .host = fd,
                                 .owned = true,
                                 .read_only = d->read_only,
                                 .may_read = true,
                                 .preopen = d->guest};
    }
    return LEDGE_OK;
}

LedgeStatus ledge__wasi_new(const LedgeGuestOptions *o, LedgeError *err, LedgeWasi **out)
{
    LedgeWasi *w = ledge__calloc(NULL, 1, sizeof *w);
    if (!w)
        return ledge__no_memory(err);
    w->o = o;
    for (int i = 0; i < 3; i++)
        w->fds[i] =
            (WasiFd){.kind = WASI_STREAM, .host = i, .may_read = i == 0, .may_write = i > 0};
    if (o->no_stdin)
        w->fds[0].kind = WASI_FREE;
    if (o->no_stdout)
        w->fds[1].host = 2;
    LedgeStatus status =
        o->n_dirs + 3 > WASI_MOST_FDS / 2
            ? ledge__fail(err, LEDGE_ERROR_LIMIT, NULL, "%zu folders are too many", o->n_dirs)
            : open_dirs(w, err);
    if (status) {
        ledge__wasi_free(w);
        return status;
    }
    *out = w;
    return LEDGE_OK;
}

void ledge__wasi_free(LedgeWasi *w)
{
    for (int i = 0; w && i < WASI_MOST_FDS; i++)
        if (w->fds[i].kind != WASI_FREE && w->fds[i].owned)
            close(w->fds[i].host);
    ledge__free(NULL, w);
}

/* ---- arguments and environment ---- */

static WasiErrno sizes(LedgeGuest *g, const uint64_t *v, const char *const *items, size_t n)
{
    uint8_t *count = ledge__wasi_at(g, v[0], 1, 4), *bytes = ledge__wasi_at(g, v[1], 1, 4);
    uint64_t total = 0;
    if (!count || !bytes)
        return WASI_FAULT;
    for (size_t i = 0; i < n; i++)
        total += strlen(items[i]) + 1;
    wasi_put(count, n, 4);
    wasi_put(bytes, total, 4);
    return WASI_SUCCESS;
}

static WasiErrno strings(LedgeGuest *g, const uint64_t *v, const char *const *items, size_t n)
{
    uint8_t *pointers = ledge__wasi_at(g, v[0], n, 4);
    uint64_t at = (uint32_t)v[1];
    if (!pointers)
        return WASI_FAULT;
    for (size_t i = 0; i < n; i++) {
        const size_t size = strlen(items[i]) + 1;
        uint8_t *to = at <= UINT32_MAX ? ledge__wasi_at(g, at, size, 1) : NULL;
        if (!to)
            return WASI_FAULT;
        memcpy(to, items[i], size);
        wasi_put(pointers + 4 * i, at, 4);
        at += size;
    }
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_args_sizes_get(LedgeGuest *g, const uint64_t *v)
{
    return sizes(g, v, g->o.args, g->o.n_args);
}

WasiErrno ledge__wasi_args_get(LedgeGuest *g, const uint64_t *v)
{
    return strings(g, v, g->o.args, g->o.n_args);
}

WasiErrno ledge__wasi_environ_sizes_get(LedgeGuest *g, const uint64_t *v)
{
    return sizes(g, v, g->o.env, g->o.n_env);
}

WasiErrno ledge__wasi_environ_get(LedgeGuest *g, const uint64_t *v)
{
    return strings(g, v, g->o.env, g->o.n_env);
}

/* ---- clocks and chance ---- */

static bool clock_of(uint64_t id, clockid_t *out)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                                       CLOCK_THREAD_CPUTIME_ID};
    const uint32_t i = (uint32_t)id;
    if (i >= 4)
        return false;
    *out = clocks[i];
    return true;
}

static WasiErrno give_time(LedgeGuest *g, uint64_t id, uint64_t address,
                           int (*ask)(clockid_t clock, struct timespec *out))
{
    struct timespec t;
    clockid_t clock;
    uint8_t *to = ledge__wasi_at(g, address, 1, 8);
    if (!clock_of(id, &clock))
        return WASI_INVAL;
    if (!to)
        return WASI_FAULT;
    if (ask(clock, &t) != 0)
        return ledge__wasi_errno(errno);
    wasi_put(to, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec, 8);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_clock_res_get(LedgeGuest *g, const uint64_t *v)
{
    return give_time(g, v[0], v[1], clock_getres);
}

WasiErrno ledge__wasi_clock_time_get(LedgeGuest *g, const uint64_t *v)
{
    return give_time(g, v[0], v[2], clock_gettime);
}

WasiErrno ledge__wasi_random_get(LedgeGuest *g, const uint64_t *v)
{
    size_t left = (uint32_t)v[1];
    uint8_t *to = ledge__wasi_at(g, v[0], left, 1);
    if (!to)
        return WASI_FAULT;
    while (left && !g->host.pending) {
        const ssize_t n = getrandom(to, left < 65536 ? left : 65536, 0);
        if (n < 0 && errno != EINTR)
            return ledge__wasi_errno(errno);
        to += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return left ? WASI_INTR : WASI_SUCCESS;
}

/* ---- the process ---- */

WasiErrno ledge__wasi_proc_exit(LedgeGuest *g, const uint64_t *v)
{
    ledge__guest_exit(g, (uint32_t)v[0]);
}

WasiErrno ledge__wasi_proc_raise(LedgeGuest *g, const uint64_t *v)
{
    (void)g;
    (void)v;
    return WASI_NOTSUP;
}

WasiErrno ledge__wasi_sched_yield(LedgeGuest *g, const uint64_t *v)
{
    (void)g;
    (void)v;
    sched_yield();
    return WASI_SUCCESS;
}

static WasiErrno no_network(LedgeGuest *g, uint64_t fd)
{
    return ledge__wasi_fd(g, fd) ? WASI_NOTSOCK : WASI_BADF;
}

WasiErrno ledge__wasi_sock_accept(LedgeGuest *g, const uint64_t *v)
{
    return no_network(g, v[0]);
}

WasiErrno ledge__wasi_sock_recv(LedgeGuest *g, const uint64_t *v)
{
    return no_network(g, v[0]);
}

WasiErrno ledge__wasi_sock_send(LedgeGuest *g, const uint64_t *v)
{
    return no_network(g, v[0]);
}

WasiErrno ledge__wasi_sock_shutdown(LedgeGuest *g, const uint64_t *v)
{
    return no_network(g, v[0]);
}

/* ---- waiting ---- */

enum { MOST_SUBSCRIPTIONS = 64, SUBSCRIPTION = 48, EVENT = 32 };
enum { EVENT_CLOCK, EVENT_READ, EVENT_WRITE };

typedef struct Wait {
    struct pollfd fds[MOST_SUBSCRIPTIONS]; /* fd -1 for clocks and what cannot be waited for */
    WasiErrno error[MOST_SUBSCRIPTIONS];
    uint64_t at[MOST_SUBSCRIPTIONS]; /* of clocks, monotonic; UINT64_MAX: none */
    uint32_t n;
} Wait;

static uint64_t steady(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static WasiErrno read_clock(const uint8_t *p, uint64_t *at)
{
    const uint64_t timeout = wasi_get(p + 24, 8);
    const bool absolute = wasi_get(p + 40, 2) & 1;
    struct timespec t;
    clockid_t clock;
    uint64_t left = timeout;
    if (!clock_of(wasi_get(p + 16, 4), &clock))
        return WASI_INVAL;
    if (absolute) {
        clock_gettime(clock, &t);
        const uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        left = timeout > now ? timeout - now : 0;
    }
    const uint64_t begin = steady();
    *at = left < UINT64_MAX - 1 - begin ? begin + left : UINT64_MAX - 1;
    return WASI_SUCCESS;
}

static void read_subscription(LedgeGuest *g, const uint8_t *p, Wait *w, uint32_t i)
{
    const uint8_t kind = p[8];
    w->fds[i] = (struct pollfd){.fd = -1};
    w->at[i] = UINT64_MAX;
    w->error[i] = WASI_SUCCESS;
    if (kind == EVENT_CLOCK) {
        w->error[i] = read_clock(p, &w->at[i]);
    } else if (kind == EVENT_READ || kind == EVENT_WRITE) {
        const WasiFd *fd = ledge__wasi_fd(g, wasi_get(p + 16, 4));
        if (!fd || fd->kind == WASI_DIR)
            w->error[i] = WASI_BADF;
        else
            w->fds[i] =
                (struct pollfd){.fd = fd->host, .events = kind == EVENT_READ ? POLLIN : POLLOUT};
    } else {
        w->error[i] = WASI_INVAL;
    }
}

/* Until something is ready; false when the guest's time is over. */
static bool wait_for(LedgeGuest *g, Wait *w)
{
    for (;;) {
        uint64_t first = UINT64_MAX;
        const uint64_t now = steady();
        bool ready = false;
        for (uint32_t i = 0; i < w->n; i++) {
            ready |= w->error[i] != WASI_SUCCESS || w->at[i] <= now;
            first = w->at[i] < first ? w->at[i] : first;
        }
        const uint64_t left = ready ? 0 : first == UINT64_MAX ? UINT64_MAX : first - now;
        const struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        const int n = ppoll(w->fds, w->n, left == UINT64_MAX ? NULL : &t, NULL);
        if (g->host.pending)
            return false;
        if (n > 0 || ready)
            return true;
    }
}

WasiErrno ledge__wasi_poll_oneoff(LedgeGuest *g, const uint64_t *v)
{
    Wait w = {.n = (uint32_t)v[2]};
    const uint8_t *in = ledge__wasi_at(g, v[0], w.n, SUBSCRIPTION);
    uint8_t *out = ledge__wasi_at(g, v[1], w.n, EVENT), *count = ledge__wasi_at(g, v[3], 1, 4);
    uint32_t done = 0;
    if (!w.n || w.n > MOST_SUBSCRIPTIONS)
        return WASI_INVAL;
    if (!in || !out || !count)
        return WASI_FAULT;
    uint8_t asked[MOST_SUBSCRIPTIONS * SUBSCRIPTION]; /* the events may be written over them */
    memcpy(asked, in, (size_t)w.n * SUBSCRIPTION);
    for (uint32_t i = 0; i < w.n; i++)
        read_subscription(g, asked + SUBSCRIPTION * i, &w, i);
    if (!wait_for(g, &w))
        return WASI_INTR;
    const uint64_t now = steady();
    for (uint32_t i = 0; i < w.n; i++) {
        if (!w.error[i] && !w.fds[i].revents && w.at[i] > now)
            continue;
        uint8_t *e = out + EVENT * done++;
        memset(e, 0, EVENT);
        memcpy(e, asked + SUBSCRIPTION * i, 8);
        wasi_put(e + 8, w.error[i], 2);
        e[10] = asked[SUBSCRIPTION * i + 8];
        if (w.fds[i].revents)
            wasi_put(e + 16, 1, 8); /* how many bytes at least */
        if (w.fds[i].revents & POLLHUP)
            wasi_put(e + 24, 1, 2);
    }
    wasi_put(count, done, 4);
    return WASI_SUCCESS;
}
