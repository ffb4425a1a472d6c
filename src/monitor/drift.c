/* The drift monitor's life, and the recording of answers. */
#include "monitor/drift_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Page-Hinkley in units of the baseline's spread: a fall below half the slack is forgiven, and
 * noise alone reaches the limit about once in e^(2 * slack * limit) answers. */
#define FALL_SLACK 0.25
#define FALL_LIMIT 50.0

static const double default_threshold[][2] = {
#define DEFAULTS(NAME, name, warning, high) {warning, high},
    LEDGE_DRIFT_MEASURES(DEFAULTS)
#undef DEFAULTS
};

static void set_defaults(LedgeDriftOptions *o)
{
    o->window = o->window ? o->window : 1000;
    o->minimum = o->minimum ? o->minimum : 200;
    o->learn = o->learn ? o->learn : 1000;
    for (int i = 0; i < LEDGE_DRIFT_MEASURE_COUNT; i++) {
        double *w = &o->threshold[i].warning, *h = &o->threshold[i].high;
        *h = *h != 0 ? *h : *w != 0 ? 2 * *w : default_threshold[i][1];
        *w = *w != 0 ? *w : default_threshold[i][0];
    }
}

static LedgeStatus check_options(const LedgeDriftOptions *o, LedgeError *err)
{
    if (o->window < 40 || o->window > 100000000 || o->minimum < 10 || o->minimum > o->window)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "drift",
                           "a window of %u answers with a minimum of %u: the window must be 40 to "
                           "100,000,000, the minimum 10 to the window",
                           o->window, o->minimum);
    if (o->learn < 50)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "drift",
                           "a baseline cannot be learned from %u answers; take 50 or more",
                           o->learn);
    for (int i = 0; i < LEDGE_DRIFT_MEASURE_COUNT; i++)
        if (!(o->threshold[i].warning > 0) || !(o->threshold[i].high >= o->threshold[i].warning))
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "drift",
                               "the thresholds of %s must be above 0, high not below warning",
                               ledge__drift_measure_name((LedgeDriftMeasure)i));
    return LEDGE_OK;
}

/* ---- classes in groups ---- */

typedef struct Ranked {
    uint64_t count;
    uint32_t id;
} Ranked;

