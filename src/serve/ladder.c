/* The ladders by name. */
#include "serve/ladder.h"

#include <stdlib.h>
#include <string.h>

struct LedgeLadders {
    pthread_mutex_t lock;
    LedgeLadder **item;
    size_t n;
};

LedgeLadder *ledge__ladder_ref(LedgeLadder *l)
{
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void ledge__ladder_unref(LedgeLadder *l)
{
    if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    ledge_adaptive_free(l->adaptive);
    free(l);
}

LedgeStatus ledge__ladder_model(LedgeLadder *l, uint32_t rung, LedgeError *err, LedgeServed **out)
{
    return ledge__model_table_find(l->table, l->options.model[rung], NULL, err, out);
}

LedgeStatus ledge__ladders_new(LedgeError *err, LedgeLadders **out)
{
    LedgeLadders *l = calloc(1, sizeof *l);
    if (!l || pthread_mutex_init(&l->lock, NULL) != 0) {
        free(l);
        return ledge__no_memory(err);
    }
    *out = l;
    return LEDGE_OK;
}

static void free_items(LedgeLadder **item, size_t n)
{
    for (size_t i = 0; item && i < n; i++)
        ledge__ladder_unref(item[i]);
    free(item);
}

void ledge__ladders_free(LedgeLadders *l)
{
    if (!l)
        return;
    free_items(l->item, l->n);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static LedgeStatus check(const LedgeLadderOptions *o, size_t i, LedgeModelTable *table,
                         LedgeError *err)
{
    const LedgeLadderOptions *me = &o[i];
    if (!ledge__served_name_ok(me->name))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, me->name,
                           "a ladder's name is made of up to 63 letters, digits, '_', '-' and '.'");
    if (ledge__model_table_knows(table, me->name))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, me->name, "a model has the ladder's name");
    for (size_t k = 0; k < i; k++)
        if (strcmp(o[k].name, me->name) == 0)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, me->name, "two ladders have this name");
    for (uint32_t r = 0; r < me->n; r++)
        for (uint32_t k = 0; k < r; k++)
            if (strcmp(me->model[k], me->model[r]) == 0)
                return ledge__fail(err, LEDGE_ERROR_ARGUMENT, me->name,
                                   "model %s stands twice on the ladder", me->model[r]);
    return LEDGE_OK;
}

static LedgeStatus make(const LedgeLadderOptions *o, LedgeModelTable *table, LedgeError *err,
                        LedgeLadder **out)
{
    LedgeLadder *l = calloc(1, sizeof *l);
    if (!l)
        return ledge__no_memory(err);
    atomic_init(&l->refs, 1);
    l->options = *o;
    l->table = table;
    const LedgeStatus s = ledge_adaptive_create(o->n, &o->adaptive, err, &l->adaptive);
    if (s != LEDGE_OK)
        ledge__ladder_unref(l);
    else
        *out = l;
    return s;
}

LedgeStatus ledge__ladders_set(LedgeLadders *l, LedgeModelTable *table,
                               const LedgeLadderOptions *options, size_t n, LedgeError *err)
{
    LedgeLadder **item = calloc(n + 1, sizeof(LedgeLadder *));
    LedgeStatus s = item ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < n && s == LEDGE_OK; i++) {
        s = check(options, i, table, err);
        if (s == LEDGE_OK)
            s = make(&options[i], table, err, &item[i]);
    }
    if (s != LEDGE_OK) {
        free_items(item, n);
        return s;
    }
    pthread_mutex_lock(&l->lock);
    LedgeLadder **old = l->item;
    const size_t n_old = l->n;
    l->item = item;
    l->n = n;
    pthread_mutex_unlock(&l->lock);
    free_items(old, n_old);
    return LEDGE_OK;
}

LedgeLadder *ledge__ladders_find(LedgeLadders *l, const char *name)
{
    LedgeLadder *found = NULL;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n && !found; i++)
        if (strcmp(l->item[i]->options.name, name) == 0)
            found = ledge__ladder_ref(l->item[i]);
    pthread_mutex_unlock(&l->lock);
    return found;
}

void ledge__ladders_visit(LedgeLadders *l, void (*visit)(void *arg, LedgeLadder *ladder), void *arg)
{
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n; i++)
        visit(arg, l->item[i]);
    pthread_mutex_unlock(&l->lock);
}
