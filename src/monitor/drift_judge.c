/* The verdict: the last full quarters together, held against the reference. */
#include "monitor/drift_state.h"
#include "monitor/measures.h"

#include <math.h>
#include <string.h>

#define SURE 1e-4 /* a chi-square test must say so before noise could be the reason */

/* Sums of the full quarters; the one that fills is left out. */
typedef struct Window {
    uint64_t n, group[DRIFT_GROUPS], classified;
    uint64_t confidence[DRIFT_BINS];
    double confidence_sum;
    uint64_t confidence_n;
    uint64_t feature[LEDGE_BASELINE_FEATURES][DRIFT_BINS];
    double feature_sum[LEDGE_BASELINE_FEATURES];
    uint64_t feature_n[LEDGE_BASELINE_FEATURES];
    LedgeSketch latency;
} Window;

static void add_counts(const DriftCounts *c, uint64_t *bin, double *sum, uint64_t *n)
{
    *sum += c->sum;
    *n += c->n;
    for (int i = 0; i < DRIFT_BINS; i++)
        bin[i] += c->bin[i];
}

static void add_quarter(Window *w, const DriftQuarter *q)
{
    w->n += q->n;
    for (int g = 0; g < DRIFT_GROUPS; g++) {
        w->group[g] += q->group[g];
        w->classified += q->group[g];
    }
    add_counts(&q->confidence, w->confidence, &w->confidence_sum, &w->confidence_n);
    for (int i = 0; i < LEDGE_BASELINE_FEATURES; i++)
        add_counts(&q->feature[i], w->feature[i], &w->feature_sum[i], &w->feature_n[i]);
    ledge__sketch_merge(&w->latency, &q->latency);
}

static void sum_up(const LedgeDrift *d, Window *w)
{
    memset(w, 0, sizeof *w);
    for (uint32_t i = 1; i <= d->s.full; i++)
        add_quarter(w, &d->s.quarter[(d->s.current + DRIFT_SLOTS - i) % DRIFT_SLOTS]);
}

static LedgeSeverity severity_of(const LedgeDrift *d, LedgeDriftMeasure m, double value)
{
    return value > d->options.threshold[m].high      ? LEDGE_HIGH
           : value > d->options.threshold[m].warning ? LEDGE_WARNING
                                                     : LEDGE_FINE;
}

/* A finding holds on until the measure has been well below its threshold for some quarters, so
 * that a value on the edge does not raise alert after alert. */
static void find(LedgeDrift *d, LedgeDriftMeasure m, const char *feature, double value, double p)
{
    LedgeDriftReport *r = &d->s.report;
    DriftLevel *level = &d->s.level[r->n];
    LedgeSeverity now = p < SURE ? severity_of(d, m, value) : LEDGE_FINE;
    if (now >= level->severity) {
        level->severity = (uint8_t)now;
        level->calm = 0;
    } else {
        const double bound = level->severity == LEDGE_HIGH ? d->options.threshold[m].high
                                                           : d->options.threshold[m].warning;
        const bool below = value < DRIFT_RECOVERY * bound || p >= SURE;
        level->calm = (uint8_t)(below ? level->calm + 1 : 0);
        if (level->calm >= DRIFT_CALM) {
            level->severity = (uint8_t)now;
            level->calm = 0;
        }
    }
    now = (LedgeSeverity)level->severity;
    r->severity = now > r->severity ? now : r->severity;
    LedgeDriftFinding *f = &r->finding[r->n++];
    *f = (LedgeDriftFinding){.measure = m,
                             .value = value,
                             .threshold = now == LEDGE_HIGH ? d->options.threshold[m].high
                                                            : d->options.threshold[m].warning,
                             .p = p,
                             .severity = now};
    memcpy(f->feature, feature, strlen(feature) + 1);
}

static double chance(const uint64_t *a, const uint64_t *b, size_t n)
{
    double df;
    const double x = ledge__measure_chi_square(a, b, n, &df);
    return ledge__chi_square_tail(x, df);
}

/* The chance of a mean this far from the reference's, by the normal law. */
static double mean_chance(double gap, double std, uint64_t n, uint64_t ref_n)
{
    const double error = (std + 1e-8) * sqrt(1.0 / (double)n + 1.0 / (double)(ref_n ? ref_n : 1));
    return erfc(fabs(gap) / error * M_SQRT1_2);
}

