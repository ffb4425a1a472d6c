/* Fake quantization: values rounded to what integers hold, with scales that are learned.
 *
 * Forward: y = (clamp(round(x / s) + z, low, high) - z) s. Backward, straight through the rounding
 * (Bengio et al., 2013): dx = dy inside the range, 0 outside; the scale's gradient is that of Esser
 * et al., "Learned Step Size Quantization", 2020, with its factor 1 / sqrt(n high). Activations get
 * a step of their own; weights are exchanged for their rounded ones between forward and backward.
 */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

struct TrainFake {
    LedgeTrainFake f;
    TrainValue *scale;  /* parameter, `channels` long */
    TrainValue *weight; /* NULL: an activation */
    float *whole;       /* the weights, while the rounded ones stand in for them */
};

typedef struct FakeArg {
    const TrainFake *k;
    const float *x, *dy;
    float *y, *dx;
    bool accumulate;
    size_t count;
    double *sums; /* per chunk */
} FakeArg;

static float steps_of(const TrainFake *k)
{
    const int32_t above = k->f.high - k->f.zero, below = k->f.zero - k->f.low;
    return (float)(above > below ? above : below);
}

static float factor(const TrainFake *k, size_t count)
{
    return 1.0f / sqrtf((float)count * steps_of(k));
}

/* In steps of the scale, from the zero point. */
static float rounded(const LedgeTrainFake *f, float x, float scale)
{
    const float v = nearbyintf(x / scale), low = (float)(f->low - f->zero),
                high = (float)(f->high - f->zero);
    return v < low ? low : v > high ? high : v;
}

static bool is_inside(const LedgeTrainFake *f, float x, float scale)
{
    const float v = x / scale;
    return v >= (float)(f->low - f->zero) && v <= (float)(f->high - f->zero);
}

/* ---- activations ---- */

static void fake_range(void *arg, size_t begin, size_t end, int thread)
{
    const FakeArg *a = arg;
    const float scale = a->k->scale->data[0];
    (void)thread;
    for (size_t i = begin; i < end; i++)
        a->y[i] = rounded(&a->k->f, a->x[i], scale) * scale;
}

static void fake_forward(Trainer *t, TrainStep *s)
{
    FakeArg a = {.k = *(TrainFake **)s->state, .x = s->in[0]->data, .y = s->out->data};
    ledge__pool_run(t->pool, s->out->count, 16384, fake_range, &a);
}

static void fake_back_chunk(void *arg, size_t begin, size_t end, int thread)
{
    const FakeArg *a = arg;
    const float scale = a->k->scale->data[0];
    (void)thread;
    for (size_t c = begin; c < end; c++) {
        double sum = 0;
        for (size_t i = a->count * c / TRAIN_CHUNKS; i < a->count * (c + 1) / TRAIN_CHUNKS; i++) {
            const float x = a->x[i], dy = a->dy[i], q = rounded(&a->k->f, x, scale);
            const bool inside = is_inside(&a->k->f, x, scale);
            sum += (double)(dy * (inside ? q - x / scale : q));
            if (a->dx)
                a->dx[i] = (a->accumulate ? a->dx[i] : 0) + (inside ? dy : 0);
        }
        a->sums[c] = sum;
    }
}

static void fake_backward(Trainer *t, TrainStep *s)
{
    double sums[TRAIN_CHUNKS], sum = 0;
    FakeArg a = {.k = *(TrainFake **)s->state,
                 .x = s->in[0]->data,
                 .dy = s->out->grad,
                 .count = s->out->count,
                 .sums = sums};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    ledge__pool_run(t->pool, TRAIN_CHUNKS, 1, fake_back_chunk, &a);
    for (int i = 0; i < TRAIN_CHUNKS; i++)
        sum += sums[i];
    a.k->scale->grad[0] += (float)sum * factor(a.k, a.count);
}

static const TrainOp fake_op = {"fake quantization", TRAIN_BACK_X0 | TRAIN_STEAL, fake_forward,
                                fake_backward};

