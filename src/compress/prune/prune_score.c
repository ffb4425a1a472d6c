/* How much a class of channels matters: over all the weights that make or read its channels, each
 * layer's numbers divided by their mean, so that layers compare.
 *
 * The group norm follows Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), section
 * 3.3; the Taylor criterion Molchanov et al., "Importance Estimation for Neural Network Pruning"
 * (2019). */
#include "compress/prune/prune_internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct Scoring {
    LedgePruner *p;
    LedgePruneGradient gradient;
    void *arg;
    double *sum; /* by class */
    uint32_t *count;
    double *channel; /* of one edit, as many as its span */
} Scoring;

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void score_random(LedgePruner *p)
{
    for (uint32_t c = 0; c < p->n_classes; c++)
        p->classes[c].score = (double)(mix(p->o.seed ^ mix(c)) >> 11) * 0x1p-53;
}

/* Elements of a constant as floats; the caller frees. NULL: no memory. */
static float *floats_of(const LedgePruner *p, const LedgeTensor *t)
{
    const int64_t n = ledge_tensor_count(t);
    float *x = ledge__alloc(p->allocator, (size_t)n, sizeof *x);
    const LedgeValue view = {.t = *t};
    if (x && n && t->type == LEDGE_FLOAT)
        memcpy(x, t->data, (size_t)n * sizeof *x);
    for (int64_t i = 0; x && i < n && t->type != LEDGE_FLOAT; i++)
        x[i] = (float)ledge__value_as_double(&view, i);
    return x;
}

/* Sum over each channel's weights; gradient NULL but with TAYLOR. */
static void add_up(Scoring *s, const PruneEdit *e, const LedgeTensor *t, const float *w,
                   const float *gradient)
{
    int64_t outer = 1, inner = 1;
    const int64_t n = t->dims[e->axis];
    const bool squares = s->p->o.importance != LEDGE_PRUNE_L1;
    for (int32_t d = 0; d < t->rank; d++)
        *(d < e->axis ? &outer : &inner) *= d == e->axis ? 1 : t->dims[d];
    for (int64_t c = 0; c < n; c++) {
        double sum = 0;
        for (int64_t o = 0; o < outer; o++) {
            const int64_t at = (o * n + c) * inner;
            for (int64_t i = at; i < at + inner; i++)
                sum += gradient  ? (double)w[i] * (double)gradient[i]
                       : squares ? (double)w[i] * (double)w[i]
                                 : fabs((double)w[i]);
        }
        s->channel[c] = gradient ? fabs(sum) : squares ? sqrt(sum) : sum;
    }
}

/* A filter counts as much as the BatchNormalization behind it lets through. */
static LedgeStatus scale_by_norm(Scoring *s, const PruneEdit *e)
{
    const LedgeValue *y = ledge__node_out(e->node, 0);
    const LedgeNode *bn = y ? ledge__value_only_reader(y) : NULL;
    if (e->role != PRUNE_FILTER || !bn || !ledge__node_is(bn, "BatchNormalization"))
        return LEDGE_OK;
    const LedgeTensor *gamma = ledge__prune_static(s->p, bn, 1);
    const LedgeTensor *var = ledge__prune_static(s->p, bn, 4);
    const double eps = (double)ledge__node_float(bn, "epsilon", 1e-5f);
    if (!gamma || !var)
        return LEDGE_OK;
    const LedgeValue g = {.t = *gamma}, v = {.t = *var};
    for (uint32_t c = 0; c < s->p->spans[e->span].n; c++)
        s->channel[c] *= fabs(ledge__value_as_double(&g, c)) /
                         sqrt(fmax(ledge__value_as_double(&v, c) + eps, 1e-30));
    return LEDGE_OK;
}

static void credit(Scoring *s, const PruneEdit *e)
{
    const PruneSpan *span = &s->p->spans[e->span];
    double mean = 0;
    for (uint32_t c = 0; c < span->n; c++)
        mean += s->channel[c] / span->n;
    for (uint32_t c = 0; c < span->n; c++) {
        const uint32_t class = s->p->class_of[span->atoms[c]];
        s->sum[class] += mean > 0 ? s->channel[c] / mean : 0;
        s->count[class]++;
    }
}

