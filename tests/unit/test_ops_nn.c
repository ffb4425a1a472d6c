/* Neural-network operators at their edges: windows, groups, empty tensors, masks, sequences
 * of no steps, rounding, thread counts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "nn_model.h"

static void must_run(NnModel *m, size_t n_out)
{
    LedgeStatus s = nn_run(m, n_out);
    if (s != LEDGE_OK)
        print_error("%s: %s\n", m->err.where, m->err.message);
    assert_int_equal(s, LEDGE_OK);
}

/* ---- windows ---- */

static NnModel pool_1d(const char *op, int64_t n, const float *x, int64_t stride, bool ceil)
{
    NnModel m = {.t = test_model_new(22)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, 1, n), x);
    OnnxNode *node = test_node(m.t, op, "x0", "y0");
    test_attr_ints(m.t, node, "kernel_shape", 1, DIMS(3));
    test_attr_ints(m.t, node, "strides", 1, &stride);
    test_attr_int(m.t, node, "ceil_mode", ceil);
    return m;
}

static void pool_ceil_mode_pads_right(void **state)
{
    (void)state;
    NnModel m = pool_1d("AveragePool", 4, FLOATS(1, 2, 3, 6), 2, true);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(1, 1, 2), FLOATS(2, 4.5f)); /* of two numbers, not three */
    nn_free(&m);
    m = pool_1d("MaxPool", 4, FLOATS(-1, -2, -3, -6), 2, true);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(1, 1, 2), FLOATS(-1, -3)); /* padding is not zero */
    nn_free(&m);
}

static void pool_window_that_begins_in_end_padding_is_dropped(void **state)
{
    (void)state;
    NnModel m = pool_1d("AveragePool", 4, FLOATS(1, 2, 3, 6), 4, true);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(1, 1, 1), FLOATS(2));
    nn_free(&m);
}

static void max_pool_carries_nan(void **state)
{
    (void)state;
    NnModel m = pool_1d("MaxPool", 5, FLOATS(1, NAN, 9, 2, 3), 2, false);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(1, 1, 2), FLOATS(NAN, 9));
    nn_free(&m);
}

static void conv_asymmetric_pads_shift_the_input(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(11)};
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 2, 2), FLOATS(1, 2, 3, 4));
    test_floats(m.t, "w", 4, DIMS(1, 1, 2, 2), FLOATS(1, 10, 100, 1000));
    OnnxNode *n = test_node(m.t, "Conv", "x0 w", "y0");
    test_attr_ints(m.t, n, "pads", 4, DIMS(1, 0, 0, 1));
    must_run(&m, 1);
    nn_expect(&m, 0, 4, DIMS(1, 1, 2, 2), FLOATS(2100, 200, 4321, 402));
    nn_free(&m);
}

static void conv_groups_do_not_mix(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(11)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, 4, 2), FLOATS(1, 2, 3, 4, 5, 6, 7, 8));
    test_floats(m.t, "w", 3, DIMS(2, 2, 1), FLOATS(1, 10, 100, 1000));
    test_floats(m.t, "b", 1, DIMS(2), FLOATS(0.5f, -0.5f));
    test_attr_int(m.t, test_node(m.t, "Conv", "x0 w b", "y0"), "group", 2);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(1, 2, 2), FLOATS(31.5f, 42.5f, 7499.5f, 8599.5f));
    nn_free(&m);
}

/* Packed and plain tiles agree, whatever the number of spatial dimensions. */
static void conv_with_packed_tiles_agrees(void **state)
{
    (void)state;
    float x[2 * 8 * 50], plain[2 * 12 * 24];
    test_fill(x, sizeof x / sizeof *x, 7);
    for (int optimize = 0; optimize < 2; optimize++) {
        NnModel m = {.t = test_model_new(11), .optimize = optimize};
        nn_input(&m, LEDGE_FLOAT, 3, DIMS(2, 8, 50), x);
        test_noise(m.t, "w", 3, DIMS(12, 4, 4), 1);
        test_noise(m.t, "b", 1, DIMS(12), 2);
        OnnxNode *n = test_node(m.t, "Conv", "x0 w b", "y0");
        test_attr_int(m.t, n, "group", 2);
        test_attr_ints(m.t, n, "strides", 1, DIMS(2));
        must_run(&m, 1);
        if (optimize)
            nn_expect(&m, 0, 3, DIMS(2, 12, 24), plain);
        else
            memcpy(plain, m.out[0].data, sizeof plain);
        nn_free(&m);
    }
}

