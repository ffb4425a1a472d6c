/* Writes the models of the provider tests into a folder: relu.onnx (x [N,4] to y = relu(relu(x)),
 * nodes a and b), through.onnx (x is an output too), mixed.onnx (convolutions and others in turn), unknown.onnx (an operator that
 * ledge lacks). */
#include <stdio.h>

#include "model_maker.h"

static int write_model(TestModel *t, const char *folder, const char *name)
{
    char path[4096];
    LedgeError err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const LedgeStatus s = ledge__onnx_write_file(test_onnx(t), path, false, &err);
    if (s)
        fprintf(stderr, "make_provider_models: %s\n", err.message);
    test_model_free(t);
    return s != LEDGE_OK;
}

static TestModel *chain(const char *first)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    OnnxNode *a = test_node(t, first, "x", "h");
    a->name = (LedgeStr){"a", 1};
    OnnxNode *b = test_node(t, "Relu", "h", "y");
    b->name = (LedgeStr){"b", 1};
    test_output(t, "y");
    return t;
}

static void conv(TestModel *t, const char *in, const char *out, int from, int to, uint32_t seed)
{
    char w[32], inputs[80];
    snprintf(w, sizeof w, "w_%s", out);
    snprintf(inputs, sizeof inputs, "%s %s", in, w);
    test_noise(t, w, 4, (int64_t[]){to, from, 3, 3}, seed);
    OnnxNode *n = test_node(t, "Conv", inputs, out);
    test_attr_ints(t, n, "pads", 4, (int64_t[]){1, 1, 1, 1});
}

/* An output that no node makes: the whole is not the provider's alone. */
static TestModel *through(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_node(t, "Relu", "x", "y");
    test_output(t, "y");
    test_output(t, "x");
    return t;
}

/* Two branches that meet, so that the parts' order matters. */
static TestModel *mixed(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, 8, 8});
    conv(t, "x", "c1", 3, 4, 1);
    test_node(t, "Relu", "c1", "r1");
    conv(t, "r1", "c2", 4, 4, 2);
    conv(t, "r1", "c3", 4, 4, 3);
    test_node(t, "Sigmoid", "c3", "s3");
    conv(t, "s3", "c4", 4, 4, 4);
    test_node(t, "Add", "c2 c4", "sum");
    conv(t, "sum", "c5", 4, 2, 5);
    test_node(t, "Flatten", "c5", "y");
    test_output(t, "y");
    test_output(t, "r1");
    return t;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    return write_model(chain("Relu"), argv[1], "relu.onnx") |
           write_model(chain("Frobnicate"), argv[1], "unknown.onnx") |
           write_model(through(), argv[1], "through.onnx") |
           write_model(mixed(), argv[1], "mixed.onnx");
}
