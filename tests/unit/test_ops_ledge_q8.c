/* ledge.QConv and ledge.QGemm follow their definition, with weights that are constants or come
 * at run time alike; they and ledge.QInvertedBottleneck refuse by name what does not fit. The
 * kernels have tests of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "one_op.h"

/* A node of the domain ledge over inputs that are constants where `constant` says so. */
static OneOp ledge_op(const char *op_type, int n_in, const LedgeTensor *in, unsigned constant)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 19},
                                  {.domain = {"ledge", 5}, .version = 1}};
    static const int64_t all_free[LEDGE_MAX_RANK] = {-1, -1, -1, -1, -1, -1, -1, -1};
    OneOp o = {.t = test_model_new(19), .n_out = 1};
    char ins[128] = "";
    for (int i = 0; i < n_in; i++) {
        char name[16] = "_";
        if (in[i].type != LEDGE_TYPE_NONE) {
            snprintf(name, sizeof name, "in%d", i);
            if (constant >> i & 1) {
                test_tensor(o.t, name, in[i].type, in[i].rank, in[i].dims, in[i].data);
            } else {
                test_input(o.t, name, in[i].type, in[i].rank, all_free);
                o.in[o.n_in++] = in[i];
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

static void attrs(OneOp *o, const char *const *names, const int64_t *values, int n)
{
    for (int i = 0; i < n; i++)
        test_attr_int(o->t, o->n, names[i], values[i]);
}
#define ATTRS(o, names, ...) attrs(o, names, (const int64_t[]){__VA_ARGS__}, \
                                   (int)(sizeof(names) / sizeof(names[0])))

static void noise(uint8_t *p, size_t n, uint32_t seed)
{
    for (uint32_t x = seed * 2654435761u + 1; n > 0; n--, p++) {
        x = x * 1664525u + 1013904223u;
        *p = (uint8_t)(x >> 24);
    }
}

static int rne_clamp(float v, int zero, int lo, int hi)
{
    v = rintf(v) + (float)zero;
    return v < (float)lo ? lo : v > (float)hi ? hi : (int)v;
}

/* ---- QConv: 2 × 6 × 5 pixels of C channels, 3 × 3 filters, pad 1, stride 2 by 1 ---- */

enum { N = 2, H = 6, W = 5, C = 5, M = 18, OH = 3, OW = 5, PIXELS = N * OH * OW };

typedef struct Conv {
    uint8_t x[N * H * W * C], r[PIXELS * M];
    int8_t w[M * C * 9];
    int32_t bias[M];
    float scale[M];
} Conv;

static Conv *conv_new(void)
{
    Conv *q = calloc(1, sizeof(*q));
    assert_non_null(q);
    noise(q->x, sizeof(q->x), 1);
    noise(q->r, sizeof(q->r), 2);
    noise((uint8_t *)q->w, sizeof(q->w), 3);
    for (int m = 0; m < M; m++) {
        q->bias[m] = m * 1000 - 7000;
        q->scale[m] = 0.0005f + 0.0001f * (float)m;
    }
    return q;
}

static int32_t conv_sum(const Conv *q, int x_zero, int w_zero, int pixel, int m)
{
    const int n = pixel / (OH * OW), oy = pixel / OW % OH, ox = pixel % OW;
    int32_t sum = q->bias[m];
    for (int i = 0; i < 9; i++) {
        const int y = oy * 2 + i / 3 - 1, x = ox + i % 3 - 1;
        if (y < 0 || y >= H || x < 0 || x >= W)
            continue;
        for (int c = 0; c < C; c++)
            sum += (q->x[((n * H + y) * W + x) * C + c] - x_zero) *
                   (q->w[(m * C + c) * 9 + i] - w_zero);
    }
    return sum;
}

static OneOp conv_op(const Conv *q, const LedgeTensor *r, unsigned constant)
{
    const LedgeTensor in[6] = {
        shaped(LEDGE_UINT8, DIMS(N, H, W, C), q->x), shaped(LEDGE_INT8, DIMS(M, C, 3, 3), q->w),
        shaped(LEDGE_INT32, DIMS(M), q->bias), shaped(LEDGE_FLOAT, DIMS(M), q->scale),
        r ? *r : NO_INPUT, NO_INPUT};
    OneOp o = ledge_op("QConv", 6, in, constant);
    test_attr_ints(o.t, o.n, "strides", 2, (int64_t[]){2, 1});
    test_attr_ints(o.t, o.n, "pads", 4, (int64_t[]){1, 1, 0, 1});
    return o;
}

enum { WEIGHTS = 1 << 1 | 1 << 2 | 1 << 3 }; /* inputs 1 to 3 are constants */

static void qconv_requantises(void **state)
{
    static const char *const names[] = {"x_zero", "w_zero", "y_zero", "y_lo", "y_hi"};
    Conv *q = conv_new();
    (void)state;
    for (int w_zero = 0; w_zero < 8; w_zero += 7)
        for (int way = 0; way < 2; way++) {
            OneOp o = conv_op(q, NULL, way ? WEIGHTS : 0);
            ATTRS(&o, names, 100, w_zero, 30, 20, 240);
            assert_int_equal(one_op_run(&o), LEDGE_OK);
            assert_int_equal(o.out[0].type, LEDGE_UINT8);
            assert_int_equal(ledge_tensor_count(&o.out[0]), PIXELS * M);
            assert_int_equal(o.out[0].dims[3], M);
            for (int i = 0; i < PIXELS * M; i++)
                assert_int_equal(((uint8_t *)o.out[0].data)[i],
                                 rne_clamp((float)conv_sum(q, 100, w_zero, i / M, i % M) *
                                               q->scale[i % M], 30, 20, 240));
            one_op_end(&o);
        }
    free(q);
}

static void qconv_adds_the_residual(void **state)
{
    static const char *const names[] = {"x_zero", "y_zero", "y_hi",  "r_zero",
                                        "z_zero", "z_lo",   "z_hi"};
    Conv *q = conv_new();
    const LedgeTensor r = shaped(LEDGE_UINT8, DIMS(N, OH, OW, M), q->r);
    (void)state;
    OneOp o = conv_op(q, &r, WEIGHTS);
    ATTRS(&o, names, 7, 128, 200, 90, 64, 5, 250);
    test_attr_float(o.t, o.n, "y_scale", 0.7f);
    test_attr_float(o.t, o.n, "r_scale", 0.4f);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int i = 0; i < PIXELS * M; i++) {
        const float y = (float)conv_sum(q, 7, 0, i / M, i % M) * q->scale[i % M];
        const float a = (float)(rne_clamp(y, 128, 0, 200) - 128) * 0.7f;
        const float b = (float)(q->r[i] - 90) * 0.4f;
        assert_int_equal(((uint8_t *)o.out[0].data)[i], rne_clamp(a + b, 64, 5, 250));
    }
    one_op_end(&o);
    free(q);
}

static void qconv_gives_floats(void **state)
{
    Conv *q = conv_new();
    (void)state;
    OneOp o = conv_op(q, NULL, WEIGHTS);
    test_attr_int(o.t, o.n, "to_float", 1);
    test_attr_string(o.t, o.n, "act", "leakyrelu");
    test_attr_float(o.t, o.n, "act_alpha", 0.25f);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    assert_int_equal(o.out[0].type, LEDGE_FLOAT);
    for (int i = 0; i < PIXELS * M; i++) {
        const float y = (float)conv_sum(q, 0, 0, i / M, i % M) * q->scale[i % M];
        assert_true(((float *)o.out[0].data)[i] == (y < 0 ? 0.25f * y : y));
    }
    one_op_end(&o);
    free(q);
}

/* 37 channels of 3 × 3 pixels, one for each weight; w - w_zero takes nine bits. */
static void qconv_depthwise_takes_weight_zero_points(void **state)
{
    enum { DC = 37 };
    static uint8_t x[9 * DC];
    int8_t w[DC];
    const float scale = 0.02f;
    int64_t zeros[DC];
    (void)state;
    noise(x, sizeof(x), 6);
    noise((uint8_t *)w, sizeof(w), 7);
    for (int c = 0; c < DC; c++)
        zeros[c] = c % 3 == 0 ? -128 : c % 3 == 1 ? 127 : c;
    for (int way = 0; way < 2; way++) {
        const LedgeTensor in[6] = {shaped(LEDGE_UINT8, DIMS(1, 3, 3, DC), x),
                                   shaped(LEDGE_INT8, DIMS(DC, 1, 1, 1), w), NO_INPUT,
                                   shaped(LEDGE_FLOAT, DIMS(1), &scale), NO_INPUT, NO_INPUT};
        OneOp o = ledge_op("QConv", 6, in, way ? WEIGHTS : 0);
        test_attr_int(o.t, o.n, "group", DC);
        test_attr_int(o.t, o.n, "x_zero", 90);
        test_attr_int(o.t, o.n, "y_zero", 100);
        test_attr_ints(o.t, o.n, "w_zero", DC, zeros);
        assert_int_equal(one_op_run(&o), LEDGE_OK);
        for (int i = 0; i < 9 * DC; i++) {
            const int sum = (x[i] - 90) * (w[i % DC] - (int)zeros[i % DC]);
            assert_int_equal(((uint8_t *)o.out[0].data)[i],
                             rne_clamp((float)sum * scale, 100, 0, 255));
        }
        one_op_end(&o);
    }
}

static void qconv_refuses_what_does_not_fit(void **state)
{
    Conv *q = conv_new();
    (void)state;
    OneOp o = conv_op(q, NULL, WEIGHTS);
    test_attr_int(o.t, o.n, "x_zero", 256);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    o = conv_op(q, NULL, WEIGHTS);
    test_attr_int(o.t, o.n, "y_lo", 9);
    test_attr_int(o.t, o.n, "y_hi", 8);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    const LedgeTensor r = shaped(LEDGE_UINT8, DIMS(N, OH, OW, M), q->r);
    o = conv_op(q, &r, WEIGHTS); /* without y_scale */
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    const LedgeTensor small = shaped(LEDGE_UINT8, DIMS(N, OH, 1, M), q->r);
    o = conv_op(q, &small, WEIGHTS);
    test_attr_float(o.t, o.n, "y_scale", 1);
    test_attr_float(o.t, o.n, "r_scale", 1);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    for (int way = 0; way < 2; way++) {
        q->scale[3] = way ? INFINITY : 0.0f;
        o = conv_op(q, NULL, way ? WEIGHTS : 0);
        one_op_refused(&o, LEDGE_ERROR_UNSUPPORTED);
    }
    free(q);
}

/* ---- QInvertedBottleneck; the kernel's test has its bytes ---- */

enum { BLOCK_IN = 11, BLOCK_R = 10 };

/* From 3 to 6 channels and back over 5 × 4 pixels. */
static OneOp block_op(LedgeTensor *in, unsigned constant)
{
    static uint8_t x[60], r[60];
    static int8_t w1[18], wd[54], w2[18];
    static const float scale = 0.01f;
    const LedgeTensor all[BLOCK_IN] = {
        shaped(LEDGE_UINT8, DIMS(1, 5, 4, 3), x),    shaped(LEDGE_INT8, DIMS(6, 3, 1, 1), w1),
        NO_INPUT,                                    shaped(LEDGE_FLOAT, DIMS(1), &scale),
        shaped(LEDGE_INT8, DIMS(6, 1, 3, 3), wd),    NO_INPUT,
        shaped(LEDGE_FLOAT, DIMS(1), &scale),        shaped(LEDGE_INT8, DIMS(3, 6, 1, 1), w2),
        NO_INPUT,                                    shaped(LEDGE_FLOAT, DIMS(1), &scale),
        shaped(LEDGE_UINT8, DIMS(1, 5, 4, 3), r)};
    for (int i = 0; i < BLOCK_IN; i++)
        if (in[i].type == LEDGE_TYPE_NONE)
            in[i] = all[i];
    OneOp o = ledge_op("QInvertedBottleneck", BLOCK_IN, in, constant);
    test_attr_ints(o.t, o.n, "pads", 4, (int64_t[]){1, 1, 1, 1});
    test_attr_float(o.t, o.n, "y_scale", 1);
    test_attr_float(o.t, o.n, "r_scale", 1);
    return o;
}

static void qblock_refuses_what_does_not_fit(void **state)
{
    enum { CONSTANTS = (1 << BLOCK_R) - 2 };
    static const char *const beyond[] = {"expand_x_zero", "dw_y_hi", "z_lo"};
    static const int8_t w[3 * 6 * 9];
    (void)state;
    LedgeTensor in[BLOCK_IN] = {{0}};
    OneOp o = block_op(in, CONSTANTS);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    one_op_end(&o);
    for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        o = block_op(in, CONSTANTS);
        test_attr_int(o.t, o.n, beyond[i], 256);
        assert_int_equal(one_op_run(&o), LEDGE_ERROR_FORMAT);
        assert_non_null(strstr(o.err.message, beyond[i]));
        one_op_end(&o);
    }
    for (int way = 0; way < 2; way++) { /* bytes are what the next one reads */
        o = block_op(in, CONSTANTS);
        test_attr_int(o.t, o.n, way ? "dw_to_float" : "expand_to_float", 1);
        one_op_refused(&o, LEDGE_ERROR_FORMAT);
    }
    for (int i = 3; i < BLOCK_R; i += 3) { /* a scale that is made at run time */
        o = block_op(in, CONSTANTS & ~(1u << i));
        one_op_refused(&o, LEDGE_ERROR_UNSUPPORTED);
    }
    static const int64_t wrong[][4] = {{7, 3, 1, 1}, {6, 2, 1, 1}, {3, 6, 3, 3}, {3, 5, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        LedgeTensor bad[BLOCK_IN] = {{0}};
        bad[i < 2 ? 1 : 7] = shaped(LEDGE_INT8, 4, wrong[i], w);
        o = block_op(bad, CONSTANTS);
        one_op_refused(&o, LEDGE_ERROR_SHAPE);
    }
    LedgeTensor small[BLOCK_IN] = {[BLOCK_R] = shaped(LEDGE_UINT8, DIMS(1, 5, 4, 1), w)};
    o = block_op(small, CONSTANTS);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
}

/* ---- QGemm ---- */

enum { BATCH = 3, ROWS = 7, K = 21, COLS = 19 };

typedef struct Gemm {
    uint8_t a[BATCH * ROWS * K], b[BATCH * K * COLS], t[BATCH * K * COLS]; /* t: b turned */
    float scale[1];
    int32_t bias[COLS];
} Gemm;

static Gemm *gemm_new(void)
{
    Gemm *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    noise(g->a, sizeof(g->a), 4);
    noise(g->b, sizeof(g->b), 5);
    for (int i = 0; i < BATCH * K * COLS; i++) {
        const int m = i / (K * COLS), k = i / COLS % K, n = i % COLS;
        g->t[m * K * COLS + n * K + k] = g->b[i];
    }
    g->scale[0] = 0.0031f;
    for (int n = 0; n < COLS; n++)
        g->bias[n] = n * 900 - 5000;
    return g;
}

/* The product of matrix m, with B signed or not. */
static int32_t gemm_sum(const Gemm *g, int m, int row, int n, int a_zero, int b_zero, bool sign,
                        bool bias)
{
    int32_t sum = bias ? g->bias[n] : 0;
    for (int k = 0; k < K; k++) {
        const uint8_t b = g->b[(m * K + k) * COLS + n];
        sum += (g->a[(m * ROWS + row) * K + k] - a_zero) * ((sign ? (int8_t)b : b) - b_zero);
    }
    return sum;
}

static void check_gemm(const Gemm *g, OneOp *o, int batch, int b_zero, bool sign, bool bias)
{
    static const char *const names[] = {"a_zero", "b_zero", "y_zero"};
    ATTRS(o, names, 60, b_zero, 110);
    assert_int_equal(one_op_run(o), LEDGE_OK);
    assert_int_equal(ledge_tensor_count(&o->out[0]), batch * ROWS * COLS);
    for (int i = 0; i < batch * ROWS * COLS; i++) {
        const int32_t sum = gemm_sum(g, i / (ROWS * COLS), i / COLS % ROWS, i % COLS, 60, b_zero,
                                     sign, bias);
        assert_int_equal(((uint8_t *)o->out[0].data)[i],
                         rne_clamp((float)sum * g->scale[0], 110, 0, 255));
    }
    one_op_end(o);
}

static void qgemm_multiplies_by_a_constant(void **state)
{
    Gemm *g = gemm_new();
    (void)state;
    for (int turned = 0; turned < 2; turned++)
        for (int way = 0; way < 2; way++)
            for (int b_zero = 0; b_zero > -10; b_zero -= 9) {
                const LedgeTensor in[4] = {
                    shaped(LEDGE_UINT8, DIMS(1, ROWS, K), g->a),
                    turned ? shaped(LEDGE_INT8, DIMS(COLS, K), g->t)
                           : shaped(LEDGE_INT8, DIMS(K, COLS), g->b),
                    shaped(LEDGE_INT32, DIMS(COLS), g->bias),
                    shaped(LEDGE_FLOAT, DIMS(1), g->scale)};
                OneOp o = ledge_op("QGemm", 4, in, way ? WEIGHTS : 0);
                test_attr_int(o.t, o.n, "trans_b", turned);
                check_gemm(g, &o, 1, b_zero, true, true);
            }
    free(g);
}

static void qgemm_multiplies_matrix_by_matrix(void **state)
{
    Gemm *g = gemm_new();
    (void)state;
    for (int turned = 0; turned < 2; turned++)
        for (int sign = 0; sign < 2; sign++) {
            const LedgeType type = sign ? LEDGE_INT8 : LEDGE_UINT8;
            const LedgeTensor in[4] = {
                shaped(LEDGE_UINT8, DIMS(1, BATCH, ROWS, K), g->a),
                turned ? shaped(type, DIMS(1, BATCH, COLS, K), g->t)
                       : shaped(type, DIMS(1, BATCH, K, COLS), g->b),
                NO_INPUT, shaped(LEDGE_FLOAT, DIMS(1), g->scale)};
            OneOp o = ledge_op("QGemm", 4, in, turned ? 1 << 3 : 0);
            test_attr_int(o.t, o.n, "trans_b", turned);
            check_gemm(g, &o, BATCH, sign ? -3 : 131, sign, false);
        }
    free(g);
}

static void qgemm_gives_floats_with_a_residual(void **state)
{
    Gemm *g = gemm_new();
    float r[ROWS * COLS];
    (void)state;
    for (int i = 0; i < ROWS * COLS; i++)
        r[i] = (float)i * 0.1f - 5;
    const LedgeTensor in[5] = {shaped(LEDGE_UINT8, DIMS(ROWS, K), g->a),
                               shaped(LEDGE_INT8, DIMS(K, COLS), g->b), NO_INPUT,
                               shaped(LEDGE_FLOAT, DIMS(1), g->scale),
                               shaped(LEDGE_FLOAT, DIMS(ROWS, COLS), r)};
    OneOp o = ledge_op("QGemm", 5, in, WEIGHTS);
    test_attr_int(o.t, o.n, "to_float", 1);
    test_attr_string(o.t, o.n, "act", "relu");
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int i = 0; i < ROWS * COLS; i++) {
        const float y = (float)gemm_sum(g, 0, i / COLS, i % COLS, 0, 0, true, false) * g->scale[0];
        assert_true(((float *)o.out[0].data)[i] == (y + r[i] > 0 ? y + r[i] : 0));
    }
    one_op_end(&o);
    free(g);
}