static void conv_of_an_empty_batch_is_empty(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(11)};
    float none;
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(0, 3, 8, 8), &none);
    test_noise(m.t, "w", 4, DIMS(5, 3, 3, 3), 1);
    test_node(m.t, "Conv", "x0 w", "y0");
    must_run(&m, 1);
    nn_expect(&m, 0, 4, DIMS(0, 5, 6, 6), NULL);
    nn_free(&m);
}

static void conv_on_threads(bool optimize)
{
    float *x = malloc(sizeof *x * 2 * 16 * 30 * 30), *first = NULL;
    size_t bytes = 0;
    assert_non_null(x);
    test_fill(x, 2 * 16 * 30 * 30, 3);
    for (int threads = 1; threads <= 3; threads++) {
        NnModel m = {.t = test_model_new(11), .threads = threads, .optimize = optimize};
        nn_input(&m, LEDGE_FLOAT, 5, DIMS(2, 16, 10, 9, 10), x);
        test_noise(m.t, "w", 5, DIMS(150, 16, 3, 3, 3), 1);
        test_node(m.t, "Conv", "x0 w", "y0");
        must_run(&m, 1);
        if (!first) {
            bytes = ledge_tensor_bytes(&m.out[0]);
            first = malloc(bytes);
            assert_non_null(first);
            memcpy(first, m.out[0].data, bytes);
        }
        assert_memory_equal(first, m.out[0].data, bytes);
        nn_free(&m);
    }
    free(first);
    free(x);
}

static void conv_is_the_same_for_every_thread_count(void **state)
{
    (void)state;
    conv_on_threads(false);
    conv_on_threads(true);
}

/* A transposed convolution spreads what the plain one gathers: <conv x, y> = <x, conv' y>. */
static void conv_transpose_is_the_adjoint_of_conv(void **state)
{
    (void)state;
    float x[2 * 4 * 9 * 7], g[2 * 6 * 5 * 3], sum[2] = {0};
    test_fill(x, sizeof x / sizeof *x, 1);
    test_fill(g, sizeof g / sizeof *g, 2);
    for (int back = 0; back < 2; back++) {
        NnModel m = {.t = test_model_new(11)};
        if (back)
            nn_input(&m, LEDGE_FLOAT, 4, DIMS(2, 6, 5, 3), g);
        else
            nn_input(&m, LEDGE_FLOAT, 4, DIMS(2, 4, 9, 7), x);
        test_noise(m.t, "w", 4, DIMS(6, 2, 3, 2), 4);
        OnnxNode *n = test_node(m.t, back ? "ConvTranspose" : "Conv", "x0 w", "y0");
        test_attr_int(m.t, n, "group", 2);
        test_attr_ints(m.t, n, "strides", 2, DIMS(2, 3));
        test_attr_ints(m.t, n, "pads", 4, DIMS(1, 0, 1, 1));
        must_run(&m, 1);
        const float *y = m.out[0].data, *other = back ? x : g;
        assert_int_equal(ledge_tensor_count(&m.out[0]), back ? 2 * 4 * 9 * 7 : 2 * 6 * 5 * 3);
        for (int64_t i = 0; i < ledge_tensor_count(&m.out[0]); i++)
            sum[back] += y[i] * other[i];
        nn_free(&m);
    }
    assert_float_equal(sum[0], sum[1], 1e-3);
}

/* ---- products ---- */

