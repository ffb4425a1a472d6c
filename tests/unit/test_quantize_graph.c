/* What the quantizer makes of small models: which nodes become integers, how they are written,
 * and that the quantized model answers like the float one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "quantize_case.h"

static const LedgeQuantOptions static_cpu = {.percentile = 99.99, .block = 32, .threads = 1};

static size_t count_op(const OnnxModel *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        n += ledge__str_eq(m->graph.nodes[i].op_type, op);
    return n;
}

static const OnnxTensor *initializer(const OnnxModel *m, LedgeStr name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        if (ledge__str_eq(name, m->graph.initializers[i].name.p))
            return &m->graph.initializers[i];
    return NULL;
}

static const LedgeQuantTensor *tensor_named(const LedgeQuantizer *q, const char *name)
{
    for (uint32_t i = 0; i < q->n_tensors; i++)
        if (strcmp(q->tensors[i].value->name, name) == 0)
            return &q->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* ---- models ---- */

static OnnxNode *conv(TestModel *t, const char *in, const char *out)
{
    OnnxNode *n = test_node(t, "Conv", in, out);
    test_attr_ints(t, n, "kernel_shape", 2, (int64_t[]){3, 3});
    test_attr_ints(t, n, "pads", 4, (int64_t[]){1, 1, 1, 1});
    return n;
}

/* Two convolutions with batch normalisation, a residual, pools, a classifier. */
static TestModel *residual_net(int opset)
{
    TestModel *t = test_model_new(opset);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, 8, 8});
    test_noise(t, "w1", 4, (int64_t[]){8, 3, 3, 3}, 1);
    test_noise(t, "w2", 4, (int64_t[]){8, 8, 3, 3}, 2);
    test_noise(t, "b2", 1, (int64_t[]){8}, 3);
    test_noise(t, "wf", 2, (int64_t[]){5, 8}, 4);
    test_noise(t, "bf", 1, (int64_t[]){5}, 5);
    test_noise(t, "mean", 1, (int64_t[]){8}, 6);
    test_noise(t, "beta", 1, (int64_t[]){8}, 7);
    test_floats(t, "one", 1, (int64_t[]){8}, (float[]){1, 2, 1, .5f, 1, 1, 3, 1});
    conv(t, "x w1", "c1");
    test_node(t, "BatchNormalization", "c1 one beta mean one", "n1");
    test_node(t, "Relu", "n1", "r1");
    OnnxNode *pool = test_node(t, "MaxPool", "r1", "p1");
    test_attr_ints(t, pool, "kernel_shape", 2, (int64_t[]){2, 2});
    test_attr_ints(t, pool, "strides", 2, (int64_t[]){2, 2});
    conv(t, "p1 w2 b2", "c2");
    test_node(t, "Add", "c2 p1", "a");
    test_node(t, "Relu", "a", "r2");
    test_node(t, "GlobalAveragePool", "r2", "g");
    test_node(t, "Flatten", "g", "f");
    OnnxNode *gemm = test_node(t, "Gemm", "f wf bf", "y");
    test_attr_int(t, gemm, "transB", 1);
    test_output(t, "y");
    return t;
}

/* ---- tests ---- */

static void residual_net_runs_on_integers(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    for (uint32_t i = 0; i < c.q->n_nodes; i++)
        assert_true(c.q->nodes[i].integer);
    assert_int_equal(count_op(c.built, "Relu"), 0); /* both are in ranges */
    assert_int_equal(count_op(c.built, "Conv"), 2);
    assert_true(case_quality(&c) > 25);
    case_end(&c);
}

static void every_dequantize_has_one_reader(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    const OnnxGraph *g = &c.built->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        size_t readers = 0;
        if (!ledge__str_eq(g->nodes[i].op_type, "DequantizeLinear"))
            continue;
        for (size_t k = 0; k < g->n_nodes; k++)
            for (size_t s = 0; s < g->nodes[k].n_inputs; s++)
                readers += g->nodes[k].inputs[s].p &&
                           ledge__str_eq(g->nodes[k].inputs[s], g->nodes[i].outputs[0].p);
        assert_int_equal(readers, 1);
    }
    case_end(&c);
}

