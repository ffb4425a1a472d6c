/* One operator on given inputs, for tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "one_op.h"

LedgeTensor shaped(LedgeType type, int rank, const int64_t *dims, const void *data)
{
    LedgeTensor t = {.type = type, .rank = rank};
    for (int d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    t.bytes = ledge_tensor_bytes(&t);
    memcpy(&t.data, &data, sizeof data);
    return t;
}

OneOp one_op(int opset, const char *op_type, int n_in, const LedgeTensor *in, int n_out)
{
    static const int64_t all_free[LEDGE_MAX_RANK] = {-1, -1, -1, -1, -1, -1, -1, -1};
    OneOp o = {.t = test_model_new(opset), .n_out = (size_t)n_out};
    char ins[128] = "", outs[64] = "";
    for (int i = 0; i < n_in; i++) {
        char name[16] = "_";
        if (in[i].type != LEDGE_TYPE_NONE) {
            snprintf(name, sizeof name, "in%d", i);
            test_input(o.t, name, in[i].type, in[i].rank, all_free);
            o.in[o.n_in++] = in[i];
        }
        strcat(strcat(ins, i ? " " : ""), name);
    }
    for (int i = 0; i < n_out; i++) {
        char name[16];
        snprintf(name, sizeof name, "out%d", i);
        strcat(strcat(outs, i ? " " : ""), name);
        test_output(o.t, name);
    }
    o.n = test_node(o.t, op_type, ins, outs);
    return o;
}

LedgeStatus one_op_run(OneOp *o)
{
    LedgeSessionOptions options = {.threads = 2};
    o->model = test_load(o->t, true, &o->err);
    if (!o->model)
        return o->err.status;
    LedgeStatus status = ledge_session_create(o->model, &options, &o->err, &o->session);
    if (status == LEDGE_OK)
        status = ledge_session_run(o->session, o->in, o->n_in, o->out, o->n_out, &o->err);
    if (status != LEDGE_OK)
        print_message("  (%s: %s)\n", o->err.where, o->err.message);
    return status;
}

void one_op_end(OneOp *o)
{
    ledge_session_free(o->session);
    ledge_model_free(o->model);
    test_model_free(o->t);
}

void one_op_refused(OneOp *o, LedgeStatus status)
{
    assert_int_equal(one_op_run(o), status);
    assert_true(o->err.message[0] != '\0');
    one_op_end(o);
}

void one_op_gives(OneOp *o, const LedgeTensor *want)
{
    assert_int_equal(one_op_run(o), LEDGE_OK);
    const LedgeTensor *got = &o->out[0];
    assert_int_equal(got->type, want->type);
    assert_int_equal(got->rank, want->rank);
    for (int d = 0; d < want->rank; d++)
        assert_int_equal(got->dims[d], want->dims[d]);
    int64_t n = ledge_tensor_count(want);
    if (want->type == LEDGE_STRING) {
        const LedgeString *a = got->data, *b = want->data;
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(a[i].size, b[i].size);
            assert_true(a[i].size == 0 || memcmp(a[i].data, b[i].data, a[i].size) == 0);
        }
    } else if (n) {
        assert_memory_equal(got->data, want->data, ledge_tensor_bytes(want));
    }
    one_op_end(o);
}
