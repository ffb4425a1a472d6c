/* The trainer as an object: making it from a graph, its parameters, writing them back. */
#include <string.h>

#include "compress/train/train_internal.h"

void ledge__train_options_default(LedgeTrainOptions *o)
{
    *o = (LedgeTrainOptions){.batch = 64,
                             .epochs = 30,
                             .optimizer = LEDGE_TRAIN_SGD,
                             .rate = 0.1,
                             .momentum = 0.9,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .epsilon = 1e-8,
                             .weight_decay = 5e-4,
                             .schedule = LEDGE_TRAIN_COSINE,
                             .step_factor = 0.1,
                             .alpha = 0.7,
                             .temperature = 4,
                             .seed = 1};
}

static LedgeStatus check_options(const LedgeTrainOptions *o, LedgeError *err)
{
    const bool ok = o->batch > 0 && o->batch <= 65536 && o->epochs > 0 && o->epochs < 1e6 &&
                    o->rate > 0 && o->momentum >= 0 && o->momentum < 1 && o->beta1 >= 0 &&
                    o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 && o->epsilon > 0 &&
                    o->weight_decay >= 0 && o->clip >= 0 && o->warmup >= 0 &&
                    o->label_smoothing >= 0 && o->label_smoothing < 1 && o->alpha >= 0 &&
                    o->alpha <= 1 && o->temperature > 0 && o->augment.crop < 4096 &&
                    o->augment.colour >= 0 && o->augment.colour <= 1 && o->augment.mixup >= 0;
    return ok ? LEDGE_OK
              : ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                            "an option of training is out of range (batch, epochs, rate, momentum, "
                            "decay, label smoothing, alpha, temperature or augmentation)");
}

