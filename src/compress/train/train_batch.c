/* From samples to a batch: shuffling, augmentation on pixels, then the model's normalisation.
 *
 * Every sample draws from a stream of its own (seed, epoch, place in the epoch), so that batches
 * do not depend on the number of threads. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

static uint64_t stream(uint64_t seed, uint64_t epoch, uint64_t place)
{
    uint64_t state = seed ^ 0x6c656467655472ull;
    state = ledge__train_random(&state) ^ epoch;
    state = ledge__train_random(&state) ^ place;
    return ledge__train_random(&state);
}

void ledge__train_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch)
{
    uint64_t state = stream(seed, epoch, UINT64_MAX);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        const size_t j = (size_t)(ledge__train_uniform(&state) * (double)i);
        const uint32_t keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
}

/* ---- one picture ---- */

typedef struct Picture {
    size_t h, w, c;
} Picture;

static void crop_flip(const Picture *p, const uint8_t *from, int dy, int dx, bool flip, float *to)
{
    for (size_t y = 0; y < p->h; y++)
        for (size_t x = 0; x < p->w; x++, to += p->c) {
            const size_t sy = y + (size_t)dy, sx = (flip ? p->w - 1 - x : x) + (size_t)dx;
            for (size_t k = 0; k < p->c; k++) /* above and to the left wraps round */
                to[k] = sy < p->h && sx < p->w ? from[(sy * p->w + sx) * p->c + k] : 0;
        }
}

static float between(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

static void vary_colour(const Picture *p, float by, uint64_t *state, float *x)
{
    const size_t pixels = p->h * p->w;
    const float bright = 1 + by * (float)(2 * ledge__train_uniform(state) - 1);
    const float contrast = 1 + by * (float)(2 * ledge__train_uniform(state) - 1);
    const float saturation = 1 + by * (float)(2 * ledge__train_uniform(state) - 1);
    double mean = 0;
    for (size_t i = 0; i < pixels * p->c; i++)
        mean += (double)x[i];
    const float middle = (float)(mean / (double)(pixels * p->c)) * bright;
    for (size_t i = 0; i < pixels; i++, x += p->c) {
        float grey = 0;
        for (size_t k = 0; k < p->c; k++) {
            x[k] = (x[k] * bright - middle) * contrast + middle;
            grey += x[k] / (float)p->c;
        }
        for (size_t k = 0; k < p->c; k++)
            x[k] = between(grey + (x[k] - grey) * (p->c > 1 ? saturation : 1));
    }
}

typedef struct FillArg {
    Trainer *t;
    const LedgeTrainData *data;
    const uint32_t *order;
    bool augment;
    uint64_t epoch, place; /* of the first sample */
    Picture p;
} FillArg;

static void fill(void *arg, size_t begin, size_t end, int thread)
{
    const FillArg *a = arg;
    const LedgeTrainAugment *g = &a->t->o.augment;
    const size_t size = a->p.h * a->p.w * a->p.c;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *to = a->t->pixels + i * size;
        if (i >= a->t->used) {
            memset(to, 0, size * sizeof *to);
            continue;
        }
        const uint8_t *from = ledge__train_data_pixels(a->data, a->order[i]);
        uint64_t state = stream(a->t->o.seed, a->epoch, a->place + i);
        int dy = 0, dx = 0;
        bool flip = false;
        if (a->augment && g->crop) {
            dy = (int)(ledge__train_uniform(&state) * (2 * g->crop + 1)) - (int)g->crop;
            dx = (int)(ledge__train_uniform(&state) * (2 * g->crop + 1)) - (int)g->crop;
        }
        if (a->augment && g->flip)
            flip = ledge__train_random(&state) >> 63;
        crop_flip(&a->p, from, dy, dx, flip, to);
        if (a->augment && g->colour > 0)
            vary_colour(&a->p, g->colour, &state, to);
    }
}

/* ---- mixup (Zhang, Cisse, Dauphin and Lopez-Paz, 2018) ---- */

/* Gamma(a) by Marsaglia and Tsang, 2000; below 1 by one of a + 1. */
static double gamma_variate(double a, uint64_t *state)
{
    if (a < 1)
        return gamma_variate(a + 1, state) * pow(ledge__train_uniform(state) + 0x1p-60, 1 / a);
    const double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        const double u = ledge__train_uniform(state) + 0x1p-60, v = ledge__train_uniform(state);
        const double x = sqrt(-2 * log(u)) * cos(6.283185307179586 * v); /* a normal variate */
        const double w = (1 + c * x) * (1 + c * x) * (1 + c * x);
        if (w > 0 &&
            log(ledge__train_uniform(state) + 0x1p-60) < 0.5 * x * x + d - d * w + d * log(w))
            return d * w;
    }
}