static void bias_is_int32_in_steps_of_both_scales(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    const OnnxGraph *g = &c.built->graph;
    size_t seen = 0;
    for (size_t i = 0; i < g->n_initializers; i++) {
        const OnnxTensor *t = &g->initializers[i];
        if (t->data_type != LEDGE_INT32)
            continue;
        seen++;
        assert_int_equal(t->n_dims, 1);
    }
    assert_int_equal(seen, 3); /* c1 got one from its normalisation */
    case_end(&c);
}

/* One convolution with so many channels that a list of bias scales would count. */
static TestModel *wide_net(void)
{
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){1, 3, 6, 6});
    test_noise(t, "w", 4, (int64_t[]){20, 3, 3, 3}, 1);
    test_noise(t, "b", 1, (int64_t[]){20}, 2);
    conv(t, "x w b", "y");
    test_output(t, "y");
    return t;
}

static size_t floats_of(const OnnxModel *m, int64_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph.n_initializers; i++) {
        const OnnxTensor *t = &m->graph.initializers[i];
        n += t->data_type == LEDGE_FLOAT && t->n_dims == 1 && t->dims[0] == count;
    }
    return n;
}

static void scales_of_a_wide_bias_are_a_product(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, wide_net(), &static_cpu);
    assert_int_equal(count_op(c.built, "Mul"), 1);
    assert_int_equal(floats_of(c.built, 20), 1); /* those of the weights */
    assert_true(case_quality(&c) > 30);
    case_end(&c);
}

static void compilers_get_the_scales_of_a_bias_as_a_list(void **state)
{
    LedgeQuantOptions o = static_cpu;
    Case c;
    (void)state;
    o.target = LEDGE_QUANT_NPU;
    case_quantize(&c, wide_net(), &o);
    assert_int_equal(count_op(c.built, "Mul"), 0);
    assert_int_equal(floats_of(c.built, 20), 2);
    assert_true(case_quality(&c) > 30);
    case_end(&c);
}

static void moved_values_keep_their_scale(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    const LedgeQuantTensor *r1 = tensor_named(c.q, "r1"), *p1 = tensor_named(c.q, "p1");
    assert_true(r1->quantized && p1->quantized);
    assert_float_equal(r1->scale, p1->scale, 0);
    assert_int_equal(r1->tied, p1->tied);
    case_end(&c);
}

static void excluded_nodes_stay_float_and_are_named(void **state)
{
    Case c;
    static const char *const exclude[] = {"Add"};
    LedgeQuantOptions o = static_cpu;
    (void)state;
    o.exclude = exclude;
    o.n_exclude = 1;
    case_quantize(&c, residual_net(13), &o);
    for (uint32_t i = 0; i < c.q->n_nodes; i++)
        if (strcmp(c.q->nodes[i].node->op_type, "Add") == 0) {
            assert_false(c.q->nodes[i].integer);
            assert_string_equal(c.q->nodes[i].why, "it was excluded");
        }
    assert_int_equal(count_op(c.built, "Relu"), 1);
    assert_true(case_quality(&c) > 25);
    case_end(&c);
}

static void keeping_any_node_in_float_needs_no_new_observation(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    for (uint32_t i = 0; i < c.q->n_nodes; i++) {
        LedgeError err;
        OnnxModel *m;
        c.q->nodes[i].keep_float = true;
        assert_int_equal(ledge__quantizer_decide(c.q, &err), LEDGE_OK);
        assert_int_equal(ledge__quantizer_ranges(c.q, &err), LEDGE_OK);
        assert_int_equal(ledge__quantizer_build(c.q, c.arena, &err, &m), LEDGE_OK);
        c.q->nodes[i].keep_float = false;
    }
    case_end(&c);
}

