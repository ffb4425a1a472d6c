/* Mixed precision, see quant_mixed.h.
 *
 * The search: layers sorted by the damage that each does alone; the shortest prefix of that order
 * that holds the budget when in float is found by doubling and halving; then each of the prefix,
 * the least harmful first, goes back to integers if the budget holds without it. */
#include "compress/quantize/quant_mixed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_layer(const LedgeQuantNode *n)
{
    return n->role == LEDGE_QUANT_WEIGHTED || n->role == LEDGE_QUANT_PRODUCT;
}

static LedgeStatus settle(LedgeQuantizer *q, LedgeError *err)
{
    LEDGE_TRY(ledge__quantizer_decide(q, err));
    return q->o.mode == LEDGE_QUANT_STATIC ? ledge__quantizer_ranges(q, err) : LEDGE_OK;
}

/* ---- layer by layer ---- */

static LedgeStatus list_layers(LedgeQuantizer *q, LedgeError *err, LedgeDamages *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < q->n_nodes; i++)
        n += is_layer(&q->nodes[i]) && q->nodes[i].integer;
    LedgeDamage *items = ledge__arena_alloc(q->arena, n + 1, sizeof *items);
    if (!items)
        return ledge__no_memory(err);
    *out = (LedgeDamages){items, 0};
    for (uint32_t i = 0; i < q->n_nodes; i++)
        if (is_layer(&q->nodes[i]) && q->nodes[i].integer)
            items[out->n++] = (LedgeDamage){.node = i, .sqnr_db = NAN};
    return LEDGE_OK;
}

static LedgeStatus try_alone(LedgeQuantizer *q, const LedgeJudge *j, size_t most,
                             const LedgeDamages *all, LedgeDamage *one, LedgeError *err)
{
    LedgeScore s;
    for (size_t i = 0; i < all->n; i++)
        q->nodes[all->items[i].node].keep_float = &all->items[i] != one;
    LEDGE_TRY(settle(q, err));
    LEDGE_TRY(ledge__judge_score(j, q, most, err, &s));
    one->sqnr_db = s.sqnr_db;
    one->agreement = s.agreement;
    one->top1 = s.top1;
    one->n = s.n;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_damage(LedgeQuantizer *q, const LedgeJudge *j, size_t most,
                                const LedgeQuantTick *tick, LedgeError *err, LedgeDamages *out)
{
    LedgeDamages all;
    LEDGE_TRY(list_layers(q, err, &all));
    LedgeStatus status = LEDGE_OK;
    for (size_t i = 0; i < all.n && !status; i++) {
        status = try_alone(q, j, most, &all, &all.items[i], err);
        if (!status)
            status = ledge__quant_tick(tick, "damage of layers", i + 1, all.n, err);
    }
    for (size_t i = 0; i < all.n; i++)
        q->nodes[all.items[i].node].keep_float = false;
    if (status)
        return status;
    LEDGE_TRY(settle(q, err));
    *out = all;
    return LEDGE_OK;
}

/* ---- the search ---- */

typedef struct Search {
    LedgeQuantizer *q;
    const LedgeJudge *j;
    LedgeDamage **order; /* most damaging first */
    size_t n;
    const LedgeQuantTick *tick;
    LedgeError *err;
    LedgeMixed *result;
} Search;

static int most_harmful_first(const void *a, const void *b)
{
    const LedgeDamage *x = *(LedgeDamage *const *)a, *y = *(LedgeDamage *const *)b;
    if (x->sqnr_db != y->sqnr_db)
        return x->sqnr_db < y->sqnr_db ? -1 : 1;
    return x->node < y->node ? -1 : 1;
}

/* Points lost with the layers that are marked as kept in float. */
static LedgeStatus measure(Search *s, double *drop)
{
    LedgeScore score;
    for (size_t i = 0; i < s->n; i++)
        s->q->nodes[s->order[i]->node].keep_float = s->order[i]->kept;
    LEDGE_TRY(settle(s->q, s->err));
    LEDGE_TRY(ledge__judge_score(s->j, s->q, 0, s->err, &score));
    s->result->trials++;
    *drop = ledge__judge_drop(s->j, &score);
    return LEDGE_OK;
}

static LedgeStatus measure_prefix(Search *s, size_t k, double *drop)
{
    for (size_t i = 0; i < s->n; i++)
        s->order[i]->kept = i < k;
    LEDGE_TRY(measure(s, drop));
    return ledge__quant_tick(s->tick, "mixed precision", k, s->n + 1, s->err);
}

/* Smallest k found whose first k layers in float hold the budget; s->n when none does. */
static LedgeStatus shortest_prefix(Search *s, size_t *out, double *drop)
{
    size_t fails = 0, holds = 0;
    LEDGE_TRY(measure_prefix(s, 0, drop));
    s->result->before = *drop;
    double best = *drop;
    for (size_t k = 1; best > s->result->budget && fails < s->n; k *= 2) {
        holds = k < s->n ? k : s->n;
        LEDGE_TRY(measure_prefix(s, holds, &best));
        if (best > s->result->budget)
            fails = holds;
    }
    while (holds > fails + 1) {
        const size_t middle = (fails + holds) / 2;
        LEDGE_TRY(measure_prefix(s, middle, drop));
        if (*drop <= s->result->budget) {
            holds = middle;
            best = *drop;
        } else {
            fails = middle;
        }
    }
    for (size_t i = 0; i < s->n; i++)
        s->order[i]->kept = i < holds;
    *out = holds;
    *drop = best;
    return LEDGE_OK;
}

/* Back to integers with those that are not needed. */
static LedgeStatus prune(Search *s, size_t k, double *drop)
{
    for (size_t i = k; i-- > 0 && k > 1;) {
        double without;
        s->order[i]->kept = false;
        LEDGE_TRY(measure(s, &without));
        if (without <= s->result->budget)
            *drop = without;
        else
            s->order[i]->kept = true;
        LEDGE_TRY(ledge__quant_tick(s->tick, "fewer in float", k - i, k, s->err));
    }
    return LEDGE_OK;
}

static LedgeStatus search(Search *s)
{
    size_t k;
    double drop, again;
    LEDGE_TRY(shortest_prefix(s, &k, &drop));
    if (drop <= s->result->budget)
        LEDGE_TRY(prune(s, k, &drop));
    for (size_t i = 0; i < s->n; i++)
        s->result->kept += s->order[i]->kept;
    LEDGE_TRY(measure(s, &again)); /* leaves the quantizer as the result says */
    s->result->after = again;
    s->result->holds = again <= s->result->budget;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_mixed(LedgeQuantizer *q, const LedgeJudge *j, LedgeDamages *damages,
                               double budget, const LedgeQuantTick *tick, LedgeError *err,
                               LedgeMixed *out)
{
    LedgeMixed result = {.budget = budget};
    if (!j->classifies)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "a budget in points needs a classifier, and the first output is no row "
                           "of scores; --exclude leaves layers in float by name");
    LedgeDamage **order = ledge__calloc(q->allocator, damages->n + 1, sizeof *order);
    if (!order)
        return ledge__no_memory(err);
    for (size_t i = 0; i < damages->n; i++)
        order[i] = &damages->items[i];
    qsort(order, damages->n, sizeof *order, most_harmful_first);
    Search s = {q, j, order, damages->n, tick, err, &result};
    const LedgeStatus status = search(&s);
    ledge__free(q->allocator, order);
    if (!status)
        *out = result;
    return status;
}
