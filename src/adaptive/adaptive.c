/* The choice of a rung.
 *
 * Times and shares are means that forget: recent runs count most, so that a machine that gets busy
 * or inputs that get harder show within some dozens of requests. */
#include "ledge/adaptive.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/scores.h"

#define FORGET    (1.0 / 32)
#define KNOWN     64 /* runs before a rung's share of sure answers is believed */
#define EVERY     16 /* of so many requests one begins at the bottom, whatever pays */
#define AGE       0.001
#define SPARE     0.8 /* of the budget: below it there is time to spare */
#define ADVANTAGE 0.1 /* by so much leaving a rung out must pay before it is, and back */

typedef struct Rung {
    uint64_t runs, answers;
    double seconds, sure;
    double slow; /* seconds that few runs take longer than: follows at once upwards, slowly down */
} Rung;

struct LedgeAdaptive {
    LedgeAdaptiveOptions options;
    LedgeLock lock; /* of what follows */
    uint32_t rungs, highest, first, late, spare;
    uint64_t asked, closed, opened;
    Rung rung[LEDGE_ADAPTIVE_RUNGS];
};

LedgeStatus ledge_adaptive_create(uint32_t rungs, const LedgeAdaptiveOptions *options,
                                  LedgeError *error, LedgeAdaptive **out)
{
    LedgeAdaptiveOptions o = options ? *options : (LedgeAdaptiveOptions){0};
    o.threshold = o.threshold != 0 ? o.threshold : 0.8;
    o.down_after = o.down_after ? o.down_after : 4;
    o.up_after = o.up_after ? o.up_after : 64;
    if (rungs < 2 || rungs > LEDGE_ADAPTIVE_RUNGS)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, "ladder",
                           "a ladder has 2 to %d models, not %u", LEDGE_ADAPTIVE_RUNGS, rungs);
    if (!(o.threshold > 0 && o.threshold <= 1) || !(o.budget >= 0) ||
        (o.confidence != LEDGE_CONFIDENCE_TOP1 && o.confidence != LEDGE_CONFIDENCE_MARGIN))
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, "ladder",
                           "the threshold must be above 0 and at most 1, the budget 0 or more");
    LedgeAdaptive *a = ledge__calloc(o.allocator, 1, sizeof *a);
    if (!a || !ledge__lock_init(&a->lock)) {
        ledge__free(o.allocator, a);
        return ledge__no_memory(error);
    }
    a->options = o;
    a->rungs = rungs;
    a->highest = rungs - 1;
    *out = a;
    return LEDGE_OK;
}

void ledge_adaptive_free(LedgeAdaptive *a)
{
    if (!a)
        return;
    ledge__lock_end(&a->lock);
    ledge__free(a->options.allocator, a);
}

double ledge_adaptive_confidence(const LedgeAdaptive *a, const LedgeTensor *scores)
{
    int64_t rows, classes, best[2];
    double least = 1, p[2];
    if (!ledge__scores_of(scores, &rows, &classes))
        return 0;
    for (int64_t i = 0; i < rows; i++) {
        ledge__scores_probabilities(scores, i, best, ledge__scores_top(scores, i, 2, best), p);
        const double sure = a->options.confidence == LEDGE_CONFIDENCE_TOP1 ? p[0] : p[0] - p[1];
        least = isnan(sure) ? 0 : sure < least ? sure : least;
    }
    return least;
}

/* ---- where to begin ---- */

/* Mean seconds from `rung` to an answer, if requests begin there. */
static double cost_from(const LedgeAdaptive *a, uint32_t rung)
{
    double cost = 0;
    for (uint32_t i = a->highest + 1; i-- > rung;)
        cost = a->rung[i].seconds + (i == a->highest ? 0 : (1 - a->rung[i].sure) * cost);
    return cost;
}

/* The lowest rung that pays, with some slack for the one in use, so that it does not flutter. */
static void choose_first(LedgeAdaptive *a)
{
    for (uint32_t i = 0; i <= a->highest; i++)
        if (a->rung[i].runs < KNOWN) {
            a->first = 0;
            return;
        }
    uint32_t best = a->first <= a->highest ? a->first : a->highest;
    for (uint32_t i = 0; i <= a->highest; i++)
        if (cost_from(a, i) < (1 - ADVANTAGE) * cost_from(a, best))
            best = i;
    a->first = best;
}

