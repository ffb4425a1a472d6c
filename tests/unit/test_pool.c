/* The thread pool: every item runs once whatever the counts, callers and nesting; a pool
 * survives fork, lack of threads and idleness. Meant to be run under ThreadSanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature) /* Clang's way of telling */
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

enum { MAX_ITEMS = 1000 };

typedef struct Count {
    int hits[MAX_ITEMS]; /* not atomic: two threads on one item would be a race */
    size_t grain, count;
    int threads;
    _Atomic int bad;
} Count;

static LedgePool *new_pool(int threads)
{
    LedgePool *p = NULL;
    assert_int_equal(ledge__pool_new(NULL, threads, &p), LEDGE_OK);
    return p;
}

static void count_items(void *arg, size_t begin, size_t end, int thread)
{
    Count *c = arg;
    if (begin >= end || end > c->count || end - begin > c->grain || thread < 0 ||
        thread >= c->threads)
        atomic_fetch_add(&c->bad, 1);
    for (size_t i = begin; i < end; i++)
        c->hits[i]++;
}

static void check_counts(const Count *c)
{
    assert_int_equal(c->bad, 0);
    for (size_t i = 0; i < MAX_ITEMS; i++)
        assert_int_equal(c->hits[i], i < c->count);
}

static void check_one_loop(LedgePool *p, size_t count, size_t grain)
{
    Count c = {.grain = grain, .count = count, .threads = ledge__pool_threads(p)}, two_steps = c;
    ledge__pool_run(p, count, grain, count_items, &c);
    check_counts(&c);
    if (!p)
        return;
    ledge__pool_begin(p, count, grain, count_items, &two_steps);
    ledge__pool_end(p);
    check_counts(&two_steps);
}

static void every_item_runs_once(void **state)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, 65, 999, 1000};
    static const size_t grains[] = {1, 2, 3, 10, 64, 1000, 5000};
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        LedgePool *p = new_pool(threads);
        assert_int_equal(ledge__pool_threads(p), threads);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            for (size_t j = 0; j < sizeof grains / sizeof grains[0]; j++)
                check_one_loop(p, counts[i], grains[j]);
        ledge__pool_free(p);
    }
}

static void note_first(void *arg, size_t begin, size_t end, int thread)
{
    (void)begin;
    (void)end;
    (void)thread;
    atomic_store((_Atomic bool *)arg, true);
}

/* Were the workers to wait for the caller, this would not end. */
static void a_begun_loop_runs_beside_the_caller(void **state)
{
    _Atomic bool ran = false;
    LedgePool *p = new_pool(2);
    (void)state;
    ledge__pool_begin(p, 1, 1, note_first, &ran);
    while (!atomic_load(&ran))
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    ledge__pool_end(p);
    ledge__pool_free(p);
}

static void no_pool_is_a_plain_call(void **state)
{
    (void)state;
    check_one_loop(NULL, 100, 7);
    assert_int_equal(ledge__pool_threads(NULL), 1);
    ledge__pool_free(NULL);
}

typedef struct Ends {
    _Atomic size_t least, most;
    _Atomic int calls;
} Ends;

static void note_ends(void *arg, size_t begin, size_t end, int thread)
{
    Ends *e = arg;
    (void)thread;
    atomic_fetch_add(&e->calls, 1);
    if (begin == 0)
        atomic_store(&e->least, end);
    if (end == SIZE_MAX)
        atomic_store(&e->most, begin);
}

static void huge_counts_do_not_overflow(void **state)
{
    const size_t grain = SIZE_MAX / 2;
    (void)state;
    LedgePool *p = new_pool(2);
    Ends e = {0};
    ledge__pool_run(p, SIZE_MAX, grain, note_ends, &e);
    assert_int_equal(e.calls, 3);
    assert_true(e.least == grain && e.most == 2 * grain);
    ledge__pool_free(p);
}

