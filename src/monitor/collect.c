/* Collecting a baseline in constant memory. */
#include "monitor/collect.h"

#include <stdio.h>
#include <string.h>

#include "monitor/running.h"

enum { KEPT = 4096, BINS = 20 };

typedef struct Quantity {
    LedgeRunning all;
    float kept[KEPT]; /* an even sample */
} Quantity;

struct LedgeCollector {
    const LedgeAllocator *allocator;
    uint64_t records, random;
    uint32_t n_classes, n_features;
    uint64_t *classes;
    char name[LEDGE_BASELINE_FEATURES][LEDGE_BASELINE_NAME];
    Quantity quantity[1 + LEDGE_BASELINE_FEATURES]; /* confidence, then features */
};

LedgeStatus ledge__collector_new(uint32_t n_classes, uint32_t n_features, const char *const *names,
                                 const LedgeAllocator *a, LedgeError *err, LedgeCollector **out)
{
    if (n_classes > LEDGE_BASELINE_CLASSES || n_features > LEDGE_BASELINE_FEATURES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "baseline",
                           "%u classes and %u features; at most %d and %d can be watched",
                           n_classes, n_features, LEDGE_BASELINE_CLASSES, LEDGE_BASELINE_FEATURES);
    LedgeCollector *c = ledge__calloc(a, 1, sizeof *c);
    if (!c)
        return ledge__no_memory(err);
    c->allocator = a;
    c->random = 1;
    c->n_classes = n_classes;
    c->n_features = n_features;
    c->classes = ledge__calloc(a, n_classes, sizeof *c->classes);
    if (!c->classes) {
        ledge__collector_free(c);
        return ledge__no_memory(err);
    }
    for (uint32_t i = 0; i < n_features; i++)
        snprintf(c->name[i], sizeof c->name[i], "%s", names[i]);
    *out = c;
    return LEDGE_OK;
}

void ledge__collector_free(LedgeCollector *c)
{
    if (!c)
        return;
    ledge__free(c->allocator, c->classes);
    ledge__free(c->allocator, c);
}

static void take(LedgeCollector *c, Quantity *q, float value)
{
    if (!isfinite(value))
        return;
    ledge__running_add(&q->all, (double)value);
    const uint64_t place = ledge__sample_place(&c->random, q->all.n, KEPT);
    if (place < KEPT)
        q->kept[place] = value;
}

void ledge__collector_add(LedgeCollector *c, const LedgeDriftRecord *r)
{
    c->records++;
    if (r->class_id >= 0 && r->class_id < c->n_classes)
        c->classes[r->class_id]++;
    take(c, &c->quantity[0], r->confidence);
    for (uint32_t i = 0; i < c->n_features && i < r->n_features; i++)
        take(c, &c->quantity[1 + i], r->features[i]);
}

static void spread_of(Quantity *q, double *mean, double *std, LedgeBins *bins)
{
    *mean = q->all.mean;
    *std = ledge__running_std(&q->all);
    ledge__bins_from_values(q->kept, q->all.n < KEPT ? (size_t)q->all.n : KEPT, BINS, bins);
}

LedgeStatus ledge__collector_baseline(LedgeCollector *c, LedgeError *err, LedgeBaseline **out)
{
    LedgeBaseline *b = ledge__calloc(c->allocator, 1, sizeof *b);
    if (!b)
        return ledge__no_memory(err);
    b->allocator = c->allocator;
    b->samples = c->records;
    if (c->n_classes) {
        b->classes = ledge__alloc(c->allocator, c->n_classes, sizeof *b->classes);
        if (!b->classes) {
            ledge__baseline_free(b);
            return ledge__no_memory(err);
        }
        memcpy(b->classes, c->classes, c->n_classes * sizeof *b->classes);
        b->n_classes = c->n_classes;
    }
    spread_of(&c->quantity[0], &b->confidence_mean, &b->confidence_std, &b->confidence);
    for (uint32_t i = 0; i < c->n_features; i++) {
        LedgeFeatureBaseline *f = &b->feature[i];
        memcpy(f->name, c->name[i], sizeof f->name);
        spread_of(&c->quantity[1 + i], &f->mean, &f->std, &f->bins);
        if (c->quantity[1 + i].all.n) /* features that this input does not have come last */
            b->n_features = i + 1;
    }
    *out = b;
    return LEDGE_OK;
}
