/* Whole training steps against PyTorch: losses and all numbers of the model after four steps by
 * each recipe of tests/data/train/make_train_data.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "compress/train/train_internal.h"
#include "image/npy.h"

#define DATA LEDGE_SOURCE_ROOT "/tests/data/train/"

typedef struct File {
    OnnxModel *model;
    LedgeGraph *graph;
} File;

static void open_file(const char *path, File *f)
{
    LedgeError err = {0};
    if (ledge__onnx_read_file(ledge__allocator_or_default(NULL), path, &err, &f->model) ||
        ledge__graph_build(ledge__allocator_or_default(NULL), f->model, &err, &f->graph))
        fail_msg("%s: %s", path, err.message);
}

static void close_file(File *f)
{
    ledge__graph_free(f->graph);
    ledge__onnx_free(f->model);
}

static void load(const char *name, LedgeTensor *t)
{
    char path[512];
    LedgeError err = {0};
    snprintf(path, sizeof path, DATA "%s.npy", name);
    if (ledge__npy_load(NULL, path, &err, t))
        fail_msg("%s: %s", path, err.message);
}

/* The batch, [N,C,H,W] in the file, as the trainer's input lies. */
static void show(Trainer *t, const LedgeTensor *batch, const LedgeTensor *labels)
{
    const size_t c = (size_t)batch->dims[1], area = (size_t)(batch->dims[2] * batch->dims[3]);
    const float *x = batch->data;
    for (size_t n = 0; n < t->o.batch; n++) {
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < area; p++)
                t->input->data[(n * area + p) * c + k] = x[(n * c + k) * area + p];
        t->label_a[n] = t->label_b[n] = ((const int32_t *)labels->data)[n];
        t->mix[n] = 1;
    }
    t->used = t->o.batch;
}

static void compare(Trainer *t, const char *recipe, double bound)
{
    char path[512];
    File after;
    double worst = 0;
    snprintf(path, sizeof path, DATA "after_%s.onnx", recipe);
    open_file(path, &after);
    assert_int_equal(t->n_params, 4 * 4 + 8); /* four norms, five convolutions, a bias, the head */
    for (size_t i = 0; i < t->n_params; i++) {
        const TrainValue *v = t->params[i];
        const LedgeValue *want = ledge__value_find(after.graph, v->name);
        assert_non_null(want);
        for (size_t k = 0; k < v->count; k++) {
            const double d = fabs((double)v->data[k] - ledge__value_as_double(want, (int64_t)k));
            worst = fmax(worst, d);
            if (d > bound)
                fail_msg("%s: %s[%zu] is %.7f and should be %.7f", recipe, v->name, k,
                         (double)v->data[k], ledge__value_as_double(want, (int64_t)k));
        }
    }
    print_message("%s: within %.2e\n", recipe, worst);
    close_file(&after);
}

static void run(const char *recipe, const LedgeTrainOptions *o, bool taught, double bound)
{
    File f;
    LedgeError err = {0};
    LedgeTensor batch, labels, scores, losses;
    LedgeTrainer *t = NULL;
    char name[64];
    snprintf(name, sizeof name, "losses_%s", recipe);
    load("batch", &batch);
    load("labels", &labels);
    load("taught", &scores);
    load(name, &losses);
    open_file(DATA "start.onnx", &f);
    if (ledge__trainer_new(f.graph, o, &err, &t))
        fail_msg("%s: %s", err.where, err.message);
    t->training = t->learning = true;
    t->taught = taught ? scores.data : NULL;
    for (int64_t step = 0; step < losses.dims[0]; step++) {
        size_t right, labelled;
        show(t, &batch, &labels);
        ledge__train_forward(t);
        const double loss = ledge__train_loss(t, true, &right, &labelled);
        assert_int_equal(labelled, o->batch);
        assert_true(fabs(loss - (double)((const float *)losses.data)[step]) < 2e-5);
        ledge__train_backward(t);
        ledge__train_update(t, o->rate, ledge__train_gradient_norm(t));
    }
    compare(t, recipe, bound);
    ledge__trainer_free(t);
    close_file(&f);
    ledge__npy_free(NULL, &batch);
    ledge__npy_free(NULL, &labels);
    ledge__npy_free(NULL, &scores);
    ledge__npy_free(NULL, &losses);
}

static LedgeTrainOptions options(double rate, double decay)
{
    LedgeTrainOptions o;
    ledge__train_options_default(&o);
    o.batch = 12;
    o.threads = 2;
    o.rate = rate;
    o.weight_decay = decay;
    return o;
}

static void sgd_steps_are_those_of_pytorch(void **state)
{
    (void)state;
    const LedgeTrainOptions o = options(0.1, 5e-3);
    run("sgd", &o, false, 2e-6);
}

static void nesterov_steps_with_smoothing_and_clipping_are_those_of_pytorch(void **state)
{
    (void)state;
    LedgeTrainOptions o = options(0.05, 1e-3);
    o.momentum = 0.8;
    o.nesterov = true;
    o.label_smoothing = 0.1;
    o.clip = 0.5;
    run("nesterov", &o, false, 2e-6);
}

static void adamw_steps_are_those_of_pytorch(void **state)
{
    (void)state;
    LedgeTrainOptions o = options(0.003, 0.05);
    o.optimizer = LEDGE_TRAIN_ADAMW;
    o.beta2 = 0.99;
    /* where a gradient is little more than rounding, a weight still moves by the whole rate */
    run("adamw", &o, false, 2e-5);
}

static void distillation_steps_are_those_of_pytorch(void **state)
{
    (void)state;
    LedgeTrainOptions o = options(0.05, 0);
    o.alpha = 0.7;
    o.temperature = 4;
    run("distill", &o, true, 2e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_steps_are_those_of_pytorch),
        cmocka_unit_test(nesterov_steps_with_smoothing_and_clipping_are_those_of_pytorch),
        cmocka_unit_test(adamw_steps_are_those_of_pytorch),
        cmocka_unit_test(distillation_steps_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
