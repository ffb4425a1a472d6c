/* com.microsoft's QLinear operators against their definitions: signed and unsigned, broadcast,
 * one to three spatial dimensions, channels first and last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "one_op.h"

static OneOp ms_op(const char *op_type, int n_in, const LedgeTensor *in)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 19},
                                  {.domain = {"com.microsoft", 13}, .version = 1}};
    OneOp o = one_op(19, op_type, n_in, in, 1);
    OnnxModel *m = test_onnx(o.t);
    m->opsets = opsets;
    m->n_opsets = 2;
    o.n->domain = (LedgeStr){"com.microsoft", 13};
    return o;
}

static void fill(uint8_t *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (uint8_t)(seed >> 24);
    }
}

static int value(LedgeType t, uint8_t b)
{
    return t == LEDGE_INT8 ? (int8_t)b : b;
}

static uint8_t to_byte(LedgeType t, float v, int zero)
{
    const double q = rint((double)v) + zero;
    const int lo = t == LEDGE_INT8 ? -128 : 0, hi = t == LEDGE_INT8 ? 127 : 255;
    return (uint8_t)(int)(q < lo ? lo : q > hi ? hi : q);
}

#define SCALE(v)   shaped(LEDGE_FLOAT, 0, NULL, (float[]){v})
#define ZERO(t, v) shaped(t, 0, NULL, (uint8_t[]){(uint8_t)(v)})

static void expect(OneOp *o, LedgeType type, const uint8_t *want, size_t n)
{
    assert_int_equal(one_op_run(o), LEDGE_OK);
    assert_int_equal(o->out[0].type, type);
    assert_int_equal(ledge_tensor_count(&o->out[0]), n);
    assert_memory_equal(o->out[0].data, want, n);
    one_op_end(o);
}

static void sums_and_products_take_both_types(void **state)
{
    enum { R = 7, K = 150 };
    static uint8_t a[R * K], b[K], want[R * K];
    static const LedgeType types[2] = {LEDGE_UINT8, LEDGE_INT8};
    (void)state;
    fill(a, sizeof a, 1);
    fill(b, sizeof b, 2);
    for (int k = 0; k < 4; k++) {
        const bool add = k % 2;
        const LedgeType t = types[k / 2];
        const int za = 20, zb = -3 + (t == LEDGE_UINT8 ? 100 : 0), zy = 11;
        const float ya = add ? 0.02f / 0.05f : 0.02f * 0.03f / 0.05f, yb = 0.03f / 0.05f;
        for (int i = 0; i < R * K; i++) {
            const int p = value(t, a[i]) - za, q = value(t, b[i % K]) - zb;
            const float s = (float)p * ya, u = (float)q * yb;
            want[i] = to_byte(t, add ? s + u : (float)(p * q) * ya, zy);
        }
        const LedgeTensor in[8] = {shaped(t, 2, (int64_t[]){R, K}, a), SCALE(0.02f), ZERO(t, za),
                                   shaped(t, 1, (int64_t[]){K}, b),    SCALE(0.03f), ZERO(t, zb),
                                   SCALE(0.05f),                       ZERO(t, zy)};
        OneOp o = ms_op(add ? "QLinearAdd" : "QLinearMul", 8, in);
        expect(&o, t, want, sizeof want);
    }
}

static void scales_that_are_none_are_refused(void **state)
{
    static const float bad[] = {0.0f, -1.0f, INFINITY, NAN};
    static uint8_t a[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        const LedgeTensor x = shaped(LEDGE_UINT8, 1, (int64_t[]){4}, a);
        const LedgeTensor in[8] = {x,           SCALE(0.5f), ZERO(LEDGE_UINT8, 0), x,
                                   SCALE(0.5f), ZERO(LEDGE_UINT8, 0), SCALE(bad[i]),
                                   ZERO(LEDGE_UINT8, 0)};
        OneOp o = ms_op("QLinearAdd", 8, in);
        one_op_refused(&o, LEDGE_ERROR_FORMAT);
    }
}

static void concat_gives_all_one_scale(void **state)
{
    static uint8_t a[2 * 300], b[2 * 40], want[2 * 340];
    (void)state;
    fill(a, sizeof a, 3);
    fill(b, sizeof b, 4);
    for (int i = 0; i < 2 * 340; i++) {
        const int row = i / 340, k = i % 340;
        const float v = k < 300 ? 0.02f * (float)(a[row * 300 + k] - 120)
                                : 0.03f * (float)(b[row * 40 + k - 300] - 90);
        want[i] = to_byte(LEDGE_UINT8, v / 0.04f, 100);
    }
    const LedgeType u = LEDGE_UINT8;
    const LedgeTensor in[8] = {SCALE(0.04f), ZERO(u, 100), shaped(u, 2, (int64_t[]){2, 300}, a),
                               SCALE(0.02f), ZERO(u, 120), shaped(u, 2, (int64_t[]){2, 40}, b),
                               SCALE(0.03f), ZERO(u, 90)};
    OneOp o = ms_op("QLinearConcat", 8, in);
    test_attr_int(o.t, o.n, "axis", 1);
    expect(&o, u, want, sizeof want);
}

static void sigmoid_is_a_table(void **state)
{
    uint8_t x[256], want[256];
    (void)state;
    for (int i = 0; i < 256; i++) {
        x[i] = (uint8_t)i;
        want[i] = to_byte(LEDGE_INT8, 1 / (1 + expf(-0.05f * (float)((int8_t)i - 3))) / 0.004f, -100);
    }
    const LedgeType s = LEDGE_INT8;
    const LedgeTensor in[5] = {shaped(s, 1, (int64_t[]){256}, x), SCALE(0.05f), ZERO(s, 3),
                               SCALE(0.004f), ZERO(s, -100)};
    OneOp o = ms_op("QLinearSigmoid", 5, in);
    expect(&o, s, want, 256);
}

/* ---- pools over [2, 5, D, H, W], of which the last `nd` are used ---- */

