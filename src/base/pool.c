/* Thread pool for the engine: about fifty short parallel loops an inference, so starting one
 * costs well under a microsecond while workers still spin, and nothing burns when idle.
 *
 * A loop is cut into chunks; each thread first takes the chunks of its own share (so that
 * neighbouring loops find their rows in the same core's cache), then helps the others. The
 * caller never waits for a worker that has not yet joined: it only waits for those inside,
 * which `gate` counts. The result does not depend on who ran what. */
#include "base/pool.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/cpu.h"

#if defined(__wasm__) && !defined(_REENTRANT)

struct LedgePool {
    const LedgeAllocator *a;
    LedgePoolFn fn; /* of a loop that was begun */
    void *arg;
    size_t count, grain;
};

LedgeStatus ledge__pool_new(const LedgeAllocator *a, int threads, LedgePool **out)
{
    (void)threads;
    a = ledge__allocator_or_default(a);
    LedgePool *p = ledge__alloc(a, 1, sizeof *p);
    if (!p)
        return LEDGE_ERROR_MEMORY;
    p->a = a;
    *out = p;
    return LEDGE_OK;
}

void ledge__pool_free(LedgePool *pool)
{
    if (pool)
        ledge__free(pool->a, pool);
}

int ledge__pool_threads(const LedgePool *pool)
{
    (void)pool;
    return 1;
}

void ledge__pool_run(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg)
{
    (void)pool;
    grain += grain == 0;
    for (size_t begin = 0; begin < count;) {
        const size_t n = count - begin < grain ? count - begin : grain;
        fn(arg, begin, begin + n, 0);
        begin += n;
    }
}

void ledge__pool_begin(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg)
{
    pool->fn = fn;
    pool->arg = arg;
    pool->count = count;
    pool->grain = grain;
}

void ledge__pool_end(LedgePool *pool)
{
    ledge__pool_run(pool, pool->count, pool->grain, pool->fn, pool->arg);
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum {
    MAX_THREADS = 256,
    SPIN_MAX_NS = 50000, /* longer than the gaps between the loops of one inference */
    SPIN_MIN_NS = 2000,
    STACK_BYTES = 1 << 20
};

/* One thread's share of the chunks of the present loop. */
typedef struct Share {
    _Alignas(64) _Atomic size_t next;
    size_t end;
} Share;

typedef struct Worker {
    pthread_t thread;
    LedgePool *pool;
    int index; /* 1 … threads-1; the caller is 0 */
} Worker;

/* gate: bits 32… the loop's number, bit 31 open, bits 0…30 workers inside. */
#define GATE_OPEN      ((uint64_t)1 << 31)
#define GATE_INSIDE    (GATE_OPEN - 1)
#define GATE_NUMBER(g) ((uint32_t)((g) >> 32))

struct LedgePool {
    _Alignas(64) _Atomic uint64_t gate;
    _Alignas(64) _Atomic uint32_t sleepers; /* workers parked or about to */
    _Atomic bool caller_parked;
    _Atomic bool stop;
    /* The loop. Written while the gate is shut and nobody is inside. */
    _Alignas(64) LedgePoolFn fn;
    void *arg;
    size_t count, grain;
    Share *shares;
    int threads;
    bool bind_fast;
    unsigned born; /* value of `forks` when made */
    int home;      /* the core that workers did not begin on */
    const LedgeAllocator *a;
    Worker *workers;
    pthread_mutex_t callers; /* held for the length of a loop */
    pthread_mutex_t park;
    pthread_cond_t work, done;
    int64_t called; /* when sleepers were called last, and from which core; under `park` */
    int caller_core;
};

/* Which pools this thread works for now, innermost first. */
typedef struct Frame {
    const LedgePool *pool;
    int index;
    const struct Frame *outer;
} Frame;

static _Thread_local const Frame *frames;

/* Counts forks on the child's side: workers do not live on there. */
static _Atomic unsigned forks;

static void count_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- a loop ---- */

static void run_chunk(const LedgePool *p, size_t chunk, int index)
{
    const size_t begin = chunk * p->grain;
    const size_t left = p->count - begin;
    p->fn(p->arg, begin, begin + (left < p->grain ? left : p->grain), index);
}

/* Runs chunks until none is left to take: own share first, then the neighbours'. */
static void work(LedgePool *p, int index)
{
    const Frame frame = {p, index, frames};
    frames = &frame;
    for (int i = 0; i < p->threads; i++) {
        Share *s = &p->shares[(index + i) % p->threads];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            const size_t chunk = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (chunk >= s->end)
                break;
            run_chunk(p, chunk, index);
        }
    }
    frames = frame.outer;
}

