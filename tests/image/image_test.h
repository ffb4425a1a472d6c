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

#endif
