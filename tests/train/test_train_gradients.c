/* Gradients of every operator against central differences of the forward pass.
 *
 * The number that is differentiated is a weighted sum of the scores, made in double precision.
 * Where a clamp's kink is near, smaller steps decide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "compress/train/train_internal.h"
#include "graph_from_text.h"

static bool kinked; /* the case at hand has clamps */

static double weight_of(size_t i)
{
    return cos(1.7 * (double)i + 0.3);
}

static double value_of(Trainer *t)
{
    double sum = 0;
    uint64_t state = 7;
    /* anew: the plan puts other things where the input was once its last reader is done */
    for (size_t i = 0; i < t->input->count; i++)
        t->input->data[i] = (float)(2 * ledge__train_uniform(&state) - 1);
    ledge__train_forward(t);
    for (size_t i = 0; i < t->scores->count; i++)
        sum += weight_of(i) * (double)t->scores->data[i];
    return sum;
}

/* Whether the gradient fits differences of one step: their mean, or, where a clamp's kink lies
 * within the step on one side, something between the two sides. */
static bool fits(Trainer *t, float *x, float step, double g, double allowed, double *mean)
{
    const float keep = *x;
    const double here = value_of(t);
    *x = keep + step;
    const double up = (value_of(t) - here) / ((double)*x - (double)keep);
    *x = keep - step;
    const double down = (here - value_of(t)) / ((double)keep - (double)*x);
    *x = keep;
    *mean = (up + down) / 2;
    return fabs(*mean - g) <= allowed ||
           (kinked && g >= fmin(up, down) - allowed && g <= fmax(up, down) + allowed);
}

static void check_param(Trainer *t, TrainValue *v, double bound)
{
    float *grad = malloc(v->count * sizeof *grad);
    double most = 0;
    assert_non_null(grad);
    memcpy(grad, v->grad, v->count * sizeof *grad);
    for (size_t i = 0; i < v->count; i++)
        most = fmax(most, fabs((double)grad[i]));
    assert_true(most > 0);
    const size_t stride = v->count > 60 ? v->count / 60 : 1;
    for (size_t i = 0; i < v->count; i += stride) {
        const double g = (double)grad[i], allowed = bound * most + 2e-3;
        double d;
        bool fit = fits(t, &v->data[i], 0.01f, g, allowed, &d);
        for (float step = 0.003f; kinked && step > 5e-4f && !fit; step /= 2)
            fit = fits(t, &v->data[i], step, g, allowed, &d);
        if (!fit)
            fail_msg("%s[%zu]: gradient %.6f, by differences %.6f (largest %.6f)", v->name, i, g, d,
                     most);
    }
    free(grad);
}

static void check_options(const char *text, const LedgeTrainOptions *o, double bound)
{
    LedgeGraph *g = graph_from_text(text);
    kinked = strstr(text, "Relu") || strstr(text, "Clip") || strstr(text, "Hard") ||
             strstr(text, "MaxPool");
    LedgeTrainer *t = NULL;
    LedgeError err = {0};
    if (ledge__trainer_new(g, o, &err, &t))
        fail_msg("%s: %s", err.where, err.message);
    t->training = true;
    value_of(t);
    for (size_t i = 0; i < t->scores->count; i++)
        t->scores->grad[i] = (float)weight_of(i);
    ledge__train_backward(t);
    for (size_t i = 0; i < t->n_params; i++)
        if (t->params[i]->grad)
            check_param(t, t->params[i], bound);
    ledge__trainer_free(t);
    ledge__graph_free(g);
}

/* The same for one and three threads, and for each of this CPU's instruction sets. */
static void check(const char *text)
{
    static const char *const levels[] = {"scalar", "avx2", "avx512vnni"};
    LedgeTrainOptions o;
    ledge__train_options_default(&o);
    o.batch = 5;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        o.threads = i == 1 ? 3 : 1;
        o.cpu = ledge__cpu_flags() & ledge__cpu_flags_from_name(levels[i]);
        check_options(text, &o, 3e-3);
    }
}