static void mix_pair(Trainer *t, size_t i, size_t j, float weight, size_t size)
{
    float *a = t->pixels + i * size, *b = t->pixels + j * size;
    const bool labelled = t->label_a[i] >= 0 && t->label_a[j] >= 0;
    for (size_t k = 0; k < size; k++) {
        const float x = a[k], y = b[k];
        a[k] = weight * x + (1 - weight) * y;
        b[k] = weight * y + (1 - weight) * x;
    }
    t->label_b[i] = t->label_a[j];
    t->label_b[j] = t->label_a[i];
    t->mix[i] = t->mix[j] = weight;
    if (!labelled)
        t->label_a[i] = t->label_a[j] = t->label_b[i] = t->label_b[j] = -1;
}

static void mix_up(Trainer *t, uint64_t epoch, uint64_t place, size_t size)
{
    uint64_t state = stream(t->o.seed, epoch, ~place);
    const double a = gamma_variate((double)t->o.augment.mixup, &state);
    const double b = gamma_variate((double)t->o.augment.mixup, &state);
    const double most = a > b ? a : b;
    const float weight = a + b > 0 ? (float)(most / (a + b)) : 1;
    for (size_t i = 0, j = t->used; i + 1 < j; i++)
        mix_pair(t, i, --j, weight, size);
}

/* ---- the batch ---- */

typedef struct NormaliseArg {
    const float *from;
    float *to;
    size_t c;
    float scale[4], shift[4];
    size_t source[4];
} NormaliseArg;

static void normalise(void *arg, size_t begin, size_t end, int thread)
{
    const NormaliseArg *a = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        for (size_t k = 0; k < a->c; k++)
            a->to[i * a->c + k] = a->from[i * a->c + a->source[k]] * a->scale[k] + a->shift[k];
}

static LedgeStatus wrong_size(const Trainer *t, const Picture *p, LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_SHAPE, t->input->name,
                       "the pictures are %zux%zu of %zu channels and this input takes others", p->w,
                       p->h, p->c);
}

static LedgeStatus normalise_all(Trainer *t, const LedgePixels *px, const Picture *p,
                                 LedgeError *err)
{
    const int64_t *d = t->input->dims;
    if (t->input->rank != 4 || d[1] != (int64_t)p->c || d[2] != (int64_t)p->h ||
        d[3] != (int64_t)p->w || p->c > 4)
        return wrong_size(t, p, err);
    NormaliseArg norm = {.from = t->pixels, .to = t->input->data, .c = p->c};
    for (size_t k = 0; k < p->c; k++) {
        norm.scale[k] = (float)(px->scale / px->std[k]);
        norm.shift[k] = (float)(-px->mean[k] / px->std[k]);
        norm.source[k] = px->reversed ? p->c - 1 - k : k;
    }
    ledge__pool_run(t->pool, t->o.batch * p->h * p->w, 4096, normalise, &norm);
    return LEDGE_OK;
}

LedgeStatus ledge__train_batch(Trainer *t, const LedgeTrainData *data, const uint32_t *order,
                               size_t n, bool augment, uint64_t epoch, uint64_t place,
                               LedgeError *err)
{
    FillArg a = {
        .t = t, .data = data, .order = order, .augment = augment, .epoch = epoch, .place = place};
    LedgePixels px;
    ledge__train_data_size(data, &a.p.h, &a.p.w, &a.p.c);
    if (a.p.h * a.p.w * a.p.c * t->o.batch > t->pixel_floats)
        return wrong_size(t, &a.p, err);
    t->used = n;
    for (size_t i = 0; i < t->o.batch; i++) {
        t->label_a[i] = t->label_b[i] = i < n ? ledge__train_data_label(data, order[i]) : -1;
        t->mix[i] = 1;
    }
    ledge__pool_run(t->pool, t->o.batch, 4, fill, &a);
    if (augment && t->o.augment.mixup > 0)
        mix_up(t, epoch, place, a.p.h * a.p.w * a.p.c);
    ledge__preprocess_pixels(ledge__train_data_preprocess(data), &px);
    return t->frozen ? ledge__train_run_frozen(t, &px, a.p.h, a.p.w, a.p.c, err)
                     : normalise_all(t, &px, &a.p, err);
}
