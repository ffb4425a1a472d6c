/* Pictures in memory: all sets decoded once, as bytes of the size that the model takes. */
#include <stdio.h>
#include <string.h>

#include "compress/train/train_internal.h"
#include "image/dataset.h"

#define MOST_BYTES ((size_t)4 << 30)

typedef struct Store { /* shared by the parts of a split set */
    size_t users;
    uint8_t *pixels;
    int32_t *labels;
    size_t n, bytes; /* samples, and bytes of each */
} Store;

struct LedgeTrainData {
    const LedgeAllocator *allocator;
    Store *store;
    uint32_t *order; /* samples of the store that are this set's */
    size_t n;
    size_t h, w, c;
    LedgePreprocess pre;
};

static void release(const LedgeAllocator *a, Store *s)
{
    if (!s || --s->users)
        return;
    ledge__free(a, s->pixels);
    ledge__free(a, s->labels);
    ledge__free(a, s);
}

void ledge__train_data_free(LedgeTrainData *d)
{
    if (!d)
        return;
    release(d->allocator, d->store);
    ledge__free(d->allocator, d->order);
    ledge__free(d->allocator, d);
}

/* ---- reading ---- */

/* Room for `more` samples of the size that the first one has. */
static LedgeStatus make_room(LedgeTrainData *d, size_t more, const char *what, LedgeError *err)
{
    Store *s = d->store;
    size_t n, bytes, label_bytes;
    if (!ledge__add(s->n, more, &n) || n > UINT32_MAX || !ledge__mul(n, s->bytes, &bytes) ||
        bytes > MOST_BYTES || !ledge__mul(n, sizeof *s->labels, &label_bytes))
        return ledge__fail(err, LEDGE_ERROR_LIMIT, what,
                           "its pictures take more than 4 GB of memory; give fewer or smaller "
                           "ones");
    uint8_t *pixels = ledge__alloc(d->allocator, bytes, 1);
    int32_t *labels = ledge__alloc(d->allocator, label_bytes, 1);
    if (!pixels || !labels) {
        ledge__free(d->allocator, pixels);
        ledge__free(d->allocator, labels);
        return ledge__no_memory(err);
    }
    if (s->n) {
        memcpy(pixels, s->pixels, s->n * s->bytes);
        memcpy(labels, s->labels, s->n * sizeof *labels);
    }
    ledge__free(d->allocator, s->pixels);
    ledge__free(d->allocator, s->labels);
    s->pixels = pixels;
    s->labels = labels;
    return LEDGE_OK;
}

static LedgeStatus take_tensor(LedgeTrainData *d, const LedgeTensor *t, const char *name,
                               size_t more, LedgeError *err)
{
    Store *s = d->store;
    const size_t h = (size_t)t->dims[1], w = (size_t)t->dims[2], c = (size_t)t->dims[3];
    if (!s->bytes) {
        d->h = h;
        d->w = w;
        d->c = c;
        s->bytes = h * w * c;
    }
    if (h != d->h || w != d->w || c != d->c)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, name,
                           "is %zux%zu after preprocessing where others are %zux%zu; training "
                           "needs one size",
                           w, h, d->w, d->h);
    if (more)
        LEDGE_TRY(make_room(d, more, name, err));
    memcpy(s->pixels + s->n * s->bytes, t->data, s->bytes);
    return LEDGE_OK;
}

static LedgeStatus read_sample(LedgeTrainData *d, const LedgeDataset *set, size_t index,
                               size_t more, LedgeError *err)
{
    LedgeSample sample;
    LedgeTensor t = {0};
    LEDGE_TRY(ledge__dataset_read(set, index, err, &sample));
    LedgeStatus s = ledge__preprocess_bytes(&d->pre, d->allocator, &sample.image, err, &t);
    if (!s) {
        s = take_tensor(d, &t, sample.name, more, err);
        ledge__free(d->allocator, t.data);
    }
    if (!s)
        d->store->labels[d->store->n++] = sample.label;
    ledge__image_free(&sample.image);
    return s;
}

static LedgeStatus read_set(LedgeTrainData *d, const LedgeTrainDataOptions *o, size_t i,
                            LedgeError *err)
{
    LedgeDataset *set = NULL;
    LEDGE_TRY(ledge__dataset_open_any(d->allocator, o->sets[i], o->labels, err, &set));
    const size_t n = ledge__dataset_count(set);
    LedgeStatus s = LEDGE_OK;
    for (size_t k = 0; k < n && !s; k++)
        s = read_sample(d, set, k, k == 0 ? n : 0, err);
    ledge__dataset_free(set);
    return s;
}