enum { N = 2, C = 5, SIDE = 7 };

typedef struct PoolCase {
    LedgeType type;
    int nd;
    bool last, count_pad, global;
} PoolCase;

/* The sum about the zero point of a window of 3, step 2, padded by 1, at `at`. */
static int window_sum(const PoolCase *p, const uint8_t *x, int b, int c, const int *at, int *taps)
{
    int sum = 0, k[3];
    *taps = 0;
    for (k[0] = 0; k[0] < (p->nd > 2 ? 3 : 1); k[0]++)
        for (k[1] = 0; k[1] < (p->nd > 1 ? 3 : 1); k[1]++)
            for (k[2] = 0; k[2] < 3; k[2]++) {
                int where = 0;
                bool inside = true;
                for (int d = 3 - p->nd; d < 3; d++) {
                    const int i = at[d] * 2 - 1 + k[d];
                    inside = inside && i >= 0 && i < SIDE;
                    where = where * SIDE + i;
                }
                const int plane = p->nd == 1 ? SIDE : p->nd == 2 ? SIDE * SIDE : SIDE * SIDE * SIDE;
                if (!inside)
                    continue;
                sum += value(p->type, p->last ? x[(b * plane + where) * C + c]
                                              : x[(b * C + c) * plane + where]) - 9;
                ++*taps;
            }
    return sum;
}

