/* See prune_testing.h. */
#include "prune_testing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

void prune_answers_of_bytes(const void *bytes, size_t size, float *out)
{
    static float x[PRUNE_BATCH * 3 * PRUNE_SIDE * PRUNE_SIDE];
    LedgeError err = {0};
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    const LedgeModelOptions mo = {.no_optimize = true};
    const LedgeSessionOptions so = {.threads = 1};
    test_fill(x, sizeof x / sizeof *x, 77);
    const LedgeTensor in = {.type = LEDGE_FLOAT,
                            .rank = 4,
                            .dims = {PRUNE_BATCH, 3, PRUNE_SIDE, PRUNE_SIDE},
                            .data = x,
                            .bytes = sizeof x};
    LedgeTensor y = {.data = out, .bytes = PRUNE_ANSWERS * sizeof *out};
    if (ledge_model_load_memory(bytes, size, &mo, &err, &model) ||
        ledge_session_create(model, &so, &err, &session) ||
        ledge_session_run(session, &in, 1, &y, 1, &err))
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge_tensor_count(&y), PRUNE_ANSWERS);
    ledge_session_free(session);
    ledge_model_free(model);
}

void prune_answers(const OnnxModel *onnx, float *out)
{
    LedgeError err = {0};
    void *bytes;
    size_t size;
    if (ledge__onnx_write_memory(onnx, NULL, &bytes, &size, &err))
        fail_msg("%s: %s", err.where, err.message);
    prune_answers_of_bytes(bytes, size, out);
    ledge__free(NULL, bytes);
}

LedgePruner *prune_open_any(TestModel *t, const LedgePruneOptions *o)
{
    LedgeError err = {0};
    LedgePruner *p = NULL;
    size_t size;
    const void *bytes = test_bytes(t, &size);
    const LedgeStatus status = ledge__pruner_open(NULL, bytes, size, o, &err, &p);
    if (status == LEDGE_ERROR_UNSUPPORTED && strstr(err.message, "no channel"))
        return NULL;
    if (status)
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge__pruner_score(p, NULL, NULL, &err), LEDGE_OK);
    assert_int_equal(ledge__pruner_plan(p, &err), LEDGE_OK);
    return p;
}

LedgePruner *prune_open(TestModel *t, const LedgePruneOptions *o)
{
    LedgePruner *p = prune_open_any(t, o);
    assert_non_null(p);
    return p;
}

LedgePruned *prune_build(const LedgePruner *p)
{
    LedgeError err = {0};
    LedgePruned *m = NULL;
    if (ledge__pruner_build(p, &err, &m))
        fail_msg("%s: %s", err.where, err.message);
    assert_null(ledge__graph_check(m->graph));
    return m;
}

void prune_assert_same(const float *a, const float *b, uint32_t seed)
{
    double largest = 1e-3;
    for (size_t i = 0; i < PRUNE_ANSWERS; i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (size_t i = 0; i < PRUNE_ANSWERS; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 2e-4 * largest))
            fail_msg("model %u: answer %zu is %g, not %g", seed, i, (double)a[i], (double)b[i]);
}
