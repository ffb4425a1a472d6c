/* Times training steps (forward, loss, backward, update) of a model on random pictures:
 *
 *   bench_train MODEL BATCH STEPS THREADS
 *
 * prints the best and the median milliseconds of a step and pictures a second; with PROFILE set
 * also each step's milliseconds of CPU time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "compress/train/train_internal.h"
#include "timing.h"

/* Of all threads: what a step costs on a machine that does other things too. */
static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int fail(const LedgeError *err)
{
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    return 1;
}

static double one_step(LedgeTrainer *t, bool profile)
{
    size_t right, labelled;
    const double start = now_ms();
    t->training = t->learning = true;
    ledge__train_forward(t);
    const double forward = now_ms();
    ledge__train_loss(t, true, &right, &labelled);
    ledge__train_backward(t);
    const double backward = now_ms();
    ledge__train_update(t, 1e-4, ledge__train_gradient_norm(t));
    const double end = now_ms();
    if (profile)
        printf("forward %.1f ms, backward %.1f ms, update %.1f ms\n", forward - start,
               backward - forward, end - backward);
    return end - start;
}

static void profile(LedgeTrainer *t)
{
    for (size_t i = 0; i < t->n_steps; i++) {
        TrainStep *s = t->steps[i];
        double forward = INFINITY;
        for (int k = 0; k < 3; k++) {
            const double start = cpu_now();
            s->op->forward(t, s);
            forward = fmin(forward, cpu_now() - start);
        }
        printf("%-24s %-20s forward %7.3f", s->name, s->op->name, forward);
        double backward = INFINITY;
        for (int k = 0; s->backward && k < 3; k++) {
            const double start = cpu_now();
            s->op->backward(t, s);
            backward = fmin(backward, cpu_now() - start);
        }
        printf("  backward %7.3f\n", backward);
    }
}

static int bench(LedgeTrainer *t, int steps)
{
    double *ms = calloc((size_t)steps, sizeof *ms);
    uint64_t state = 1;
    if (!ms)
        return 1;
    t->used = t->o.batch;
    for (size_t i = 0; i < t->input->count; i++)
        t->input->data[i] = (float)(2 * ledge__train_uniform(&state) - 1);
    for (size_t i = 0; i < t->o.batch; i++) {
        t->label_a[i] = (int32_t)(i % (size_t)ledge__trainer_classes(t));
        t->mix[i] = 1;
    }
    for (int i = 0; i < steps; i++)
        ms[i] = one_step(t, i + 1 == steps);
    qsort(ms, (size_t)steps, sizeof *ms, by_value);
    printf("batch %zu: best %.1f ms, median %.1f ms a step, %.0f pictures/s; %zu MB\n", t->o.batch,
           ms[0], ms[steps / 2], 1e3 * (double)t->o.batch / ms[0],
           (t->memory_bytes + t->scratch_bytes) >> 20);
    free(ms);
    if (getenv("PROFILE"))
        profile(t);
    return 0;
}

int main(int argc, char **argv)
{
    LedgeError err = {0};
    OnnxModel *model = NULL;
    LedgeGraph *g = NULL;
    LedgeTrainer *t = NULL;
    LedgeTrainOptions o;
    if (argc != 5)
        return 2;
    ledge__train_options_default(&o);
    o.batch = (size_t)atoi(argv[2]);
    o.threads = atoi(argv[4]);
    if (ledge__onnx_read_file(ledge__allocator_or_default(NULL), argv[1], &err, &model) ||
        ledge__graph_build(ledge__allocator_or_default(NULL), model, &err, &g) ||
        ledge__trainer_new(g, &o, &err, &t))
        return fail(&err);
    t->steps_per_epoch = 1000;
    const int code = bench(t, atoi(argv[3]));
    ledge__trainer_free(t);
    ledge__graph_free(g);
    ledge__onnx_free(model);
    return code;
}
