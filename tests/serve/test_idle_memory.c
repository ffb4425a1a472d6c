/* Letting code go: it is less that the process holds, and all works as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "serve/idle_memory.h"

/* Pages of files that are resident. */
static long resident_of_files(void)
{
    long total, resident, shared = -1;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &total, &resident, &shared), 3);
    fclose(f);
    return shared;
}

static atomic_bool stop;

static void *keep_working(void *arg)
{
    double *sum = arg;
    for (int i = 1; !atomic_load(&stop); i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", i);
        *sum += sqrt(strtod(text, NULL)) - sqrt((double)i);
    }
    return NULL;
}

static void code_goes_and_comes_back(void **state)
{
    (void)state;
    double sum = 0;
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, keep_working, &sum), 0);
    const long before = resident_of_files();
    long least = before;
    for (int i = 0; i < 200; i++) { /* under a thread that runs it */
        ledge__let_code_go();
        ledge__trim_heap();
        const long now = resident_of_files();
        least = now < least ? now : least;
    }
    atomic_store(&stop, true);
    pthread_join(other, NULL);
    assert_true(sum == 0);
    if (least >= before)
        fail_msg("%ld pages of files before, never less than %ld", before, least);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(code_goes_and_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
