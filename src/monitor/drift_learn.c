/* Learning a baseline from a model's first answers, in constant memory. */
#include "monitor/drift_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void learn_value(LedgeDrift *d, DriftLearned *l, float value)
{
    ledge__running_add(&l->all, (double)value);
    const uint64_t place = ledge__sample_place(&d->s.random, l->all.n, DRIFT_KEPT);
    if (place < DRIFT_KEPT)
        l->kept[place] = value;
}

static void learned_spread(DriftLearned *l, double *mean, double *std, LedgeBins *bins)
{
    *mean = l->all.mean;
    *std = ledge__running_std(&l->all);
    ledge__bins_from_values(l->kept, l->all.n < DRIFT_KEPT ? (size_t)l->all.n : DRIFT_KEPT,
                            DRIFT_BINS, bins);
}

static void finish(LedgeDrift *d)
{
    DriftState *s = &d->s;
    DriftReference *ref = &s->ref;
    ref->samples = s->records;
    learned_spread(&s->learned[0], &ref->confidence_mean, &ref->confidence_std, &ref->confidence);
    for (uint32_t i = 0; i < ref->n_features; i++) {
        LedgeFeatureBaseline *f = &ref->feature[i];
        if (d->options.feature_name)
            snprintf(f->name, sizeof f->name, "%s", d->options.feature_name(i));
        else
            snprintf(f->name, sizeof f->name, "feature_%u", i);
        learned_spread(&s->learned[1 + i], &f->mean, &f->std, &f->bins);
    }
    for (int g = 0; g < DRIFT_GROUPS; g++) {
        ref->group[g] = s->quarter[0].group[g];
        ref->classified += ref->group[g];
    }
    memset(s->quarter, 0, sizeof s->quarter);
    memset(s->learned, 0, sizeof s->learned);
    s->learning = 0;
}

void ledge__drift_learn(LedgeDrift *d, const LedgeDriftRecord *r)
{
    DriftState *s = &d->s;
    if (r->class_id >= 0) /* no class has a group of its own choice yet */
        s->quarter[0].group[ledge__drift_group(d, r->class_id)]++;
    if (isfinite(r->confidence))
        learn_value(d, &s->learned[0], r->confidence);
    const uint32_t n =
        r->n_features < LEDGE_BASELINE_FEATURES ? r->n_features : LEDGE_BASELINE_FEATURES;
    s->ref.n_features = n > s->ref.n_features ? n : s->ref.n_features;
    for (uint32_t i = 0; i < n; i++)
        if (isfinite(r->features[i]))
            learn_value(d, &s->learned[1 + i], r->features[i]);
    if (s->records >= d->options.learn)
        finish(d);
}
