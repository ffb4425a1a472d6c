/* The internal operators over 8-bit numbers give, byte for byte, what their formulas say:
 * Quantize, Dequantize, QMap, QAdd, QMul, the pools; and what does not fit is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "one_op.h"

static OneOp byte_op(const char *op_type, int n_in, const LedgeTensor *in)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 19},
                                  {.domain = {"ledge", 5}, .version = 1}};
    OneOp o = one_op(19, op_type, n_in, in, 1);
    OnnxModel *m = test_onnx(o.t);
    m->opsets = opsets;
    m->n_opsets = 2;
    o.n->domain = (LedgeStr){"ledge", 5};
    return o;
}

static void fill(uint8_t *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (uint8_t)(seed >> 24);
    }
}

/* The definition: whole numbers about zero, halves to even, then the bounds. */
static uint8_t to_byte(float v, int zero, int lo, int hi)
{
    const double t = rint((double)v) + zero;
    return (uint8_t)(t < lo ? lo : t > hi ? hi : t);
}

static LedgeTensor bytes(int rank, const int64_t *dims, const uint8_t *data)
{
    return shaped(LEDGE_UINT8, rank, dims, data);
}

static void expect(OneOp *o, const uint8_t *want, size_t n)
{
    assert_int_equal(one_op_run(o), LEDGE_OK);
    assert_int_equal(ledge_tensor_count(&o->out[0]), n);
    assert_memory_equal(o->out[0].data, want, n);
    one_op_end(o);
}

/* ---- in and out ---- */

static void quantize_rounds_halves_to_even_and_saturates(void **state)
{
    static const float x[12] = {0.0f,  0.25f, 0.75f,    1.25f,     -0.25f, -0.75f,
                                63.5f, 64.0f, INFINITY, -INFINITY, NAN,    1e30f};
    static const uint8_t want[12] = {100, 100, 102, 102, 100, 98, 227, 228, 255, 0, 100, 255};
    (void)state;
    const LedgeTensor in = shaped(LEDGE_FLOAT, 1, (int64_t[]){12}, x);
    OneOp o = byte_op("Quantize", 1, &in);
    test_attr_float(o.t, o.n, "scale", 0.5f);
    test_attr_int(o.t, o.n, "zero", 100);
    expect(&o, want, 12);
}

/* 3.5 * 0.1f lies a little off 0.35; times the reciprocal would round the other way. */
static void quantize_divides(void **state)
{
    enum { K = 2000 };
    static float x[K];
    static uint8_t want[K];
    (void)state;
    for (int i = 0; i < K; i++) {
        x[i] = (float)(i % 200 - 60) * 0.5f * 0.1f;
        want[i] = to_byte(x[i] / 0.1f, 9, 0, 255);
    }
    const LedgeTensor in = shaped(LEDGE_FLOAT, 1, (int64_t[]){K}, x);
    OneOp o = byte_op("Quantize", 1, &in);
    test_attr_float(o.t, o.n, "scale", 0.1f);
    test_attr_int(o.t, o.n, "zero", 9);
    expect(&o, want, K);
}

static void layouts_change_on_the_way(void **state)
{
    enum { B = 2, C = 131, H = 3, W = 67, N = B * C * H * W };
    static float x[N];
    static uint8_t q[N];
    (void)state;
    test_fill(x, N, 3);
    for (int c = 1; c <= C; c = c < 6 ? c + 1 : c + 125) {
        const int64_t nchw[4] = {B, c, H, W}, nhwc[4] = {B, H, W, c};
        const int n = B * c * H * W;
        const LedgeTensor in = shaped(LEDGE_FLOAT, 4, nchw, x);
        for (int i = 0; i < n; i++) {
            const int p = i % (H * W), k = i / (H * W) % c, b = i / (H * W * c);
            q[(b * H * W + p) * c + k] = to_byte(x[i] / 0.02f, 30, 0, 255);
        }
        OneOp o = byte_op("Quantize", 1, &in);
        test_attr_float(o.t, o.n, "scale", 0.02f);
        test_attr_int(o.t, o.n, "zero", 30);
        test_attr_string(o.t, o.n, "layout", "nhwc");
        expect(&o, q, (size_t)n);
        const LedgeTensor back = bytes(4, nhwc, q);
        o = byte_op("Dequantize", 1, &back);
        test_attr_float(o.t, o.n, "scale", 0.02f);
        test_attr_int(o.t, o.n, "zero", 30);
        test_attr_string(o.t, o.n, "layout", "nchw");
        assert_int_equal(one_op_run(&o), LEDGE_OK);
        assert_int_equal(o.out[0].dims[1], c);
        for (int i = 0; i < n; i++) {
            const int p = i % (H * W), k = i / (H * W) % c, b = i / (H * W * c);
            assert_true(((float *)o.out[0].data)[i] ==
                        (float)(q[(b * H * W + p) * c + k] - 30) * 0.02f);
        }
        one_op_end(&o);
    }
}

