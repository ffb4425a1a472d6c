/* Presets, the JSON description, fitting to a model's input, and the numbers that come out. */
#include "image_test.h"

#include <math.h>

#include "base/alloc.h"
#include "image/preprocess.h"

static LedgePreprocess preset(const char *name)
{
    LedgePreprocess pre;
    assert_int_equal(ledge__preprocess_preset(name, NULL, &pre), LEDGE_OK);
    return pre;
}

/* A picture whose pixel (x, y) is (x, y, 200), or x + y in grey. */
static LedgeImage ramp(uint32_t width, uint32_t height, int channels)
{
    LedgeImage im;
    assert_int_equal(ledge__image_new(NULL, width, height, channels, NULL, &im), LEDGE_OK);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *p = im.pixels + (y * width + x) * (uint32_t)channels;
            p[0] = (uint8_t)(channels == 1 ? x + y : x);
            if (channels == 3) {
                p[1] = (uint8_t)y;
                p[2] = 200;
            }
        }
    return im;
}

static LedgeTensor run(const LedgePreprocess *pre, LedgeImage im)
{
    LedgeTensor t;
    LedgeError err = {0};
    if (ledge__preprocess_tensor(pre, NULL, &im, &err, &t) != LEDGE_OK)
        fail_msg("%s", err.message);
    ledge__image_free(&im);
    return t;
}

static void done(LedgeTensor *t)
{
    ledge__free(ledge__allocator_or_default(NULL), t->data);
}

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 1e-6 * (1 + fabs(want)))
        fail_msg("%.9g, not %.9g", got, want);
}

static void presets_scale_as_their_families_do(void **state)
{
    (void)state;
    /* 256 x 258: no resize; the crop of 224 starts at (16, 17). */
    LedgePreprocess pre = preset("imagenet");
    LedgeTensor t = run(&pre, ramp(256, 258, 3));
    const float *f = t.data;
    assert_int_equal(t.dims[1], 3);
    assert_int_equal(t.dims[2], 224);
    assert_int_equal(t.dims[3], 224);
    assert_near(f[0], (16 / 255.0 - 0.485) / 0.229);
    assert_near(f[224 * 224], (17 / 255.0 - 0.456) / 0.224);
    assert_near(f[2 * 224 * 224], (200 / 255.0 - 0.406) / 0.225);
    done(&t);
    pre = preset("tf");
    t = run(&pre, ramp(256, 258, 3));
    f = t.data;
    assert_near(f[223], (239 - 127.5) / 127.5);
    done(&t);
    pre = preset("caffe");
    t = run(&pre, ramp(256, 258, 3));
    f = t.data;
    assert_near(f[0], 200 - 104.0);
    assert_near(f[224 * 224], 17 - 117.0);
    assert_near(f[2 * 224 * 224], 16 - 123.0);
    done(&t);
    pre = preset("none");
    t = run(&pre, ramp(5, 4, 3));
    f = t.data;
    assert_int_equal(t.dims[2], 4);
    assert_int_equal(t.dims[3], 5);
    assert_near(f[4], 4);
    done(&t);
}

static void nhwc_interleaves_channels(void **state)
{
    (void)state;
    LedgePreprocess pre = preset("none");
    pre.layout = LEDGE_LAYOUT_NHWC;
    LedgeTensor t = run(&pre, ramp(5, 4, 3));
    const float *f = t.data;
    assert_int_equal(t.dims[1], 4);
    assert_int_equal(t.dims[2], 5);
    assert_int_equal(t.dims[3], 3);
    assert_near(f[(2 * 5 + 3) * 3 + 0], 3);
    assert_near(f[(2 * 5 + 3) * 3 + 1], 2);
    assert_near(f[(2 * 5 + 3) * 3 + 2], 200);
    done(&t);
}