static int more_first(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t hashed_group(int64_t class_id)
{
    return (uint32_t)(((uint64_t)class_id * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % DRIFT_GROUPS;
}

/* Each class, the commonest first, goes to the group that has the least yet. With as few classes
 * as groups each stands alone; with many no group is so rare that noise would move it. */
static LedgeStatus group_classes(LedgeDrift *d, const LedgeBaseline *b, LedgeError *err)
{
    const uint32_t n = b->n_classes;
    if (n == 0 || n > DRIFT_MAPPED) {
        for (uint32_t i = 0; i < n; i++)
            d->s.ref.group[hashed_group(i)] += b->classes[i];
        return LEDGE_OK;
    }
    Ranked *ranked = ledge__alloc(d->allocator, n, sizeof *ranked);
    d->group_of = ledge__alloc(d->allocator, n, 1);
    if (!ranked || !d->group_of) {
        ledge__free(d->allocator, ranked);
        return ledge__no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++)
        ranked[i] = (Ranked){b->classes[i], i};
    qsort(ranked, n, sizeof *ranked, more_first);
    uint32_t members[DRIFT_GROUPS] = {0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t best = 0;
        for (uint32_t g = 1; g < DRIFT_GROUPS; g++)
            if (d->s.ref.group[g] < d->s.ref.group[best] ||
                (d->s.ref.group[g] == d->s.ref.group[best] && members[g] < members[best]))
                best = g;
        d->s.ref.group[best] += ranked[i].count;
        members[best]++;
        d->group_of[ranked[i].id] = (uint8_t)best;
    }
    d->n_mapped = n;
    ledge__free(d->allocator, ranked);
    return LEDGE_OK;
}

static LedgeStatus take_baseline(LedgeDrift *d, const LedgeBaseline *b, LedgeError *err)
{
    DriftReference *ref = &d->s.ref;
    ref->samples = b->samples;
    ref->confidence_mean = b->confidence_mean;
    ref->confidence_std = b->confidence_std;
    ledge__bins_merge(&b->confidence, DRIFT_BINS, &ref->confidence);
    ref->n_features = b->n_features;
    for (uint32_t i = 0; i < b->n_features; i++) {
        ref->feature[i] = b->feature[i];
        ledge__bins_merge(&b->feature[i].bins, DRIFT_BINS, &ref->feature[i].bins);
    }
    LEDGE_TRY(group_classes(d, b, err));
    for (int g = 0; g < DRIFT_GROUPS; g++)
        ref->classified += ref->group[g];
    return LEDGE_OK;
}

_Static_assert(sizeof(LedgeDrift) + DRIFT_MAPPED <= 64 << 10, "a monitor takes 64 KiB at most");

LedgeStatus ledge__drift_new(const LedgeDriftOptions *options, const LedgeBaseline *baseline,
                             const LedgeAllocator *a, LedgeError *err, LedgeDrift **out)
{
    LedgeDriftOptions o = options ? *options : (LedgeDriftOptions){0};
    set_defaults(&o);
    LEDGE_TRY(check_options(&o, err));
    LedgeDrift *d = ledge__calloc(a, 1, sizeof *d);
    if (!d)
        return ledge__no_memory(err);
    d->allocator = a;
    d->options = o;
    d->s.random = 1;
    d->s.change_time = NAN;
    d->learns = baseline == NULL;
    d->s.learning = d->learns;
    const LedgeStatus s = baseline ? take_baseline(d, baseline, err) : LEDGE_OK;
    if (s != LEDGE_OK) {
        ledge__drift_free(d);
        return s;
    }
    ledge__drift_judge(d);
    *out = d;
    return LEDGE_OK;
}

void ledge__drift_free(LedgeDrift *d)
{
    if (!d)
        return;
    ledge__free(d->allocator, d->group_of);
    ledge__free(d->allocator, d);
}

size_t ledge__drift_bytes(const LedgeDrift *d)
{
    return sizeof *d + d->n_mapped;
}

/* ---- recording ---- */

uint32_t ledge__drift_group(const LedgeDrift *d, int64_t class_id)
{
    return class_id < d->n_mapped ? d->group_of[class_id] : hashed_group(class_id);
}

static void count_value(DriftCounts *c, const LedgeBins *bins, double value)
{
    c->n++;
    c->sum += value;
    if (bins->n)
        c->bin[ledge__bins_find(bins, value)]++;
}

/* Page-Hinkley's test for a fall of the mean (Page 1954), one-sided and reset at zero: what it
 * has summed up since it last was zero began then. */
static void watch_fall(LedgeDrift *d, const LedgeDriftRecord *r)
{
    DriftState *s = &d->s;
    const double unit = s->ref.confidence_std + 1e-8;
    const double below = (s->ref.confidence_mean - (double)r->confidence) / unit;
    if (s->fall <= 0)
        s->fall_began = r->time;
    /* One answer counts as 8 spreads at most: one outlier is no change. */
    s->fall = fmin(fmax(s->fall + fmin(below, 8) - FALL_SLACK, 0), 2 * FALL_LIMIT);
    if (s->fall >= FALL_LIMIT && isnan(s->change_time))
        s->change_time = s->fall_began;
    else if (s->fall <= 0)
        s->change_time = NAN;
}

static void count_record(LedgeDrift *d, const LedgeDriftRecord *r)
{
    const DriftReference *ref = &d->s.ref;
    DriftQuarter *q = &d->s.quarter[d->s.current];
    q->n++;
    if (r->class_id >= 0)
        q->group[ledge__drift_group(d, r->class_id)]++;
    if (isfinite(r->confidence)) {
        count_value(&q->confidence, &ref->confidence, r->confidence);
        watch_fall(d, r);
    }
    const uint32_t n = r->n_features < ref->n_features ? r->n_features : ref->n_features;
    for (uint32_t i = 0; i < n; i++)
        if (isfinite(r->features[i]))
            count_value(&q->feature[i], &ref->feature[i].bins, r->features[i]);
    ledge__sketch_add(&q->latency, r->latency);
}

bool ledge__drift_record(LedgeDrift *d, const LedgeDriftRecord *r)
{
    DriftState *s = &d->s;
    s->records++;
    if (s->learning) {
        ledge__drift_learn(d, r);
        if (s->learning)
            return false;
    } else {
        count_record(d, r);
        if (s->quarter[s->current].n < d->options.window / DRIFT_QUARTERS)
            return false;
        s->full = s->full < DRIFT_QUARTERS ? s->full + 1 : s->full;
        s->current = (s->current + 1) % DRIFT_SLOTS;
        memset(&s->quarter[s->current], 0, sizeof s->quarter[0]);
    }
    ledge__drift_judge(d);
    return true;
}

void ledge__drift_report(const LedgeDrift *d, LedgeDriftReport *out)
{
    *out = d->s.report;
    out->records = d->s.records;
    out->change_time = d->s.change_time;
}

const char *ledge__drift_measure_name(LedgeDriftMeasure m)
{
    static const char *const names[] = {
#define NAMES(NAME, name, warning, high) name,
        LEDGE_DRIFT_MEASURES(NAMES)
#undef NAMES
    };
    return names[m];
}

const char *ledge__severity_name(LedgeSeverity s)
{
    static const char *const names[] = {"fine", "warning", "high"};
    return names[s];
}