static void dequantize_scales_every_byte(void **state)
{
    uint8_t x[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        x[i] = (uint8_t)i;
    const LedgeTensor in = bytes(1, (int64_t[]){256}, x);
    OneOp o = byte_op("Dequantize", 1, &in);
    test_attr_float(o.t, o.n, "scale", 0.3f);
    test_attr_int(o.t, o.n, "zero", 200);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int i = 0; i < 256; i++)
        assert_true(((float *)o.out[0].data)[i] == (float)(i - 200) * 0.3f);
    one_op_end(&o);
}

static void map_looks_up_and_names_its_type(void **state)
{
    enum { K = 1000 };
    static uint8_t x[K], table[256], want[K];
    (void)state;
    fill(x, K, 1);
    fill(table, 256, 2);
    for (int i = 0; i < K; i++)
        want[i] = table[x[i]];
    LedgeTensor in[2] = {shaped(LEDGE_INT8, 1, (int64_t[]){K}, x), bytes(1, (int64_t[]){256}, table)};
    OneOp o = byte_op("QMap", 2, in);
    test_attr_int(o.t, o.n, "to", LEDGE_UINT8);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    assert_int_equal(o.out[0].type, LEDGE_UINT8);
    assert_memory_equal(o.out[0].data, want, K);
    one_op_end(&o);
    in[1] = bytes(1, (int64_t[]){255}, table);
    o = byte_op("QMap", 2, in);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    in[0] = shaped(LEDGE_INT16, 1, (int64_t[]){10}, x);
    o = byte_op("QMap", 2, in);
    one_op_refused(&o, LEDGE_ERROR_TYPE);
}

/* ---- pairs ---- */

typedef struct Shape {
    int rank;
    int64_t dims[4];
} Shape;

static size_t count(const Shape *s)
{
    size_t n = 1;
    for (int d = 0; d < s->rank; d++)
        n *= (size_t)s->dims[d];
    return n;
}

/* Where element i of y (of shape ys) is read in an operand of shape s. */
static size_t source(const Shape *s, const Shape *ys, size_t i)
{
    size_t at = 0, stride = 1;
    for (int d = ys->rank - 1; d >= 0; d--) {
        const int own = d - (ys->rank - s->rank);
        const size_t k = i % (size_t)ys->dims[d];
        i /= (size_t)ys->dims[d];
        if (own >= 0) {
            at += s->dims[own] == 1 ? 0 : k * stride;
            stride *= (size_t)s->dims[own];
        }
    }
    return at;
}

static void set_pair(OneOp *o, bool add)
{
    test_attr_int(o->t, o->n, "a_zero", 120);
    test_attr_int(o->t, o->n, "b_zero", 7);
    if (add) {
        test_attr_float(o->t, o->n, "a_scale", 0.75f);
        test_attr_float(o->t, o->n, "b_scale", 0.31f);
    } else {
        test_attr_float(o->t, o->n, "scale", 0.0125f);
    }
    test_attr_int(o->t, o->n, "y_zero", 55);
    test_attr_int(o->t, o->n, "lo", 20);
    test_attr_int(o->t, o->n, "hi", 230);
}

static void check_pair(bool add, Shape a, Shape b, Shape y)
{
    static uint8_t xa[40000], xb[40000], want[40000];
    const LedgeTensor in[2] = {bytes(a.rank, a.dims, xa), bytes(b.rank, b.dims, xb)};
    fill(xa, count(&a), 3);
    fill(xb, count(&b), 4);
    for (size_t i = 0; i < count(&y); i++) {
        const int p = xa[source(&a, &y, i)] - 120, q = xb[source(&b, &y, i)] - 7;
        const float s = (float)p * 0.75f, t = (float)q * 0.31f;
        want[i] = to_byte(add ? s + t : (float)(p * q) * 0.0125f, 55, 20, 230);
    }
    OneOp o = byte_op(add ? "QAdd" : "QMul", 2, in);
    set_pair(&o, add);
    expect(&o, want, count(&y));
}

