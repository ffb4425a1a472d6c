/* Inputs that take the bytes of pictures: the same answers, to the bit, as of floats prepared by
 * hand, in either layout and channel order, for float models and for those that quantise first,
 * from ONNX and from compiled files; and what takes no pixels is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <math.h>

#include "engine/onnx/onnx.h"
#include "model_maker.h"

enum { N = 2, H = 9, W = 13, MOST = N * H * W * 4 };

typedef struct Case {
    int channels;
    bool channels_last, reversed, quantized;
} Case;

static const LedgePixels normal = {.scale = 1.0 / 255,
                                   .mean = {0.485, 0.456, 0.406, 0.5},
                                   .std = {0.229, 0.224, 0.225, 0.25}};

static bool take_pixels(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    const Case *c = arg;
    assert_string_equal(ledge_model_input(m, input)->name, "x");
    assert_string_equal(ledge_model_metadata(m, "kind"), "picture");
    assert_int_equal(ledge_model_input(m, input)->type, LEDGE_FLOAT);
    assert_true(out->scale == 1 && out->mean[3] == 0 && out->std[3] == 1);
    *out = normal;
    out->channels_last = c->channels_last;
    out->reversed = c->reversed;
    return true;
}

/* A convolution of what a classifier's first layer sees; quantised models give those bytes too. */
static TestModel *picture_model(const Case *c)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 17},
                                  {.domain = {"ledge", 5}, .version = 1}};
    TestModel *t = test_model_new(17);
    OnnxModel *m = test_onnx(t);
    test_metadata(t, "kind", "picture");
    test_input(t, "x", LEDGE_FLOAT, 4,
               c->channels_last ? (int64_t[]){-1, -1, -1, c->channels}
                                : (int64_t[]){-1, c->channels, -1, -1});
    const char *from = "x";
    if (c->channels_last) {
        test_attr_ints(t, test_node(t, "Transpose", "x", "planes"), "perm", 4,
                       (int64_t[]){0, 3, 1, 2});
        from = "planes";
    }
    char inputs[32];
    snprintf(inputs, sizeof inputs, "%s w", from);
    test_noise(t, "w", 4, (int64_t[]){5, c->channels, 3, 3}, 1);
    test_node(t, "Conv", inputs, "y");
    test_output(t, "y");
    if (c->quantized) {
        m->opsets = opsets;
        m->n_opsets = 2;
        OnnxNode *q = test_node(t, "Quantize", "x", "q");
        q->domain = (LedgeStr){"ledge", 5};
        test_attr_float(t, q, "scale", 0.0187f);
        test_attr_int(t, q, "zero", 114);
        test_attr_string(t, q, "layout", c->channels_last ? "" : "nhwc");
        test_output(t, "q");
    }
    return t;
}

static LedgeTensor of(LedgeType type, const Case *c, bool planes, void *data)
{
    LedgeTensor t = {.type = type, .rank = 4, .data = data, .dims = {N, H, W, c->channels}};
    if (planes) {
        t.dims[1] = c->channels;
        t.dims[2] = H;
        t.dims[3] = W;
    }
    t.bytes = ledge_tensor_bytes(&t);
    return t;
}

/* The floats that the bytes stand for, in the model's layout. */
static void prepare(const Case *c, const uint8_t *x, float *y)
{
    for (int i = 0; i < N * H * W * c->channels; i++) {
        const int k = i % c->channels, p = i / c->channels, image = p / (H * W);
        const uint8_t b = x[p * c->channels + (c->reversed ? c->channels - 1 - k : k)];
        const float v = (float)((b * normal.scale - normal.mean[k]) / normal.std[k]);
        y[c->channels_last ? i : (image * c->channels + k) * H * W + p % (H * W)] = v;
    }
}

static LedgeStatus load(const void *bytes, size_t size, Case *c, bool plain, LedgeModel **m,
                        LedgeError *err)
{
    const LedgeModelOptions o = {
        .no_optimize = plain, .pixels = c ? take_pixels : NULL, .pixels_arg = c};
    return ledge_model_load_memory(bytes, size, &o, err, m);
}