uint32_t ledge_adaptive_first(LedgeAdaptive *a)
{
    ledge__lock_take(&a->lock);
    const uint32_t first = a->asked++ % EVERY == 0 ? 0 : a->first;
    ledge__lock_give(&a->lock);
    return first;
}

/* ---- after a run ---- */

static void learn(Rung *r, bool sure, double seconds)
{
    /* The first runs count alike, or the very first would for long. */
    const double weight = r->runs < 1 / FORGET ? 1.0 / (double)(r->runs + 1) : FORGET;
    r->runs++;
    r->sure += weight * (sure - r->sure);
    if (isnan(seconds))
        return;
    r->seconds += weight * (seconds - r->seconds);
    r->slow += (seconds > r->slow ? 0.5 : FORGET / 2) * (seconds - r->slow);
}

/* A request is over after `elapsed`: closes and opens the top of the ladder. */
static void judge_time(LedgeAdaptive *a, bool late, double elapsed)
{
    const double budget = a->options.budget;
    Rung *above = a->highest + 1 < a->rungs ? &a->rung[a->highest + 1] : NULL;
    const bool spare = above && elapsed + above->slow <= SPARE * budget;
    if (above)
        above->slow *= 1 - AGE; /* what does not run is not measured: to be tried again one day */
    a->late = late ? a->late + 1 : 0;
    a->spare = spare && !late ? a->spare + 1 : 0;
    if (a->late >= a->options.down_after && a->highest > 0) {
        a->highest--;
        a->closed++;
        a->late = a->spare = 0;
    } else if (a->spare >= a->options.up_after) {
        a->highest++;
        a->opened++;
        a->late = a->spare = 0;
    }
}

static LedgeAdaptiveStep decide(const LedgeAdaptive *a, uint32_t rung, bool sure, double elapsed)
{
    if (sure)
        return LEDGE_ADAPTIVE_SURE;
    if (rung + 1 >= a->rungs)
        return LEDGE_ADAPTIVE_TOP;
    if (rung >= a->highest)
        return LEDGE_ADAPTIVE_CLOSED;
    return a->options.budget > 0 && elapsed + a->rung[rung + 1].slow > a->options.budget
               ? LEDGE_ADAPTIVE_BUDGET
               : LEDGE_ADAPTIVE_CLIMB;
}

LedgeAdaptiveStep ledge_adaptive_step(LedgeAdaptive *a, uint32_t rung, double confidence,
                                      double seconds, double elapsed)
{
    const bool sure = confidence >= a->options.threshold; /* NaN is not */
    if (rung >= a->rungs)
        return LEDGE_ADAPTIVE_TOP;
    ledge__lock_take(&a->lock);
    learn(&a->rung[rung], sure, seconds);
    const LedgeAdaptiveStep step = decide(a, rung, sure, elapsed);
    if (step != LEDGE_ADAPTIVE_CLIMB) {
        a->rung[rung].answers++;
        if (a->options.budget > 0)
            judge_time(a, elapsed > a->options.budget || step == LEDGE_ADAPTIVE_BUDGET, elapsed);
        choose_first(a);
    }
    ledge__lock_give(&a->lock);
    return step;
}

void ledge_adaptive_stats(LedgeAdaptive *a, LedgeAdaptiveStats *out)
{
    *out = (LedgeAdaptiveStats){0};
    ledge__lock_take(&a->lock);
    out->rungs = a->rungs;
    out->highest = a->highest;
    out->first = a->first;
    out->closed = a->closed;
    out->opened = a->opened;
    for (uint32_t i = 0; i < a->rungs; i++) {
        out->rung[i].runs = a->rung[i].runs;
        out->rung[i].answers = a->rung[i].answers;
        out->rung[i].seconds = a->rung[i].seconds;
        out->rung[i].sure = a->rung[i].sure;
    }
    ledge__lock_give(&a->lock);
}
