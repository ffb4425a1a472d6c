/* Blocks that last: fresh pages from the process's own allocator, and nobody else's touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/alloc.h"

#define HUGE ((size_t)2 << 20)

static size_t pages_in_memory(void *p, size_t bytes)
{
    unsigned char is_there[4 * HUGE / 4096];
    size_t n = 0;
    assert_int_equal(mincore(p, bytes, is_there), 0);
    for (size_t i = 0; i < bytes / 4096; i++)
        n += is_there[i] & 1;
    return n;
}

static void what_was_used_comes_on_fresh_pages(void **state)
{
    (void)state;
    const size_t sizes[] = {1, HUGE - 1, HUGE, HUGE + 1, 3 * HUGE, 4 * HUGE};
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* so that blocks come again */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *beside = ledge__alloc(NULL, 1, 4096);
            unsigned char *p = ledge__alloc_lasting(NULL, sizes[i]);
            assert_non_null(beside);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % LEDGE_ALIGN, 0);
            if (sizes[i] >= HUGE)
                assert_int_equal(pages_in_memory(p, sizes[i] / 4096 * 4096), 0);
            memset(beside, 7, 4096);
            memset(p, 9, sizes[i]);
            unsigned char *after = ledge__alloc(NULL, 1, 100);
            assert_non_null(after);
            memset(after, 8, 100);
            for (size_t k = 0; k < sizes[i]; k += 4095)
                assert_int_equal(p[k], 9);
            assert_int_equal(beside[4095], 7);
            ledge__free(NULL, p);
            ledge__free(NULL, beside);
            ledge__free(NULL, after);
        }
    assert_null(ledge__alloc_lasting(NULL, SIZE_MAX));
    assert_null(ledge__alloc_lasting(NULL, SIZE_MAX - HUGE));
}

static unsigned char *lent;

static void *lend(void *context, size_t size, size_t align)
{
    (void)context;
    return size <= 3 * HUGE && align <= HUGE ? lent : NULL;
}

static void take_back(void *context, void *p)
{
    (void)context;
    assert_ptr_equal(p, lent);
}

static void the_callers_memory_is_left_alone(void **state)
{
    (void)state;
    const LedgeAllocator a = {lend, take_back, NULL};
    lent = aligned_alloc(HUGE, 3 * HUGE);
    assert_non_null(lent);
    memset(lent, 5, 3 * HUGE);
    unsigned char *p = ledge__alloc_lasting(&a, 3 * HUGE);
    assert_ptr_equal(p, lent);
    for (size_t i = 0; i < 3 * HUGE; i++)
        assert_int_equal(p[i], 5);
    ledge__free(&a, p);
    assert_null(ledge__alloc_lasting(&a, 3 * HUGE + 1));
    free(lent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_used_comes_on_fresh_pages),
        cmocka_unit_test(the_callers_memory_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
