/* Traps by the hundred in one process, on two threads, each in an instance of its own: the next
 * instance works as if nothing had happened, and so does the host's own handler of SIGSEGV.
 *
 *   many_traps HOSTILE.lwm [ROUNDS] */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "wasm/runner/guest.h"

static const struct {
    const char *name, *sentence; /* sentence NULL: returns */
    uint64_t a, b, result;
} cases[] = {
    {"fine", NULL, 20, 22, 42},
    {"read_past", "outside its memory", 0, 0, 0},
    {"grow", NULL, 3, 0, 2},
    {"deep", "stack exhausted", 0, 0, 0},
    {"fine", NULL, 1, 2, 3},
    {"divide", "division by zero", 1, 0, 0},
    {"spin", "time limit", 0, 0, 0},
    {"touch", NULL, 1000, 0, 77},
    {"call_other", "indirect call", 0, 0, 0},
    {"unreachable", "unreachable", 0, 0, 0},
    {"sleep", "time limit", 0, 0, 0},
    {"touch", "outside its memory", 0x7fffffff, 0, 0},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static void fail(const char *name, const char *why)
{
    fprintf(stderr, "many_traps: %s: %s\n", name, why);
    exit(1);
}

static int rounds = 5;

static void *run(void *arg)
{
    LedgeGuestModule *m = arg;
    const LedgeGuestOptions o = {.time_ns = 20000000, .most_pages = 50};
    for (int i = 0; i < rounds * N_CASES; i++) {
        LedgeError err = {0};
        LedgeGuest *g = NULL;
        LedgeGuestResult r;
        const int k = i % N_CASES;
        uint64_t v[2] = {cases[k].a, cases[k].b};
        if (ledge__guest_new(m, &o, &err, &g) ||
            ledge__guest_call(g, cases[k].name, v, 2, &err, &r))
            fail(cases[k].name, err.message);
        /* A busy machine may end the others by their time too. */
        const bool late = r.end == LEDGE_GUEST_TRAPPED && strstr(r.sentence, "time limit");
        const bool wrong =
            cases[k].sentence
                ? r.end != LEDGE_GUEST_TRAPPED || (!late && !strstr(r.sentence, cases[k].sentence))
                : !late && (r.end != LEDGE_GUEST_RETURNED || (uint32_t)v[0] != cases[k].result);
        if (wrong)
            fail(cases[k].name,
                 r.end == LEDGE_GUEST_TRAPPED ? r.sentence : "returned something else");
        if (r.end == LEDGE_GUEST_TRAPPED &&
            ledge__guest_call(g, "fine", v, 2, &err, &r) == LEDGE_OK)
            fail(cases[k].name, "a dead instance was called");
        ledge__guest_free(g);
    }
    return NULL;
}

static sigjmp_buf back;

static void own_handler(int signal)
{
    siglongjmp(back, signal);
}

/* A fault of the host's own goes to the host's own handler, set before the first guest ran. */
static void check_own_fault(void)
{
    volatile char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(back, 1) == 0) {
        *none = 1;
        fail("own fault", "was not seen");
    }
    munmap((void *)(uintptr_t)none, 4096);
}

int main(int argc, char **argv)
{
    LedgeError err = {0};
    LedgeGuestModule *m = NULL;
    pthread_t threads[2];
    const struct sigaction own = {.sa_handler = own_handler};
    if (argc < 2)
        return 2;
    if (argc > 2)
        rounds = atoi(argv[2]);
    sigaction(SIGSEGV, &own, NULL);
    if (ledge__guest_open(argv[1], NULL, 0, &err, &m))
        fail(argv[1], err.message);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, m))
            fail("threads", "none");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    run(m); /* on the first thread, whose stack is another kind */
    check_own_fault();
    ledge__guest_close(m);
    puts("all as it should be");
    return 0;
}