static void product_over_nothing_is_zero(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(13)};
    float none;
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(2, 0), &none);
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(0, 2), &none);
    test_node(m.t, "MatMul", "x0 x1", "y0");
    must_run(&m, 1);
    nn_expect(&m, 0, 2, DIMS(2, 2), FLOATS(0, 0, 0, 0));
    nn_free(&m);
}

/* Large enough for packed kernels; batch dimension 1 of the left side is broadcast. */
static void batched_product_is_the_sum_for_every_thread_count(void **state)
{
    (void)state;
    float a[2 * 5 * 12], b[2 * 4 * 12 * 19], first[2 * 4 * 5 * 19];
    test_fill(a, sizeof a / sizeof *a, 1);
    test_fill(b, sizeof b / sizeof *b, 2);
    for (int threads = 0; threads <= 3; threads++) {
        NnModel m = {.t = test_model_new(13), .threads = threads, .optimize = threads > 0};
        nn_input(&m, LEDGE_FLOAT, 4, DIMS(2, 1, 5, 12), a);
        nn_input(&m, LEDGE_FLOAT, 4, DIMS(2, 4, 12, 19), b);
        test_node(m.t, "MatMul", "x0 x1", "y0");
        must_run(&m, 1);
        for (int e = 0; e < 2 * 4 * 5 * 19 && threads == 0; e++) {
            int col = e % 19, row = e / 19 % 5, batch = e / 19 / 5;
            first[e] = 0;
            for (int k = 0; k < 12; k++)
                first[e] += a[(batch / 4 * 5 + row) * 12 + k] * b[(batch * 12 + k) * 19 + col];
        }
        nn_expect(&m, 0, 4, DIMS(2, 4, 5, 19), first);
        memcpy(first, m.out[0].data, sizeof first);
        nn_free(&m);
    }
}

static void gemm_takes_either_order_of_b(void **state)
{
    (void)state;
    float a[9 * 16], b[16 * 20], bt[20 * 16], plain[9 * 20];
    test_fill(a, sizeof a / sizeof *a, 1);
    test_fill(b, sizeof b / sizeof *b, 2);
    for (int i = 0; i < 16 * 20; i++)
        bt[i % 20 * 16 + i / 20] = b[i];
    for (int round = 0; round < 4; round++) {
        int trans = round & 1;
        NnModel m = {.t = test_model_new(13), .optimize = round > 1};
        nn_input(&m, LEDGE_FLOAT, 2, DIMS(9, 16), a);
        nn_input(&m, LEDGE_FLOAT, 2, DIMS(trans ? 20 : 16, trans ? 16 : 20), trans ? bt : b);
        OnnxNode *n = test_node(m.t, "Gemm", "x0 x1", "y0");
        test_attr_int(m.t, n, "transB", trans);
        test_attr_float(m.t, n, "alpha", 0.5f);
        must_run(&m, 1);
        if (round)
            nn_expect(&m, 0, 2, DIMS(9, 20), plain);
        else
            memcpy(plain, m.out[0].data, sizeof plain);
        assert_true(plain[7] != 0);
        nn_free(&m);
    }
}

static void integer_product_wraps(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(13)};
    int32_t a[2] = {INT32_MAX, INT32_MAX}, b[2] = {2, 1};
    nn_input(&m, LEDGE_INT32, 2, DIMS(1, 2), a);
    nn_input(&m, LEDGE_INT32, 2, DIMS(2, 1), b);
    test_node(m.t, "MatMul", "x0 x1", "y0");
    must_run(&m, 1);
    assert_int_equal(*(int32_t *)m.out[0].data, INT32_MAX - 2);
    nn_free(&m);
}

static void quantized_product_rounds_half_to_even(void **state)
{
    (void)state;
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_UINT8, 2, DIMS(4, 1), BYTES(1, 3, 5, 255));
    test_floats(m.t, "half", 0, NULL, FLOATS(0.5f));
    test_floats(m.t, "one", 0, NULL, FLOATS(1));
    test_tensor(m.t, "zero", LEDGE_UINT8, 0, NULL, BYTES(0));
    test_tensor(m.t, "ten", LEDGE_UINT8, 0, NULL, BYTES(10));
    test_tensor(m.t, "w", LEDGE_UINT8, 2, DIMS(1, 2), BYTES(1, 3));
    test_node(m.t, "QLinearMatMul", "x0 half zero w one zero one ten", "y0");
    must_run(&m, 1);
    const uint8_t want[] = {10, 12, 12, 14, 12, 18, 138, 255};
    assert_memory_equal(m.out[0].data, want, sizeof want);
    nn_free(&m);
}

