/* Fake quantization: what is rounded how, which gradients pass, and that the quantized model that
 * is written answers as training saw it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "compress/distill/student.h"
#include "compress/quantize/quant_finetune.h"
#include "compress/train/train_internal.h"
#include "graph_from_text.h"

static const char text[] = "input x f32[?,9]\nconst w f32[6,9]\nconst u f32[3,6]\n"
                           "c = Gemm(x, w) {transB=1}\ns = Gemm(c, u) {transB=1}\noutput s\n";

typedef struct Fixture {
    LedgeGraph *g;
    LedgeTrainer *t;
} Fixture;

/* The middle value is rounded by `scale`, to -20 … 20. */
static void open_case(Fixture *f, float scale)
{
    LedgeError err = {0};
    LedgeTrainOptions o;
    f->g = graph_from_text(text);
    const LedgeTrainFake fake = {.value = ledge__value_find(f->g, "c"),
                                 .scales = &scale,
                                 .channels = 1,
                                 .inner = 1,
                                 .low = -20,
                                 .high = 20,
                                 .group = 1};
    ledge__train_options_default(&o);
    o.batch = 4;
    o.threads = 1;
    o.fakes = &fake;
    o.n_fakes = 1;
    if (ledge__trainer_new(f->g, &o, &err, &f->t))
        fail_msg("%s", err.message);
    f->t->o.fakes = NULL; /* the trainer has its own copy */
    f->t->training = true;
}

static void close_case(Fixture *f)
{
    ledge__trainer_free(f->t);
    ledge__graph_free(f->g);
}

static double value_of(LedgeTrainer *t)
{
    uint64_t state = 3;
    double sum = 0;
    for (size_t i = 0; i < t->input->count; i++)
        t->input->data[i] = (float)(2 * ledge__train_uniform(&state) - 1);
    ledge__train_forward(t);
    for (size_t i = 0; i < t->scores->count; i++)
        sum += cos((double)i) * (double)t->scores->data[i];
    return sum;
}

static TrainValue *param(LedgeTrainer *t, const char *name)
{
    for (size_t i = 0; i < t->n_params; i++)
        if (strcmp(t->params[i]->name, name) == 0)
            return t->params[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static void backward(LedgeTrainer *t)
{
    value_of(t);
    for (size_t i = 0; i < t->scores->count; i++)
        t->scores->grad[i] = (float)cos((double)i);
    ledge__train_backward(t);
}

/* With so small a scale everything is cut off: the result is a line in the scale. */
static void scale_of_cut_off_values_has_the_true_gradient(void **state)
{
    (void)state;
    Fixture f;
    open_case(&f, 1e-4f);
    backward(f.t);
    TrainValue *s = param(f.t, "c (scale)");
    const double g = (double)s->grad[0] * sqrt(4 * 6 * 20.0), at = 1e-4;
    s->data[0] = (float)(1.1 * at);
    const double up = value_of(f.t);
    s->data[0] = (float)(0.9 * at);
    const double d = (up - value_of(f.t)) / (0.2 * at);
    assert_true(fabs(d) > 1 && fabs(g - d) < 1e-2 * fabs(d));
    for (size_t i = 0; i < param(f.t, "w")->count; i++) /* and nothing passes */
        assert_true(param(f.t, "w")->grad[i] == 0);
    close_case(&f);
}

/* With a fine scale that cuts nothing off gradients are almost those without rounding. */
static void gradients_pass_straight_through_the_rounding(void **state)
{
    (void)state;
    Fixture f;
    open_case(&f, 0.5f);
    backward(f.t);
    LedgeError err = {0};
    LedgeTrainer *plain = NULL;
    LedgeTrainOptions o = f.t->o;
    o.n_fakes = 0;
    LedgeGraph *g = graph_from_text(text);
    assert_int_equal(ledge__trainer_new(g, &o, &err, &plain), 0);
    plain->training = true;
    backward(plain);
    const TrainValue *a = param(f.t, "w"), *b = param(plain, "w");
    for (size_t i = 0; i < a->count; i++)
        assert_true(fabsf(a->grad[i] - b->grad[i]) < 1e-5f);
    ledge__trainer_free(plain);
    ledge__graph_free(g);
    close_case(&f);
}

/* ---- with the quantizer ---- */

enum { SIDE = 12 };

static void fill(float *x, uint64_t seed)
{
    for (size_t i = 0; i < 3 * SIDE * SIDE; i++)
        x[i] = (float)(2 * ledge__train_uniform(&seed) - 1);
}

static void make_student(const char *path)
{
    LedgeError err = {0};
    LedgeStudent s;
    LedgeTrainer *t = NULL;
    LedgeTrainOptions o;
    ledge__train_options_default(&o);
    o.batch = 8;
    o.threads = 1;
    assert_int_equal(
        ledge__student_build(NULL, "resnet8", &(LedgeStudentShape){3, SIDE, SIDE, 4}, &err, &s), 0);
    assert_int_equal(ledge__trainer_new(s.graph, &o, &err, &t), 0);
    ledge__trainer_init(t);
    assert_int_equal(ledge__trainer_write(t, &err), 0);
    assert_int_equal(ledge__student_save(&s, path, &err), 0);
    ledge__trainer_free(t);
    ledge__student_free(&s);
}

static void observe(LedgeQuantizer *q)
{
    LedgeError err = {0};
    float x[3 * SIDE * SIDE];
    assert_int_equal(ledge__quantizer_observe_start(q, &err), 0);
    for (uint64_t i = 0; i < 16; i++) {
        const LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, SIDE, SIDE}, x, sizeof x};
        fill(x, i);
        assert_int_equal(ledge__quantizer_observe(q, &in, 1, &err, NULL), 0);
    }
    ledge__quantizer_observe_end(q);
    assert_int_equal(ledge__quantizer_ranges(q, &err), 0);
}

