/* The optimisers, and the learning rate along the schedule.
 *
 * SGD: v = momentum v + g + decay w; w -= rate v (Nesterov: rate (g + decay w + momentum v)).
 * AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019. */
#include <math.h>

#include "compress/train/train_internal.h"

enum { GRAIN = 65536 };

double ledge__train_rate(const Trainer *t)
{
    const LedgeTrainOptions *o = &t->o;
    const double pi = 3.14159265358979323846;
    const double epoch = (double)t->place.steps / (double)t->steps_per_epoch;
    const double warm = (double)(t->place.steps + 1) / (double)t->steps_per_epoch;
    if (warm < o->warmup)
        return o->rate * warm / o->warmup;
    if (o->schedule == LEDGE_TRAIN_COSINE) {
        const double span = o->epochs - o->warmup;
        double at = span > 0 ? (epoch - o->warmup) / span : 1;
        at = at < 0 ? 0 : at > 1 ? 1 : at;
        return o->rate * (o->rate_end + (1 - o->rate_end) * 0.5 * (1 + cos(pi * at)));
    }
    double rate = o->rate;
    for (size_t i = 0; o->schedule == LEDGE_TRAIN_STEPS && i < o->n_step_epochs; i++)
        if (epoch >= o->step_epochs[i])
            rate *= o->step_factor;
    return rate;
}

typedef struct UpdateArg {
    const LedgeTrainOptions *o;
    TrainValue *v;
    float *m1, *m2;
    float rate, decay, scale; /* scale: of the gradient, by clipping */
    float c1, c2;             /* AdamW's corrections of bias */
} UpdateArg;

static void update_sgd(const UpdateArg *a, size_t begin, size_t end)
{
    const float momentum = (float)a->o->momentum;
    float *restrict w = a->v->data, *restrict v = a->m1;
    const float *restrict grad = a->v->grad;
    const float keep = a->o->nesterov ? momentum : 0;
    for (size_t i = begin; i < end; i++) {
        const float g = grad[i] * a->scale + a->decay * w[i];
        v[i] = momentum * v[i] + g;
        w[i] -= a->rate * (a->o->nesterov ? g + keep * v[i] : v[i]);
    }
}

static void update_adamw(const UpdateArg *a, size_t begin, size_t end)
{
    const float b1 = (float)a->o->beta1, b2 = (float)a->o->beta2, eps = (float)a->o->epsilon;
    float *restrict w = a->v->data, *restrict m = a->m1, *restrict v = a->m2;
    const float *restrict grad = a->v->grad;
    for (size_t i = begin; i < end; i++) {
        const float g = grad[i] * a->scale;
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        w[i] -= a->rate * (a->decay * w[i] + m[i] * a->c1 / (sqrtf(v[i] * a->c2) + eps));
    }
}

static void update_range(void *arg, size_t begin, size_t end, int thread)
{
    const UpdateArg *a = arg;
    (void)thread;
    if (a->o->optimizer == LEDGE_TRAIN_SGD)
        update_sgd(a, begin, end);
    else
        update_adamw(a, begin, end);
    for (size_t i = begin; a->v->least && i < end; i++)
        if (a->v->data[i] < a->v->least[i])
            a->v->data[i] = a->v->least[i];
    for (size_t i = begin; a->v->mask && i < end; i++)
        if (!a->v->mask[i])
            a->v->data[i] = 0;
}

double ledge__train_gradient_norm(const Trainer *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n_params; i++)
        for (size_t j = 0; t->params[i]->grad && j < t->params[i]->count; j++)
            sum += (double)t->params[i]->grad[j] * (double)t->params[i]->grad[j];
    return sqrt(sum);
}

void ledge__train_update(Trainer *t, double rate, double norm)
{
    const double clip = t->o.clip > 0 && norm > t->o.clip ? t->o.clip / norm : 1;
    t->place.updates++;
    for (size_t i = 0; i < t->n_params; i++) {
        TrainValue *v = t->params[i];
        if (!v->grad)
            continue;
        UpdateArg a = {.o = &t->o,
                       .v = v,
                       .m1 = t->moment1[i],
                       .m2 = t->moment2[i],
                       .rate = (float)rate,
                       .scale = (float)clip,
                       .decay = v->decays ? (float)t->o.weight_decay : 0,
                       .c1 = (float)(1 / (1 - pow(t->o.beta1, (double)t->place.updates))),
                       .c2 = (float)(1 / (1 - pow(t->o.beta2, (double)t->place.updates)))};
        ledge__pool_run(t->pool, v->count, GRAIN, update_range, &a);
    }
}