#define CONV_IN "input x f32[?,3,7,6]\nconst w0 f32[6,3,1,1]\nc = Conv(x, w0)\n"
/* Scores from [N,6,H,W]: means over the picture, then a layer. */
#define HEAD(channels)                                                                             \
    "const wf f32[4," #channels "]\nconst bf f32[4]\n"                                             \
    "p = GlobalAveragePool(y)\nf = Flatten(p)\ns = Gemm(f, wf, bf) {transB=1}\noutput s\n"
/* Scores from everything, one weight each. */
#define ALL(numbers)                                                                               \
    "const wf f32[3," #numbers "]\nf = Flatten(y)\ns = Gemm(f, wf) {transB=1}\noutput s\n"

static void conv_has_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "const w f32[5,6,3,3]\nconst b f32[5]\n"
                  "y = Conv(c, w, b) {pads=[1,1,1,1]}\n" ALL(210));
    check(CONV_IN "const w f32[4,6,3,2]\ny = Conv(c, w)\n" ALL(100));
    check(CONV_IN "const w f32[20,6,1,1]\ny = Conv(c, w)\n" HEAD(20));
}

static void strided_and_dilated_conv_has_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "const w f32[4,6,3,3]\ny = Conv(c, w) {strides=[2,2], pads=[0,0,1,1]}\n" ALL(36));
    check(CONV_IN "const w f32[4,6,3,3]\ny = Conv(c, w) {strides=[2,3], pads=[1,1,1,1]}\n" ALL(32));
    check(CONV_IN "const w f32[4,6,1,1]\ny = Conv(c, w) {strides=[2,2]}\n" ALL(48));
    check(CONV_IN
          "const w f32[4,6,3,2]\ny = Conv(c, w) {dilations=[2,3], pads=[2,1,2,1]}\n" ALL(140));
    check(CONV_IN "const w f32[4,6,1,1]\ny = Conv(c, w) {pads=[1,2,0,1]}\n" ALL(288));
    check(CONV_IN "const w f32[4,6,3,3]\n"
                  "y = Conv(c, w) {strides=[3,2], dilations=[2,1], pads=[3,0,1,2]}\n" ALL(36));
}

static void grouped_conv_has_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "const w f32[4,3,3,3]\ny = Conv(c, w) {group=2, pads=[1,1,1,1]}\n" ALL(168));
    check(CONV_IN "const w f32[12,1,3,3]\ny = Conv(c, w) {group=6, pads=[1,1,1,1]}\n" HEAD(12));
    check(CONV_IN "const w f32[6,2,1,1]\ny = Conv(c, w) {group=3}\n" HEAD(6));
}

static void depthwise_conv_has_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "const w f32[6,1,3,3]\nconst b f32[6]\n"
                  "y = Conv(c, w, b) {group=6, pads=[1,1,1,1]}\n" ALL(252));
    check(CONV_IN "const w f32[6,1,3,3]\n"
                  "y = Conv(c, w) {group=6, strides=[2,2], pads=[0,0,1,1]}\n" ALL(54));
    check(CONV_IN
          "const w f32[6,1,5,3]\n"
          "y = Conv(c, w) {group=6, strides=[1,2], dilations=[1,2], pads=[2,2,2,2]}\n" ALL(126));
}

static void batch_norm_has_right_gradients(void **state)
{
    (void)state;
#define NORM(c)                                                                                    \
    "const a f32[" #c "]\nconst h f32[" #c "]\nconst m f32[" #c "]\nconst v f32[" #c "] "          \
                                                                                     "positive\n"
    check(CONV_IN NORM(6) "y = BatchNormalization(c, a, h, m, v)\n" ALL(252));
    check(CONV_IN NORM(6) "n = BatchNormalization(c, a, h, m, v)\ny = Relu(n)\n" ALL(252));
    check(CONV_IN NORM(6) "n = BatchNormalization(c, a, h, m, v)\nd = Add(n, c)\ny = Relu(d)\n" ALL(
        252));
    check(CONV_IN NORM(6) "const lo f32[] = -0.5\nconst hi f32[] = 0.7\n"
                          "n = BatchNormalization(c, a, h, m, v)\nd = Add(c, n)\n"
                          "y = Clip(d, lo, hi)\n" ALL(252));
    /* read twice, so that nothing may be taken in */
    check(CONV_IN NORM(6) "n = BatchNormalization(c, a, h, m, v)\nr = Relu(n)\ny = Add(n, r)\n" ALL(
        252));
    check("input x f32[?,7]\nconst w f32[6,7]\nc = Gemm(x, w) {transB=1}\n" NORM(
        6) "y = BatchNormalization(c, a, h, m, v)\n" ALL(6));
    LedgeTrainOptions o;
    ledge__train_options_default(&o);
    o.batch = 5;
    o.keep_norms = true;
    check_options(CONV_IN NORM(6) "n = BatchNormalization(c, a, h, m, v)\ny = Relu(n)\n" ALL(252),
                  &o, 3e-3);
}