/* Some steps towards random classes, so that weights and scales have moved. */
static void train_some(LedgeTrainer *t)
{
    for (int step = 0; step < 5; step++) {
        size_t right, labelled;
        uint64_t state = (uint64_t)step;
        for (size_t i = 0; i < t->input->count; i++)
            t->input->data[i] = (float)(2 * ledge__train_uniform(&state) - 1);
        for (size_t i = 0; i < t->o.batch; i++) {
            t->label_a[i] = t->label_b[i] = (int32_t)(i % 4);
            t->mix[i] = 1;
        }
        t->used = t->o.batch;
        ledge__train_forward(t);
        ledge__train_loss(t, true, &right, &labelled);
        ledge__train_backward(t);
        ledge__train_update(t, 0.02, ledge__train_gradient_norm(t));
    }
}

/* Biases that are integers too round a little, and near the middle between two integers an
 * activation then falls on the other one; with float biases nothing differs but sums' rounding. */
static void compare(LedgeTrainer *t, LedgeQuantizer *q)
{
    const bool float_bias = q->o.target == LEDGE_QUANT_TENSORRT;
    const LedgeModelOptions as_written = {.no_optimize = true};
    LedgeError err = {0};
    LedgeArena *arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    OnnxModel *built = NULL;
    void *bytes;
    size_t size;
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    float x[3 * SIDE * SIDE];
    assert_int_equal(ledge__quantizer_correct_bias(q, &err), 0);
    assert_int_equal(ledge__quantizer_build(q, arena, &err, &built), 0);
    assert_int_equal(ledge__onnx_write_memory(built, q->allocator, &bytes, &size, &err), 0);
    assert_int_equal(ledge_model_load_memory(bytes, size, &as_written, &err, &m), 0);
    assert_int_equal(ledge_session_create(m, NULL, &err, &s), 0);
    double error = 0, power = 0;
    for (uint64_t i = 0; i < 8; i++) {
        LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, SIDE, SIDE}, x, sizeof x}, out = {0};
        fill(x, 100 + i);
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), 0);
        memset(t->input->data, 0, t->input->count * sizeof(float));
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < SIDE * SIDE; p++)
                t->input->data[p * 3 + c] = x[c * SIDE * SIDE + p];
        ledge__train_forward(t);
        ledge__train_restore_weights(t, false);
        for (size_t k = 0; k < 4; k++) {
            const double d = (double)((float *)out.data)[k] - (double)t->scores->data[k];
            error += d * d;
            power += (double)t->scores->data[k] * (double)t->scores->data[k];
        }
    }
    print_message("%s biases: error %.1e\n", float_bias ? "float" : "integer", error / power);
    assert_true(power > 0 && error < (float_bias ? 1e-9 : 2e-3) * power);
    ledge_session_free(s);
    ledge_model_free(m);
    ledge__free(q->allocator, bytes);
    ledge__arena_free(arena);
}

static void written_model_answers_as_training_saw_it(void **state)
{
    (void)state;
    for (int target = LEDGE_QUANT_CPU; target <= LEDGE_QUANT_NPU; target++) {
        char path[] = "/tmp/ledge-fake-XXXXXX";
        LedgeError err = {0};
        LedgeQuantizer *q = NULL;
        LedgeTrainFake *fakes;
        LedgeTrainer *t = NULL;
        LedgeTrainOptions o;
        const LedgeQuantOptions qo = {
            .percentile = 99.99, .block = 32, .threads = 1, .target = (LedgeQuantTarget)target};
        const int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        make_student(path);
        assert_int_equal(ledge__quantizer_open(path, &qo, &err, &q), 0);
        ledge__train_options_default(&o);
        assert_int_equal(ledge__quant_fakes(q, &err, &fakes, &o.n_fakes), LEDGE_ERROR_ARGUMENT);
        observe(q);
        assert_int_equal(ledge__quant_fakes(q, &err, &fakes, &o.n_fakes), 0);
        assert_true(o.n_fakes > 15);
        o.fakes = fakes;
        o.batch = 8;
        o.threads = 1;
        if (ledge__trainer_new(q->graph, &o, &err, &t))
            fail_msg("%s: %s", err.where, err.message);
        const float before = fakes[0].scales[0];
        train_some(t);
        assert_int_equal(ledge__quant_take_trained(q, t, fakes, o.n_fakes, &err), 0);
        bool moved = false;
        for (size_t i = 0; i < o.n_fakes; i++) {
            float scales[64];
            assert_true(fakes[i].channels <= 64 && ledge__trainer_scales(t, i, scales));
            moved |= scales[0] != before;
        }
        assert_true(moved);
        compare(t, q);
        ledge__trainer_free(t);
        ledge__quantizer_free(q);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_of_cut_off_values_has_the_true_gradient),
        cmocka_unit_test(gradients_pass_straight_through_the_rounding),
        cmocka_unit_test(written_model_answers_as_training_saw_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
