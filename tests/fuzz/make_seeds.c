/* Writes the seeds of the targets `model` and `ledge_file`: small models that touch the main
 * operators, as NAME.onnx and, compiled for the scalar kernels, NAME.ledge.
 *
 *   make_seeds FOLDER */
#include <stdio.h>
#include <stdlib.h>

#include "model_maker.h"

static TestModel *cnn(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, 8, 8});
    test_noise(t, "w1", 4, (int64_t[]){8, 3, 3, 3}, 1);
    test_noise(t, "b1", 1, (int64_t[]){8}, 2);
    test_noise(t, "wd", 4, (int64_t[]){8, 1, 3, 3}, 3);
    test_noise(t, "w2", 4, (int64_t[]){8, 8, 1, 1}, 4);
    test_noise(t, "wf", 2, (int64_t[]){8, 4}, 5);
    test_attr_ints(t, test_node(t, "Conv", "x w1 b1", "c1"), "pads", 4, (int64_t[]){1, 1, 1, 1});
    test_node(t, "Relu", "c1", "r1");
    OnnxNode *dw = test_node(t, "Conv", "r1 wd", "c2");
    test_attr_int(t, dw, "group", 8);
    test_attr_ints(t, dw, "pads", 4, (int64_t[]){1, 1, 1, 1});
    test_node(t, "Conv", "c2 w2", "c3");
    test_node(t, "Add", "c3 r1", "s");
    OnnxNode *pool = test_node(t, "MaxPool", "s", "p");
    test_attr_ints(t, pool, "kernel_shape", 2, (int64_t[]){2, 2});
    test_attr_ints(t, pool, "strides", 2, (int64_t[]){2, 2});
    test_node(t, "GlobalAveragePool", "p", "g");
    test_node(t, "Flatten", "g", "f");
    test_node(t, "MatMul", "f wf", "m");
    test_node(t, "Softmax", "m", "y");
    test_output(t, "y");
    return t;
}

static TestModel *shapes(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 3, (int64_t[]){-1, 4, 6});
    test_ints(t, "zero", 1, (int64_t[]){0});
    test_ints(t, "rest", 1, (int64_t[]){-1});
    test_ints(t, "starts", 2, (int64_t[]){0, 1});
    test_ints(t, "ends", 2, (int64_t[]){2, 5});
    test_node(t, "Shape", "x", "shape");
    test_node(t, "Gather", "shape zero", "batch");
    test_attr_int(t, test_node(t, "Concat", "batch rest", "to"), "axis", 0);
    test_node(t, "Reshape", "x to", "flat");
    test_node(t, "Slice", "flat starts ends", "cut");
    test_attr_ints(t, test_node(t, "Transpose", "cut", "turned"), "perm", 2, (int64_t[]){1, 0});
    test_node(t, "NonZero", "turned", "y");
    test_output(t, "y");
    test_attr_int(t, test_node(t, "TopK", "flat starts_k", "top index"), "axis", -1);
    test_ints(t, "starts_k", 1, (int64_t[]){2});
    test_output(t, "top");
    return t;
}

/* value -> bytes -> value, with scale and zero point `s` and `z` */
static void through_bytes(TestModel *t, const char *x, const char *s_z, const char *q,
                          const char *y)
{
    char in[64];
    snprintf(in, sizeof in, "%s %s", x, s_z);
    test_node(t, "QuantizeLinear", in, q);
    snprintf(in, sizeof in, "%s %s", q, s_z);
    test_node(t, "DequantizeLinear", in, y);
}

/* One of each rewrite of quantized graphs: uint8 where `zero_type` says so, else int8. */
static TestModel *quantized(LedgeType zero_type)
{
    TestModel *t = test_model_new(17);
    int8_t w1[4 * 3 * 9], w2[16], wf[8];
    const uint8_t zero = 100;
    const float scale = 0.02f, scales[4] = {0.01f, 0.02f, 0.005f, 0.01f};
    const int32_t bias[4] = {100, -200, 300, 0};
    for (int i = 0; i < 108; i++)
        w1[i] = (int8_t)(i * 37);
    for (int i = 0; i < 16; i++)
        w2[i] = (int8_t)(i * 53);
    for (int i = 0; i < 8; i++)
        wf[i] = (int8_t)(i * 71);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, 6, 6});
    test_tensor(t, "w1", LEDGE_INT8, 4, (int64_t[]){4, 3, 3, 3}, w1);
    test_tensor(t, "w2", LEDGE_INT8, 4, (int64_t[]){4, 4, 1, 1}, w2);
    test_tensor(t, "wf", LEDGE_INT8, 2, (int64_t[]){8, 1}, wf);
    test_tensor(t, "b", LEDGE_INT32, 1, (int64_t[]){4}, bias);
    test_floats(t, "s", 0, NULL, &scale);
    test_floats(t, "sw", 1, (int64_t[]){4}, scales);
    test_tensor(t, "z", zero_type, 0, NULL, &zero);
    test_attr_int(t, test_node(t, "DequantizeLinear", "w1 sw", "w1d"), "axis", 0);
    test_attr_int(t, test_node(t, "DequantizeLinear", "w2 sw", "w2d"), "axis", 0);
    test_node(t, "DequantizeLinear", "wf s", "wfd");
    test_node(t, "DequantizeLinear", "b s", "bd");
    through_bytes(t, "x", "s z", "q0", "d0");
    test_attr_ints(t, test_node(t, "Conv", "d0 w1d bd", "c1"), "pads", 4, (int64_t[]){1, 1, 1, 1});
    test_node(t, "Relu", "c1", "r1");
    through_bytes(t, "r1", "s z", "q1", "d1");
    test_node(t, "Conv", "d1 w2d", "c2");
    through_bytes(t, "c2", "s z", "q2", "d2");
    test_node(t, "Add", "d2 d1", "a");
    through_bytes(t, "a", "s z", "q3", "d3");
    test_node(t, "HardSwish", "d3", "h");
    through_bytes(t, "h", "s z", "q4", "d4");
    test_attr_ints(t, test_node(t, "MaxPool", "d4", "p"), "kernel_shape", 2, (int64_t[]){2, 2});
    test_attr_int(t, test_node(t, "Concat", "p p", "k"), "axis", 1);
    test_node(t, "GlobalAveragePool", "k", "g");
    through_bytes(t, "g", "s z", "q5", "d5");
    test_node(t, "Flatten", "d5", "f");
    test_node(t, "MatMul", "f wfd", "m");
    through_bytes(t, "m", "s z", "q6", "y");
    test_output(t, "y");
    return t;
}