static LedgeStatus score_edit(Scoring *s, const PruneEdit *e)
{
    const LedgePruner *p = s->p;
    const LedgeTensor *t = ledge__prune_static(p, e->node, e->slot);
    const LedgeValue *v = ledge__node_in(e->node, e->slot);
    const float *gradient = NULL;
    if (!t || t->dims[e->axis] != p->spans[e->span].n)
        return LEDGE_OK;
    if (p->o.importance == LEDGE_PRUNE_TAYLOR) {
        gradient = s->gradient(s->arg, v->name, ledge_tensor_count(t));
        if (!gradient)
            return LEDGE_OK;
    }
    float *w = floats_of(p, t);
    if (!w)
        return ledge__no_memory(p->err);
    add_up(s, e, t, w, gradient);
    ledge__free(p->allocator, w);
    if (!gradient)
        LEDGE_TRY(scale_by_norm(s, e));
    credit(s, e);
    return LEDGE_OK;
}

static LedgeStatus score_role(Scoring *s, PruneRole role, bool only_unscored)
{
    const LedgePruner *p = s->p;
    for (size_t i = 0; i < p->n_edits; i++) {
        const PruneEdit *e = &p->edits[i];
        const PruneSpan *span = &p->spans[e->span];
        if (e->kind != PRUNE_CUT || e->role != role || span->n == 0)
            continue;
        if (only_unscored && s->count[p->class_of[span->atoms[0]]])
            continue;
        LEDGE_TRY(score_edit(s, e));
    }
    return LEDGE_OK;
}

static LedgeStatus score_weights(Scoring *s)
{
    const LedgePruneImportance by = s->p->o.importance;
    if (by == LEDGE_PRUNE_BN) {
        LEDGE_TRY(score_role(s, PRUNE_NORM, false));
        return score_role(s, PRUNE_FILTER, true);
    }
    LEDGE_TRY(score_role(s, PRUNE_FILTER, false));
    return by == LEDGE_PRUNE_TAYLOR ? LEDGE_OK : score_role(s, PRUNE_READER, false);
}

static LedgeStatus score_all(Scoring *s)
{
    LedgePruner *p = s->p;
    bool any = false;
    if (!s->sum || !s->count || !s->channel)
        return ledge__no_memory(p->err);
    LEDGE_TRY(score_weights(s));
    for (uint32_t c = 0; c < p->n_classes; c++) {
        p->classes[c].score = s->count[c] ? s->sum[c] / s->count[c] : 0;
        any |= s->count[c] > 0;
    }
    if (!any)
        return ledge__fail(p->err, LEDGE_ERROR_ARGUMENT, "taylor",
                           "no layer's weights have a gradient to rank channels by");
    return LEDGE_OK;
}

LedgeStatus ledge__pruner_score(LedgePruner *p, LedgePruneGradient gradient, void *arg,
                                LedgeError *err)
{
    if (p->o.importance == LEDGE_PRUNE_RANDOM) {
        score_random(p);
        return LEDGE_OK;
    }
    if (p->o.importance == LEDGE_PRUNE_TAYLOR && !gradient)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "taylor",
                           "importance by Taylor needs data to find gradients with");
    uint32_t widest = 0;
    for (size_t i = 0; i < p->n_spans; i++)
        widest = p->spans[i].n > widest ? p->spans[i].n : widest;
    Scoring s = {.p = p,
                 .gradient = gradient,
                 .arg = arg,
                 .sum = ledge__calloc(p->allocator, p->n_classes, sizeof *s.sum),
                 .count = ledge__calloc(p->allocator, p->n_classes, sizeof *s.count),
                 .channel = ledge__alloc(p->allocator, widest, sizeof *s.channel)};
    p->err = err;
    const LedgeStatus status = score_all(&s);
    p->err = NULL;
    ledge__free(p->allocator, s.sum);
    ledge__free(p->allocator, s.count);
    ledge__free(p->allocator, s.channel);
    return status;
}
