/* One operator as a model: made, loaded, run, compared. */
#include "nn_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

void nn_input(NnModel *m, LedgeType type, int rank, const int64_t *dims, const void *data)
{
    char name[8];
    LedgeTensor *t = &m->in[m->n_in];
    snprintf(name, sizeof name, "x%zu", m->n_in++);
    test_input(m->t, name, type, rank, dims);
    *t = (LedgeTensor){.type = type, .rank = rank, .data = (void *)(uintptr_t)data};
    for (int d = 0; d < rank; d++)
        t->dims[d] = dims[d];
    t->bytes = ledge_tensor_bytes(t);
}

LedgeStatus nn_run(NnModel *m, size_t n_out)
{
    LedgeSessionOptions o = {.threads = m->threads ? m->threads : 1};
    for (size_t i = 0; i < n_out; i++) {
        char name[32];
        snprintf(name, sizeof name, "y%zu", i);
        test_output(m->t, name);
        m->out[i] = (LedgeTensor){0};
    }
    m->n_out = n_out;
    m->model = test_load(m->t, m->optimize, &m->err);
    if (!m->model)
        return m->err.status;
    LedgeStatus s = ledge_session_create(m->model, &o, &m->err, &m->session);
    if (s == LEDGE_OK)
        s = ledge_session_run(m->session, m->in, m->n_in, m->out, n_out, &m->err);
    return s;
}

void nn_free(NnModel *m)
{
    ledge_session_free(m->session);
    ledge_model_free(m->model);
    test_model_free(m->t);
    *m = (NnModel){0};
}

void nn_expect_refusal(NnModel *m, LedgeStatus status, const char *text)
{
    LedgeStatus got = nn_run(m, 1);
    if (got != status || !strstr(m->err.message, text))
        print_error("status %d, message: %s\n", (int)got, m->err.message);
    assert_int_equal(got, status);
    assert_non_null(strstr(m->err.message, text));
    nn_free(m);
}

void nn_expect(const NnModel *m, size_t i, int rank, const int64_t *dims, const float *values)
{
    const LedgeTensor *t = &m->out[i];
    assert_int_equal(t->type, LEDGE_FLOAT);
    assert_int_equal(t->rank, rank);
    for (int d = 0; d < rank; d++)
        assert_int_equal(t->dims[d], dims[d]);
    for (int64_t e = 0; e < ledge_tensor_count(t); e++) {
        float got = ((const float *)t->data)[e];
        if (isnan(values[e]))
            assert_true(isnan(got));
        else
            assert_float_equal(got, values[e], 1e-5f * (1 + fabsf(values[e])));
    }
}