static void grey_is_luma_and_grey_pictures_fill_three_channels(void **state)
{
    (void)state;
    LedgeImage im;
    LedgeTensor source, want;
    assert_int_equal(ledge__npy_load(NULL, data_path("image/resize_source.npy"), NULL, &source),
                     LEDGE_OK);
    assert_int_equal(ledge__npy_load(NULL, data_path("image/luma.npy"), NULL, &want), LEDGE_OK);
    assert_int_equal(ledge__image_new(NULL, 37, 29, 3, NULL, &im), LEDGE_OK);
    memcpy(im.pixels, source.data, source.bytes);
    LedgePreprocess pre = preset("none");
    pre.color = LEDGE_COLOR_GRAY;
    LedgeTensor t = run(&pre, im);
    assert_int_equal(t.dims[1], 1);
    for (size_t i = 0; i < want.bytes; i++)
        assert_int_equal((int)((float *)t.data)[i], ((uint8_t *)want.data)[i]);
    done(&t);
    ledge__npy_free(NULL, &source);
    ledge__npy_free(NULL, &want);
    pre.color = LEDGE_COLOR_BGR;
    t = run(&pre, ramp(5, 4, 1));
    const float *f = t.data;
    assert_near(f[7], 3); /* (2, 1) */
    assert_near(f[20 + 7], 3);
    assert_near(f[40 + 7], 3);
    done(&t);
}

static void shorter_side_keeps_the_shape(void **state)
{
    (void)state;
    LedgePreprocess pre = preset("none");
    int64_t dims[4];
    pre.resize = LEDGE_RESIZE_SHORTER;
    pre.shorter = 256;
    assert_int_equal(ledge__preprocess_dims(&pre, 500, 333, NULL, dims), LEDGE_OK);
    assert_int_equal(dims[2], 256);
    assert_int_equal(dims[3], 384); /* 256 * 500 / 333 = 384.4 */
    assert_int_equal(ledge__preprocess_dims(&pre, 100, 400, NULL, dims), LEDGE_OK);
    assert_int_equal(dims[2], 1024);
    assert_int_equal(dims[3], 256);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    LedgePreprocess pre = preset("none");
    LedgeError err = {0};
    int64_t dims[4];
    pre.crop_width = pre.crop_height = 224;
    assert_int_equal(ledge__preprocess_dims(&pre, 500, 200, &err, dims), LEDGE_ERROR_SHAPE);
    assert_non_null(strstr(err.message, "500x200"));
    pre = preset("imagenet");
    assert_int_equal(ledge__preprocess_dims(&pre, 100, 1000, &err, dims), LEDGE_OK);
    pre.shorter = 65536;
    assert_int_equal(ledge__preprocess_dims(&pre, 1, 100000, &err, dims), LEDGE_ERROR_LIMIT);
}

static LedgeStatus from_json(const char *json, LedgeError *err, LedgePreprocess *pre)
{
    return ledge__preprocess_from_json("here", json, strlen(json), err, pre);
}