static void run_here(const LedgePool *p, size_t count, size_t grain, LedgePoolFn fn, void *arg,
                     int index)
{
    const Frame frame = {p, index, frames};
    frames = &frame;
    for (size_t begin = 0; begin < count;) {
        const size_t n = count - begin < grain ? count - begin : grain;
        fn(arg, begin, begin + n, index);
        begin += n;
    }
    frames = frame.outer;
}

/* ---- workers ---- */

/* Enters the loop that is open now, unless it was seen before; false: none to enter. */
static bool enter(LedgePool *p, uint32_t *seen)
{
    uint64_t g = atomic_load_explicit(&p->gate, memory_order_acquire);
    while ((g & GATE_OPEN) && GATE_NUMBER(g) != *seen)
        if (atomic_compare_exchange_weak_explicit(&p->gate, &g, g + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *seen = GATE_NUMBER(g);
            return true;
        }
    return false;
}

static void leave(LedgePool *p)
{
    const uint64_t g = atomic_fetch_sub(&p->gate, 1);
    if ((g & GATE_INSIDE) != 1 || (g & GATE_OPEN) || !atomic_load(&p->caller_parked))
        return;
    pthread_mutex_lock(&p->park);
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->park);
}

static bool spin_for_work(LedgePool *p, uint32_t *seen, int64_t budget)
{
    const int64_t start = now_ns();
    do {
        for (int i = 0; i < 16; i++) {
            if (enter(p, seen))
                return true;
            ledge__cpu_pause();
        }
        if (atomic_load_explicit(&p->stop, memory_order_relaxed))
            return false;
    } while (now_ns() - start < budget);
    return false;
}

/* Sleeps until called, or until the pool ends; true: and entered a loop. *called becomes when that
 * was. `sleepers` goes up before the gate is looked at again, and ledge__pool_run opens the gate
 * before it looks at `sleepers`; both sequentially consistent, so one of the two sees the other. */
static bool park_for_work(LedgePool *p, uint32_t *seen, int64_t *called)
{
    int core = -1;
    pthread_mutex_lock(&p->park);
    atomic_fetch_add(&p->sleepers, 1);
    (void)atomic_load(&p->gate);
    bool entered = enter(p, seen);
    if (!entered && !atomic_load(&p->stop)) {
        pthread_cond_wait(&p->work, &p->park);
        *called = p->called;
        core = p->caller_core;
        entered = enter(p, seen);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->park);
    /* Systems wake a thread on its caller's core when that is where it slept; both would take turns
     * there for milliseconds. */
    ledge__cpu_leave(core);
    return entered;
}

static void *worker_main(void *arg)
{
    Worker *w = arg;
    LedgePool *p = w->pool;
    uint32_t seen = 0;
    int64_t budget = SPIN_MAX_NS, spin = budget;
    ledge__cpu_also(p->home);
    if (p->bind_fast)
        ledge__cpu_bind_fast();
    while (!atomic_load(&p->stop)) {
        const int64_t idle = now_ns();
        int64_t called = 0;
        const bool entered = spin_for_work(p, &seen, spin) || park_for_work(p, &seen, &called);
        /* Spins as long as may pay: fully where the last gap was one that spinning bridges, also
         * when it was slept through (else a budget once short could never grow again), and ever
         * shorter where gaps are long. */
        if ((called ? called : now_ns()) - idle < SPIN_MAX_NS)
            budget = SPIN_MAX_NS;
        else if (budget > SPIN_MIN_NS)
            budget /= 2;
        spin = entered ? budget : SPIN_MAX_NS; /* woken too late for that loop: others follow it */
        if (entered) {
            work(p, w->index);
            leave(p);
        }
    }
    return NULL;
}

/* ---- the caller ---- */

static bool anyone_inside(LedgePool *p)
{
    return (atomic_load_explicit(&p->gate, memory_order_acquire) & GATE_INSIDE) != 0;
}

/* Shuts the gate and waits for the workers inside. */
static void finish(LedgePool *p)
{
    if ((atomic_fetch_and(&p->gate, ~GATE_OPEN) & GATE_INSIDE) == 0)
        return;
    const int64_t start = now_ns();
    do {
        for (int i = 0; i < 16; i++) {
            if (!anyone_inside(p))
                return;
            ledge__cpu_pause();
        }
    } while (now_ns() - start < SPIN_MAX_NS);
    pthread_mutex_lock(&p->park);
    atomic_store(&p->caller_parked, true);
    while ((atomic_load(&p->gate) & GATE_INSIDE) != 0)
        pthread_cond_wait(&p->done, &p->park);
    atomic_store(&p->caller_parked, false);
    pthread_mutex_unlock(&p->park);
}

