/* ledge.MatMulInteger, ledge.ConvInteger and ledge.MatMulBlocks refuse by name what does not fit,
 * and say why: a model file may hold such nodes too. What they compute is tested with the passes
 * that make them and with the kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "one_op.h"

typedef struct Inputs {
    LedgeTensor in[8];
    int n;
    unsigned constant; /* a bit for each */
} Inputs;

static OneOp ledge_op(const char *op_type, const Inputs *x)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 19},
                                  {.domain = {"ledge", 5}, .version = 1}};
    static const int64_t all_free[LEDGE_MAX_RANK] = {-1, -1, -1, -1, -1, -1, -1, -1};
    OneOp o = {.t = test_model_new(19), .n_out = 1};
    char ins[128] = "";
    for (int i = 0; i < x->n; i++) {
        char name[16] = "_";
        const LedgeTensor *t = &x->in[i];
        if (t->type != LEDGE_TYPE_NONE) {
            snprintf(name, sizeof name, "in%d", i);
            if (x->constant >> i & 1) {
                test_tensor(o.t, name, t->type, t->rank, t->dims, t->data);
            } else {
                test_input(o.t, name, t->type, t->rank, all_free);
                o.in[o.n_in++] = *t;
            }
        }
        strcat(strcat(ins, i ? " " : ""), name);
    }
    test_output(o.t, "out0");
    o.n = test_node(o.t, op_type, ins, "out0");
    OnnxModel *m = test_onnx(o.t);
    m->opsets = opsets;
    m->n_opsets = 2;
    o.n->domain = (LedgeStr){"ledge", 5};
    return o;
}

static uint8_t bytes[4096];
static float floats[1024];

enum { A, B, BIAS, R, A_SCALE, A_ZERO, B_SCALE, B_ZERO };

/* A good MatMulInteger: 3 x 20 by 20 x 6. */
static Inputs product(void)
{
    Inputs x = {.n = 8, .constant = 1u << B | 1u << BIAS | 1u << B_SCALE | 1u << B_ZERO};
    x.in[A] = shaped(LEDGE_UINT8, DIMS(3, 20), bytes);
    x.in[B] = shaped(LEDGE_INT8, DIMS(20, 6), bytes);
    x.in[BIAS] = shaped(LEDGE_FLOAT, DIMS(6), floats);
    x.in[R] = shaped(LEDGE_FLOAT, DIMS(3, 6), floats);
    x.in[A_SCALE] = shaped(LEDGE_FLOAT, 0, NULL, floats);
    x.in[A_ZERO] = shaped(LEDGE_UINT8, 0, NULL, bytes);
    x.in[B_SCALE] = shaped(LEDGE_FLOAT, DIMS(6), floats);
    x.in[B_ZERO] = shaped(LEDGE_INT8, DIMS(1), bytes);
    return x;
}

static void refused(const char *op_type, const Inputs *x, LedgeStatus status)
{
    OneOp o = ledge_op(op_type, x);
    one_op_refused(&o, status);
}

static void product_runs_when_all_fits(void **state)
{
    (void)state;
    Inputs x = product();
    OneOp o = ledge_op("MatMulInteger", &x);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    one_op_end(&o);
}

static void product_refuses_wrong_shapes(void **state)
{
    (void)state;
    Inputs x = product();
    x.in[A] = shaped(LEDGE_UINT8, DIMS(3, 21), bytes);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[B] = shaped(LEDGE_INT8, DIMS(1, 20, 6), bytes);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[BIAS] = shaped(LEDGE_FLOAT, DIMS(5), floats);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[R] = shaped(LEDGE_FLOAT, DIMS(2, 6), floats);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[B_SCALE] = shaped(LEDGE_FLOAT, DIMS(7), floats);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[A_SCALE] = shaped(LEDGE_FLOAT, DIMS(3), floats);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
    x = product();
    x.in[B_ZERO] = shaped(LEDGE_INT8, DIMS(0), bytes);
    refused("MatMulInteger", &x, LEDGE_ERROR_SHAPE);
}

static void product_refuses_wrong_types_and_weights_made_at_run_time(void **state)
{
    (void)state;
    Inputs x = product();
    x.in[A] = shaped(LEDGE_INT8, DIMS(3, 20), bytes);
    refused("MatMulInteger", &x, LEDGE_ERROR_TYPE);
    x = product();
    x.in[B] = shaped(LEDGE_FLOAT, DIMS(20, 6), floats);
    refused("MatMulInteger", &x, LEDGE_ERROR_TYPE);
    x = product();
    x.in[B_ZERO] = shaped(LEDGE_UINT8, DIMS(1), bytes);
    refused("MatMulInteger", &x, LEDGE_ERROR_TYPE);
    x = product();
    x.constant &= ~(1u << B);
    refused("MatMulInteger", &x, LEDGE_ERROR_UNSUPPORTED);
    x = product();
    x.constant &= ~(1u << B_SCALE);
    refused("MatMulInteger", &x, LEDGE_ERROR_UNSUPPORTED);
}