/* Signed and unsigned, over rows and over planes. */
static void max_pool_of_bytes_takes_both_types(void **state)
{
    (void)state;
    static const LedgeType types[2] = {LEDGE_UINT8, LEDGE_INT8};
    for (int k = 0; k < 4; k++) {
        const int rank = 3 + k / 2, h = rank == 4 ? 5 : 1, w = 6, planes = 2 * 3;
        const LedgeType type = types[k % 2];
        uint8_t x[6 * 5 * 6], want[6 * 2 * 2];
        for (size_t i = 0; i < sizeof x; i++)
            x[i] = (uint8_t)(i * 89 + 7);
        for (int p = 0, n = 0; p < planes; p++)
            for (int i = 0; i < (rank == 4 ? 2 : 1); i++)
                for (int j = 0; j < 2; j++) {
                    int top = k % 2 ? -128 : 0;
                    for (int a = 2 * i; a < (rank == 4 ? 2 * i + 3 : 1); a++)
                        for (int b = 4 * j - 1; b < 4 * j + 2; b++) {
                            const uint8_t v = b < 0 || b >= w ? 0 : x[(p * h + a) * w + b];
                            const int t = k % 2 ? (int8_t)v : v;
                            top = b >= 0 && b < w && t > top ? t : top;
                        }
                    want[n++] = (uint8_t)top;
                }
        NnModel m = {.t = test_model_new(17)};
        nn_input(&m, type, rank, rank == 4 ? DIMS(2, 3, 5, 6) : DIMS(2, 3, 6), x);
        OnnxNode *o = test_node(m.t, "MaxPool", "x0", "y0");
        test_attr_ints(m.t, o, "kernel_shape", rank - 2, DIMS(3, 3));
        test_attr_ints(m.t, o, "strides", rank - 2, rank == 4 ? DIMS(2, 4) : DIMS(4));
        test_attr_ints(m.t, o, "pads", 2 * (rank - 2), rank == 4 ? DIMS(0, 1, 0, 0) : DIMS(1, 0));
        must_run(&m, 1);
        assert_int_equal(ledge_tensor_count(&m.out[0]), planes * (rank == 4 ? 4 : 2));
        assert_memory_equal(m.out[0].data, want, (size_t)ledge_tensor_count(&m.out[0]));
        nn_free(&m);
    }
}

/* ---- softmax and attention ---- */

static void softmax_of_minus_infinity(void **state)
{
    (void)state;
    const float inf = INFINITY;
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(3, 2), FLOATS(-inf, 7, -inf, -inf, 1, 1));
    test_node(m.t, "Softmax", "x0", "y0");
    must_run(&m, 1);
    nn_expect(&m, 0, 2, DIMS(3, 2), FLOATS(0, 1, NAN, NAN, 0.5f, 0.5f));
    nn_free(&m);
}

static void softmax_before_opset_13_flattens(void **state)
{
    (void)state;
    for (int opset = 11; opset <= 13; opset += 2) {
        NnModel m = {.t = test_model_new(opset)};
        nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, 2, 2), FLOATS(0, 0, 0, 0));
        test_attr_int(m.t, test_node(m.t, "Softmax", "x0", "y0"), "axis", 1);
        must_run(&m, 1);
        float v = opset == 11 ? 0.25f : 0.5f;
        nn_expect(&m, 0, 3, DIMS(1, 2, 2), FLOATS(v, v, v, v));
        nn_free(&m);
    }
}

