/* What the tests of this folder share: the data's place, and comparing pixels with .npy files. */
#ifndef LEDGE_TESTS_IMAGE_TEST_H
#define LEDGE_TESTS_IMAGE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "image/image.h"
#include "image/npy.h"

#ifndef LEDGE_TEST_DATA
#define LEDGE_TEST_DATA "tests/data" /* meson gives the full path */
#endif

/* Path of a file in tests/data, in one of four static buffers. */
static inline const char *data_path(const char *name)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", LEDGE_TEST_DATA, name);
    return path;
}

/* Fails unless the pixels are those of tests/data/image/NAME.npy, give or take `slack`. */
static inline void assert_pixels(const LedgeImage *im, const char *name, int slack)
{
    LedgeTensor want;
    LedgeError err = {0};
    char file[128];
    snprintf(file, sizeof file, "image/%s.npy", name);
    assert_int_equal(ledge__npy_load(NULL, data_path(file), &err, &want), LEDGE_OK);
    assert_int_equal(want.rank, 3);
    assert_int_equal(want.dims[0], im->height);
    assert_int_equal(want.dims[1], im->width);
    assert_int_equal(want.dims[2], im->channels);
    const uint8_t *p = want.data;
    for (size_t i = 0; i < want.bytes; i++)
        if (abs(p[i] - im->pixels[i]) > slack)
            fail_msg("%s: byte %zu is %d, not %d", name, i, im->pixels[i], p[i]);
    ledge__npy_free(NULL, &want);
}

/* An allocator that gives `*context` blocks and then none. */
static inline void *few_alloc(void *context, size_t size, size_t align)
{
    int *left = context;
    return (*left)-- > 0 ? aligned_alloc(align, ledge__round_up(size, align)) : NULL;
}

static inline void few_free(void *context, void *pointer)
{
    (void)context;
    free(pointer);
}

/* Calls `make` with ever more blocks until it succeeds; each failure must be MEMORY (and, under
 * LeakSanitizer, leave nothing behind). `make` frees what it made. */
static inline void assert_survives_lack_of_memory(
    LedgeStatus (*make)(const LedgeAllocator *a, const void *arg, LedgeError *err), const void *arg)
{
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    int blocks = 0;
    for (; status != LEDGE_OK && blocks < 100; blocks++) {
        int left = blocks;
        LedgeAllocator a = {few_alloc, few_free, &left};
        LedgeError err = {0};
        status = make(&a, arg, &err);
        if (status != LEDGE_OK && status != LEDGE_ERROR_MEMORY)
            fail_msg("with %d blocks: status %d, %s", blocks, status, err.message);
    }
    assert_int_equal(status, LEDGE_OK);
    assert_true(blocks > 1);
}

#endif
