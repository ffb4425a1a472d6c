/* The loops over batches: training, measuring, gradients alone. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "compress/train/train_internal.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- a loss that is no number ---- */

static bool all_finite(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * 0; /* NaN for infinities and NaN */
    return sum == 0;
}

/* The first step, or parameter, that the trouble shows in. */
static const char *find_trouble(Trainer *t, const char **kind)
{
    for (size_t i = 0; i < t->n_params; i++)
        if (!all_finite(t->params[i]->data, t->params[i]->count)) {
            *kind = "parameter";
            return t->params[i]->name;
        }
    for (size_t i = 0; i < t->n_steps; i++) {
        t->steps[i]->op->forward(t, t->steps[i]);
        if (!all_finite(t->steps[i]->out->data, t->steps[i]->out->count)) {
            *kind = t->steps[i]->kind;
            return t->steps[i]->name;
        }
    }
    for (size_t i = t->n_params; i-- > 0;)
        if (t->params[i]->grad && !all_finite(t->params[i]->grad, t->params[i]->count)) {
            *kind = "gradient";
            return t->params[i]->name;
        }
    *kind = "loss";
    return t->scores->name;
}

static LedgeStatus went_wrong(Trainer *t, LedgeError *err)
{
    const char *kind, *where;
    t->learning = false;
    ledge__train_restore_weights(t, false);
    where = find_trouble(t, &kind);
    const uint64_t step = t->place.steps;
    ledge__train_state(t, t->good, true);
    t->place = t->good_place;
    return ledge__fail(err, LEDGE_ERROR_RUNTIME, where,
                       "the loss is no finite number in step %llu, and this layer (%s) is where it "
                       "begins; what the last good epoch reached (step %llu) is kept; try a lower "
                       "learning rate, or --clip",
                       (unsigned long long)step, kind, (unsigned long long)t->place.steps);
}

/* ---- training ---- */

static LedgeStatus check_data(Trainer *t, const LedgeTrainData *data, LedgeError *err)
{
    const size_t n = ledge__train_data_count(data);
    LEDGE_TRY(ledge__train_data_check(data, ledge__trainer_classes(t), err));
    if (n < t->o.batch)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                           "%zu samples are too few for batches of %zu; give more data or a "
                           "smaller batch",
                           n, t->o.batch);
    if (!t->teacher && ledge__train_data_labelled(data) == 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                           "the samples have no labels; without a teacher there is nothing to "
                           "learn from them");
    t->steps_per_epoch = n / t->o.batch;
    return LEDGE_OK;
}

static LedgeStatus train_step(Trainer *t, LedgeError *err)
{
    size_t right, labelled;
    if (t->teacher)
        LEDGE_TRY(ledge__train_teach(t, err));
    ledge__train_forward(t);
    const double loss = ledge__train_loss(t, true, &right, &labelled);
    if (!isfinite(loss))
        return went_wrong(t, err);
    ledge__train_backward(t);
    const double norm = ledge__train_gradient_norm(t);
    if (!isfinite(norm))
        return went_wrong(t, err);
    ledge__train_update(t, ledge__train_rate(t), norm);
    t->place.loss += loss;
    t->place.right += right;
    t->place.labelled += labelled;
    t->place.seen++;
    t->place.steps++;
    return LEDGE_OK;
}

typedef struct Run {
    LedgeTrainProgressFn progress;
    void *arg;
    double start;
    uint64_t first, total;
} Run;

/* Tells how it stands; at the end of an epoch its sums begin anew, so that a checkpoint made by
 * whoever is told goes on with the next one. */
static bool report(Trainer *t, const Run *r, size_t epoch, bool epoch_end)
{
    const double seconds = now() - r->start, done = (double)(t->place.steps - r->first);
    const double seen = (double)t->place.seen;
    const LedgeTrainProgress p = {
        .epoch = epoch,
        .epochs = (size_t)ceil(t->o.epochs),
        .step = (size_t)t->place.seen,
        .steps = t->steps_per_epoch,
        .done = t->place.steps,
        .total = r->total,
        .loss = seen > 0 ? t->place.loss / seen : NAN,
        .accuracy = t->place.labelled ? (double)t->place.right / (double)t->place.labelled : NAN,
        .rate = ledge__train_rate(t),
        .seconds = seconds,
        .seconds_left = done > 0 ? seconds / done * (double)(r->total - t->place.steps) : NAN,
        .epoch_end = epoch_end};
    if (epoch_end)
        t->place = (TrainPlace){.steps = t->place.steps, .updates = t->place.updates};
    return !r->progress || r->progress(r->arg, &p);
}

static LedgeStatus cancelled(LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_CANCELLED, "", "training was interrupted");
}