static void pairs_follow_their_formula_in_every_broadcast(void **state)
{
    static const struct {
        Shape a, b, y;
    } cases[] = {
        {{2, {5, 33}}, {2, {5, 33}}, {2, {5, 33}}},
        {{1, {20001}}, {1, {20001}}, {1, {20001}}},
        {{1, {1}}, {1, {17000}}, {1, {17000}}},
        {{4, {2, 5, 6, 70}}, {1, {70}}, {4, {2, 5, 6, 70}}},
        {{4, {2, 1, 1, 70}}, {4, {2, 5, 6, 70}}, {4, {2, 5, 6, 70}}},
        {{4, {2, 5, 6, 70}}, {4, {2, 5, 6, 1}}, {4, {2, 5, 6, 70}}},
        {{4, {2, 50, 30, 3}}, {4, {2, 1, 1, 3}}, {4, {2, 50, 30, 3}}},
        {{1, {24}}, {4, {2, 5, 67, 24}}, {4, {2, 5, 67, 24}}},
        {{3, {4, 1, 9}}, {3, {1, 7, 1}}, {3, {4, 7, 9}}},
        {{3, {4, 1, 1}}, {3, {4, 7, 9}}, {3, {4, 7, 9}}},
        {{2, {3, 1}}, {2, {3, 1}}, {2, {3, 1}}},
        {{0, {0}}, {0, {0}}, {0, {0}}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int add = 0; add < 2; add++)
            check_pair(add, cases[i].a, cases[i].b, cases[i].y);
}

static void pairs_refuse_what_does_not_fit(void **state)
{
    static uint8_t x[24];
    (void)state;
    LedgeTensor in[2] = {bytes(2, (int64_t[]){4, 6}, x), bytes(2, (int64_t[]){4, 5}, x)};
    OneOp o = byte_op("QAdd", 2, in);
    set_pair(&o, true);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    in[1] = shaped(LEDGE_INT8, 2, (int64_t[]){4, 6}, x);
    o = byte_op("QAdd", 2, in);
    set_pair(&o, true);
    one_op_refused(&o, LEDGE_ERROR_TYPE);
    in[1] = in[0];
    o = byte_op("QMul", 2, in);
    one_op_refused(&o, LEDGE_ERROR_FORMAT); /* no scale */
    o = byte_op("QMul", 2, in);
    test_attr_float(o.t, o.n, "scale", -1.0f);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    o = byte_op("QMul", 2, in);
    test_attr_float(o.t, o.n, "scale", 1.0f);
    test_attr_int(o.t, o.n, "y_zero", 256);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
    o = byte_op("QMul", 2, in);
    test_attr_float(o.t, o.n, "scale", 1.0f);
    test_attr_int(o.t, o.n, "lo", 9);
    test_attr_int(o.t, o.n, "hi", 8);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
}

/* ---- pools ---- */

enum { N = 2, H = 9, W = 11 };

typedef struct Window {
    int kh, kw, sh, sw, dh, dw, top, left, bottom, right;
    bool count_pad;
} Window;

static void set_window(OneOp *o, const Window *w)
{
    test_attr_ints(o->t, o->n, "kernel_shape", 2, (int64_t[]){w->kh, w->kw});
    test_attr_ints(o->t, o->n, "strides", 2, (int64_t[]){w->sh, w->sw});
    test_attr_ints(o->t, o->n, "dilations", 2, (int64_t[]){w->dh, w->dw});
    test_attr_ints(o->t, o->n, "pads", 4, (int64_t[]){w->top, w->left, w->bottom, w->right});
    if (w->count_pad)
        test_attr_int(o->t, o->n, "count_include_pad", 1);
}

static void set_mean(OneOp *o)
{
    test_attr_float(o->t, o->n, "scale", 1.3f);
    test_attr_int(o->t, o->n, "x_zero", 90);
    test_attr_int(o->t, o->n, "y_zero", 110);
    test_attr_int(o->t, o->n, "lo", 30);
    test_attr_int(o->t, o->n, "hi", 190);
}

static uint8_t mean_of(int sum, int taps, int all)
{
    return to_byte((float)(sum - taps * 90) * (1.3f / (float)all), 110, 30, 190);
}

/* One output byte by walking the whole window. */
static uint8_t pooled(const uint8_t *x, const Window *w, int c, int b, int oy, int ox, int k,
                      bool max)
{
    int sum = 0, taps = 0, top = 0;
    for (int i = 0; i < w->kh; i++)
        for (int j = 0; j < w->kw; j++) {
            const int y = oy * w->sh + i * w->dh - w->top, v = ox * w->sw + j * w->dw - w->left;
            if (y < 0 || v < 0 || y >= H || v >= W)
                continue;
            const int t = x[((b * H + y) * W + v) * c + k];
            sum += t;
            taps++;
            top = t > top ? t : top;
        }
    return max ? (uint8_t)top : mean_of(sum, taps, w->count_pad ? w->kh * w->kw : taps);
}

static void check_pool(const Window *w, int c, bool max)
{
    static uint8_t x[N * H * W * 200], want[N * H * W * 200];
    const int oh = (H + w->top + w->bottom - (w->kh - 1) * w->dh - 1) / w->sh + 1;
    const int ow = (W + w->left + w->right - (w->kw - 1) * w->dw - 1) / w->sw + 1;
    size_t n = 0;
    fill(x, (size_t)(N * H * W * c), (uint32_t)c);
    for (int b = 0; b < N; b++)
        for (int i = 0; i < oh; i++)
            for (int j = 0; j < ow; j++)
                for (int k = 0; k < c; k++)
                    want[n++] = pooled(x, w, c, b, i, j, k, max);
    const LedgeTensor in = bytes(4, (int64_t[]){N, H, W, c}, x);
    OneOp o = byte_op(max ? "MaxPool" : "QAveragePool", 1, &in);
    set_window(&o, w);
    if (!max)
        set_mean(&o);
    expect(&o, want, n);
}

static void pools_follow_their_formula(void **state)
{
    static const Window windows[] = {
        {2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false}, {3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false},
        {3, 2, 1, 2, 2, 3, 2, 1, 1, 0, false}, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1, true},
        {9, 11, 1, 1, 1, 1, 0, 0, 0, 0, true},
    };
    static const int channels[] = {1, 3, 16, 67, 200};
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
        for (size_t k = 0; k < 5; k++) {
            check_pool(&windows[i], channels[k], true);
            check_pool(&windows[i], channels[k], false);
        }
}