static void symmetric_targets_keep_relu(void **state)
{
    Case c;
    LedgeQuantOptions o = static_cpu;
    (void)state;
    o.target = LEDGE_QUANT_TENSORRT;
    case_quantize(&c, residual_net(13), &o);
    assert_int_equal(count_op(c.built, "Relu"), 2);
    for (uint32_t i = 0; i < c.q->n_tensors; i++)
        if (c.q->tensors[i].quantized)
            assert_int_equal(c.q->tensors[i].zero, 0);
    for (size_t i = 0; i < c.built->graph.n_initializers; i++) {
        assert_int_not_equal(c.built->graph.initializers[i].data_type, LEDGE_UINT8);
        assert_int_not_equal(c.built->graph.initializers[i].data_type, LEDGE_INT32);
    }
    assert_true(case_quality(&c) > 20);
    case_end(&c);
}

/* uint16 with a zero point, int16 without: 256 times the steps, so less noise. */
static void activations_of_16_bits_lose_less(void **state)
{
    (void)state;
    for (int target = 0; target < 2; target++) {
        Case narrow, c;
        LedgeQuantOptions o = static_cpu;
        const int type = target ? LEDGE_INT16 : LEDGE_UINT16;
        o.target = target ? LEDGE_QUANT_NPU : LEDGE_QUANT_CPU;
        case_quantize(&narrow, residual_net(13), &o);
        o.wide = true;
        case_quantize(&c, residual_net(13), &o);
        assert_int_equal(ledge__onnx_opset(c.built, ""), 21);
        assert_int_equal(c.built->ir_version, 10);
        for (size_t i = 0; i < c.built->graph.n_nodes; i++) {
            const OnnxNode *n = &c.built->graph.nodes[i];
            if (ledge__str_eq(n->op_type, "QuantizeLinear"))
                assert_int_equal(initializer(c.built, n->inputs[2])->data_type, type);
        }
        for (uint32_t i = 0; i < c.q->n_tensors; i++) {
            const LedgeQuantTensor *t = &c.q->tensors[i];
            const float span = target ? 2 * fmaxf(-t->lo, t->hi) : t->hi - t->lo;
            if (t->quantized)
                assert_true(fabsf(t->scale * 65535 / span - 1) < 1e-4f);
        }
        assert_true(case_quality(&c) > case_quality(&narrow) + 3);
        case_end(&narrow);
        case_end(&c);
    }
}

static void calibrators_all_answer_alike(void **state)
{
    (void)state;
    for (int how = 0; how <= LEDGE_CALIBRATE_MSE; how++) {
        Case c;
        LedgeQuantOptions o = static_cpu;
        o.calibrator = (LedgeCalibrator)how;
        o.weights_mse = how & 1;
        case_quantize(&c, residual_net(13), &o);
        assert_true(case_quality(&c) > 18);
        case_end(&c);
    }
}

static void other_modes_answer_alike(void **state)
{
    static const struct {
        LedgeQuantMode mode;
        bool plain;
        double db;
    } modes[] = {{LEDGE_QUANT_DYNAMIC, false, 25},
                 {LEDGE_QUANT_WEIGHTS, false, 30},
                 {LEDGE_QUANT_INT4, true, 15}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Case c;
        LedgeQuantOptions o = static_cpu;
        o.mode = modes[i].mode;
        o.plain_onnx = modes[i].plain;
        case_quantize(&c, residual_net(13), &o);
        assert_true(case_quality(&c) > modes[i].db);
        case_end(&c);
    }
}

/* Mean of Relu over a normal distribution, by summing. */
static double relu_mean(double mean, double deviation)
{
    double sum = 0, weights = 0;
    for (double z = -8; z < 8; z += 1e-3) {
        const double x = mean + z * deviation, w = exp(-z * z / 2);
        sum += w * (x > 0 ? x : 0);
        weights += w;
    }
    return sum / weights;
}