static void activations_have_right_gradients(void **state)
{
    (void)state;
    static const char *const ops[] = {"Relu(c)",
                                      "HardSwish(c)",
                                      "Sigmoid(c)",
                                      "Tanh(c)",
                                      "HardSigmoid(c) {alpha=0.3, beta=0.4}",
                                      "Erf(c)",
                                      "LeakyRelu(c) {alpha=0.2}",
                                      "Clip(c, lo, hi)"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        char text[600];
        snprintf(text, sizeof text,
                 "opset 14\n%sconst lo f32[] = -0.4\nconst hi f32[] = 0.6\n"
                 "y = %s\n%s",
                 CONV_IN, ops[i], ALL(252));
        check(text);
    }
    check("opset 20\n" CONV_IN "y = Gelu(c)\n" ALL(252));
    check("opset 20\n" CONV_IN "y = Gelu(c) {approximate=\"tanh\"}\n" ALL(252));
}

static void pairs_have_right_gradients(void **state)
{
    (void)state;
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
    static const char *const shapes[] = {"1,6,1,1", "6,7,6", "6,1,1", "6", "1,6,7,6", "7,1"};
    for (size_t i = 0; i < 4; i++) {
        char text[900];
        for (size_t k = 0; k < 6; k++) {
            snprintf(text, sizeof text, "%sconst k f32[%s] positive\ny = %s(c, k)\n%s", CONV_IN,
                     shapes[k], ops[i], ALL(252));
            check(text);
        }
        snprintf(text, sizeof text,
                 "%sconst w f32[6,3,1,1]\nconst k f32[6] positive\n"
                 "d = Conv(x, w)\nq = Sigmoid(d)\ny = %s(c, q)\n%s",
                 CONV_IN, ops[i], ALL(252));
        check(text);
    }
    check(CONV_IN "y = Add(c, c)\n" ALL(252));
    check(CONV_IN "y = Mul(c, c)\n" ALL(252));
    check(CONV_IN "p = GlobalAveragePool(c)\nq = Sigmoid(p)\ny = Mul(c, q)\n" ALL(252));
    check(CONV_IN "p = GlobalAveragePool(c)\nq = Sigmoid(p)\ny = Add(q, c)\n" ALL(252));
}

static void moves_have_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "r = Sigmoid(c)\ny = Concat(c, r, c) {axis=1}\n" ALL(756));
    check(CONV_IN "y = Concat(c, c) {axis=-1}\n" ALL(504));
    check(CONV_IN "const b i64[2] = 0,1\nconst e i64[2] = 7,6\nconst a i64[2] = 2,3\n"
                  "const t i64[2] = 2,3\ny = Slice(c, b, e, a, t)\n" ALL(48));
    check(CONV_IN "const b i64[1] = -1\nconst e i64[1] = -9\nconst a i64[1] = 1\n"
                  "const t i64[1] = -2\ny = Slice(c, b, e, a, t)\n" ALL(126));
    check(CONV_IN
          "const q i64[8] = 0,1,0,2,0,2,1,0\nconst z f32[] = 0.5\ny = Pad(c, q, z)\n" ALL(576));
    check(CONV_IN "t = Transpose(c) {perm=[0,3,1,2]}\nr = Sigmoid(t)\n"
                  "const k f32[7]\nm = Mul(r, k)\ny = Identity(m)\n" ALL(252));
    check(CONV_IN "const k i64[3] = 0,-1,6\nr = Reshape(c, k)\nt = Tanh(r)\n"
                  "y = Dropout(t)\n" ALL(252));
}

