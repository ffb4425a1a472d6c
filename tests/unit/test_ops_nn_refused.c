/* What the neural-network operators refuse, and that they say why: attributes that make no
 * sense, shapes that do not fit, indices outside their tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nn_model.h"

static OnnxNode *conv(NnModel *m, int64_t height, int64_t width)
{
    static float x[64], w[9];
    *m = (NnModel){.t = test_model_new(11)};
    nn_input(m, LEDGE_FLOAT, 4, DIMS(1, 1, height, width), x);
    test_floats(m->t, "w", 4, DIMS(1, 1, 3, 3), w);
    return test_node(m->t, "Conv", "x0 w", "y0");
}

static void kernel_larger_than_padded_input(void **state)
{
    (void)state;
    NnModel m;
    conv(&m, 2, 8);
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "larger than the padded input of 2");
}

static void attributes_out_of_range(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int count;
        int64_t values[4];
        const char *text;
    } bad[] = {
        {"strides", 2, {0, 1}, "strides holds 0, must be at least 1"},
        {"dilations", 2, {1, -2}, "dilations holds -2"},
        {"pads", 4, {0, 0, -1, 0}, "pads holds -1"},
        {"pads", 4, {INT64_MAX, 0, INT64_MAX, 0}, "pads holds"},
        {"pads", 3, {0, 0, 0}, "must have 4"},
        {"kernel_shape", 2, {3, 2}, "kernel_shape and weights"},
        {"strides", 1, {1}, "must have 2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        NnModel m;
        OnnxNode *n = conv(&m, 8, 8);
        test_attr_ints(m.t, n, bad[i].name, bad[i].count, bad[i].values);
        nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, bad[i].text);
    }
}

static void groups_that_do_not_divide(void **state)
{
    (void)state;
    for (int64_t group = -1; group <= 2; group += (group == -1 ? 1 : 2)) {
        NnModel m;
        OnnxNode *n = conv(&m, 8, 8);
        test_attr_int(m.t, n, "group", group);
        nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, group < 1 ? "group is" : "channels");
    }
}

static void unknown_auto_pad(void **state)
{
    (void)state;
    NnModel m;
    OnnxNode *n = conv(&m, 8, 8);
    test_attr_string(m.t, n, "auto_pad", "SAME");
    nn_expect_refusal(&m, LEDGE_ERROR_FORMAT, "auto_pad is \"SAME\"");
}

static void output_too_large_to_count(void **state)
{
    (void)state;
    static float x[64], w[9];
    NnModel m = {.t = test_model_new(11)};
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 8, 8), x);
    test_floats(m.t, "w", 4, DIMS(1, 1, 3, 3), w);
    OnnxNode *n = test_node(m.t, "ConvTranspose", "x0 w", "y0");
    test_attr_ints(m.t, n, "strides", 2, DIMS(INT32_MAX, INT32_MAX));
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "more elements than memory can hold");
}

static void inner_dimensions_that_differ(void **state)
{
    (void)state;
    static float x[12];
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(3, 4), x);
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(3, 4), x);
    test_node(m.t, "MatMul", "x0 x1", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "4 does not fit 3");
}

static void hidden_size_out_of_range(void **state)
{
    (void)state;
    static float x[6];
    NnModel m = {.t = test_model_new(14)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(2, 1, 3), x);
    test_noise(m.t, "w", 3, DIMS(1, 16, 3), 1);
    test_noise(m.t, "r", 3, DIMS(1, 16, 4), 2);
    test_attr_int(m.t, test_node(m.t, "LSTM", "x0 w r", "y0"), "hidden_size", INT64_MAX);
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "hidden_size is 9223372036854775807");
}

static void sequence_length_beyond_the_input(void **state)
{
    (void)state;
    static float x[6];
    const int32_t lens[1] = {3};
    NnModel m = {.t = test_model_new(14)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(2, 1, 3), x);
    nn_input(&m, LEDGE_INT32, 1, DIMS(1), lens);
    test_noise(m.t, "w", 3, DIMS(1, 12, 3), 1);
    test_noise(m.t, "r", 3, DIMS(1, 12, 4), 2);
    test_attr_int(m.t, test_node(m.t, "GRU", "x0 w r _ x1", "y0"), "hidden_size", 4);
    nn_expect_refusal(&m, LEDGE_ERROR_RUNTIME, "sequence length 3");
}

static void indices_outside(void **state)
{
    (void)state;
    static float x[8], table[8];
    const int64_t far[2] = {0, 9}, back[4] = {0, 1, 2, 16};
    NnModel m = {.t = test_model_new(23)};
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 2, 4), x);
    nn_input(&m, LEDGE_INT64, 2, DIMS(1, 2), far);
    test_floats(m.t, "table", 2, DIMS(4, 2), table);
    test_node(m.t, "RotaryEmbedding", "x0 table table x1", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_RUNTIME, "outside the tables of 4");

    m = (NnModel){.t = test_model_new(13)};
    nn_input(&m, LEDGE_FLOAT, 2, DIMS(2, 4), x);
    nn_input(&m, LEDGE_INT64, 1, DIMS(2), far);
    test_node(m.t, "NegativeLogLikelihoodLoss", "x0 x1", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_RUNTIME, "target 9 is outside 4 classes");

    m = (NnModel){.t = test_model_new(11)};
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 2, 2), x);
    nn_input(&m, LEDGE_INT64, 4, DIMS(1, 1, 2, 2), back);
    OnnxNode *n = test_node(m.t, "MaxUnpool", "x0 x1", "y0");
    test_attr_ints(m.t, n, "kernel_shape", 2, DIMS(2, 2));
    test_attr_ints(m.t, n, "strides", 2, DIMS(2, 2));
    nn_expect_refusal(&m, LEDGE_ERROR_RUNTIME, "index 16 lies outside");
}

/* Only the run knows this shape. */
static void output_shape_input_too_large(void **state)
{
    (void)state;
    static float x[4];
    static const int64_t index[4] = {0, 1, 2, 3}, shape[4] = {1, 1, 5, INT64_MAX};
    NnModel m = {.t = test_model_new(11)};
    nn_input(&m, LEDGE_FLOAT, 4, DIMS(1, 1, 2, 2), x);
    nn_input(&m, LEDGE_INT64, 4, DIMS(1, 1, 2, 2), index);
    nn_input(&m, LEDGE_INT64, 1, DIMS(4), shape);
    test_attr_ints(m.t, test_node(m.t, "MaxUnpool", "x0 x1 x2", "y0"), "kernel_shape", 2,
                   DIMS(2, 2));
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "more elements than memory can hold");
}