static void json_sets_each_key(void **state)
{
    (void)state;
    LedgePreprocess pre;
    LedgeError err = {0};
    const char *json = "{\"color\": \"bgr\", \"resize\": {\"width\": 320, \"height\": 240},"
                       " \"crop\": 100, \"interpolation\": \"bicubic\", \"scale\": 0.5,"
                       " \"mean\": [1, 2, 3], \"std\": 128, \"layout\": \"nhwc\"}";
    if (from_json(json, &err, &pre) != LEDGE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(pre.color, LEDGE_COLOR_BGR);
    assert_int_equal(pre.resize, LEDGE_RESIZE_EXACT);
    assert_int_equal(pre.resize_width, 320);
    assert_int_equal(pre.resize_height, 240);
    assert_int_equal(pre.crop_width, 100);
    assert_int_equal(pre.crop_height, 100);
    assert_int_equal(pre.filter, LEDGE_FILTER_BICUBIC);
    assert_int_equal(pre.layout, LEDGE_LAYOUT_NHWC);
    assert_near(pre.scale, 0.5);
    assert_near(pre.mean[2], 3);
    assert_near(pre.std[0], 128);
    assert_near(pre.std[2], 128);
    assert_int_equal(from_json("{\"preset\": \"caffe\", \"crop\": \"none\"}", &err, &pre),
                     LEDGE_OK);
    assert_int_equal(pre.color, LEDGE_COLOR_BGR);
    assert_int_equal(pre.shorter, 256);
    assert_int_equal(pre.crop_width, 0);
    assert_near(pre.mean[0], 104);
}

static void json_that_is_written_reads_back(void **state)
{
    (void)state;
    static const char *const names[] = {"imagenet", "tf", "caffe", "none"};
    for (int i = 0; i < 5; i++) {
        LedgePreprocess pre = preset(names[i % 4]), back;
        if (i == 4) {
            pre.shorter = 0;
            pre.resize = LEDGE_RESIZE_EXACT;
            pre.resize_width = 7;
            pre.resize_height = 9;
        }
        char *json = ledge__preprocess_to_json(&pre);
        assert_non_null(json);
        assert_int_equal(from_json(json, NULL, &back), LEDGE_OK);
        free(json);
        assert_int_equal(back.color, pre.color);
        assert_int_equal(back.resize, pre.resize);
        assert_int_equal(back.shorter, pre.shorter);
        assert_int_equal(back.resize_height, pre.resize_height);
        assert_int_equal(back.crop_width, pre.crop_width);
        assert_int_equal(back.filter, pre.filter);
        assert_int_equal(back.layout, pre.layout);
        assert_true(back.scale == pre.scale);
        assert_memory_equal(back.mean, pre.mean, sizeof pre.mean);
        assert_memory_equal(back.std, pre.std, sizeof pre.std);
    }
}

static void bad_json_is_refused_with_the_key_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[1]", "object"},
        {"{", "JSON"},
        {"{\"colour\": \"rgb\"}", "colour"},
        {"{\"color\": \"cmyk\"}", "color"},
        {"{\"color\": 3}", "color"},
        {"{\"color\": \"rgb\", \"color\": \"bgr\"}", "JSON"},
        {"{\"preset\": \"torch\"}", "preset"},
        {"{\"resize\": 256}", "resize"},
        {"{\"resize\": {\"shorter\": 0}}", "resize"},
        {"{\"resize\": {\"width\": 5}}", "resize"},
        {"{\"resize\": {\"width\": 5, \"height\": 99999999}}", "resize"},
        {"{\"crop\": -1}", "crop"},
        {"{\"crop\": 0.5}", "crop"},
        {"{\"std\": [1, 0, 1]}", "std"},
        {"{\"mean\": [1, 2]}", "mean"},
        {"{\"mean\": [1, \"x\", 2]}", "mean"},
        {"{\"scale\": [1]}", "scale"},
        {"{\"scale\": \"1\"}", "scale"},
        {"{\"layout\": \"chw\"}", "layout"},
        {"{\"interpolation\": \"lanczos\"}", "interpolation"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LedgePreprocess pre;
        LedgeError err = {0};
        LedgeStatus status = from_json(cases[i][0], &err, &pre);
        if (status == LEDGE_OK || !strstr(err.message, cases[i][1]))
            fail_msg("%s gave status %d: %s", cases[i][0], status, err.message);
    }
}

static void parse_takes_preset_text_and_file(void **state)
{
    (void)state;
    LedgePreprocess pre;
    LedgeError err = {0};
    assert_int_equal(ledge__preprocess_parse("tf", &err, &pre), LEDGE_OK);
    assert_near(pre.mean[0], 127.5);
    assert_int_equal(ledge__preprocess_parse(" {\"scale\": 2}", &err, &pre), LEDGE_OK);
    assert_near(pre.scale, 2);
    assert_int_equal(ledge__preprocess_parse("/nowhere.json", &err, &pre), LEDGE_ERROR_NOT_FOUND);
    assert_non_null(strstr(err.message, "imagenet"));
    assert_int_equal(ledge__preprocess_parse(data_path("image/make_data.py"), &err, &pre),
                     LEDGE_ERROR_FORMAT);
}

static LedgePreprocess fitted(const char *name, LedgeTensorInfo input)
{
    LedgePreprocess pre = preset(name);
    LedgeError err = {0};
    if (ledge__preprocess_fit(&pre, &input, &err) != LEDGE_OK)
        fail_msg("%s", err.message);
    return pre;
}

static LedgeTensorInfo input_of(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (LedgeTensorInfo){.name = "x", .type = LEDGE_FLOAT, .rank = 4, .dims = {a, b, c, d}};
}