static Inputs convolution(void)
{
    Inputs x = product();
    x.in[A] = shaped(LEDGE_UINT8, DIMS(1, 5, 6, 4), bytes);
    x.in[B] = shaped(LEDGE_INT8, DIMS(6, 4, 3, 3), bytes);
    x.in[R] = shaped(LEDGE_FLOAT, DIMS(1, 3, 4, 6), floats);
    return x;
}

static void convolution_refuses_what_does_not_fit(void **state)
{
    (void)state;
    Inputs x = convolution();
    OneOp o = ledge_op("ConvInteger", &x);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    one_op_end(&o);
    x.in[A] = shaped(LEDGE_UINT8, DIMS(1, 5, 6, 3), bytes);
    refused("ConvInteger", &x, LEDGE_ERROR_SHAPE);
    x = convolution();
    x.in[A] = shaped(LEDGE_UINT8, DIMS(1, 2, 6, 4), bytes);
    refused("ConvInteger", &x, LEDGE_ERROR_SHAPE);
    x = convolution();
    x.in[R] = shaped(LEDGE_FLOAT, DIMS(1, 4, 3, 6), floats);
    refused("ConvInteger", &x, LEDGE_ERROR_SHAPE);
    x = convolution();
    o = ledge_op("ConvInteger", &x);
    test_attr_int(o.t, o.n, "out_channels", 12);
    one_op_refused(&o, LEDGE_ERROR_UNSUPPORTED);
    o = ledge_op("ConvInteger", &x);
    test_attr_int(o.t, o.n, "group", 0);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
}

/* ---- blocks ---- */

enum { SCALES = 4, ZEROS };

typedef struct Attrs {
    int64_t k, n, bits, block;
    const char *form;
} Attrs;

static const Attrs packed_attrs = {40, 6, 4, 16, "packed"};

static Inputs blocks(void)
{
    Inputs x = {.n = 6, .constant = 1u << B | 1u << BIAS | 1u << SCALES | 1u << ZEROS};
    x.in[A] = shaped(LEDGE_FLOAT, DIMS(3, 40), floats);
    x.in[B] = shaped(LEDGE_UINT8, DIMS(6, 3, 8), bytes);
    x.in[BIAS] = shaped(LEDGE_FLOAT, DIMS(6), floats);
    x.in[SCALES] = shaped(LEDGE_FLOAT, DIMS(6, 3), floats);
    x.in[ZEROS] = shaped(LEDGE_UINT8, DIMS(6, 2), bytes);
    return x;
}

static OneOp blocks_op(const Inputs *x, const Attrs *a)
{
    OneOp o = ledge_op("MatMulBlocks", x);
    test_attr_int(o.t, o.n, "K", a->k);
    test_attr_int(o.t, o.n, "N", a->n);
    test_attr_int(o.t, o.n, "bits", a->bits);
    test_attr_int(o.t, o.n, "block_size", a->block);
    test_attr_string(o.t, o.n, "form", a->form);
    return o;
}

static void blocks_refused(const Inputs *x, Attrs a, LedgeStatus status)
{
    OneOp o = blocks_op(x, &a);
    one_op_refused(&o, status);
}

static void blocks_run_when_all_fits(void **state)
{
    (void)state;
    const Inputs x = blocks();
    OneOp o = blocks_op(&x, &packed_attrs);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    one_op_end(&o);
}

