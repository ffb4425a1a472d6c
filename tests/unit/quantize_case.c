/* See quantize_case.h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "quantize_case.h"

enum { SAMPLES = 12 };

void case_write(Case *c, TestModel *t)
{
    LedgeError err;
    strcpy(c->path, "/tmp/ledge-quantize-XXXXXX");
    const int fd = mkstemp(c->path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ledge__onnx_write_file(test_onnx(t), c->path, false, &err), LEDGE_OK);
    test_model_free(t);
}

LedgeTensor case_sample(const LedgeModel *m, size_t input, uint32_t seed, float *room)
{
    const LedgeTensorInfo *info = ledge_model_input(m, input);
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = info->rank, .data = room};
    for (int32_t d = 0; d < info->rank; d++)
        t.dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
    t.bytes = ledge_tensor_bytes(&t);
    assert_true(t.bytes <= 4096 * sizeof(float));
    test_fill(room, t.bytes / sizeof(float), seed);
    return t;
}

static LedgeStatus observe(Case *c, LedgeError *err)
{
    static float room[2][4096];
    for (uint32_t i = 0; i < SAMPLES; i++) {
        LedgeTensor in[2];
        const LedgeModel *m = ledge__quantizer_model(c->q);
        const size_t n = ledge_model_input_count(m);
        for (size_t k = 0; k < n; k++)
            in[k] = case_sample(m, k, 100 + i + (uint32_t)k * 50, room[k]);
        LEDGE_TRY(ledge__quantizer_observe(c->q, in, n, err, NULL));
    }
    return LEDGE_OK;
}

LedgeStatus case_build(Case *c, const LedgeQuantOptions *o, LedgeError *err)
{
    LEDGE_TRY(ledge__quantizer_open(c->path, o, err, &c->q));
    if (o->mode == LEDGE_QUANT_STATIC) {
        LEDGE_TRY(ledge__quantizer_observe_start(c->q, err));
        LEDGE_TRY(observe(c, err));
        LEDGE_TRY(ledge__quantizer_ranges(c->q, err));
    }
    LEDGE_TRY(ledge__quantizer_correct_bias(c->q, err));
    return ledge__quantizer_build(c->q, c->arena, err, &c->built);
}

void case_quantize(Case *c, TestModel *t, const LedgeQuantOptions *o)
{
    LedgeError err = {0};
    const LedgeSessionOptions one = {.threads = 1};
    char out[80];
    memset(c, 0, sizeof *c);
    case_write(c, t);
    c->arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    LedgeStatus s = case_build(c, o, &err);
    if (s)
        fail_msg("%s: %s", err.where, err.message);
    snprintf(out, sizeof out, "%s.q", c->path);
    assert_int_equal(ledge__onnx_write_file(c->built, out, false, &err), LEDGE_OK);
    if (ledge_model_load(out, NULL, &err, &c->model) ||
        ledge_session_create(c->model, &one, &err, &c->session))
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge_model_load(c->path, NULL, &err, &c->parent), LEDGE_OK);
    assert_int_equal(ledge_session_create(c->parent, &one, &err, &c->parent_session), LEDGE_OK);
    unlink(out);
}

void case_end(Case *c)
{
    unlink(c->path);
    ledge_session_free(c->session);
    ledge_session_free(c->parent_session);
    ledge_model_free(c->model);
    ledge_model_free(c->parent);
    ledge__quantizer_free(c->q);
    ledge__arena_free(c->arena);
}

double case_quality(Case *c)
{
    static float room[2][4096];
    LedgeError err = {0};
    double signal = 0, noise = 0;
    for (uint32_t i = 0; i < 4; i++) {
        LedgeTensor in[2], a[4] = {0}, b[4] = {0};
        const size_t n = ledge_model_input_count(c->parent);
        const size_t n_out = ledge_model_output_count(c->parent);
        for (size_t k = 0; k < n; k++)
            in[k] = case_sample(c->parent, k, 900 + i + (uint32_t)k * 50, room[k]);
        assert_int_equal(ledge_session_run(c->parent_session, in, n, a, n_out, &err), LEDGE_OK);
        if (ledge_session_run(c->session, in, n, b, n_out, &err))
            fail_msg("%s: %s", err.where, err.message);
        for (size_t o = 0; o < n_out; o++) {
            const float *x = a[o].data, *y = b[o].data;
            const int64_t count = ledge_tensor_count(&a[o]);
            assert_int_equal(ledge_tensor_count(&b[o]), count);
            for (int64_t k = 0; k < count; k++) {
                signal += (double)x[k] * (double)x[k];
                noise += (double)(x[k] - y[k]) * (double)(x[k] - y[k]);
            }
        }
    }
    return noise > 0 ? 10 * log10(signal / noise) : 200;
}