static void many_short_loops_do_not_lose_any(void **state)
{
    (void)state;
    LedgePool *p = new_pool(4);
    Count c = {.grain = 1, .count = 8, .threads = 4};
    for (int i = 0; i < 20000; i++)
        ledge__pool_run(p, 8, 1, count_items, &c);
    assert_int_equal(c.bad, 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(c.hits[i], 20000);
    ledge__pool_free(p);
}

static void loops_after_idleness_wake_the_workers(void **state)
{
    const struct timespec nap = {0, 3000000};
    (void)state;
    LedgePool *p = new_pool(3);
    for (int i = 0; i < 30; i++) {
        nanosleep(&nap, NULL); /* long enough that all have parked */
        check_one_loop(p, 100, 1);
    }
    ledge__pool_free(p);
}

typedef struct Nested {
    LedgePool *pool, *other;
    _Atomic int total;
    _Atomic int bad;
    int thread_now[8]; /* the outer item's thread, to see that nested ones keep it */
} Nested;

typedef struct Inner {
    Nested *n;
    int thread;
} Inner;

static void inner_same(void *arg, size_t begin, size_t end, int thread)
{
    Inner *in = arg;
    if (thread != in->thread)
        atomic_fetch_add(&in->n->bad, 1);
    atomic_fetch_add(&in->n->total, (int)(end - begin));
}

static void inner_back(void *arg, size_t begin, size_t end, int thread)
{
    Inner *in = arg;
    (void)thread;
    (void)begin;
    (void)end;
    ledge__pool_run(in->n->pool, 5, 1, inner_same, in);
}

static void outer(void *arg, size_t begin, size_t end, int thread)
{
    Nested *n = arg;
    for (size_t i = begin; i < end; i++) {
        Inner in = {n, thread};
        ledge__pool_run(n->pool, 10, 3, inner_same, &in);
        if (n->other)
            ledge__pool_run(n->other, 2, 1, inner_back, &in);
    }
}

static void nested_loops_run_in_place(void **state)
{
    (void)state;
    Nested n = {.pool = new_pool(4)};
    ledge__pool_run(n.pool, 50, 1, outer, &n);
    assert_int_equal(n.total, 500);
    assert_int_equal(n.bad, 0);
    ledge__pool_free(n.pool);
}

static void two_pools_nest_without_deadlock(void **state)
{
    (void)state;
    Nested n = {.pool = new_pool(3), .other = new_pool(3)};
    ledge__pool_run(n.pool, 50, 1, outer, &n);
    assert_int_equal(n.total, 50 * (10 + 2 * 5));
    assert_int_equal(n.bad, 0);
    ledge__pool_free(n.pool);
    ledge__pool_free(n.other);
}

static void *call_many(void *arg)
{
    Count c = {.grain = 2, .count = 40, .threads = ledge__pool_threads(arg)};
    for (int i = 0; i < 500; i++)
        ledge__pool_run(arg, 40, 2, count_items, &c);
    for (int i = 0; i < 40; i++)
        if (c.hits[i] != 500 || c.bad)
            return arg;
    return NULL;
}

static void several_callers_are_served(void **state)
{
    pthread_t t[4];
    (void)state;
    LedgePool *p = new_pool(3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, call_many, p), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = p;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    ledge__pool_free(p);
}

static void sum_parts(void *arg, size_t begin, size_t end, int thread)
{
    double *parts = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        for (int k = 1; k < 200; k++)
            parts[i] += 1.0 / (double)(i * 7 + (size_t)k);
}

static void answers_do_not_depend_on_thread_count(void **state)
{
    double one[100] = {0}, many[100];
    (void)state;
    ledge__pool_run(NULL, 100, 3, sum_parts, one);
    for (int threads = 2; threads <= 6; threads++) {
        LedgePool *p = new_pool(threads);
        memset(many, 0, sizeof many);
        ledge__pool_run(p, 100, 3, sum_parts, many);
        assert_memory_equal(one, many, sizeof one);
        ledge__pool_free(p);
    }
}

#if !defined(UNDER_TSAN)
static void child_of_fork_runs_without_workers(void **state)
{
    int status = -1;
    (void)state;
    LedgePool *p = new_pool(3);
    check_one_loop(p, 100, 1);
    const pid_t child = fork();
    if (child == 0) {
        Count c = {.grain = 1, .count = 100, .threads = 3};
        alarm(20);
        ledge__pool_run(p, 100, 1, count_items, &c);
        int bad = c.bad;
        for (int i = 0; i < 100; i++)
            bad += c.hits[i] != 1;
        ledge__pool_free(p);
        _exit(bad != 0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    check_one_loop(p, 100, 1);
    ledge__pool_free(p);
}
#endif

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_workers_burn_nothing(void **state)
{
    const struct timespec settle = {0, 20000000}, nap = {0, 200000000};
    (void)state;
    LedgePool *p = new_pool(4);
    check_one_loop(p, 100, 1);
    nanosleep(&settle, NULL);
    const double before = cpu_seconds();
    nanosleep(&nap, NULL);
    assert_true(cpu_seconds() - before < 0.02); /* spinning would take 0.2 s and more */
    ledge__pool_free(p);
}

static int allocations_left;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    (void)context;
    return allocations_left-- > 0 ? aligned_alloc(align, (size + align - 1) / align * align) : NULL;
}

static void failing_free(void *context, void *p)
{
    (void)context;
    free(p);
}

typedef struct Masks {
    _Atomic int workers, faults_blocked, others_open;
} Masks;

static void look_at_mask(void *arg, size_t begin, size_t end, int thread)
{
    Masks *m = arg;
    sigset_t now;
    (void)begin, (void)end;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* so that workers get some */
    if (thread == 0)
        return;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    m->workers++;
    m->faults_blocked += sigismember(&now, SIGILL) || sigismember(&now, SIGSEGV) ||
                         sigismember(&now, SIGBUS) || sigismember(&now, SIGFPE);
    m->others_open += !sigismember(&now, SIGTERM) || !sigismember(&now, SIGCHLD) ||
                      !sigismember(&now, SIGPIPE);
}

static void workers_take_no_signals_but_their_own_faults(void **state)
{
    (void)state;
    LedgePool *p = new_pool(3);
    Masks m = {0};
    ledge__pool_run(p, 60, 1, look_at_mask, &m);
    ledge__pool_free(p);
    assert_true(m.workers > 0);
    assert_int_equal(m.faults_blocked, 0);
    assert_int_equal(m.others_open, 0);
}

static void lack_of_memory_is_a_status(void **state)
{
    const LedgeAllocator a = {failing_alloc, failing_free, NULL};
    (void)state;
    for (int n = 0;; n++) {
        LedgePool *p = NULL;
        allocations_left = n;
        const LedgeStatus s = ledge__pool_new(&a, 2, &p);
        if (s == LEDGE_OK) {
            assert_true(n > 0);
            ledge__pool_free(p);
            return;
        }
        assert_int_equal(s, LEDGE_ERROR_MEMORY);
        assert_null(p);
    }
}

#if !defined(UNDER_TSAN) && !defined(UNDER_ASAN)
static void lack_of_threads_leaves_fewer(void **state)
{
    int status = -1;
    (void)state;
    const pid_t child = fork(); /* the limit stays in the child */
    if (child == 0) {
        struct rlimit limit;
        alarm(20);
        getrlimit(RLIMIT_AS, &limit);
        limit.rlim_cur = 64u << 20; /* address space for some stacks but not for 200 */
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(0);
        LedgePool *p = NULL;
        if (ledge__pool_new(NULL, 200, &p) != LEDGE_OK)
            _exit(1);
        const int got = ledge__pool_threads(p);
        Count c = {.grain = 1, .count = 100, .threads = got};
        ledge__pool_run(p, 100, 1, count_items, &c);
        int bad = c.bad;
        for (int i = 0; i < 100; i++)
            bad += c.hits[i] != 1;
        ledge__pool_free(p);
        _exit(bad ? 1 : got >= 200 ? 2 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2)
        skip(); /* an emulator that does not keep the limit */
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(a_begun_loop_runs_beside_the_caller),
        cmocka_unit_test(no_pool_is_a_plain_call),
        cmocka_unit_test(huge_counts_do_not_overflow),
        cmocka_unit_test(many_short_loops_do_not_lose_any),
        cmocka_unit_test(loops_after_idleness_wake_the_workers),
        cmocka_unit_test(nested_loops_run_in_place),
        cmocka_unit_test(two_pools_nest_without_deadlock),
        cmocka_unit_test(several_callers_are_served),
        cmocka_unit_test(answers_do_not_depend_on_thread_count),
#if !defined(UNDER_TSAN)
        cmocka_unit_test(child_of_fork_runs_without_workers),
#endif
        cmocka_unit_test(idle_workers_burn_nothing),
        cmocka_unit_test(workers_take_no_signals_but_their_own_faults),
        cmocka_unit_test(lack_of_memory_is_a_status),
#if !defined(UNDER_TSAN) && !defined(UNDER_ASAN)
        cmocka_unit_test(lack_of_threads_leaves_fewer),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
