/* One operator, run on a few numbers through the whole engine: see op_case.h. */
#include "op_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kernels/ref/convert.h"
#include "model_maker.h"

#define MOST 8

enum { FIXED, FREE, CONSTANT, WAYS };

typedef struct Attr {
    char kind; /* i f I s */
    const char *name, *text;
    int64_t i;
    float f;
    int count;
    const int64_t *ints;
} Attr;

struct OpCase {
    const char *op_type;
    int opset, n_in, n_out, n_attrs, threads;
    bool random, ran;
    LedgeTensor in[MOST]; /* type NONE: omitted */
    Attr attrs[MOST];
    LedgeStatus status;
    LedgeError err;
    /* of the run on the caller's inputs */
    TestModel *model;
    LedgeModel *loaded;
    LedgeSession *session;
    LedgeTensor out[MOST];
};

OpCase *op_case(const char *op_type, int opset)
{
    OpCase *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->op_type = op_type;
    t->opset = opset;
    t->n_out = 1;
    t->threads = 1;
    return t;
}

void op_outputs(OpCase *t, int n)
{
    t->n_out = n;
}

void op_random(OpCase *t)
{
    t->random = true;
}

void op_threads(OpCase *t, int threads)
{
    t->threads = threads;
}

static LedgeTensor *next_input(OpCase *t)
{
    assert_true(t->n_in < MOST);
    return &t->in[t->n_in++];
}

static void shape(LedgeTensor *x, LedgeType type, int rank, const int64_t *dims)
{
    x->type = type;
    x->rank = rank;
    if (rank)
        memcpy(x->dims, dims, (size_t)rank * sizeof *dims);
    x->bytes = ledge_tensor_bytes(x);
    x->data = aligned_alloc(64, (x->bytes / 64 + 1) * 64);
    assert_non_null(x->data);
    memset(x->data, 0, (x->bytes / 64 + 1) * 64);
}

void op_in(OpCase *t, LedgeType type, int rank, const int64_t *dims, const double *values)
{
    LedgeTensor *x = next_input(t);
    shape(x, type, rank, dims);
    ledge__store_f64(type, x->data, 0, (size_t)ledge_tensor_count(x), values);
}

void op_in_raw(OpCase *t, LedgeType type, int rank, const int64_t *dims, const void *data)
{
    LedgeTensor *x = next_input(t);
    shape(x, type, rank, dims);
    if (x->bytes)
        memcpy(x->data, data, x->bytes);
}

void op_omit(OpCase *t)
{
    next_input(t)->type = LEDGE_TYPE_NONE;
}

static void add_attr(OpCase *t, Attr a)
{
    assert_true(t->n_attrs < MOST);
    t->attrs[t->n_attrs++] = a;
}

void op_int(OpCase *t, const char *name, int64_t v)
{
    add_attr(t, (Attr){.kind = 'i', .name = name, .i = v});
}

void op_float(OpCase *t, const char *name, float v)
{
    add_attr(t, (Attr){.kind = 'f', .name = name, .f = v});
}

void op_ints(OpCase *t, const char *name, int count, const int64_t *v)
{
    add_attr(t, (Attr){.kind = 'I', .name = name, .count = count, .ints = v});
}

void op_text(OpCase *t, const char *name, const char *v)
{
    add_attr(t, (Attr){.kind = 's', .name = name, .text = v});
}

/* ---- running ---- */

static TestModel *make_model(const OpCase *t, int way)
{
    static const int64_t free_dims[LEDGE_MAX_RANK] = {-1, -1, -1, -1, -1, -1, -1, -1};
    char names[160] = "", outputs[160] = "";
    TestModel *m = test_model_new(t->opset);
    for (int i = 0; i < t->n_in; i++) {
        char name[16];
        const LedgeTensor *x = &t->in[i];
        snprintf(name, sizeof name, x->type ? "x%d" : "_", i);
        strcat(strcat(names, name), " ");
        if (!x->type)
            continue;
        if (way == CONSTANT)
            test_tensor(m, name, x->type, x->rank, x->dims, x->data);
        else
            test_input(m, name, x->type, x->rank, way == FREE ? free_dims : x->dims);
    }
    for (int i = 0; i < t->n_out; i++)
        snprintf(outputs + strlen(outputs), sizeof outputs - strlen(outputs), "y%d ", i);
    OnnxNode *n = test_node(m, t->op_type, names, outputs);
    for (int i = 0; i < t->n_attrs; i++) {
        const Attr *a = &t->attrs[i];
        if (a->kind == 'i')
            test_attr_int(m, n, a->name, a->i);
        else if (a->kind == 'f')
            test_attr_float(m, n, a->name, a->f);
        else if (a->kind == 'I')
            test_attr_ints(m, n, a->name, a->count, a->ints);
        else
            test_attr_string(m, n, a->name, a->text);
    }
    for (int i = 0; i < t->n_out; i++) {
        char name[16];
        snprintf(name, sizeof name, "y%d", i);
        test_output(m, name);
    }
    return m;
}