/* Copies both outputs of a run into `out`. */
static void answers(LedgeModel *m, LedgeTensor *in, uint8_t *out)
{
    LedgeSession *s = NULL;
    LedgeError err = {0};
    LedgeTensor y[2] = {{0}};
    const size_t n = ledge_model_output_count(m);
    const LedgeSessionOptions o = {.threads = 2};
    assert_int_equal(ledge_session_create(m, &o, &err, &s), LEDGE_OK);
    if (ledge_session_run(s, in, 1, y, n, &err) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    for (size_t i = 0; i < n; i++) {
        memcpy(out, y[i].data, ledge_tensor_bytes(&y[i]));
        out += ledge_tensor_bytes(&y[i]);
    }
    ledge_session_free(s);
    ledge_model_free(m);
}

/* The convolution's floats may be summed in another order; a quantised model's bytes behind them are
 * the same. */
static void same_answers(const Case *c, const uint8_t *got, const uint8_t *want)
{
    const size_t n = (size_t)N * 5 * (H - 2) * (W - 2);
    for (size_t i = 0; i < n; i++) {
        float a, b;
        memcpy(&a, got + i * sizeof a, sizeof a);
        memcpy(&b, want + i * sizeof b, sizeof b);
        assert_true(fabsf(a - b) <= 1e-5f * (1 + fabsf(b)));
    }
    if (c->quantized)
        assert_memory_equal(got + n * sizeof(float), want + n * sizeof(float),
                            (size_t)N * H * W * (size_t)c->channels);
}

static void fill(uint8_t *x)
{
    for (uint32_t i = 0, seed = 7; i < MOST; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (uint8_t)(seed >> 24);
    }
}

static void check(Case *c, bool plain)
{
    static uint8_t x[MOST], want[1 << 16], got[1 << 16];
    static float floats[MOST];
    LedgeModel *m = NULL;
    LedgeError err = {0};
    size_t size;
    TestModel *t = picture_model(c);
    const void *bytes = test_bytes(t, &size);
    fill(x);
    prepare(c, x, floats);
    memset(want, 0, sizeof want);
    memset(got, 0, sizeof got);
    LedgeTensor in = of(LEDGE_FLOAT, c, !c->channels_last, floats);
    assert_int_equal(load(bytes, size, NULL, plain, &m, &err), LEDGE_OK);
    answers(m, &in, want);
    if (load(bytes, size, c, plain, &m, &err) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    const LedgeTensorInfo *info = ledge_model_input(m, 0);
    assert_string_equal(info->name, "x");
    assert_int_equal(info->type, LEDGE_UINT8);
    assert_int_equal(info->dims[1], -1);
    assert_int_equal(info->dims[3], c->channels);
    in = of(LEDGE_UINT8, c, false, x);
    answers(m, &in, got);
    same_answers(c, got, want);
    test_model_free(t);
}

static void bytes_give_the_answers_of_floats(void **state)
{
    (void)state;
    for (int k = 0; k < 64; k++) {
        Case c = {1 + k % 4, k & 4, k & 8, k & 16};
        check(&c, k & 32);
    }
}

/* Written with pixels, or asked for them only when the compiled file is loaded. */
static void compiled_models_take_pixels(void **state)
{
    static uint8_t x[MOST], want[1 << 16], got[1 << 16];
    (void)state;
    fill(x);
    for (int when = 0; when < 3; when++) {
        Case c = {3, false, true, true};
        char path[] = "/tmp/ledge-pixels-XXXXXX";
        LedgeModel *m = NULL;
        LedgeError err = {0};
        size_t size;
        TestModel *t = picture_model(&c);
        const void *bytes = test_bytes(t, &size);
        LedgeTensor in = of(LEDGE_UINT8, &c, false, x);
        LedgeTensor shape = when == 1 ? in : of(LEDGE_FLOAT, &c, true, NULL);
        assert_int_equal(load(bytes, size, when < 2 ? &c : NULL, false, &m, &err), LEDGE_OK);
        if (when == 0) {
            answers(m, &in, want);
            test_model_free(t);
            continue;
        }
        close(mkstemp(path));
        assert_int_equal(ledge_model_compile(m, &shape, 1, path, &err), LEDGE_OK);
        ledge_model_free(m);
        const LedgeModelOptions o = {.pixels = when == 2 ? take_pixels : NULL, .pixels_arg = &c};
        assert_int_equal(ledge_model_load(path, &o, &err, &m), LEDGE_OK);
        answers(m, &in, got);
        same_answers(&c, got, want);
        unlink(path);
        test_model_free(t);
    }
}

static bool bad_std(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    (void)arg;
    (void)m;
    (void)input;
    out->std[1] = 0;
    return true;
}

static bool as_they_are(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    (void)arg;
    (void)m;
    (void)input;
    (void)out;
    return true;
}

static void refused(LedgeType type, int rank, const int64_t *dims,
                    bool (*ask)(void *, const LedgeModel *, size_t, LedgePixels *),
                    LedgeStatus status)
{
    TestModel *t = test_model_new(17);
    LedgeModel *m = NULL;
    LedgeError err = {0};
    size_t size;
    test_input(t, "x", type, rank, dims);
    test_node(t, "Identity", "x", "y");
    test_output(t, "y");
    const void *bytes = test_bytes(t, &size);
    const LedgeModelOptions o = {.pixels = ask};
    assert_int_equal(ledge_model_load_memory(bytes, size, &o, &err, &m), status);
    assert_string_equal(err.where, "x");
    assert_true(err.message[0] != '\0');
    test_model_free(t);
}

static void what_takes_no_pixels_is_refused(void **state)
{
    static const int64_t picture[4] = {1, 3, 4, 4}, many[4] = {1, 8, 4, 4}, open[4] = {1, -1, 4, 4};
    (void)state;
    refused(LEDGE_FLOAT, 3, picture, as_they_are, LEDGE_ERROR_TYPE);
    refused(LEDGE_INT32, 4, picture, as_they_are, LEDGE_ERROR_TYPE);
    refused(LEDGE_FLOAT, 4, many, as_they_are, LEDGE_ERROR_SHAPE);
    refused(LEDGE_FLOAT, 4, open, as_they_are, LEDGE_ERROR_SHAPE);
    refused(LEDGE_FLOAT, 4, picture, bad_std, LEDGE_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_give_the_answers_of_floats),
        cmocka_unit_test(compiled_models_take_pixels),
        cmocka_unit_test(what_takes_no_pixels_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