static void attention_row_without_keys_is_zero(void **state)
{
    (void)state;
    const uint8_t mask[4] = {1, 0, 0, 0};
    const float same[] = {1, 2, INFINITY, 4};
    NnModel m = {.t = test_model_new(23)};
    for (int i = 0; i < 3; i++)
        nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 2, 2), same);
    nn_input(&m, LEDGE_BOOL, 2, DIMS(2, 2), mask);
    test_node(m.t, "Attention", "x0 x1 x2 x3", "y0");
    m.in[2].data = FLOATS(5, 6, 7, 8);
    must_run(&m, 1);
    nn_expect(&m, 0, 4, DIMS(1, 1, 2, 2), FLOATS(5, 6, 0, 0));
    nn_free(&m);
}

/* ---- sequences ---- */

static void lstm_sequence_of_no_steps(void **state)
{
    (void)state;
    const int32_t lens[2] = {0, 2};
    float x[2 * 2 * 3];
    NnModel m = {.t = test_model_new(14)};
    test_fill(x, sizeof x / sizeof *x, 5);
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(2, 2, 3), x);
    nn_input(&m, LEDGE_INT32, 1, DIMS(2), lens);
    test_noise(m.t, "w", 3, DIMS(2, 16, 3), 1);
    test_noise(m.t, "r", 3, DIMS(2, 16, 4), 2);
    OnnxNode *n = test_node(m.t, "LSTM", "x0 w r _ x1", "y0 y1 y2");
    test_attr_int(m.t, n, "hidden_size", 4);
    test_attr_string(m.t, n, "direction", "bidirectional");
    must_run(&m, 3);
    const float *y = m.out[0].data, *h = m.out[1].data, *c = m.out[2].data;
    for (int dir = 0; dir < 2; dir++)
        for (int i = 0; i < 4; i++) {
            assert_float_equal(y[dir * 8 + i], 0, 0);
            assert_float_equal(h[dir * 8 + i], 0, 0);
            assert_float_equal(c[dir * 8 + i], 0, 0);
            /* The other row ends where its last step left it: time 1 forward, 0 back. */
            assert_float_equal(h[dir * 8 + 4 + i], y[(dir ? 0 : 16) + dir * 8 + 4 + i], 0);
            assert_true(h[dir * 8 + 4 + i] != 0);
        }
    nn_free(&m);
}

/* Both directions may run side by side: no bit may depend on it. */
static void bidirectional_rnn_is_the_same_on_threads(void **state)
{
    static const char *const ops[] = {"LSTM", "GRU", "RNN"};
    (void)state;
    for (size_t o = 0; o < 3; o++) {
        const int64_t gates = o == 0 ? 4 : o == 1 ? 3 : 1, h = 24;
        float x[9 * 2 * 5], first[9 * 2 * 2 * 24];
        test_fill(x, sizeof x / sizeof *x, 5);
        for (int threads = 1; threads <= 3; threads++) {
            NnModel m = {.t = test_model_new(14), .threads = threads, .optimize = true};
            nn_input(&m, LEDGE_FLOAT, 3, DIMS(9, 2, 5), x);
            test_noise(m.t, "w", 3, DIMS(2, gates * h, 5), 1);
            test_noise(m.t, "r", 3, DIMS(2, gates * h, h), 2);
            OnnxNode *n = test_node(m.t, ops[o], "x0 w r", "y0");
            test_attr_int(m.t, n, "hidden_size", h);
            test_attr_string(m.t, n, "direction", "bidirectional");
            must_run(&m, 1);
            if (threads == 1)
                memcpy(first, m.out[0].data, sizeof first);
            assert_memory_equal(m.out[0].data, first, sizeof first);
            nn_free(&m);
        }
    }
}

/* ---- Fourier ---- */