static LedgeStatus make_buffers(Trainer *t, LedgeError *err)
{
    const size_t batch = t->o.batch, classes = (size_t)t->scores->dims[1];
    const size_t threads = (size_t)ledge__pool_threads(t->pool);
    t->pixel_floats = t->frozen ? ledge__train_frozen_floats(t) : t->input->count;
    t->pixels = ledge__arena_aligned(t->arena, t->pixel_floats * sizeof(float));
    t->label_a = ledge__arena_alloc(t->arena, batch, sizeof *t->label_a);
    t->label_b = ledge__arena_alloc(t->arena, batch, sizeof *t->label_b);
    t->mix = ledge__arena_alloc(t->arena, batch, sizeof *t->mix);
    t->loss_room = ledge__arena_alloc(t->arena, threads * 3 * classes, sizeof(double));
    t->sample_losses = ledge__arena_alloc(t->arena, batch, sizeof(double));
    t->sample_right = ledge__arena_alloc(t->arena, batch, 1);
    t->eval_order = ledge__arena_alloc(t->arena, batch, sizeof *t->eval_order);
    t->moment1 = ledge__arena_alloc(t->arena, t->n_params + 1, sizeof(float *));
    t->moment2 = ledge__arena_alloc(t->arena, t->n_params + 1, sizeof(float *));
    bool ok = t->pixels && t->label_a && t->label_b && t->mix && t->loss_room && t->sample_losses &&
              t->sample_right && t->eval_order && t->moment1 && t->moment2;
    for (size_t i = 0; ok && i < t->n_params; i++) {
        const size_t n = t->params[i]->count;
        t->state_floats += n;
        if (!t->params[i]->grad)
            continue;
        t->moment1[i] = ledge__arena_aligned(t->arena, n * sizeof(float));
        t->moment2[i] = ledge__arena_aligned(t->arena, n * sizeof(float));
        t->state_floats += 2 * n;
        ok = t->moment1[i] && t->moment2[i];
    }
    t->good = ok ? ledge__arena_aligned(t->arena, t->state_floats * sizeof(float)) : NULL;
    return t->good ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus make(Trainer *t, LedgeError *err)
{
    LEDGE_TRY(check_options(&t->o, err));
    t->arena = ledge__arena_new(t->allocator);
    if (!t->arena || ledge__pool_new(t->allocator, t->o.threads, &t->pool))
        return ledge__no_memory(err);
    t->cpu = t->o.cpu ? t->o.cpu : ledge__cpu_flags();
    t->vec = ledge__vec(t->cpu);
    t->tv = ledge__train_vec(t->cpu);
    t->k = ledge__f32_kernels(t->cpu);
    t->runner = (LedgeRunner){t->pool, t->cpu};
    LEDGE_TRY(ledge__train_build(t, err));
    if (t->o.freeze)
        LEDGE_TRY(ledge__train_freeze(t, err));
    LEDGE_TRY(ledge__train_plan(t, err));
    LEDGE_TRY(make_buffers(t, err));
    ledge__train_state(t, t->good, false);
    return LEDGE_OK;
}

LedgeStatus ledge__trainer_new(LedgeGraph *g, const LedgeTrainOptions *o, LedgeError *err,
                               LedgeTrainer **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    Trainer *t = ledge__calloc(a, 1, sizeof *t);
    if (!t)
        return ledge__no_memory(err);
    t->allocator = a;
    t->graph = g;
    t->o = *o;
    const LedgeStatus s = make(t, err);
    if (s)
        ledge__trainer_free(t);
    else
        *out = t;
    return s;
}

void ledge__trainer_free(LedgeTrainer *t)
{
    if (!t)
        return;
    ledge__train_teacher_free(t);
    ledge__train_frozen_free(t);
    ledge__free(t->allocator, t->memory);
    ledge__free(t->allocator, t->scratch);
    ledge__pool_free(t->pool);
    ledge__arena_free(t->arena);
    ledge__free(t->allocator, t);
}

/* ---- parameters ---- */

int64_t ledge__trainer_classes(const LedgeTrainer *t)
{
    return t->scores->dims[1];
}

uint64_t ledge__trainer_parameters(const LedgeTrainer *t)
{
    uint64_t n = 0;
    for (size_t i = 0; i < t->n_params; i++)
        n += t->params[i]->grad ? t->params[i]->count : 0;
    return n;
}

size_t ledge__trainer_parameter_count(const LedgeTrainer *t)
{
    return t->n_params;
}

void ledge__trainer_parameter(const LedgeTrainer *t, size_t index, LedgeTrainParameter *out)
{
    const TrainValue *v = t->params[index];
    *out = (LedgeTrainParameter){v->source, v->data, v->grad, v->count};
}

LedgeStatus ledge__trainer_set_mask(LedgeTrainer *t, const LedgeValue *value, const uint8_t *mask,
                                    LedgeError *err)
{
    TrainValue *v = NULL;
    for (size_t i = 0; i < t->n_params; i++)
        if (t->params[i]->source == value && t->params[i]->grad)
            v = t->params[i];
    if (!v)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, value->name,
                           "is no constant that is trained");
    uint8_t *copy = mask ? ledge__arena_alloc(t->arena, v->count, 1) : NULL;
    if (mask && !copy)
        return ledge__no_memory(err);
    if (mask)
        memcpy(copy, mask, v->count);
    for (size_t i = 0; mask && i < v->count; i++)
        if (!copy[i])
            v->data[i] = 0;
    v->mask = copy;
    return LEDGE_OK;
}

LedgeStatus ledge__trainer_write(LedgeTrainer *t, LedgeError *err)
{
    for (size_t i = 0; i < t->n_params; i++) {
        const TrainValue *v = t->params[i];
        if (!v->source)
            continue;
        float *data = ledge__arena_aligned(t->graph->arena, v->count * sizeof(float));
        if (!data)
            return ledge__no_memory(err);
        memcpy(data, v->data, v->count * sizeof(float));
        v->source->t.data = data;
        v->source->t.bytes = v->count * sizeof(float);
    }
    return LEDGE_OK;
}

static void move(float *a, float *b, size_t n, bool back)
{
    memcpy(back ? a : b, back ? b : a, n * sizeof(float));
}

void ledge__train_state(Trainer *t, float *floats, bool restore)
{
    for (size_t i = 0; i < t->n_params; i++) {
        const size_t n = t->params[i]->count;
        move(t->params[i]->data, floats, n, restore);
        floats += n;
        if (!t->params[i]->grad)
            continue;
        move(t->moment1[i], floats, n, restore);
        move(t->moment2[i], floats + n, n, restore);
        floats += 2 * n;
    }
}