static void wrong_element_type(void **state)
{
    (void)state;
    static int64_t x[8];
    NnModel m = {.t = test_model_new(13)};
    nn_input(&m, LEDGE_INT64, 2, DIMS(2, 4), x);
    test_node(m.t, "Softmax", "x0", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_TYPE, "input 0 is int64, must be floating-point");
}

static void dft_of_nothing(void **state)
{
    (void)state;
    static float x[1];
    NnModel m = {.t = test_model_new(20)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, 0, 1), x);
    test_node(m.t, "DFT", "x0", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_SHAPE, "nothing to transform");
    m = (NnModel){.t = test_model_new(20)};
    nn_input(&m, LEDGE_FLOAT, 3, DIMS(1, 1, 1), x);
    test_ints(m.t, "n", 1, DIMS(INT64_MAX));
    test_node(m.t, "DFT", "x0 n", "y0");
    nn_expect_refusal(&m, LEDGE_ERROR_LIMIT, "is too large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_larger_than_padded_input),
        cmocka_unit_test(attributes_out_of_range),
        cmocka_unit_test(groups_that_do_not_divide),
        cmocka_unit_test(unknown_auto_pad),
        cmocka_unit_test(output_too_large_to_count),
        cmocka_unit_test(inner_dimensions_that_differ),
        cmocka_unit_test(hidden_size_out_of_range),
        cmocka_unit_test(sequence_length_beyond_the_input),
        cmocka_unit_test(indices_outside),
        cmocka_unit_test(output_shape_input_too_large),
        cmocka_unit_test(wrong_element_type),
        cmocka_unit_test(dft_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