/* The parameter of fake i: an earlier one's where they share a group. */
static LedgeStatus scale_param(TrainBuild *b, size_t i)
{
    Trainer *t = b->t;
    TrainFake *k = &t->fakes[i];
    const int64_t dims[] = {(int64_t)k->f.channels};
    for (size_t j = 0; j < i; j++)
        if (t->fakes[j].f.group == k->f.group && t->fakes[j].scale)
            k->scale = t->fakes[j].scale;
    if (k->scale)
        return LEDGE_OK;
    const char *name = ledge__arena_printf(t->arena, "%s (scale)", k->f.value->name);
    TrainValue *v = name ? ledge__train_value(b, name, 1, dims, false) : NULL;
    if (!v)
        return ledge__no_memory(b->err);
    v->data = ledge__arena_aligned(t->arena, v->count * sizeof(float));
    v->least = ledge__arena_aligned(t->arena, v->count * sizeof(float));
    if (!v->data || !v->least)
        return ledge__no_memory(b->err);
    memcpy(v->data, k->f.scales, v->count * sizeof(float));
    for (size_t c = 0; c < v->count; c++)
        v->least[c] = v->data[c] / 16;
    v->fixed = true;
    k->scale = v;
    return ledge__train_param(b, v, false);
}

LedgeStatus ledge__train_fake_value(TrainBuild *b, const LedgeValue *value)
{
    Trainer *t = b->t;
    for (size_t i = 0; value && i < t->o.n_fakes; i++) {
        TrainFake *k = &t->fakes[i];
        TrainValue *x = b->by_id[value->id];
        if (k->f.value != value || !x || x->fixed)
            continue;
        LEDGE_TRY(scale_param(b, i));
        TrainValue *in[] = {x, k->scale};
        TrainValue *y = ledge__train_value(b, x->name, x->rank, x->dims, x->nhwc);
        TrainStep *s = y ? ledge__train_step(b, &fake_op, in, 2, y, sizeof(TrainFake *)) : NULL;
        if (!s)
            return ledge__no_memory(b->err);
        *(TrainFake **)s->state = k;
        b->by_id[value->id] = y;
        return LEDGE_OK;
    }
    return LEDGE_OK;
}

/* ---- weights ---- */

LedgeStatus ledge__train_fake_begin(TrainBuild *b)
{
    Trainer *t = b->t;
    t->fakes = ledge__arena_alloc(t->arena, t->o.n_fakes + 1, sizeof *t->fakes);
    for (size_t i = 0; t->fakes && i < t->o.n_fakes; i++)
        t->fakes[i].f = t->o.fakes[i];
    return t->fakes ? LEDGE_OK : ledge__no_memory(b->err);
}

LedgeStatus ledge__train_fake_weights(TrainBuild *b)
{
    Trainer *t = b->t;
    for (size_t i = 0; i < t->o.n_fakes; i++) {
        TrainFake *k = &t->fakes[i];
        TrainValue *v = ledge__value_is_constant(k->f.value) ? b->by_id[k->f.value->id] : NULL;
        if (!v || !v->grad)
            continue;
        LEDGE_TRY(scale_param(b, i));
        k->whole = ledge__arena_aligned(t->arena, v->count * sizeof(float));
        if (!k->whole)
            return ledge__no_memory(b->err);
        k->weight = v;
    }
    return LEDGE_OK;
}

static size_t channel_of(const LedgeTrainFake *f, size_t i)
{
    return i / f->inner % f->channels;
}

void ledge__train_round_weights(Trainer *t)
{
    for (size_t i = 0; i < t->o.n_fakes; i++) {
        TrainFake *k = &t->fakes[i];
        if (!k->weight || t->rounded)
            continue;
        memcpy(k->whole, k->weight->data, k->weight->count * sizeof(float));
        for (size_t j = 0; j < k->weight->count; j++) {
            const float scale = k->scale->data[channel_of(&k->f, j)];
            k->weight->data[j] = rounded(&k->f, k->whole[j], scale) * scale;
        }
    }
    t->rounded = t->o.n_fakes > 0;
}

void ledge__train_restore_weights(Trainer *t, bool gradients)
{
    for (size_t i = 0; t->rounded && i < t->o.n_fakes; i++) {
        TrainFake *k = &t->fakes[i];
        if (!k->weight)
            continue;
        const float by = factor(k, k->weight->count / k->f.channels);
        for (size_t j = 0; gradients && j < k->weight->count; j++) {
            const size_t c = channel_of(&k->f, j);
            const float scale = k->scale->data[c], x = k->whole[j], dy = k->weight->grad[j];
            const float q = rounded(&k->f, x, scale);
            const bool inside = is_inside(&k->f, x, scale);
            k->scale->grad[c] += by * dy * (inside ? q - x / scale : q);
            if (!inside)
                k->weight->grad[j] = 0;
        }
        memcpy(k->weight->data, k->whole, k->weight->count * sizeof(float));
    }
    t->rounded = false;
}

bool ledge__trainer_scales(const LedgeTrainer *t, size_t index, float *scales)
{
    const TrainFake *k = &t->fakes[index];
    if (k->scale)
        memcpy(scales, k->scale->data, k->f.channels * sizeof(float));
    return k->scale != NULL;
}