static void the_models_size_wins(void **state)
{
    (void)state;
    LedgePreprocess pre = fitted("caffe", input_of(-1, 3, 227, 227));
    assert_int_equal(pre.shorter, 256);
    assert_int_equal(pre.crop_width, 227);
    pre = fitted("imagenet", input_of(1, 3, 299, 299));
    assert_int_equal(pre.shorter, 342);
    assert_int_equal(pre.crop_height, 299);
    pre = fitted("imagenet", input_of(1, 3, 96, 96));
    assert_int_equal(pre.shorter, 110);
    pre = fitted("imagenet", input_of(1, 3, -1, -1));
    assert_int_equal(pre.crop_width, 224);
    pre = fitted("none", input_of(1, 3, 240, 320));
    assert_int_equal(pre.resize, LEDGE_RESIZE_EXACT);
    assert_int_equal(pre.resize_width, 320);
    assert_int_equal(pre.resize_height, 240);
    pre = fitted("none", input_of(1, 1, 28, 28));
    assert_int_equal(pre.color, LEDGE_COLOR_GRAY);
    pre = fitted("tf", input_of(1, 224, 224, 3));
    assert_int_equal(pre.layout, LEDGE_LAYOUT_NHWC);
    assert_int_equal(pre.crop_width, 224);
}

static void inputs_that_take_no_picture_are_refused(void **state)
{
    (void)state;
    LedgePreprocess pre = preset("none");
    LedgeError err = {0};
    LedgeTensorInfo input = input_of(1, 4, 32, 32);
    assert_int_equal(ledge__preprocess_fit(&pre, &input, &err), LEDGE_ERROR_SHAPE);
    input = input_of(1, 128, 0, 0);
    input.rank = 2;
    assert_int_equal(ledge__preprocess_fit(&pre, &input, &err), LEDGE_ERROR_SHAPE);
    assert_string_equal(err.where, "x");
    input = input_of(1, 3, 32, 32);
    input.type = LEDGE_INT64;
    assert_int_equal(ledge__preprocess_fit(&pre, &input, &err), LEDGE_ERROR_TYPE);
    assert_non_null(strstr(err.message, "int64"));
}

/* A table over the bytes must give the numbers of the tensor. */
static void bytes_stand_for_the_same_numbers(void **state)
{
    (void)state;
    for (int k = 0; k < 12; k++) {
        LedgePreprocess pre = preset("imagenet");
        LedgePixels pixels = {.scale = 0};
        LedgeTensor bytes, floats;
        LedgeError err = {0};
        pre.color = (LedgeColor)(k % 3);
        pre.layout = k % 2 ? LEDGE_LAYOUT_NHWC : LEDGE_LAYOUT_NCHW;
        pre.shorter = k < 6 ? 200 : 260; /* with and without a resize of the 260 rows */
        pre.crop_width = 190;
        pre.crop_height = 170;
        const int from = k % 4 < 2 ? 3 : 1;
        floats = run(&pre, ramp(280, 260, from));
        LedgeImage im = ramp(280, 260, from);
        assert_int_equal(ledge__preprocess_bytes(&pre, NULL, &im, &err, &bytes), LEDGE_OK);
        ledge__image_free(&im);
        ledge__preprocess_pixels(&pre, &pixels);
        assert_int_equal(pixels.channels_last, k % 2);
        const int c = ledge__color_channels(pre.color), plane = 190 * 170;
        assert_int_equal(bytes.type, LEDGE_UINT8);
        assert_int_equal(bytes.dims[1], 170);
        assert_int_equal(bytes.dims[2], 190);
        assert_int_equal(bytes.dims[3], c);
        for (int i = 0; i < plane * c; i++) {
            const int p = i / c, ch = i % c, at = pixels.reversed ? c - 1 - ch : ch;
            const uint8_t b = ((uint8_t *)bytes.data)[p * c + at];
            const float want = (float)((b * pixels.scale - pixels.mean[ch]) / pixels.std[ch]);
            assert_true(((float *)floats.data)[k % 2 ? i : ch * plane + p] == want);
        }
        LedgeTensor back;
        assert_int_equal(ledge__preprocess_floats(&pre, NULL, &bytes, &err, &back), LEDGE_OK);
        assert_memory_equal(back.dims, floats.dims, 4 * sizeof *back.dims);
        assert_memory_equal(back.data, floats.data, (size_t)plane * (size_t)c * sizeof(float));
        done(&back);
        bytes.dims[0] = 2; /* half as high each, read as two pictures */
        bytes.dims[1] /= 2;
        assert_int_equal(ledge__preprocess_floats(&pre, NULL, &bytes, &err, &back), LEDGE_OK);
        assert_int_equal(back.dims[0], 2);
        const size_t half = (size_t)plane / 2;
        for (size_t i = 0; i < half; i++)
            assert_true(((float *)back.data)[half * (size_t)c + (k % 2 ? i * (size_t)c : i)] ==
                        ((float *)floats
                             .data)[half * (size_t)(k % 2 ? c : 1) + (k % 2 ? i * (size_t)c : i)]);
        done(&back);
        bytes.dims[3]++;
        assert_int_equal(ledge__preprocess_floats(&pre, NULL, &bytes, &err, &back),
                         LEDGE_ERROR_SHAPE);
        done(&bytes);
        done(&floats);
    }
}