static TestModel *linear(void)
{
    TestModel *t = test_model_new(17);
    int8_t w[16];
    const uint8_t zero = 100;
    const int8_t none = 0;
    const float scale = 0.02f;
    for (int i = 0; i < 16; i++)
        w[i] = (int8_t)(i * 53);
    test_input(t, "x", LEDGE_UINT8, 4, (int64_t[]){1, 4, 5, 5});
    test_tensor(t, "w", LEDGE_INT8, 4, (int64_t[]){4, 4, 1, 1}, w);
    test_floats(t, "s", 0, NULL, &scale);
    test_tensor(t, "z", LEDGE_UINT8, 0, NULL, &zero);
    test_tensor(t, "n", LEDGE_INT8, 0, NULL, &none);
    test_node(t, "QLinearConv", "x s z w s n s z", "c");
    test_attr_ints(t, test_node(t, "Transpose", "c", "t"), "perm", 4, (int64_t[]){0, 1, 3, 2});
    test_node(t, "QLinearMatMul", "c s z t s z s z", "y");
    test_output(t, "y");
    return t;
}

/* A product that skips the zeros of its weights. */
static TestModel *strips(void)
{
    static float w[32 * 40];
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 32});
    test_fill(w, 32 * 40, 9);
    for (size_t k = 0; k < 32; k++)
        if (k % 3)
            memset(w + k * 40, 0, 32 * sizeof *w);
    test_floats(t, "w", 2, (int64_t[]){32, 40}, w);
    test_node(t, "MatMul", "x w", "y");
    test_output(t, "y");
    return t;
}

static TestModel *branch(TestModel **then, TestModel **other)
{
    TestModel *t = test_model_new(17), *a = test_model_new(17), *b = test_model_new(17);
    test_input(t, "c", LEDGE_BOOL, 0, NULL);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){2, 4});
    test_noise(t, "k", 1, (int64_t[]){4}, 3);
    test_node(a, "Add", "x k", "r");
    test_output(a, "r");
    test_node(b, "Neg", "x", "s");
    test_output(b, "s");
    OnnxNode *n = test_node(t, "If", "c", "y");
    test_attr_graph(t, n, "then_branch", a);
    test_attr_graph(t, n, "else_branch", b);
    test_output(t, "y");
    *then = a;
    *other = b;
    return t;
}

static void must(LedgeStatus s, const LedgeError *err)
{
    if (s != LEDGE_OK) {
        fprintf(stderr, "make_seeds: %s: %s\n", err->where, err->message);
        exit(1);
    }
}

static void write_seed(TestModel *t, const char *folder, const char *name)
{
    char path[4096];
    LedgeError err = {0};
    LedgeModel *m = NULL;
    LedgeModelOptions o = {.cpu = "scalar"};
    size_t size;
    const void *bytes = test_bytes(t, &size);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    must(ledge__onnx_write_file(test_onnx(t), path, false, &err), &err);
    must(ledge_model_load_memory(bytes, size, &o, &err, &m), &err);
    snprintf(path, sizeof path, "%s/%s.ledge", folder, name);
    must(ledge_model_compile(m, NULL, 0, path, &err), &err);
    ledge_model_free(m);
    test_model_free(t);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    TestModel *then, *other;
    write_seed(cnn(), argv[1], "cnn");
    write_seed(shapes(), argv[1], "shapes");
    write_seed(quantized(LEDGE_UINT8), argv[1], "quantized");
    write_seed(quantized(LEDGE_INT8), argv[1], "quantized_s8");
    write_seed(linear(), argv[1], "qlinear");
    write_seed(strips(), argv[1], "strips");
    write_seed(branch(&then, &other), argv[1], "branch");
    test_model_free(then);
    test_model_free(other);
    return 0;
}