static void start(LedgePool *p, size_t count, size_t grain, LedgePoolFn fn, void *arg)
{
    const size_t chunks = count / grain + (count % grain != 0);
    const size_t each = chunks / (size_t)p->threads, more = chunks % (size_t)p->threads;
    size_t at = 0;
    p->fn = fn;
    p->arg = arg;
    p->count = count;
    p->grain = grain;
    for (size_t i = 0; i < (size_t)p->threads; i++) {
        atomic_store_explicit(&p->shares[i].next, at, memory_order_relaxed);
        at += each + (i < more);
        p->shares[i].end = at;
    }
    /* The number skips 0, which a worker that has seen nothing holds. */
    uint32_t number = GATE_NUMBER(atomic_load_explicit(&p->gate, memory_order_relaxed)) + 1;
    number += number == 0;
    atomic_store(&p->gate, (uint64_t)number << 32 | GATE_OPEN);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->park);
        p->called = now_ns();
        p->caller_core = ledge__cpu_here();
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->park);
    }
}

void ledge__pool_run(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg)
{
    if (count == 0)
        return;
    if (grain == 0)
        grain = 1;
    if (!pool || pool->threads == 1 || pool->born != atomic_load(&forks)) {
        run_here(pool, count, grain, fn, arg, 0);
        return;
    }
    for (const Frame *f = frames; f; f = f->outer)
        if (f->pool == pool) { /* nested: keep the thread's own scratch */
            run_here(pool, count, grain, fn, arg, f->index);
            return;
        }
    pthread_mutex_lock(&pool->callers);
    if (count <= grain || frames) { /* in another pool's loop its threads are busy already */
        run_here(pool, count, grain, fn, arg, 0);
    } else {
        start(pool, count, grain, fn, arg);
        work(pool, 0);
        finish(pool);
    }
    pthread_mutex_unlock(&pool->callers);
}

void ledge__pool_begin(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg)
{
    pthread_mutex_lock(&pool->callers);
    start(pool, count, grain ? grain : 1, fn, arg);
}

void ledge__pool_end(LedgePool *pool)
{
    work(pool, 0);
    finish(pool);
    pthread_mutex_unlock(&pool->callers);
}

/* ---- making and ending ---- */

/* What a worker is not sent: signals stay with the application's own threads, all but those that
 * an instruction of the worker itself raises. Blocked, these would end the process past the
 * application's handler. */
static void blocked_signals(sigset_t *set)
{
    static const int own[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
    sigfillset(set);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(set, own[i]);
}

/* Starts up to p->threads - 1 workers; gives how many did start. */
static int start_workers(LedgePool *p)
{
    pthread_attr_t attr;
    sigset_t blocked, old;
    int n = 0;
    if (pthread_attr_init(&attr) != 0)
        return 0;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Else systems may put a young thread behind its maker on one core, for milliseconds. */
    p->home = ledge__cpu_elsewhere(&attr);
    blocked_signals(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    for (; n < p->threads - 1; n++) {
        Worker *w = &p->workers[n];
        w->pool = p;
        w->index = n + 1;
        if (pthread_create(&w->thread, &attr, worker_main, w) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return n;
}

static int wanted_threads(int threads, bool *bind_fast)
{
    int fast;
    *bind_fast = false;
    if (threads <= 0) {
        *bind_fast = ledge__cpu_cores(&fast) > fast;
        threads = fast;
    }
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

LedgeStatus ledge__pool_new(const LedgeAllocator *a, int threads, LedgePool **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    a = ledge__allocator_or_default(a);
    LedgePool *p = ledge__calloc(a, 1, sizeof *p);
    if (!p)
        return LEDGE_ERROR_MEMORY;
    p->a = a;
    p->born = atomic_load(&forks);
    p->threads = wanted_threads(threads, &p->bind_fast);
    p->shares = ledge__calloc(a, (size_t)p->threads, sizeof *p->shares);
    p->workers = ledge__calloc(a, (size_t)p->threads, sizeof *p->workers);
    if (!p->shares || !p->workers) {
        ledge__free(a, p->shares);
        ledge__free(a, p->workers);
        ledge__free(a, p);
        return LEDGE_ERROR_MEMORY;
    }
    pthread_mutex_init(&p->callers, NULL);
    pthread_mutex_init(&p->park, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    /* Workers read `threads` only inside a loop, and none starts before this returns. */
    p->threads = 1 + start_workers(p);
    *out = p;
    return LEDGE_OK;
}

void ledge__pool_free(LedgePool *pool)
{
    if (!pool)
        return;
    if (pool->born == atomic_load(&forks)) { /* else the workers are not this process's */
        pthread_mutex_lock(&pool->park);
        atomic_store(&pool->stop, true);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->park);
        for (int i = 0; i < pool->threads - 1; i++)
            pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->done);
        pthread_mutex_destroy(&pool->callers);
        pthread_mutex_destroy(&pool->park);
    }
    ledge__free(pool->a, pool->shares);
    ledge__free(pool->a, pool->workers);
    ledge__free(pool->a, pool);
}

int ledge__pool_threads(const LedgePool *pool)
{
    return pool ? pool->threads : 1;
}

#endif
