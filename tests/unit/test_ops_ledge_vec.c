/* The internal operators over the vector kernels: pooling and resizing with channels last give
 * what ONNX's own give with channels first; SkipLayerNorm, Affine and Attention follow their
 * definitions; what does not fit is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "one_op.h"

static OneOp ledge_op(const char *op_type, int n_in, const LedgeTensor *in, int n_out)
{
    static OnnxOpset opsets[2] = {{.domain = {"", 0}, .version = 19},
                                  {.domain = {"ledge", 5}, .version = 1}};
    OneOp o = one_op(19, op_type, n_in, in, n_out);
    OnnxModel *m = test_onnx(o.t);
    m->opsets = opsets;
    m->n_opsets = 2;
    o.n->domain = (LedgeStr){"ledge", 5};
    return o;
}

static LedgeTensor floats(int rank, const int64_t *dims, const float *data)
{
    return shaped(LEDGE_FLOAT, rank, dims, data);
}

/* ---- windows ---- */

enum { N = 2, C = 5, H = 7, W = 9 };

static void to_nhwc(const float *x, float *y, int64_t c, int64_t h, int64_t w)
{
    for (int64_t b = 0; b < N; b++)
        for (int64_t i = 0; i < c * h * w; i++)
            y[(b * h * w + i % (h * w)) * c + i / (h * w)] = x[b * c * h * w + i];
}

typedef void (*SetAttrs)(OneOp *o);

/* The operator of both domains on the same image; `nchw` and `nhwc` are further inputs. */
static void check_same(const char *op_type, SetAttrs set, int more, const LedgeTensor *nchw,
                       const LedgeTensor *nhwc)
{
    static float x[N * C * H * W], t[N * C * H * W], want[N * C * 40 * 40];
    LedgeTensor in[4] = {floats(4, (int64_t[]){N, C, H, W}, x)};
    LedgeTensor in_last[4] = {floats(4, (int64_t[]){N, H, W, C}, t)};
    test_fill(x, N * C * H * W, 11);
    to_nhwc(x, t, C, H, W);
    for (int i = 0; i < more; i++) {
        in[1 + i] = nchw[i];
        in_last[1 + i] = nhwc[i];
    }
    OneOp a = one_op(19, op_type, 1 + more, in, 1);
    OneOp b = ledge_op(op_type, 1 + more, in_last, 1);
    if (set) {
        set(&a);
        set(&b);
    }
    assert_int_equal(one_op_run(&a), LEDGE_OK);
    assert_int_equal(one_op_run(&b), LEDGE_OK);
    const int64_t oh = a.out[0].dims[2], ow = a.out[0].dims[3];
    assert_int_equal(b.out[0].dims[1], oh);
    assert_int_equal(b.out[0].dims[2], ow);
    assert_int_equal(b.out[0].dims[3], C);
    to_nhwc(a.out[0].data, want, C, oh, ow);
    for (int64_t i = 0; i < N * C * oh * ow; i++)
        assert_true(fabsf(((float *)b.out[0].data)[i] - want[i]) < 1e-6f);
    one_op_end(&a);
    one_op_end(&b);
}

static void window_2x2(OneOp *o)
{
    test_attr_ints(o->t, o->n, "kernel_shape", 2, (int64_t[]){2, 2});
    test_attr_ints(o->t, o->n, "strides", 2, (int64_t[]){2, 2});
}

static void window_ceil(OneOp *o)
{
    window_2x2(o);
    test_attr_int(o->t, o->n, "ceil_mode", 1);
}

static void window_pads(OneOp *o)
{
    test_attr_ints(o->t, o->n, "kernel_shape", 2, (int64_t[]){3, 2});
    test_attr_ints(o->t, o->n, "strides", 2, (int64_t[]){1, 2});
    test_attr_ints(o->t, o->n, "pads", 4, (int64_t[]){1, 0, 2, 1});
}

static void window_count_pads(OneOp *o)
{
    window_pads(o);
    test_attr_int(o->t, o->n, "ceil_mode", 1);
    test_attr_int(o->t, o->n, "count_include_pad", 1);
}

static void window_same(OneOp *o)
{
    test_attr_ints(o->t, o->n, "kernel_shape", 2, (int64_t[]){3, 3});
    test_attr_ints(o->t, o->n, "strides", 2, (int64_t[]){2, 2});
    test_attr_string(o->t, o->n, "auto_pad", "SAME_UPPER");
}

static void window_dilated(OneOp *o)
{
    test_attr_ints(o->t, o->n, "kernel_shape", 2, (int64_t[]){3, 3});
    test_attr_ints(o->t, o->n, "dilations", 2, (int64_t[]){2, 3});
}