static void batch_normalization_tells_means_without_data(void **state)
{
    Case c;
    LedgeQuantOptions o = static_cpu;
    const double gamma[8] = {1, 2, 1, .5, 1, 1, 3, 1};
    float beta[8];
    (void)state;
    o.mode = LEDGE_QUANT_WEIGHTS;
    case_quantize(&c, residual_net(13), &o);
    test_fill(beta, 8, 7);
    const LedgeQuantTensor *r1 = tensor_named(c.q, "r1");
    assert_int_equal(r1->n_means, 8);
    for (int i = 0; i < 8; i++)
        assert_float_equal(r1->mean_sum[i] / (double)r1->mean_count,
                           relu_mean((double)beta[i], gamma[i]), 1e-4);
    size_t corrected = 0;
    for (uint32_t i = 0; i < c.q->n_nodes; i++)
        corrected += c.q->nodes[i].bias_shift != NULL;
    assert_int_equal(corrected, 2); /* not the first layer, whose input nobody knows */
    case_end(&c);
}

/* With the biases corrected the mean of a layer's output is that of the float model. */
static void corrected_biases_keep_the_mean(void **state)
{
    Case c;
    LedgeError err;
    static float room[4096];
    double off[2] = {0};
    LedgeQuantOptions o = static_cpu;
    (void)state;
    for (int corrected = 0; corrected < 2; corrected++) {
        TestModel *t = test_model_new(13);
        test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){1, 3, 16, 16});
        test_noise(t, "w", 4, (int64_t[]){4, 3, 3, 3}, 1);
        test_node(t, "Abs", "x", "p"); /* a mean that is not 0 */
        conv(t, "p w", "y");
        test_output(t, "y");
        memset(&c, 0, sizeof c);
        case_write(&c, t);
        c.arena = ledge__arena_new(ledge__allocator_or_default(NULL));
        o.mode = LEDGE_QUANT_WEIGHTS;
        assert_int_equal(ledge__quantizer_open(c.path, &o, &err, &c.q), LEDGE_OK);
        assert_int_equal(ledge__quantizer_observe_start(c.q, &err), LEDGE_OK);
        LedgeTensor in = case_sample(ledge__quantizer_model(c.q), 0, 1, room);
        const LedgeTensor *want;
        assert_int_equal(ledge__quantizer_observe(c.q, &in, 1, &err, &want), LEDGE_OK);
        if (corrected)
            assert_int_equal(ledge__quantizer_correct_bias(c.q, &err), LEDGE_OK);
        assert_int_equal(ledge__quantizer_build(c.q, c.arena, &err, &c.built), LEDGE_OK);
        void *bytes;
        size_t size;
        const LedgeAllocator *a = ledge__allocator_or_default(NULL);
        assert_int_equal(ledge__onnx_write_memory(c.built, a, &bytes, &size, &err), LEDGE_OK);
        assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &c.model), LEDGE_OK);
        assert_int_equal(ledge_session_create(c.model, NULL, &err, &c.session), LEDGE_OK);
        LedgeTensor got = {0};
        assert_int_equal(ledge_session_run(c.session, &in, 1, &got, 1, &err), LEDGE_OK);
        for (int m = 0; m < 4; m++) {
            double sum = 0;
            for (int k = 0; k < 256; k++)
                sum += (double)((float *)got.data)[m * 256 + k] -
                       (double)((float *)want->data)[m * 256 + k];
            off[corrected] += fabs(sum / 256);
        }
        case_end(&c);
        ledge__free(a, bytes);
    }
    assert_true(off[0] > 1e-3);
    assert_true(off[1] < off[0] / 5);
}

/* MatMul [k, n] and Gemm with transA; k is no multiple of the block. */
static TestModel *matmul_net(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){6, 40});
    test_noise(t, "w", 2, (int64_t[]){40, 24}, 1);
    test_noise(t, "v", 2, (int64_t[]){7, 6}, 2);
    test_noise(t, "b", 1, (int64_t[]){7}, 3);
    test_node(t, "MatMul", "x w", "m");
    OnnxNode *gemm = test_node(t, "Gemm", "m v b", "y");
    test_attr_int(t, gemm, "transA", 1);
    test_attr_int(t, gemm, "transB", 1);
    test_attr_float(t, gemm, "alpha", 0.5f);
    test_attr_float(t, gemm, "beta", 2);
    test_output(t, "y");
    return t;
}

