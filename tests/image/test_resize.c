/* Resizing gives the bytes that Pillow gives. */
#include "image_test.h"

#include "image/image_resize.h"

static LedgeImage source(void)
{
    LedgeTensor t;
    LedgeImage im;
    assert_int_equal(ledge__npy_load(NULL, data_path("image/resize_source.npy"), NULL, &t),
                     LEDGE_OK);
    assert_int_equal(ledge__image_new(NULL, (uint32_t)t.dims[1], (uint32_t)t.dims[0], 3, NULL, &im),
                     LEDGE_OK);
    memcpy(im.pixels, t.data, t.bytes);
    ledge__npy_free(NULL, &t);
    return im;
}

static void check(LedgeFilter filter, const char *filter_name)
{
    static const uint32_t sizes[][2] = {{16, 12}, {37, 11}, {9, 29}, {53, 61}, {1, 1},
                                        {40, 20}, {19, 7},  {33, 5}, {28, 28}, {30, 8}};
    LedgeImage im = source(), out;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[64];
        snprintf(name, sizeof name, "resize_%s_%ux%u", filter_name, sizes[i][0], sizes[i][1]);
        assert_int_equal(ledge__image_resize(&im, sizes[i][0], sizes[i][1], filter, NULL, &out),
                         LEDGE_OK);
        assert_pixels(&out, name, 0);
        ledge__image_free(&out);
    }
    ledge__image_free(&im);
}

static void bilinear_equals_pillow(void **state)
{
    (void)state;
    check(LEDGE_FILTER_BILINEAR, "bilinear");
}

static void bicubic_equals_pillow(void **state)
{
    (void)state;
    check(LEDGE_FILTER_BICUBIC, "bicubic");
}

static void nearest_equals_pillow(void **state)
{
    (void)state;
    check(LEDGE_FILTER_NEAREST, "nearest");
}

static void same_size_is_a_copy(void **state)
{
    (void)state;
    LedgeImage im = source(), out;
    assert_int_equal(
        ledge__image_resize(&im, im.width, im.height, LEDGE_FILTER_BICUBIC, NULL, &out), LEDGE_OK);
    assert_pixels(&out, "resize_source", 0);
    assert_ptr_not_equal(out.pixels, im.pixels);
    ledge__image_free(&out);
    ledge__image_free(&im);
}

static void sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    LedgeImage im = source(), out;
    LedgeError err = {0};
    assert_int_equal(ledge__image_resize(&im, 0, 5, LEDGE_FILTER_BILINEAR, &err, &out),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__image_resize(&im, 4000000000u, 5, LEDGE_FILTER_BILINEAR, &err, &out),
                     LEDGE_ERROR_LIMIT);
    assert_int_equal(ledge__image_resize(&im, 60000, 60000, LEDGE_FILTER_NEAREST, &err, &out),
                     LEDGE_ERROR_LIMIT);
    ledge__image_free(&im);
}

static LedgeStatus resize_with(const LedgeAllocator *a, const void *filter, LedgeError *err)
{
    LedgeImage im = source(), out;
    const LedgeAllocator *own = im.allocator;
    im.allocator = a; /* what resizing takes its memory from */
    LedgeStatus status = ledge__image_resize(&im, 16, 12, *(const LedgeFilter *)filter, err, &out);
    if (status == LEDGE_OK)
        ledge__image_free(&out);
    im.allocator = own;
    ledge__image_free(&im);
    return status;
}

static void lack_of_memory_is_an_error_at_every_step(void **state)
{
    (void)state;
    for (LedgeFilter f = LEDGE_FILTER_NEAREST; f <= LEDGE_FILTER_BICUBIC; f++)
        assert_survives_lack_of_memory(resize_with, &f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bilinear_equals_pillow),
        cmocka_unit_test(bicubic_equals_pillow),
        cmocka_unit_test(nearest_equals_pillow),
        cmocka_unit_test(same_size_is_a_copy),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(lack_of_memory_is_an_error_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