/* Every byte, through every preset and layout, and back. */
static void what_a_model_saw_becomes_a_picture_again(void **state)
{
    (void)state;
    static const char *const names[] = {"imagenet", "tf", "caffe", "none"};
    LedgeError err = {0};
    for (int i = 0; i < 8; i++)
        for (int grey = 0; grey < 2; grey++) {
            LedgePreprocess pre = preset(names[i / 2]);
            LedgeImage back, im;
            pre.resize = LEDGE_RESIZE_NONE;
            pre.crop_width = pre.crop_height = 0;
            pre.layout = i % 2 ? LEDGE_LAYOUT_NHWC : LEDGE_LAYOUT_NCHW;
            pre.color = grey ? LEDGE_COLOR_GRAY : pre.color;
            const int channels = grey ? 1 : 3;
            const LedgeImage want = ramp(256, 3, channels);
            im = ramp(256, 3, channels);
            LedgeTensor t = run(&pre, im);
            assert_int_equal(ledge__preprocess_undo(&pre, &t, 0, &err, &back), LEDGE_OK);
            assert_int_equal(back.width, 256);
            assert_int_equal(back.height, 3);
            assert_memory_equal(back.pixels, want.pixels, (size_t)256 * 3 * (size_t)channels);
            assert_int_equal(ledge__preprocess_undo(&pre, &t, 1, &err, &im), LEDGE_ERROR_SHAPE);
            pre.color = grey ? LEDGE_COLOR_RGB : LEDGE_COLOR_GRAY;
            assert_int_equal(ledge__preprocess_undo(&pre, &t, 0, &err, &im), LEDGE_ERROR_SHAPE);
            const char *path = "/tmp/ledge-undo.png";
            assert_int_equal(ledge__png_save(path, &back, &err), LEDGE_OK);
            ledge__image_free(&back);
            assert_int_equal(ledge__image_load(NULL, path, &err, &back), LEDGE_OK);
            assert_int_equal(back.channels, channels);
            assert_memory_equal(back.pixels, want.pixels, (size_t)256 * 3 * (size_t)channels);
            assert_int_equal(remove(path), 0);
            ledge__image_free(&back);
            im = want;
            ledge__image_free(&im);
            done(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_scale_as_their_families_do),
        cmocka_unit_test(nhwc_interleaves_channels),
        cmocka_unit_test(grey_is_luma_and_grey_pictures_fill_three_channels),
        cmocka_unit_test(bytes_stand_for_the_same_numbers),
        cmocka_unit_test(what_a_model_saw_becomes_a_picture_again),
        cmocka_unit_test(shorter_side_keeps_the_shape),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(json_sets_each_key),
        cmocka_unit_test(json_that_is_written_reads_back),
        cmocka_unit_test(bad_json_is_refused_with_the_key_named),
        cmocka_unit_test(parse_takes_preset_text_and_file),
        cmocka_unit_test(the_models_size_wins),
        cmocka_unit_test(inputs_that_take_no_picture_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
