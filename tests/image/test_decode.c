/* JPEG and PNG decoding against pixels that Pillow gives, and refusals of what is damaged. */
#include "image_test.h"

#include "image/file_bytes.h"

static void check(const char *file, const char *pixels)
{
    LedgeImage im;
    LedgeError err = {0};
    char path[128];
    snprintf(path, sizeof path, "image/%s", file);
    if (ledge__image_load(NULL, data_path(path), &err, &im) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    assert_pixels(&im, pixels, 0);
    ledge__image_free(&im);
}

static void jpeg_kinds_decode_as_pillow_does(void **state)
{
    (void)state;
    check("rgb.jpg", "rgb");
    check("progressive.jpg", "progressive");
    check("grey.jpg", "grey");
    check("cmyk.jpg", "cmyk");
}

static void png_kinds_decode_as_pillow_does(void **state)
{
    (void)state;
    check("rgb8.png", "rgb8");
    check("bits1.png", "bits1");
    check("palette.png", "palette");
    check("rgb16.png", "rgb16");
    check("interlaced.png", "interlaced");
}

static void transparency_is_laid_over_white(void **state)
{
    (void)state;
    check("rgba.png", "rgba");
    check("grey_alpha.png", "grey_alpha");
}

static void exif_orientations_come_out_upright(void **state)
{
    (void)state;
    for (int i = 1; i <= 8; i++) {
        char file[16], pixels[16];
        snprintf(file, sizeof file, "exif%d.jpg", i);
        snprintf(pixels, sizeof pixels, "exif%d", i);
        check(file, pixels);
    }
    check("exif6.png", "exif6_png");
}

static LedgeStatus load(const char *file, LedgeError *err)
{
    LedgeImage im;
    LedgeStatus status = ledge__image_load(NULL, data_path(file), err, &im);
    if (status == LEDGE_OK)
        ledge__image_free(&im);
    return status;
}

static void bombs_are_refused_before_memory_is_taken(void **state)
{
    (void)state;
    LedgeError err = {0};
    assert_int_equal(load("image/bomb.png", &err), LEDGE_ERROR_LIMIT);
    assert_non_null(strstr(err.message, "megapixels"));
    assert_non_null(strstr(err.where, "bomb.png"));
    assert_int_equal(load("image/bomb.jpg", &err), LEDGE_ERROR_LIMIT);
    assert_non_null(strstr(err.where, "bomb.jpg"));
}

static void what_is_no_picture_is_refused_by_name(void **state)
{
    (void)state;
    LedgeError err = {0};
    assert_int_equal(load("image/make_data.py", &err), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "JPEG or PNG"));
    assert_int_equal(load("image/nowhere.jpg", &err), LEDGE_ERROR_NOT_FOUND);
    LedgeImage im;
    assert_int_equal(ledge__image_decode(NULL, "x", "GIF89a......", 12, &err, &im),
                     LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "GIF"));
    assert_int_equal(ledge__image_decode(NULL, "x", "", 0, &err, &im), LEDGE_ERROR_UNSUPPORTED);
}

/* Every shorter beginning of the file is refused; none gives a half picture. */
static void check_cuts(const char *file, size_t tail)
{
    uint8_t *bytes;
    size_t size;
    LedgeError err = {0};
    LedgeImage im;
    assert_int_equal(ledge__file_bytes(NULL, data_path(file), 1 << 20, &err, &bytes, &size),
                     LEDGE_OK);
    for (size_t n = 0; n + tail < size; n++) {
        memset(&err, 0, sizeof err);
        LedgeStatus status = ledge__image_decode(NULL, file, bytes, n, &err, &im);
        if (status == LEDGE_OK)
            fail_msg("%s: decoded from %zu of %zu bytes", file, n, size);
        assert_true(err.message[0] != 0);
        assert_string_equal(err.where, file);
    }
    ledge__free(ledge__allocator_or_default(NULL), bytes);
}

static void truncated_files_are_errors(void **state)
{
    (void)state;
    /* A JPEG without its closing marker, or the last byte of padding, still has all pixels. */
    check_cuts("image/rgb.jpg", 3);
    check_cuts("image/grey.jpg", 3);
    check_cuts("image/cmyk.jpg", 3);
    check_cuts("image/progressive.jpg", 3);
    check_cuts("image/rgb8.png", 0);
    check_cuts("image/palette.png", 0);
    check_cuts("image/interlaced.png", 0);
}

static LedgeStatus load_with(const LedgeAllocator *a, const void *file, LedgeError *err)
{
    LedgeImage im;
    LedgeStatus status = ledge__image_load(a, data_path(file), err, &im);
    if (status == LEDGE_OK)
        ledge__image_free(&im);
    return status;
}

static void lack_of_memory_is_an_error_at_every_step(void **state)
{
    (void)state;
    assert_survives_lack_of_memory(load_with, "image/cmyk.jpg");
    assert_survives_lack_of_memory(load_with, "image/exif6.jpg");
    assert_survives_lack_of_memory(load_with, "image/rgba.png");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jpeg_kinds_decode_as_pillow_does),
        cmocka_unit_test(png_kinds_decode_as_pillow_does),
        cmocka_unit_test(transparency_is_laid_over_white),
        cmocka_unit_test(exif_orientations_come_out_upright),
        cmocka_unit_test(bombs_are_refused_before_memory_is_taken),
        cmocka_unit_test(what_is_no_picture_is_refused_by_name),
        cmocka_unit_test(truncated_files_are_errors),
        cmocka_unit_test(lack_of_memory_is_an_error_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