static void dft_of_any_length_equals_the_sum(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 34; n++) {
        float x[34 * 2], y[34 * 2];
        NnModel m = {.t = test_model_new(20)};
        test_fill(x, (size_t)n * 2, (uint32_t)n);
        nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, n, 2), x);
        test_node(m.t, "DFT", "x0", "y0");
        must_run(&m, 1);
        for (int64_t k = 0; k < n; k++) {
            double re = 0, im = 0;
            for (int64_t i = 0; i < n; i++) {
                double a = -2 * 3.14159265358979323846 * (double)(i * k % n) / (double)n;
                re += x[2 * i] * cos(a) - x[2 * i + 1] * sin(a);
                im += x[2 * i] * sin(a) + x[2 * i + 1] * cos(a);
            }
            y[2 * k] = (float)re;
            y[2 * k + 1] = (float)im;
        }
        nn_expect(&m, 0, 3, DIMS(1, n, 2), y);
        nn_free(&m);
    }
}

static void dft_inverse_undoes_it(void **state)
{
    (void)state;
    float x[30 * 2];
    NnModel m = {.t = test_model_new(20)};
    test_fill(x, 60, 1);
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(2, 15, 2), x);
    test_node(m.t, "DFT", "x0", "f");
    test_attr_int(m.t, test_node(m.t, "DFT", "f", "y0"), "inverse", 1);
    must_run(&m, 1);
    nn_expect(&m, 0, 3, DIMS(2, 15, 2), x);
    nn_free(&m);
}

/* ---- other element types ---- */

static void float16_computes_in_float(void **state)
{
    (void)state;
    /* 2048 + 1 + 1 is 2050 in float, but stays 2048 when each half sum is rounded. */
    const uint16_t a[3] = {0x6800, 0x3c00, 0x3c00}, b[3] = {0x3c00, 0x3c00, 0x3c00};
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_FLOAT16, 2, DIMS(1, 3), a);
    nn_input(&m, LEDGE_FLOAT16, 2, DIMS(3, 1), b);
    test_node(m.t, "MatMul", "x0 x1", "y0");
    must_run(&m, 1);
    assert_int_equal(m.out[0].type, LEDGE_FLOAT16);
    assert_int_equal(*(uint16_t *)m.out[0].data, 0x6801);
    nn_free(&m);
}

static void double_keeps_its_precision(void **state)
{
    (void)state;
    const double a[2] = {1.0, 1e-12}, b[2] = {1.0, 1.0};
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_DOUBLE, 2, DIMS(1, 2), a);
    nn_input(&m, LEDGE_DOUBLE, 2, DIMS(2, 1), b);
    test_node(m.t, "MatMul", "x0 x1", "y0");
    must_run(&m, 1);
    assert_true(*(double *)m.out[0].data == 1.0 + 1e-12);
    nn_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_ceil_mode_pads_right),
        cmocka_unit_test(pool_window_that_begins_in_end_padding_is_dropped),
        cmocka_unit_test(max_pool_carries_nan),
        cmocka_unit_test(conv_asymmetric_pads_shift_the_input),
        cmocka_unit_test(conv_groups_do_not_mix),
        cmocka_unit_test(conv_with_packed_tiles_agrees),
        cmocka_unit_test(conv_of_an_empty_batch_is_empty),
        cmocka_unit_test(conv_is_the_same_for_every_thread_count),
        cmocka_unit_test(conv_transpose_is_the_adjoint_of_conv),
        cmocka_unit_test(product_over_nothing_is_zero),
        cmocka_unit_test(batched_product_is_the_sum_for_every_thread_count),
        cmocka_unit_test(gemm_takes_either_order_of_b),
        cmocka_unit_test(integer_product_wraps),
        cmocka_unit_test(quantized_product_rounds_half_to_even),
        cmocka_unit_test(max_pool_of_bytes_takes_both_types),
        cmocka_unit_test(softmax_of_minus_infinity),
        cmocka_unit_test(softmax_before_opset_13_flattens),
        cmocka_unit_test(attention_row_without_keys_is_zero),
        cmocka_unit_test(lstm_sequence_of_no_steps),
        cmocka_unit_test(bidirectional_rnn_is_the_same_on_threads),
        cmocka_unit_test(dft_of_any_length_equals_the_sum),
        cmocka_unit_test(dft_inverse_undoes_it),
        cmocka_unit_test(float16_computes_in_float),
        cmocka_unit_test(double_keeps_its_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