static void blocks_refuse_sizes_that_lie(void **state)
{
    (void)state;
    const Inputs x = blocks();
    blocks_refused(&x, (Attrs){41, 6, 4, 16, "packed"}, LEDGE_ERROR_SHAPE);
    blocks_refused(&x, (Attrs){40, 7, 4, 16, "packed"}, LEDGE_ERROR_SHAPE);
    blocks_refused(&x, (Attrs){40, 6, 8, 16, "packed"}, LEDGE_ERROR_SHAPE);
    blocks_refused(&x, (Attrs){40, 6, 4, 32, "packed"}, LEDGE_ERROR_SHAPE);
    blocks_refused(&x, (Attrs){40, 6, 4, 8, "packed"}, LEDGE_ERROR_UNSUPPORTED);
    blocks_refused(&x, (Attrs){40, 6, 4, 0, "packed"}, LEDGE_ERROR_UNSUPPORTED);
    blocks_refused(&x, (Attrs){40, 6, 4, -16, "packed"}, LEDGE_ERROR_UNSUPPORTED);
    blocks_refused(&x, (Attrs){40, 6, 3, 16, "packed"}, LEDGE_ERROR_UNSUPPORTED);
    blocks_refused(&x, (Attrs){40, 6, 4, 16, "diagonal"}, LEDGE_ERROR_FORMAT);
    blocks_refused(&x, (Attrs){0, 6, 4, 16, "packed"}, LEDGE_ERROR_FORMAT);
    blocks_refused(&x, (Attrs){40, -1, 4, 16, "packed"}, LEDGE_ERROR_FORMAT);
    blocks_refused(&x, (Attrs){40, INT64_MAX, 4, 16, "packed"}, LEDGE_ERROR_FORMAT);
    blocks_refused(&x, (Attrs){40, INT32_MAX, 4, INT32_MAX - 15, "packed"}, LEDGE_ERROR_SHAPE);
}

static void blocks_refuse_constants_that_do_not_fit(void **state)
{
    (void)state;
    Inputs x = blocks();
    x.in[SCALES] = shaped(LEDGE_FLOAT, DIMS(6, 2), floats);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_SHAPE);
    x = blocks();
    x.in[SCALES] = shaped(LEDGE_INT32, DIMS(6, 3), floats);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_TYPE);
    x = blocks();
    x.in[ZEROS] = shaped(LEDGE_UINT8, DIMS(6, 3), bytes);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_SHAPE);
    x = blocks();
    x.in[ZEROS] = shaped(LEDGE_INT8, DIMS(6, 2), bytes);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_TYPE);
    x = blocks();
    x.in[BIAS] = shaped(LEDGE_FLOAT, DIMS(7), floats);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_SHAPE);
    x = blocks();
    x.constant &= ~(1u << B);
    blocks_refused(&x, packed_attrs, LEDGE_ERROR_UNSUPPORTED);
    x = blocks();
    x.in[B] = shaped(LEDGE_UINT8, DIMS(40, 6), bytes);
    x.in[ZEROS] = (LedgeTensor){0};
    x.in[SCALES] = shaped(LEDGE_FLOAT, DIMS(3, 6), floats);
    blocks_refused(&x, (Attrs){40, 6, 8, 16, "rows"}, LEDGE_ERROR_UNSUPPORTED);
    x.in[B] = shaped(LEDGE_UINT4, DIMS(40, 6), bytes);
    blocks_refused(&x, (Attrs){40, 6, 8, 16, "rows"}, LEDGE_ERROR_TYPE);
}

/* One block longer than all of K, scales that are 0, infinite or no number. */
static void blocks_take_odd_but_legal_constants(void **state)
{
    (void)state;
    Inputs x = blocks();
    static float scales[6] = {0.0f, INFINITY, NAN, 1.0f, -1.0f, 1e-45f};
    static uint8_t codes[6 * 1024];
    memset(codes, 0x99, sizeof codes);
    x.in[A] = shaped(LEDGE_FLOAT, DIMS(3, 40), floats);
    x.in[B] = shaped(LEDGE_UINT8, DIMS(6, 1, 1024), codes);
    x.in[SCALES] = shaped(LEDGE_FLOAT, DIMS(6, 1), scales);
    x.in[ZEROS] = (LedgeTensor){0};
    x.in[BIAS] = (LedgeTensor){0};
    OneOp o = blocks_op(&x, &(Attrs){40, 6, 4, 2048, "packed"});
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    const float *y = o.out[0].data;
    float sum = 0.0f;
    for (int k = 0; k < 40; k++)
        sum += floats[k];
    assert_true(y[0] == 0.0f && isinf(y[1]) && isnan(y[2]));
    assert_true(fabsf(y[3] - sum) < 1e-4f && fabsf(y[4] + sum) < 1e-4f);
    one_op_end(&o);
}

int main(void)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        floats[i] = (float)(i % 13) * 0.25f + 0.1f;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_runs_when_all_fits),
        cmocka_unit_test(product_refuses_wrong_shapes),
        cmocka_unit_test(product_refuses_wrong_types_and_weights_made_at_run_time),
        cmocka_unit_test(convolution_refuses_what_does_not_fit),
        cmocka_unit_test(blocks_run_when_all_fits),
        cmocka_unit_test(blocks_refuse_sizes_that_lie),
        cmocka_unit_test(blocks_refuse_constants_that_do_not_fit),
        cmocka_unit_test(blocks_take_odd_but_legal_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