static void pools_have_right_gradients(void **state)
{
    (void)state;
    check(CONV_IN "y = MaxPool(c) {kernel_shape=[2,2], strides=[2,2]}\n" ALL(54));
    check(CONV_IN "y = MaxPool(c) {kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]}\n" ALL(72));
    check(CONV_IN "y = MaxPool(c) {kernel_shape=[3,2], strides=[2,2], ceil_mode=1}\n" ALL(54));
    check(CONV_IN
          "y = AveragePool(c) {kernel_shape=[3,3], strides=[2,1], pads=[1,0,1,1]}\n" ALL(120));
    check(
        CONV_IN
        "y = AveragePool(c) {kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1}\n" ALL(252));
    check(CONV_IN "r = ReduceMean(c) {axes=[2,3], keepdims=0}\ny = Tanh(r)\n" ALL(6));
    check(CONV_IN "r = ReduceMean(c) {axes=[1], keepdims=1}\ny = Tanh(r)\n" ALL(42));
}

static void products_have_right_gradients(void **state)
{
    (void)state;
    check(
        "input x f32[?,9]\nconst w f32[9,6]\nconst b f32[6]\nc = Gemm(x, w, b)\ny = Tanh(c)\n" ALL(
            6));
    check("input x f32[?,5,9]\nconst w f32[9,6]\nconst b f32[6]\nm = MatMul(x, w)\n"
          "c = Add(m, b)\ny = Tanh(c)\n" ALL(30));
    check("input x f32[?,5,9]\nconst w f32[9,6]\nconst u f32[9,6]\nq = MatMul(x, w)\n"
          "k = MatMul(x, u)\nt = Transpose(k) {perm=[0,2,1]}\na = MatMul(q, t)\n"
          "h = Softmax(a) {axis=-1}\ny = MatMul(h, q)\n" ALL(30));
}

static void row_norms_have_right_gradients(void **state)
{
    (void)state;
    check("opset 17\ninput x f32[?,5,9]\nconst w f32[9,6]\nconst a f32[6]\nconst b f32[6]\n"
          "m = MatMul(x, w)\ny = LayerNormalization(m, a, b) {axis=-1}\n" ALL(30));
    check("opset 17\ninput x f32[?,5,9]\nconst w f32[9,6]\nconst a f32[5,6]\n"
          "m = MatMul(x, w)\ny = LayerNormalization(m, a) {axis=1}\n" ALL(30));
    check(
        "input x f32[?,9]\nconst w f32[9,6]\nm = MatMul(x, w)\ny = Softmax(m) {axis=-1}\n" ALL(6));
}

/* A value read by several nodes gets the sum of their gradients, whoever comes first. */
static void shared_values_sum_their_gradients(void **state)
{
    (void)state;
    check(CONV_IN
          "const w f32[6,6,3,3]\na = Conv(c, w) {pads=[1,1,1,1]}\n"
          "b = Conv(a, w) {pads=[1,1,1,1]}\nd = Add(a, b)\ne = Relu(d)\ny = Add(e, c)\n" ALL(252));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_has_right_gradients),
        cmocka_unit_test(strided_and_dilated_conv_has_right_gradients),
        cmocka_unit_test(grouped_conv_has_right_gradients),
        cmocka_unit_test(depthwise_conv_has_right_gradients),
        cmocka_unit_test(batch_norm_has_right_gradients),
        cmocka_unit_test(activations_have_right_gradients),
        cmocka_unit_test(pairs_have_right_gradients),
        cmocka_unit_test(moves_have_right_gradients),
        cmocka_unit_test(pools_have_right_gradients),
        cmocka_unit_test(products_have_right_gradients),
        cmocka_unit_test(row_norms_have_right_gradients),
        cmocka_unit_test(shared_values_sum_their_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