static void pooling_with_channels_last_gives_the_same(void **state)
{
    static const SetAttrs windows[] = {window_2x2,        window_ceil, window_pads,
                                       window_count_pads, window_same, window_dilated};
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        if (windows[i] != window_count_pads)
            check_same("MaxPool", windows[i], 0, NULL, NULL);
        check_same("AveragePool", windows[i], 0, NULL, NULL);
    }
    check_same("GlobalMaxPool", NULL, 0, NULL, NULL);
    check_same("GlobalAveragePool", NULL, 0, NULL, NULL);
}

static void linear(OneOp *o)
{
    test_attr_string(o->t, o->n, "mode", "linear");
}

static void corners(OneOp *o)
{
    linear(o);
    test_attr_string(o->t, o->n, "coordinate_transformation_mode", "align_corners");
}

static void cubic(OneOp *o)
{
    test_attr_string(o->t, o->n, "mode", "cubic");
}

static void floored(OneOp *o)
{
    test_attr_string(o->t, o->n, "nearest_mode", "floor");
}

static void resizing_with_channels_last_gives_the_same(void **state)
{
    static const SetAttrs modes[] = {linear, corners, cubic, floored, NULL};
    static const float first[2][4] = {{1, 1, 2.5f, 3}, {1, 1, 0.6f, 0.5f}};
    static const float last[2][4] = {{1, 2.5f, 3, 1}, {1, 0.6f, 0.5f, 1}};
    const LedgeTensor none = {.type = LEDGE_TYPE_NONE};
    (void)state;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            const LedgeTensor nchw[2] = {none, floats(1, (int64_t[]){4}, first[k])};
            const LedgeTensor nhwc[2] = {none, floats(1, (int64_t[]){4}, last[k])};
            check_same("Resize", modes[i], 2, nchw, nhwc);
        }
}

static void max_pool_gives_no_indices(void **state)
{
    static float x[16];
    (void)state;
    const LedgeTensor in = floats(4, (int64_t[]){1, 4, 4, 1}, x);
    OneOp o = ledge_op("MaxPool", 1, &in, 2);
    window_2x2(&o);
    one_op_refused(&o, LEDGE_ERROR_UNSUPPORTED);
}

static void pooling_needs_four_dimensions(void **state)
{
    static float x[16];
    (void)state;
    const LedgeTensor in = floats(3, (int64_t[]){1, 4, 4}, x);
    OneOp o = ledge_op("AveragePool", 1, &in, 1);
    window_2x2(&o);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
}

/* ---- rows ---- */

static void skip_layer_norm_gives_result_and_sum(void **state)
{
    enum { ROWS = 6, COLS = 37 };
    static float v[5][ROWS * COLS];
    LedgeTensor in[5];
    (void)state;
    for (int i = 0; i < 5; i++) {
        test_fill(v[i], ROWS * COLS, (uint32_t)i + 3);
        in[i] =
            i < 2 ? floats(3, (int64_t[]){2, 3, COLS}, v[i]) : floats(1, (int64_t[]){COLS}, v[i]);
    }
    OneOp o = ledge_op("SkipLayerNorm", 5, in, 2);
    test_attr_float(o.t, o.n, "epsilon", 0.01f);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int r = 0; r < ROWS; r++) {
        double t[COLS], mean = 0, var = 0;
        for (int i = 0; i < COLS; i++)
            mean += t[i] =
                (double)v[0][r * COLS + i] + (double)v[1][r * COLS + i] + (double)v[4][i];
        mean /= COLS;
        for (int i = 0; i < COLS; i++)
            var += (t[i] - mean) * (t[i] - mean) / COLS;
        for (int i = 0; i < COLS; i++) {
            const double want =
                (t[i] - mean) / sqrt(var + 0.01f) * (double)v[2][i] + (double)v[3][i];
            assert_true(fabs((double)((float *)o.out[0].data)[r * COLS + i] - want) < 1e-5);
            assert_true(fabs((double)((float *)o.out[1].data)[r * COLS + i] - t[i]) < 1e-6);
        }
    }
    one_op_end(&o);
}

static void skip_layer_norm_refuses_what_does_not_fit(void **state)
{
    static float v[24];
    (void)state;
    LedgeTensor in[4] = {floats(2, (int64_t[]){4, 6}, v), floats(2, (int64_t[]){4, 6}, v),
                         floats(1, (int64_t[]){5}, v), floats(1, (int64_t[]){6}, v)};
    OneOp o = ledge_op("SkipLayerNorm", 4, in, 1);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    in[1] = floats(2, (int64_t[]){2, 6}, v);
    in[2] = floats(1, (int64_t[]){6}, v);
    o = ledge_op("SkipLayerNorm", 4, in, 1);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
}