static void global_pools_follow_their_formula(void **state)
{
    static uint8_t x[2 * 1200 * 133], want[2 * 133];
    (void)state;
    fill(x, sizeof x, 8);
    memset(x, 255, 1200 * 133 / 2); /* sums that pass 16 bits */
    for (int c = 1; c <= 133; c += 33)
        for (int max = 0; max < 2; max++) {
            for (int i = 0; i < 2 * c; i++) {
                int sum = 0, top = 0;
                for (int p = 0; p < 1200; p++) {
                    const int t = x[(i / c * 1200 + p) * c + i % c];
                    sum += t;
                    top = t > top ? t : top;
                }
                want[i] = max ? (uint8_t)top : mean_of(sum, 1200, 1200);
            }
            const LedgeTensor in = bytes(4, (int64_t[]){2, 30, 40, c}, x);
            OneOp o = byte_op(max ? "GlobalMaxPool" : "QGlobalAveragePool", 1, &in);
            if (!max)
                set_mean(&o);
            expect(&o, want, (size_t)(2 * c));
        }
}

static void averages_of_floats_take_no_bytes(void **state)
{
    static uint8_t x[16];
    (void)state;
    const LedgeTensor in = bytes(4, (int64_t[]){1, 4, 4, 1}, x);
    OneOp o = byte_op("GlobalAveragePool", 1, &in);
    one_op_refused(&o, LEDGE_ERROR_TYPE);
    o = byte_op("QGlobalAveragePool", 1, &in);
    one_op_refused(&o, LEDGE_ERROR_FORMAT); /* no scale */
}

static void resize_to_nearest_moves_bytes(void **state)
{
    static uint8_t x[2 * 3 * 5], want[4 * 6 * 5];
    static const float scales[4] = {1, 2, 2, 1};
    (void)state;
    fill(x, sizeof x, 5);
    for (int i = 0; i < 4 * 6 * 5; i++)
        want[i] = x[(i / 30 / 2 * 3 + i / 5 % 6 / 2) * 5 + i % 5];
    const LedgeTensor in[3] = {bytes(4, (int64_t[]){1, 2, 3, 5}, x), NO_INPUT,
                               shaped(LEDGE_FLOAT, 1, (int64_t[]){4}, scales)};
    OneOp o = byte_op("Resize", 3, in);
    test_attr_string(o.t, o.n, "nearest_mode", "floor");
    test_attr_string(o.t, o.n, "coordinate_transformation_mode", "asymmetric");
    expect(&o, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_rounds_halves_to_even_and_saturates),
        cmocka_unit_test(quantize_divides),
        cmocka_unit_test(layouts_change_on_the_way),
        cmocka_unit_test(dequantize_scales_every_byte),
        cmocka_unit_test(map_looks_up_and_names_its_type),
        cmocka_unit_test(pairs_follow_their_formula_in_every_broadcast),
        cmocka_unit_test(pairs_refuse_what_does_not_fit),
        cmocka_unit_test(pools_follow_their_formula),
        cmocka_unit_test(global_pools_follow_their_formula),
        cmocka_unit_test(averages_of_floats_take_no_bytes),
        cmocka_unit_test(resize_to_nearest_moves_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