static LedgeStatus run_epoch(Trainer *t, const LedgeTrainData *data, const Run *r, uint32_t *order,
                             LedgeError *err)
{
    const size_t epoch = (size_t)(t->place.steps / t->steps_per_epoch);
    size_t step = (size_t)(t->place.steps % t->steps_per_epoch);
    ledge__train_shuffle(order, ledge__train_data_count(data), t->o.seed, epoch);
    while (step < t->steps_per_epoch && t->place.steps < r->total) {
        const size_t at = step * t->o.batch;
        LEDGE_TRY(ledge__train_batch(t, data, order + at, t->o.batch, true, epoch, at, err));
        LEDGE_TRY(train_step(t, err));
        step++;
        const bool end = step == t->steps_per_epoch || t->place.steps == r->total;
        if (!report(t, r, epoch, end) && t->place.steps < r->total)
            return cancelled(err);
    }
    ledge__train_state(t, t->good, false);
    t->good_place = t->place;
    return LEDGE_OK;
}

LedgeStatus ledge__trainer_run(LedgeTrainer *t, const LedgeTrainData *data,
                               LedgeTrainProgressFn progress, void *arg, LedgeError *err)
{
    LEDGE_TRY(check_data(t, data, err));
    Run r = {.progress = progress, .arg = arg, .start = now(), .first = t->place.steps};
    r.total = (uint64_t)ceil(t->o.epochs * (double)t->steps_per_epoch);
    uint32_t *order = ledge__alloc(t->allocator, ledge__train_data_count(data), sizeof *order);
    if (!order)
        return ledge__no_memory(err);
    LedgeStatus s = LEDGE_OK;
    while (!s && t->place.steps < r.total) {
        t->training = t->learning = true;
        s = run_epoch(t, data, &r, order, err);
    }
    t->training = t->learning = false;
    ledge__free(t->allocator, order);
    return s;
}

/* ---- without learning ---- */

LedgeStatus ledge__trainer_evaluate(LedgeTrainer *t, const LedgeTrainData *data, LedgeError *err,
                                    LedgeTrainScore *out)
{
    const size_t n = ledge__train_data_count(data);
    const double smoothing = t->o.label_smoothing;
    LedgeTrainScore score = {0};
    LEDGE_TRY(ledge__train_data_check(data, ledge__trainer_classes(t), err));
    t->training = t->learning = false;
    LedgeStatus s = LEDGE_OK;
    for (size_t i = 0; i < n && !s; i += t->o.batch) {
        const size_t used = n - i < t->o.batch ? n - i : t->o.batch;
        size_t right, labelled;
        uint32_t *order = t->eval_order;
        for (size_t k = 0; k < used; k++)
            order[k] = (uint32_t)(i + k);
        s = ledge__train_batch(t, data, order, used, false, 0, 0, err);
        if (s)
            break;
        ledge__train_forward(t);
        ledge__train_restore_weights(t, false);
        t->o.label_smoothing = 0;
        score.loss += ledge__train_loss(t, false, &right, &labelled) * (double)used;
        t->o.label_smoothing = smoothing;
        score.correct += right;
        score.samples += labelled;
    }
    score.loss = score.samples ? score.loss / (double)score.samples : NAN;
    if (!s)
        *out = score;
    return s;
}

static LedgeStatus sum_gradients(Trainer *t, const LedgeTrainData *data, size_t batches,
                                 float *sums, LedgeError *err)
{
    for (size_t b = 0; b < batches; b++) {
        size_t right, labelled;
        for (size_t k = 0; k < t->o.batch; k++)
            t->eval_order[k] = (uint32_t)(b * t->o.batch + k);
        LEDGE_TRY(ledge__train_batch(t, data, t->eval_order, t->o.batch, false, 0, 0, err));
        if (t->teacher)
            LEDGE_TRY(ledge__train_teach(t, err));
        ledge__train_forward(t);
        ledge__train_loss(t, true, &right, &labelled);
        ledge__train_backward(t);
        float *to = sums;
        for (size_t i = 0; i < t->n_params; i++)
            for (size_t j = 0; t->params[i]->grad && j < t->params[i]->count; j++)
                *to++ += t->params[i]->grad[j] / (float)batches;
    }
    for (size_t i = 0; i < t->n_params; i++)
        if (t->params[i]->grad) {
            memcpy(t->params[i]->grad, sums, t->params[i]->count * sizeof(float));
            sums += t->params[i]->count;
        }
    return LEDGE_OK;
}

LedgeStatus ledge__trainer_gradients(LedgeTrainer *t, const LedgeTrainData *data, size_t batches,
                                     LedgeError *err)
{
    LEDGE_TRY(check_data(t, data, err));
    if (batches == 0 || batches > t->steps_per_epoch)
        batches = t->steps_per_epoch;
    float *sums = ledge__calloc(t->allocator, (size_t)ledge__trainer_parameters(t), sizeof *sums);
    if (!sums)
        return ledge__no_memory(err);
    t->training = true;
    t->learning = false;
    const LedgeStatus s = sum_gradients(t, data, batches, sums, err);
    t->training = false;
    ledge__free(t->allocator, sums);
    return s;
}
