/* The order in which channels go, and how far to go.
 *
 * A step takes a chunk of one family's least important classes. Steps are chosen one after the
 * other, so that every prefix of the plan is a model; where to stop is a search among them. */
#include "compress/prune/prune_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- sorting classes ---- */

typedef struct Ranked {
    double score;
    uint32_t class;
} Ranked;

static int compare_ranked(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->class < y->class ? -1 : x->class > y->class;
}

static LedgeStatus sort_family(LedgePruner *p, PruneFamily *f, LedgeError *err)
{
    Ranked *r = ledge__alloc(p->allocator, f->n, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < f->n; i++)
        r[i] = (Ranked){p->classes[f->classes[i]].score, f->classes[i]};
    qsort(r, f->n, sizeof *r, compare_ranked);
    for (uint32_t i = 0; i < f->n; i++)
        f->classes[i] = r[i].class;
    ledge__free(p->allocator, r);
    return LEDGE_OK;
}

/* ---- steps ---- */

/* No layer is emptied, nor loses more than the limit. */
static bool span_allows(const LedgePruner *p, uint32_t span, uint32_t gone)
{
    const PruneSpan *s = &p->spans[span];
    const bool limited = !p->o.per_layer && s->layer != PRUNE_NONE;
    if (p->kept[span] <= gone)
        return false;
    const bool later = limited && p->o.first && p->o.n_first == p->n_layers;
    const uint32_t first = later ? p->o.first[s->layer] : s->n;
    return !limited || p->kept[span] - gone + 1e-9 >= (1 - p->o.layer_limit) * first;
}

/* The next step of a family; classes 0: there is none. */
static PruneStep next_step(const LedgePruner *p, uint32_t index)
{
    const PruneFamily *f = &p->families[index];
    const uint32_t rest = f->n - f->removed;
    PruneStep s = {.family = index, .classes = rest % f->chunk ? rest % f->chunk : f->chunk};
    if (!f->channels || f->n < f->chunk || s.classes > rest)
        return (PruneStep){0};
    for (uint32_t i = 0; i < f->n_shares; i++)
        if (!span_allows(p, f->shares[i].span, f->shares[i].times * s.classes))
            return (PruneStep){0};
    for (uint32_t i = 0; i < s.classes && !p->o.per_layer; i++)
        s.score += p->classes[f->classes[f->removed + i]].score / s.classes;
    if (p->o.per_layer)
        s.score = (f->removed + 0.5 * s.classes) / f->n;
    return s;
}

static void apply_step(LedgePruner *p, const PruneStep *s)
{
    PruneFamily *f = &p->families[s->family];
    for (uint32_t i = 0; i < s->classes; i++)
        p->classes[f->classes[f->removed + i]].removed = true;
    f->removed += s->classes;
    for (uint32_t i = 0; i < f->n_shares; i++)
        p->kept[f->shares[i].span] -= f->shares[i].times * s->classes;
}

static bool earlier(const PruneStep *a, const PruneStep *b)
{
    return a->score != b->score ? a->score < b->score : a->family < b->family;
}

static void sift_down(PruneStep *heap, uint32_t n, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t k = 2 * i + 1; k <= 2 * i + 2 && k < n; k++)
            least = earlier(&heap[k], &heap[least]) ? k : least;
        if (least == i)
            return;
        const PruneStep s = heap[i];
        heap[i] = heap[least];
        heap[least] = s;
        i = least;
    }
}

static LedgeStatus append_step(LedgePruner *p, PruneStep s, LedgeError *err)
{
    PruneStep *grown = ledge__arena_append(p->arena, p->steps, p->n_steps, sizeof *grown);
    if (!grown)
        return ledge__no_memory(err);
    p->steps = grown;
    s.channels = grown[p->n_steps - 1].channels + s.classes * p->families[s.family].channels;
    grown[p->n_steps++] = s;
    return LEDGE_OK;
}

