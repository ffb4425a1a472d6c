/* Pictures in memory: all sets decoded once, as bytes of the size that the model takes. */
#include <stdio.h>
#include <string.h>

#include "compress/train/train_internal.h"
#include "image/dataset.h"

#define MOST_BYTES ((size_t)4 << 30)

struct LedgeTrainData {
    const LedgeAllocator *allocator;
    uint8_t *pixels;
    int32_t *labels;
    size_t n, bytes; /* samples, and bytes of each */
    size_t h, w, c;
    LedgePreprocess pre;
};

void ledge__train_data_free(LedgeTrainData *d)
{
    if (!d)
        return;
    ledge__free(d->allocator, d->pixels);
    ledge__free(d->allocator, d->labels);
    ledge__free(d->allocator, d);
}

/* ---- reading ---- */

/* Room for n samples of the size that the first one has. */
static LedgeStatus make_room(LedgeTrainData *d, size_t n, const char *what, LedgeError *err)
{
    size_t bytes;
    if (n > UINT32_MAX || !ledge__mul(n, d->bytes, &bytes) || bytes > MOST_BYTES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, what,
                           "its pictures take more than 4 GB of memory; give fewer or smaller "
                           "ones");
    d->pixels = ledge__alloc(d->allocator, bytes, 1);
    d->labels = ledge__alloc(d->allocator, n, sizeof *d->labels);
    return d->pixels && d->labels ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus take_tensor(LedgeTrainData *d, const LedgeTensor *t, const char *name, size_t n,
                               LedgeError *err)
{
    const size_t h = (size_t)t->dims[1], w = (size_t)t->dims[2], c = (size_t)t->dims[3];
    if (!d->pixels) {
        d->h = h;
        d->w = w;
        d->c = c;
        d->bytes = h * w * c;
        LEDGE_TRY(make_room(d, n, name, err));
    }
    if (h != d->h || w != d->w || c != d->c)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, name,
                           "is %zux%zu after preprocessing where others are %zux%zu; training "
                           "needs one size",
                           w, h, d->w, d->h);
    memcpy(d->pixels + d->n * d->bytes, t->data, d->bytes);
    return LEDGE_OK;
}

/* One of the n samples that there will be. */
static LedgeStatus read_sample(LedgeTrainData *d, const LedgeDataset *set, size_t index, size_t n,
                               LedgeError *err)
{
    LedgeSample sample;
    LedgeTensor t = {0};
    LEDGE_TRY(ledge__dataset_read(set, index, err, &sample));
    LedgeStatus s = ledge__preprocess_bytes(&d->pre, d->allocator, &sample.image, err, &t);
    if (!s) {
        s = take_tensor(d, &t, sample.name, n, err);
        ledge__free(d->allocator, t.data);
    }
    if (!s)
        d->labels[d->n++] = sample.label;
    ledge__image_free(&sample.image);
    return s;
}

/* Of all sets, one after the other, `limit` samples evenly spread; others are not even decoded. */
static LedgeStatus read_sets(LedgeTrainData *d, LedgeDataset *const *sets, size_t n_sets,
                             size_t limit, LedgeError *err)
{
    size_t all = 0, set = 0, before = 0; /* before: samples of the sets before this one */
    for (size_t i = 0; i < n_sets; i++)
        all += ledge__dataset_count(sets[i]);
    if (!all)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "", "no pictures to train on");
    const size_t n = limit && limit < all ? limit : all;
    for (size_t i = 0; i < n; i++) {
        const size_t at = (size_t)((uint64_t)i * all / n);
        while (at - before >= ledge__dataset_count(sets[set]))
            before += ledge__dataset_count(sets[set++]);
        LEDGE_TRY(read_sample(d, sets[set], at - before, n, err));
    }
    return LEDGE_OK;
}

static LedgeStatus open_all(LedgeTrainData *d, const LedgeModel *model,
                            const LedgeTrainDataOptions *o, LedgeError *err)
{
    LEDGE_TRY(ledge__preprocess_for_model(model, 0, o->preprocess, err, &d->pre, NULL));
    LedgeDataset **sets = ledge__calloc(d->allocator, o->n_sets + 1, sizeof *sets);
    LedgeStatus s = sets ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < o->n_sets && !s; i++)
        s = ledge__dataset_open_any(d->allocator, o->sets[i], o->labels, err, &sets[i]);
    if (!s)
        s = read_sets(d, sets, o->n_sets, o->limit, err);
    for (size_t i = 0; i < o->n_sets && sets; i++)
        ledge__dataset_free(sets[i]);
    ledge__free(d->allocator, sets);
    return s;
}

LedgeStatus ledge__train_data_open(const LedgeModel *model, const LedgeTrainDataOptions *o,
                                   LedgeError *err, LedgeTrainData **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    LedgeTrainData *d = ledge__calloc(a, 1, sizeof *d);
    if (!d)
        return ledge__no_memory(err);
    d->allocator = a;
    const LedgeStatus s = open_all(d, model, o, err);
    if (s)
        ledge__train_data_free(d);
    else
        *out = d;
    return s;
}

/* ---- looking ---- */

size_t ledge__train_data_count(const LedgeTrainData *d)
{
    return d->n;
}

int32_t ledge__train_data_label(const LedgeTrainData *d, size_t index)
{
    return d->labels[index];
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
    return d->pixels + index * d->bytes;
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