static void check_pool(const PoolCase *p)
{
    static uint8_t x[N * C * SIDE * SIDE * SIDE], want[N * C * 64];
    const int out = 4, per = p->nd == 1 ? 3 : p->nd == 2 ? 9 : 27;
    int points = 1;
    int64_t dims[5] = {N, C}, threes[3] = {3, 3, 3}, twos[3] = {2, 2, 2}, ones[6] = {1, 1, 1, 1, 1, 1};
    fill(x, sizeof x, 5);
    for (int d = 0; d < p->nd; d++) {
        points *= out;
        dims[p->last ? 1 + d : 2 + d] = SIDE;
    }
    if (p->last)
        dims[1 + p->nd] = C;
    for (int i = 0; i < N * C * points; i++) {
        const int b = i / (C * points), rest = i % (C * points);
        const int c = p->last ? rest % C : rest / points, at = p->last ? rest / C : rest % points;
        const int o[3] = {at / out / out, at / out % out, at % out};
        int taps, sum = window_sum(p, x, b, c, o, &taps);
        want[i] = to_byte(p->type, (float)sum * (0.02f / 0.015f / (float)(p->count_pad ? per : taps)),
                          -20 + (p->type == LEDGE_UINT8 ? 100 : 0));
    }
    const int zero = -20 + (p->type == LEDGE_UINT8 ? 100 : 0);
    const LedgeTensor in[5] = {shaped(p->type, 2 + p->nd, dims, x), SCALE(0.02f), ZERO(p->type, 9),
                               SCALE(0.015f), ZERO(p->type, zero)};
    OneOp o = ms_op("QLinearAveragePool", 5, in);
    test_attr_ints(o.t, o.n, "kernel_shape", p->nd, threes);
    test_attr_ints(o.t, o.n, "strides", p->nd, twos);
    test_attr_ints(o.t, o.n, "pads", 2 * p->nd, ones);
    test_attr_int(o.t, o.n, "channels_last", p->last);
    test_attr_int(o.t, o.n, "count_include_pad", p->count_pad);
    expect(&o, p->type, want, (size_t)(N * C * points));
}

static void average_pools_in_every_layout(void **state)
{
    (void)state;
    for (int nd = 1; nd <= 3; nd++)
        for (int k = 0; k < 8; k++)
            check_pool(&(PoolCase){k & 1 ? LEDGE_INT8 : LEDGE_UINT8, nd, k & 2, k & 4, false});
}

static void global_average_in_every_layout(void **state)
{
    enum { PIXELS = 11 * 13 };
    static uint8_t x[N * C * PIXELS], want[N * C];
    (void)state;
    fill(x, sizeof x, 6);
    for (int last = 0; last < 2; last++) {
        for (int i = 0; i < N * C; i++) {
            int sum = 0;
            for (int p = 0; p < PIXELS; p++)
                sum += (int8_t)(last ? x[(i / C * PIXELS + p) * C + i % C] : x[i * PIXELS + p]) - 4;
            want[i] = to_byte(LEDGE_INT8, (float)sum * (0.02f / 0.003f / PIXELS), 5);
        }
        const int64_t first[4] = {N, C, 11, 13}, behind[4] = {N, 11, 13, C};
        const LedgeType s = LEDGE_INT8;
        const LedgeTensor in[5] = {shaped(s, 4, last ? behind : first, x), SCALE(0.02f), ZERO(s, 4),
                                   SCALE(0.003f), ZERO(s, 5)};
        OneOp o = ms_op("QLinearGlobalAveragePool", 5, in);
        test_attr_int(o.t, o.n, "channels_last", last);
        expect(&o, s, want, N * C);
    }
}

static void softmax_is_within_one_step(void **state)
{
    enum { ROWS = 9, COLS = 33 };
    static uint8_t x[ROWS * COLS];
    (void)state;
    fill(x, sizeof x, 7);
    const LedgeType u = LEDGE_UINT8;
    const LedgeTensor in[5] = {shaped(u, 2, (int64_t[]){ROWS, COLS}, x), SCALE(0.03f), ZERO(u, 128),
                               SCALE(1.0f / 256), ZERO(u, 0)};
    OneOp o = ms_op("QLinearSoftmax", 5, in);
    test_attr_int(o.t, o.n, "opset", 13);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int i = 0; i < COLS; i++)
            sum += exp(0.03 * x[r * COLS + i]);
        for (int i = 0; i < COLS; i++) {
            const double want = exp(0.03 * x[r * COLS + i]) / sum * 256;
            assert_true(fabs(((uint8_t *)o.out[0].data)[r * COLS + i] - fmin(want, 255)) < 0.501);
        }
    }
    one_op_end(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_take_both_types),
        cmocka_unit_test(scales_that_are_none_are_refused),
        cmocka_unit_test(concat_gives_all_one_scale),
        cmocka_unit_test(sigmoid_is_a_table),
        cmocka_unit_test(average_pools_in_every_layout),
        cmocka_unit_test(global_average_in_every_layout),
        cmocka_unit_test(softmax_is_within_one_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
