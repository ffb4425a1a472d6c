/* Copies of counters. */
#include "serve/server_numbers.h"

#include <stdlib.h>

static void hold(void *arg, const LedgeModelEntry *e)
{
    LedgeLoaded *l = arg;
    if (e->served && l->n < LEDGE_NUMBERS_MODELS)
        l->model[l->n++] = ledge__served_ref(e->served);
}

static void hold_ladder(void *arg, LedgeLadder *ladder)
{
    LedgeLoaded *l = arg;
    if (l->n_ladders < LEDGE_NUMBERS_LADDERS)
        l->ladder[l->n_ladders++] = ledge__ladder_ref(ladder);
}

LedgeLoaded *ledge__loaded(LedgeServer *s)
{
    LedgeLoaded *l = calloc(1, sizeof *l);
    if (l) {
        ledge__model_table_visit(s->table, hold, l);
        ledge__ladders_visit(s->ladders, hold_ladder, l);
    }
    return l;
}

void ledge__loaded_free(LedgeLoaded *l)
{
    for (size_t i = 0; l && i < l->n; i++)
        ledge__served_unref(l->model[i]);
    for (size_t i = 0; l && i < l->n_ladders; i++)
        ledge__ladder_unref(l->ladder[i]);
    free(l);
}

void ledge__numbers_of(LedgeServed *m, LedgeNumbers *n)
{
    ledge__served_lock_shown(m);
    *n = (LedgeNumbers){.answered = m->answered,
                        .failed = m->failed,
                        .latency = m->latency,
                        .drift = m->drift_report,
                        .watched = m->drift != NULL,
                        .cached = m->cache != NULL};
    if (n->watched)
        ledge__drift_shares(m->drift, &n->shares);
    pthread_mutex_unlock(&m->lock);
    if (m->cache)
        ledge__cache_stats(m->cache, &n->cache);
}

void ledge__server_sample(LedgeServer *s, LedgeResourceSample *out)
{
    pthread_mutex_lock(&s->resources_lock);
    const LedgeResourceSample *last = ledge__resources_at(s->resources, 0);
    const double now = ledge__now();
    if (!last || now - last->time >= 1) /* however often it is asked for */
        ledge__resources_sample(s->resources, now, out);
    else
        *out = *last;
    pthread_mutex_unlock(&s->resources_lock);
}