static void products_answer_alike_in_all_modes(void **state)
{
    static const struct {
        LedgeQuantMode mode;
        double db;
    } modes[] = {{LEDGE_QUANT_STATIC, 25}, {LEDGE_QUANT_DYNAMIC, 25}, {LEDGE_QUANT_WEIGHTS, 35},
                 {LEDGE_QUANT_INT4, 15}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        Case c;
        LedgeQuantOptions o = static_cpu;
        o.mode = modes[i].mode;
        o.block = 16;
        o.plain_onnx = true;
        case_quantize(&c, matmul_net(), &o);
        if (case_quality(&c) <= modes[i].db)
            fail_msg("mode %d: %g dB", (int)modes[i].mode, case_quality(&c));
        case_end(&c);
    }
}

/* Old forms: Clip, Slice, Squeeze, Pad and Upsample by attributes, Softmax over the last axis. */
static TestModel *old_net(void)
{
    TestModel *t = test_model_new(9);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){1, 3, 6, 6});
    test_noise(t, "w", 4, (int64_t[]){4, 3, 3, 3}, 1);
    test_noise(t, "v", 4, (int64_t[]){4, 4, 3, 3}, 2);
    test_floats(t, "up", 1, (int64_t[]){4}, (float[]){1, 1, 2, 2});
    conv(t, "x w", "c");
    OnnxNode *clip = test_node(t, "Clip", "c", "k");
    test_attr_float(t, clip, "min", 0);
    test_attr_float(t, clip, "max", 1.5f);
    OnnxNode *slice = test_node(t, "Slice", "k", "s");
    test_attr_ints(t, slice, "axes", 2, (int64_t[]){2, 3});
    test_attr_ints(t, slice, "starts", 2, (int64_t[]){1, 0});
    test_attr_ints(t, slice, "ends", 2, (int64_t[]){6, 4});
    OnnxNode *pad = test_node(t, "Pad", "s", "p");
    test_attr_ints(t, pad, "pads", 8, (int64_t[]){0, 0, 1, 0, 0, 0, 0, 2});
    test_attr_string(t, pad, "mode", "reflect");
    OnnxNode *up = test_node(t, "Upsample", "p up", "u");
    test_attr_string(t, up, "mode", "nearest");
    conv(t, "u v", "d");
    OnnxNode *sum = test_node(t, "ReduceSum", "d", "r");
    test_attr_ints(t, sum, "axes", 1, (int64_t[]){2});
    OnnxNode *squeeze = test_node(t, "Squeeze", "r", "q");
    test_attr_ints(t, squeeze, "axes", 2, (int64_t[]){0, 2});
    OnnxNode *soft = test_node(t, "Softmax", "q", "y");
    test_attr_int(t, soft, "axis", 1);
    test_output(t, "y");
    return t;
}

static void old_opsets_are_raised(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, old_net(), &static_cpu);
    assert_int_equal(ledge__onnx_opset(c.built, ""), 13);
    assert_int_equal(count_op(c.built, "Clip"), 0);
    assert_int_equal(count_op(c.built, "Upsample"), 0);
    assert_true(case_quality(&c) > 15);
    case_end(&c);
}

static void softmax_over_several_axes_is_refused_by_name(void **state)
{
    Case c = {0};
    LedgeError err;
    (void)state;
    TestModel *t = test_model_new(11);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){2, 4});
    test_noise(t, "w", 2, (int64_t[]){4, 6}, 1);
    test_ints(t, "shape", 3, (int64_t[]){2, 3, 2});
    test_node(t, "MatMul", "x w", "m");
    test_node(t, "Reshape", "m shape", "r");
    test_attr_int(t, test_node(t, "Softmax", "r", "y"), "axis", 1);
    test_output(t, "y");
    case_write(&c, t);
    assert_int_equal(ledge__quantizer_open(c.path, &static_cpu, &err, &c.q),
                     LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Softmax"));
    case_end(&c);
}