static void affine_applies_its_activation(void **state)
{
    static const float x[6] = {-2, -1, 0, 1, 2, 3}, a[3] = {1, 2, -1}, b[3] = {0.5f, 0, 1};
    static const float want[6] = {-1.5f, -2, 1, 1.5f, 4, -2};
    static const char *const acts[] = {"none", "relu", "clip", "leakyrelu"};
    (void)state;
    const LedgeTensor in[3] = {floats(2, (int64_t[]){2, 3}, x), floats(1, (int64_t[]){3}, a),
                               floats(1, (int64_t[]){3}, b)};
    for (int k = 0; k < 4; k++) {
        OneOp o = ledge_op("Affine", 3, in, 1);
        test_attr_string(o.t, o.n, "act", acts[k]);
        test_attr_float(o.t, o.n, "act_max", 1.25f);
        test_attr_float(o.t, o.n, "act_alpha", 0.5f);
        assert_int_equal(one_op_run(&o), LEDGE_OK);
        for (int i = 0; i < 6; i++) {
            const float w = want[i];
            const float y = k == 0   ? w
                            : k == 1 ? fmaxf(w, 0)
                            : k == 2 ? fminf(w, 1.25f)
                                     : (w < 0 ? 0.5f * w : w);
            assert_true(fabsf(((float *)o.out[0].data)[i] - y) < 1e-6f);
        }
        one_op_end(&o);
    }
}

/* ---- attention ---- */

static void attention_follows_its_definition(void **state)
{
    enum { S = 4, HEADS = 2, D = 3, ROW = HEADS * D };
    static float qkv[S * 3 * ROW], mask[S * S];
    (void)state;
    test_fill(qkv, S * 3 * ROW, 5);
    test_fill(mask, S * S, 6);
    const LedgeTensor in[4] = {floats(3, (int64_t[]){1, S, 3 * ROW}, qkv),
                               {.type = LEDGE_TYPE_NONE},
                               {.type = LEDGE_TYPE_NONE},
                               floats(2, (int64_t[]){S, S}, mask)};
    OneOp o = ledge_op("Attention", 4, in, 1);
    test_attr_int(o.t, o.n, "heads", HEADS);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int i = 0; i < S; i++)
        for (int e = 0; e < ROW; e++) {
            double w[S], sum = 0, want = 0;
            const int h = e / D * D;
            for (int t = 0; t < S; t++) {
                w[t] = 0;
                for (int k = 0; k < D; k++)
                    w[t] +=
                        (double)qkv[i * 3 * ROW + h + k] * (double)qkv[t * 3 * ROW + ROW + h + k];
                w[t] = exp(w[t] / sqrt(D) + (double)mask[i * S + t]);
                sum += w[t];
            }
            for (int t = 0; t < S; t++)
                want += w[t] / sum * (double)qkv[t * 3 * ROW + 2 * ROW + e];
            assert_true(fabs((double)((float *)o.out[0].data)[i * ROW + e] - want) < 1e-6);
        }
    one_op_end(&o);
}

static void attention_refuses_what_does_not_fit(void **state)
{
    static float v[256];
    const LedgeTensor none = {.type = LEDGE_TYPE_NONE};
    (void)state;
    LedgeTensor in[4] = {floats(3, (int64_t[]){1, 4, 13}, v), none, none, none};
    OneOp o = ledge_op("Attention", 1, in, 1);
    test_attr_int(o.t, o.n, "heads", 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE); /* 13 is not 3 × 2 × D */
    in[0] = in[1] = floats(3, (int64_t[]){1, 4, 12}, v);
    in[2] = floats(3, (int64_t[]){1, 5, 12}, v);
    o = ledge_op("Attention", 3, in, 1);
    test_attr_int(o.t, o.n, "heads", 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE); /* V is longer than K */
    in[2] = in[1];
    in[3] = floats(2, (int64_t[]){4, 3}, v);
    o = ledge_op("Attention", 4, in, 1);
    test_attr_int(o.t, o.n, "heads", 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE); /* the mask is narrower than K is long */
    o = ledge_op("Attention", 3, in, 1);
    test_attr_int(o.t, o.n, "heads", 0);
    one_op_refused(&o, LEDGE_ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_with_channels_last_gives_the_same),
        cmocka_unit_test(resizing_with_channels_last_gives_the_same),
        cmocka_unit_test(max_pool_gives_no_indices),
        cmocka_unit_test(pooling_needs_four_dimensions),
        cmocka_unit_test(skip_layer_norm_gives_result_and_sum),
        cmocka_unit_test(skip_layer_norm_refuses_what_does_not_fit),
        cmocka_unit_test(affine_applies_its_activation),
        cmocka_unit_test(attention_follows_its_definition),
        cmocka_unit_test(attention_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