/* A heap of each family's next step. What has become impossible stays so: counts only fall. */
static LedgeStatus choose_steps(LedgePruner *p, PruneStep *heap, LedgeError *err)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < p->n_families; f++) {
        heap[n] = next_step(p, f);
        n += heap[n].classes > 0;
    }
    for (uint32_t i = n; i-- > 0;)
        sift_down(heap, n, i);
    while (n) {
        const PruneStep still = next_step(p, heap[0].family);
        if (still.classes) {
            LEDGE_TRY(append_step(p, still, err));
            apply_step(p, &still);
        }
        const PruneStep next = still.classes ? next_step(p, still.family) : still;
        heap[0] = next.classes ? next : heap[--n];
        sift_down(heap, n, 0);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__pruner_plan(LedgePruner *p, LedgeError *err)
{
    for (uint32_t f = 0; f < p->n_families; f++)
        LEDGE_TRY(sort_family(p, &p->families[f], err));
    p->n_steps = 1;
    ledge__pruner_take(p, 0);
    PruneStep *heap = ledge__alloc(p->allocator, (size_t)p->n_families + 1, sizeof *heap);
    const LedgeStatus s = heap ? choose_steps(p, heap, err) : ledge__no_memory(err);
    ledge__free(p->allocator, heap);
    ledge__pruner_take(p, 0);
    return s;
}

void ledge__pruner_take(LedgePruner *p, size_t step)
{
    for (uint32_t c = 0; c < p->n_classes; c++)
        p->classes[c].removed = false;
    for (uint32_t f = 0; f < p->n_families; f++)
        p->families[f].removed = 0;
    for (size_t s = 0; s < p->n_spans; s++)
        p->kept[s] = p->spans[s].n;
    for (size_t i = 1; i <= step; i++)
        apply_step(p, &p->steps[i]);
    p->taken = step;
}

size_t ledge__pruner_steps(const LedgePruner *p)
{
    return p->n_steps;
}

uint32_t ledge__pruner_channels(const LedgePruner *p)
{
    return p->prunable - p->steps[p->taken].channels;
}

double ledge__pruner_macs(const LedgePruner *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->n_costs; i++) {
        const PruneCost *c = &p->costs[i];
        double macs = c->macs;
        if (c->out != PRUNE_NONE)
            macs *= (double)p->kept[c->out] / p->spans[c->out].n;
        if (c->in != PRUNE_NONE)
            macs *= (double)p->kept[c->in] / p->spans[c->in].n;
        sum += macs;
    }
    return sum;
}

/* ---- where to stop ---- */

static const char *family_name(const LedgePruner *p, const PruneFamily *f)
{
    return p->layers[f->layer].node->name;
}

/* The largest share of a single family that rounds to less than all of it. */
static LedgeStatus check_layers(const LedgePruner *p, double share, LedgeError *err)
{
    const PruneFamily *smallest = NULL;
    for (uint32_t i = 0; i < p->n_families; i++) {
        const PruneFamily *f = &p->families[i];
        if (f->channels && (!smallest || f->n < smallest->n))
            smallest = f;
    }
    if (!smallest || (1 - share) * smallest->n >= 0.5)
        return LEDGE_OK;
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, family_name(p, smallest),
                       "removing %.4g of its %u channels would empty the layer; at most %.4g can "
                       "go",
                       share, smallest->n, floor((1 - 0.5 / smallest->n) * 1000) / 1000);
}

static LedgeStatus nothing_goes(const LedgePruner *p, double share, LedgeError *err)
{
    if (p->n_steps == 1)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "round",
                           "no layer can lose a channel while counts are multiples of %d; a "
                           "smaller rounding, down to 1, allows more",
                           p->o.round);
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "amount",
                       "%.4g of the channels rounds to none while counts are multiples of %d; ask "
                       "for more, or round less",
                       share, p->o.round);
}

LedgeStatus ledge__pruner_pick_amount(LedgePruner *p, double share, LedgeError *err, size_t *step)
{
    const double wanted = share * p->prunable;
    size_t k = 0;
    LEDGE_TRY(check_layers(p, share, err));
    if (p->o.per_layer) {
        while (k + 1 < p->n_steps && p->steps[k + 1].score <= share)
            k++;
    } else {
        const uint32_t most = p->steps[p->n_steps - 1].channels;
        if (most + 0.05 * p->prunable < wanted)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "amount",
                               "%.4g of the channels cannot go without emptying a layer; at most "
                               "%.4g can, with counts that are multiples of %d and at most %.4g of "
                               "one layer",
                               share, floor((double)most / p->prunable * 1000) / 1000, p->o.round,
                               p->o.layer_limit);
        while (k + 1 < p->n_steps && p->steps[k + 1].channels <= wanted)
            k++;
        if (k + 1 < p->n_steps && p->steps[k + 1].channels - wanted < wanted - p->steps[k].channels)
            k++;
    }
    if (k == 0 && !p->o.staged)
        return nothing_goes(p, share, err);
    *step = k;
    return LEDGE_OK;
}

LedgeStatus ledge__pruner_pick_macs(LedgePruner *p, double macs, LedgeError *err, size_t *step)
{
    const size_t before = p->taken;
    size_t low = 0, high = p->n_steps - 1;
    ledge__pruner_take(p, high);
    const double least = ledge__pruner_macs(p);
    ledge__pruner_take(p, 0);
    const double all = ledge__pruner_macs(p);
    while (low < high && least <= macs) {
        const size_t middle = low + (high - low) / 2;
        ledge__pruner_take(p, middle);
        if (ledge__pruner_macs(p) <= macs)
            high = middle;
        else
            low = middle + 1;
    }
    ledge__pruner_take(p, before);
    if (least > macs)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "target-macs",
                           "%.4g of the multiply-accumulates cannot be reached without emptying a "
                           "layer; %.4g can",
                           macs / all, ceil(least / all * 1000) / 1000);
    *step = high;
    return LEDGE_OK;
}
