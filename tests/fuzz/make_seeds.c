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
    write_seed(branch(&then, &other), argv[1], "branch");
    test_model_free(then);
    test_model_free(other);
    return 0;
}