static LedgeStatus run_way(const OpCase *t, int way, TestModel **m, LedgeModel **model,
                           LedgeSession **session, LedgeTensor *out, LedgeError *err)
{
    LedgeTensor in[MOST];
    size_t n_in = 0;
    LedgeSessionOptions options = {.threads = t->threads};
    for (int i = 0; i < t->n_in && way != CONSTANT; i++)
        if (t->in[i].type)
            in[n_in++] = t->in[i];
    memset(out, 0, MOST * sizeof *out);
    *m = make_model(t, way);
    *model = test_load(*m, false, err);
    *session = NULL;
    if (!*model)
        return err->status;
    LedgeStatus s = ledge_session_create(*model, &options, err, session);
    return s == LEDGE_OK ? ledge_session_run(*session, in, n_in, out, (size_t)t->n_out, err) : s;
}

static void let_go(TestModel *m, LedgeModel *model, LedgeSession *session)
{
    ledge_session_free(session);
    ledge_model_free(model);
    test_model_free(m);
}

static void same_answer(const LedgeTensor *a, const LedgeTensor *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->rank, b->rank);
    for (int d = 0; d < a->rank; d++)
        assert_int_equal(a->dims[d], b->dims[d]);
    if (a->type == LEDGE_STRING)
        return; /* pointers differ */
    if (ledge_tensor_bytes(a))
        assert_memory_equal(a->data, b->data, ledge_tensor_bytes(a));
}

/* The maker of test models writes no string constants. */
static bool has_strings(const OpCase *t)
{
    for (int i = 0; i < t->n_in; i++)
        if (t->in[i].type == LEDGE_STRING)
            return true;
    return false;
}

static void run(OpCase *t)
{
    if (t->ran)
        return;
    t->ran = true;
    t->status = run_way(t, FIXED, &t->model, &t->loaded, &t->session, t->out, &t->err);
    for (int way = FREE; way < (has_strings(t) ? CONSTANT : WAYS); way++) {
        TestModel *m;
        LedgeModel *model;
        LedgeSession *session;
        LedgeTensor out[MOST];
        LedgeError err = {0};
        LedgeStatus s = run_way(t, way, &m, &model, &session, out, &err);
        if (s != t->status)
            print_error("another way (%d) gave: %s / %s\n", way, err.message, t->err.message);
        assert_int_equal(s, t->status);
        for (int i = 0; s == LEDGE_OK && !t->random && i < t->n_out; i++)
            same_answer(&t->out[i], &out[i]);
        let_go(m, model, session);
    }
}

/* ---- expecting ---- */

const LedgeTensor *op_output(OpCase *t, int i)
{
    run(t);
    if (t->status != LEDGE_OK)
        print_error("%s: %s\n", t->op_type, t->err.message);
    assert_int_equal(t->status, LEDGE_OK);
    return &t->out[i];
}

static const LedgeTensor *shaped(OpCase *t, int i, LedgeType type, int rank, const int64_t *dims)
{
    const LedgeTensor *y = op_output(t, i);
    assert_string_equal(ledge_type_name(y->type), ledge_type_name(type));
    assert_int_equal(y->rank, rank);
    for (int d = 0; d < rank; d++)
        assert_int_equal(y->dims[d], dims[d]);
    return y;
}

void op_expect(OpCase *t, int i, LedgeType type, int rank, const int64_t *dims,
               const double *values)
{
    const LedgeTensor *y = shaped(t, i, type, rank, dims);
    int64_t n = ledge_tensor_count(y);
    for (int64_t k = 0; k < n; k++) {
        double got, want = values[k];
        ledge__load_f64(type, y->data, (size_t)k, 1, &got);
        bool same = got == want || (isnan(got) && isnan(want)) ||
                    (ledge__num_is_float(type) && fabs(got - want) <= 1e-6 * fabs(want));
        if (!same)
            print_error("%s: element %lld is %.17g, must be %.17g\n", t->op_type, (long long)k,
                        got, want);
        assert_true(same);
    }
}

void op_expect_raw(OpCase *t, int i, LedgeType type, int rank, const int64_t *dims,
                   const void *data)
{
    const LedgeTensor *y = shaped(t, i, type, rank, dims);
    assert_memory_equal(y->data, data, ledge_tensor_bytes(y));
}

void op_refused(OpCase *t, LedgeStatus status)
{
    run(t);
    assert_string_equal(ledge_status_text(t->status), ledge_status_text(status));
    assert_non_null(strstr(t->err.message, t->op_type));
    op_done(t);
}

void op_done(OpCase *t)
{
    run(t);
    let_go(t->model, t->loaded, t->session);
    for (int i = 0; i < t->n_in; i++)
        free(t->in[i].data);
    free(t);
}