/* A channel without weights but with a bias, one of tiny weights, a tensor that is always 0. */
static void degenerate_channels_keep_their_values(void **state)
{
    Case c;
    float w[4 * 3] = {0, 0, 0, 1e-20f, 2e-20f, -1e-20f, 1, -1, .5f, -2, -3, -1};
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){1, 3, 4, 4});
    test_floats(t, "w", 4, (int64_t[]){4, 3, 1, 1}, w);
    test_floats(t, "b", 1, (int64_t[]){4}, (float[]){0.37f, -0.21f, 0, -1000});
    test_noise(t, "v", 4, (int64_t[]){2, 4, 1, 1}, 3);
    test_floats(t, "zeros", 4, (int64_t[]){2, 2, 1, 1}, (float[]){0, 0, 0, 0});
    test_node(t, "Conv", "x w b", "c");
    test_node(t, "Conv", "c v", "d");
    test_node(t, "Conv", "d zeros", "e");
    test_node(t, "Conv", "e zeros", "nothing");
    test_node(t, "Add", "d nothing", "y");
    test_output(t, "c");
    test_output(t, "y");
    case_quantize(&c, t, &static_cpu);
    for (uint32_t i = 0; i < c.q->n_tensors; i++)
        if (c.q->tensors[i].quantized)
            assert_true(c.q->tensors[i].scale > 0 && isfinite(c.q->tensors[i].scale));
    assert_true(case_quality(&c) > 25);
    case_end(&c);
}

static void nan_is_refused_and_the_tensor_named(void **state)
{
    Case c = {0};
    LedgeError err;
    static float room[4096];
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){1, 4});
    test_noise(t, "w", 2, (int64_t[]){4, 4}, 1);
    test_node(t, "Log", "x", "l"); /* NaN below 0 */
    test_node(t, "MatMul", "l w", "y");
    test_output(t, "y");
    case_write(&c, t);
    assert_int_equal(ledge__quantizer_open(c.path, &static_cpu, &err, &c.q), LEDGE_OK);
    assert_int_equal(ledge__quantizer_observe_start(c.q, &err), LEDGE_OK);
    LedgeTensor in = case_sample(ledge__quantizer_model(c.q), 0, 1, room);
    room[0] = -1;
    assert_int_equal(ledge__quantizer_observe(c.q, &in, 1, &err, NULL), LEDGE_ERROR_RUNTIME);
    assert_string_equal(err.where, "l");
    assert_non_null(strstr(err.message, "NaN"));
    case_end(&c);
}

static void ranges_want_a_sample(void **state)
{
    Case c = {0};
    LedgeError err;
    OnnxModel *m;
    (void)state;
    case_write(&c, residual_net(13));
    c.arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    assert_int_equal(ledge__quantizer_open(c.path, &static_cpu, &err, &c.q), LEDGE_OK);
    assert_int_equal(ledge__quantizer_build(c.q, c.arena, &err, &m), LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__quantizer_ranges(c.q, &err), LEDGE_ERROR_ARGUMENT);
    case_end(&c);
}

static void metadata_is_kept_and_replaced(void **state)
{
    Case c;
    LedgeError err;
    OnnxModel *m;
    (void)state;
    TestModel *t = residual_net(13);
    test_metadata(t, "ledge.labels", "a\nb");
    test_metadata(t, "old", "1");
    case_quantize(&c, t, &static_cpu);
    assert_int_equal(ledge__onnx_set_metadata(c.q->onnx, "old", "2", &err), LEDGE_OK);
    assert_int_equal(ledge__onnx_set_metadata(c.q->onnx, "new", "3", &err), LEDGE_OK);
    assert_int_equal(ledge__quantizer_build(c.q, c.arena, &err, &m), LEDGE_OK);
    assert_int_equal(m->n_metadata, 3);
    assert_true(ledge__str_eq(m->metadata[0].key, "ledge.labels"));
    assert_true(ledge__str_eq(m->metadata[1].key, "old") &&
                ledge__str_eq(m->metadata[1].value, "2"));
    case_end(&c);
}