static LedgeStatus choose_samples(LedgeTrainData *d, size_t limit, LedgeError *err)
{
    const size_t all = d->store->n;
    d->n = limit && limit < all ? limit : all;
    d->order = ledge__alloc(d->allocator, d->n, sizeof *d->order);
    if (!d->order)
        return ledge__no_memory(err);
    for (size_t i = 0; i < d->n; i++)
        d->order[i] = (uint32_t)((uint64_t)i * all / d->n);
    return LEDGE_OK;
}

static LedgeStatus open_all(LedgeTrainData *d, const LedgeModel *model,
                            const LedgeTrainDataOptions *o, LedgeError *err)
{
    LEDGE_TRY(ledge__preprocess_for_model(model, 0, o->preprocess, err, &d->pre, NULL));
    for (size_t i = 0; i < o->n_sets; i++)
        LEDGE_TRY(read_set(d, o, i, err));
    if (!d->store->n)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "", "no pictures to train on");
    return choose_samples(d, o->limit, err);
}

LedgeStatus ledge__train_data_open(const LedgeModel *model, const LedgeTrainDataOptions *o,
                                   LedgeError *err, LedgeTrainData **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    LedgeTrainData *d = ledge__calloc(a, 1, sizeof *d);
    LedgeStatus s = d ? LEDGE_OK : ledge__no_memory(err);
    if (d) {
        d->allocator = a;
        d->store = ledge__calloc(a, 1, sizeof *d->store);
        s = d->store ? LEDGE_OK : ledge__no_memory(err);
    }
    if (!s) {
        d->store->users = 1;
        s = open_all(d, model, o, err);
    }
    if (s)
        ledge__train_data_free(d);
    else
        *out = d;
    return s;
}

LedgeStatus ledge__train_data_split(LedgeTrainData *d, double fraction, LedgeError *err,
                                    LedgeTrainData **out)
{
    const size_t away = fraction > 0 && fraction < 1 ? (size_t)(fraction * (double)d->n + 0.5) : 0;
    if (away == 0 || away >= d->n)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                           "%zu samples cannot be split so that both parts have some", d->n);
    LedgeTrainData *p = ledge__calloc(d->allocator, 1, sizeof *p);
    uint32_t *order = ledge__alloc(d->allocator, away, sizeof *order);
    if (!p || !order) {
        ledge__free(d->allocator, p);
        ledge__free(d->allocator, order);
        return ledge__no_memory(err);
    }
    *p = *d;
    p->order = order;
    p->n = 0;
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        /* i is the one where the share taken away reaches the next whole number */
        const bool take = (i + 1) * away / d->n > i * away / d->n;
        *(take ? &order[p->n++] : &d->order[kept++]) = d->order[i];
    }
    d->n = kept;
    d->store->users++;
    *out = p;
    return LEDGE_OK;
}

/* ---- looking ---- */

size_t ledge__train_data_count(const LedgeTrainData *d)
{
    return d->n;
}

int32_t ledge__train_data_label(const LedgeTrainData *d, size_t index)
{
    return d->store->labels[d->order[index]];
}

size_t ledge__train_data_labelled(const LedgeTrainData *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += ledge__train_data_label(d, i) >= 0;
    return n;
}

const LedgePreprocess *ledge__train_data_preprocess(const LedgeTrainData *d)
{
    return &d->pre;
}

const uint8_t *ledge__train_data_pixels(const LedgeTrainData *d, size_t index)
{
    return d->store->pixels + d->order[index] * d->store->bytes;
}

void ledge__train_data_size(const LedgeTrainData *d, size_t *h, size_t *w, size_t *c)
{
    *h = d->h;
    *w = d->w;
    *c = d->c;
}

LedgeStatus ledge__train_data_check(const LedgeTrainData *d, int64_t classes, LedgeError *err)
{
    for (size_t i = 0; i < d->n; i++)
        if (ledge__train_data_label(d, i) >= classes) {
            char name[32];
            snprintf(name, sizeof name, "sample %zu", i);
            return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                               "has label %d and the model has the classes 0 to %lld",
                               (int)ledge__train_data_label(d, i), (long long)classes - 1);
        }
    return LEDGE_OK;
}