static void qgemm_refuses_what_does_not_fit(void **state)
{
    Gemm *g = gemm_new();
    (void)state;
    LedgeTensor in[4] = {shaped(LEDGE_UINT8, DIMS(ROWS, K), g->a),
                         shaped(LEDGE_INT8, DIMS(K - 1, COLS), g->b), NO_INPUT,
                         shaped(LEDGE_FLOAT, DIMS(1), g->scale)};
    OneOp o = ledge_op("QGemm", 4, in, WEIGHTS);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    in[1] = shaped(LEDGE_FLOAT, DIMS(1, 1), g->scale);
    o = ledge_op("QGemm", 4, in, WEIGHTS);
    one_op_refused(&o, LEDGE_ERROR_TYPE);
    in[0] = shaped(LEDGE_UINT8, DIMS(BATCH, ROWS, K), g->a);
    in[1] = shaped(LEDGE_UINT8, DIMS(BATCH - 1, K, COLS), g->b);
    o = ledge_op("QGemm", 4, in, 0);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    in[1] = shaped(LEDGE_UINT8, DIMS(K, COLS), g->b);
    o = ledge_op("QGemm", 4, in, 0);
    test_attr_int(o.t, o.n, "b_zero", -1);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    const float two[2] = {1, 2};
    in[3] = shaped(LEDGE_FLOAT, DIMS(2), two);
    o = ledge_op("QGemm", 4, in, 0);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qconv_requantises),
        cmocka_unit_test(qconv_adds_the_residual),
        cmocka_unit_test(qconv_gives_floats),
        cmocka_unit_test(qconv_depthwise_takes_weight_zero_points),
        cmocka_unit_test(qconv_refuses_what_does_not_fit),
        cmocka_unit_test(qblock_refuses_what_does_not_fit),
        cmocka_unit_test(qgemm_multiplies_by_a_constant),
        cmocka_unit_test(qgemm_multiplies_matrix_by_matrix),
        cmocka_unit_test(qgemm_gives_floats_with_a_residual),
        cmocka_unit_test(qgemm_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
