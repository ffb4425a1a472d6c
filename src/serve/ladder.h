/* Ladders that are served: a name in URLs that stands for several models, small to large.
 *
 * The choice is ledge/adaptive.h's; here are the names. Counted references, as for models: a
 * request on its way keeps the ladder that it began with. Threads: any. */
#ifndef LEDGE_SERVE_LADDER_H
#define LEDGE_SERVE_LADDER_H

#include "ledge/adaptive.h"
#include "serve/model_table.h"

typedef struct LedgeLadderOptions {
    char name[LEDGE_SERVE_NAME];
    uint32_t n;
    char model[LEDGE_ADAPTIVE_RUNGS][LEDGE_SERVE_NAME]; /* the highest version of each serves */
    LedgeAdaptiveOptions adaptive;
} LedgeLadderOptions;

typedef struct LedgeLadder {
    atomic_int refs;
    LedgeLadderOptions options;
    LedgeModelTable *table; /* not owned */
    LedgeAdaptive *adaptive;
} LedgeLadder;

LedgeLadder *ledge__ladder_ref(LedgeLadder *l);
void ledge__ladder_unref(LedgeLadder *l); /* NULL is legal */
/* The model of a rung, to be given back. Statuses: those of ledge__model_table_find. */
LedgeStatus ledge__ladder_model(LedgeLadder *l, uint32_t rung, LedgeError *err, LedgeServed **out);

typedef struct LedgeLadders LedgeLadders;

LedgeStatus ledge__ladders_new(LedgeError *err, LedgeLadders **out);
void ledge__ladders_free(LedgeLadders *l); /* NULL is legal */
/* These and no others from now on. Statuses: ARGUMENT (a name twice, or a model's name; a model
 * twice in one ladder), MEMORY; then nothing changes. */
LedgeStatus ledge__ladders_set(LedgeLadders *l, LedgeModelTable *table,
                               const LedgeLadderOptions *options, size_t n, LedgeError *err);
/* NULL: none of that name; else to be given back. */
LedgeLadder *ledge__ladders_find(LedgeLadders *l, const char *name);
void ledge__ladders_visit(LedgeLadders *l, void (*visit)(void *arg, LedgeLadder *ladder),
                          void *arg);

#endif