static void building_twice_gives_the_same_bytes(void **state)
{
    Case c;
    LedgeError err;
    OnnxModel *m;
    void *a, *b;
    size_t na, nb;
    const LedgeAllocator *alloc = ledge__allocator_or_default(NULL);
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    assert_int_equal(ledge__onnx_write_memory(c.built, alloc, &a, &na, &err), LEDGE_OK);
    assert_int_equal(ledge__quantizer_build(c.q, c.arena, &err, &m), LEDGE_OK);
    assert_int_equal(ledge__onnx_write_memory(m, alloc, &b, &nb, &err), LEDGE_OK);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    ledge__free(alloc, a);
    ledge__free(alloc, b);
    case_end(&c);
}

static void float_weights_are_gone(void **state)
{
    Case c;
    (void)state;
    case_quantize(&c, residual_net(13), &static_cpu);
    for (size_t i = 0; i < c.built->graph.n_initializers; i++) {
        const OnnxTensor *t = &c.built->graph.initializers[i];
        if (t->data_type == LEDGE_FLOAT)
            assert_true(t->n_dims < 2);
    }
    assert_null(initializer(c.built, (LedgeStr){"wf", 2}));
    case_end(&c);
}

/* ---- memory ---- */

typedef struct Failing {
    size_t calls, fail_at;
} Failing;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    if (f->calls++ == f->fail_at)
        return NULL;
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    return a->alloc(a->context, size, align);
}

static void failing_free(void *context, void *p)
{
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    (void)context;
    a->free(a->context, p);
}

static void lack_of_memory_is_an_error_everywhere(void **state)
{
    Case c = {0};
    LedgeError err;
    Failing f = {0};
    const LedgeAllocator failing = {failing_alloc, failing_free, &f};
    LedgeQuantOptions o = static_cpu;
    LedgeStatus s = LEDGE_ERROR_MEMORY;
    (void)state;
    o.allocator = &failing;
    case_write(&c, residual_net(13));
    for (size_t at = 0; s != LEDGE_OK && at < 5000; at++) {
        f = (Failing){0, at};
        c.arena = ledge__arena_new(&failing);
        s = c.arena ? case_build(&c, &o, &err) : LEDGE_ERROR_MEMORY;
        ledge__quantizer_free(c.q);
        ledge__arena_free(c.arena);
        c.q = NULL;
        c.arena = NULL;
        assert_true(s == LEDGE_OK || s == LEDGE_ERROR_MEMORY);
    }
    assert_int_equal(s, LEDGE_OK);
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(residual_net_runs_on_integers),
        cmocka_unit_test(every_dequantize_has_one_reader),
        cmocka_unit_test(bias_is_int32_in_steps_of_both_scales),
        cmocka_unit_test(scales_of_a_wide_bias_are_a_product),
        cmocka_unit_test(compilers_get_the_scales_of_a_bias_as_a_list),
        cmocka_unit_test(moved_values_keep_their_scale),
        cmocka_unit_test(excluded_nodes_stay_float_and_are_named),
        cmocka_unit_test(keeping_any_node_in_float_needs_no_new_observation),
        cmocka_unit_test(symmetric_targets_keep_relu),
        cmocka_unit_test(activations_of_16_bits_lose_less),
        cmocka_unit_test(calibrators_all_answer_alike),
        cmocka_unit_test(other_modes_answer_alike),
        cmocka_unit_test(batch_normalization_tells_means_without_data),
        cmocka_unit_test(corrected_biases_keep_the_mean),
        cmocka_unit_test(products_answer_alike_in_all_modes),
        cmocka_unit_test(old_opsets_are_raised),
        cmocka_unit_test(softmax_over_several_axes_is_refused_by_name),
        cmocka_unit_test(degenerate_channels_keep_their_values),
        cmocka_unit_test(nan_is_refused_and_the_tensor_named),
        cmocka_unit_test(ranges_want_a_sample),
        cmocka_unit_test(metadata_is_kept_and_replaced),
        cmocka_unit_test(building_twice_gives_the_same_bytes),
        cmocka_unit_test(float_weights_are_gone),
        cmocka_unit_test(lack_of_memory_is_an_error_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