static void judge_confidence(LedgeDrift *d, const Window *w)
{
    const DriftReference *ref = &d->s.ref;
    const bool known = w->confidence_n >= d->options.minimum && ref->confidence.n;
    const double mean = w->confidence_n ? w->confidence_sum / (double)w->confidence_n : 0;
    const double drop = known ? ref->confidence_mean - mean : 0;
    const uint64_t *bins = ref->confidence.count;
    const size_t n = known ? ref->confidence.n : 0;
    const double p = chance(bins, w->confidence, n);
    d->s.report.confidence_mean = mean;
    find(d, LEDGE_DRIFT_CONFIDENCE_DROP, "", drop,
         known ? mean_chance(drop, ref->confidence_std, w->confidence_n, ref->samples) : 1);
    find(d, LEDGE_DRIFT_CONFIDENCE_PSI, "", ledge__measure_psi(bins, w->confidence, n), p);
    find(d, LEDGE_DRIFT_CONFIDENCE_KS, "", ledge__measure_ks(bins, w->confidence, n), p);
}

static void judge_classes(LedgeDrift *d, const Window *w)
{
    const DriftReference *ref = &d->s.ref;
    const bool known = w->classified >= d->options.minimum && ref->classified > 0;
    const size_t n = known ? DRIFT_GROUPS : 0;
    const double p = chance(ref->group, w->group, n);
    find(d, LEDGE_DRIFT_CLASS_PSI, "", ledge__measure_psi(ref->group, w->group, n), p);
    find(d, LEDGE_DRIFT_CLASS_JS, "", ledge__measure_js(ref->group, w->group, n), p);
}

static void judge_feature(LedgeDrift *d, const Window *w, uint32_t i)
{
    const LedgeFeatureBaseline *f = &d->s.ref.feature[i];
    const bool known = w->feature_n[i] >= d->options.minimum;
    const double mean = known ? w->feature_sum[i] / (double)w->feature_n[i] : f->mean;
    const double gap = fabs(mean - f->mean);
    find(d, LEDGE_DRIFT_FEATURE_Z, f->name, gap / (f->std + 1e-8), 0);
    const size_t n = known ? f->bins.n : 0;
    find(d, LEDGE_DRIFT_FEATURE_PSI, f->name, ledge__measure_psi(f->bins.count, w->feature[i], n),
         chance(f->bins.count, w->feature[i], n));
}

void ledge__drift_judge(LedgeDrift *d)
{
    LedgeDriftReport *r = &d->s.report;
    Window w;
    sum_up(d, &w);
    *r = (LedgeDriftReport){.learning = d->s.learning,
                            .judged = w.n >= d->options.minimum && !d->s.learning,
                            .window = w.n,
                            .latency_p50 = ledge__sketch_quantile(&w.latency, 0.5),
                            .latency_p90 = ledge__sketch_quantile(&w.latency, 0.9),
                            .latency_p99 = ledge__sketch_quantile(&w.latency, 0.99)};
    if (!r->judged)
        return;
    judge_confidence(d, &w);
    judge_classes(d, &w);
    find(d, LEDGE_DRIFT_LATENCY, "", r->latency_p90, 0);
    for (uint32_t i = 0; i < d->s.ref.n_features; i++)
        judge_feature(d, &w, i);
}

static void shares(const uint64_t *count, uint32_t n, double *out)
{
    double all = 0;
    for (uint32_t i = 0; i < n; i++)
        all += (double)count[i];
    for (uint32_t i = 0; i < n; i++)
        out[i] = all > 0 ? (double)count[i] / all : 0;
}

void ledge__drift_shares(const LedgeDrift *d, LedgeDriftShares *out)
{
    const DriftReference *ref = &d->s.ref;
    Window w;
    *out = (LedgeDriftShares){0};
    if (d->s.learning)
        return;
    sum_up(d, &w);
    if (ref->confidence.n) {
        out->confidences = ref->confidence.n;
        for (uint32_t i = 0; i + 1 < ref->confidence.n; i++)
            out->edge[i] = (float)ref->confidence.edge[i];
        shares(w.confidence, out->confidences, out->confidence);
        shares(ref->confidence.count, out->confidences, out->confidence_before);
    }
    if (ref->classified) {
        out->groups = DRIFT_GROUPS;
        shares(w.group, DRIFT_GROUPS, out->group);
        shares(ref->group, DRIFT_GROUPS, out->group_before);
    }
}
