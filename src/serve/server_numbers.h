/* A moment's copy of what the server counts, for metrics and for the page. */
#ifndef LEDGE_SERVE_SERVER_NUMBERS_H
#define LEDGE_SERVE_SERVER_NUMBERS_H

#include "monitor/prom_text.h"
#include "serve/server_state.h"

enum { LEDGE_NUMBERS_MODELS = 1024, LEDGE_NUMBERS_LADDERS = 64 };

/* All loaded models and ladders, held, so that no lock is kept while text is written. */
typedef struct LedgeLoaded {
    LedgeServed *model[LEDGE_NUMBERS_MODELS];
    size_t n;
    LedgeLadder *ladder[LEDGE_NUMBERS_LADDERS];
    size_t n_ladders;
} LedgeLoaded;

LedgeLoaded *ledge__loaded(LedgeServer *s); /* NULL: no memory */
void ledge__loaded_free(LedgeLoaded *l);

typedef struct LedgeNumbers {
    uint64_t answered, failed;
    LedgeSketch latency;
    LedgeDriftReport drift;
    LedgeDriftShares shares;
    bool watched, cached;
    LedgeCacheStats cache;
} LedgeNumbers;

/* server_guests.c: the families of guests, where models have some. */
void ledge__put_guests(LedgePromText *t, const LedgeLoaded *l);
void ledge__numbers_of(LedgeServed *m, LedgeNumbers *n);
/* The machine's state, at most a second old. */
void ledge__server_sample(LedgeServer *s, LedgeResourceSample *out);

#endif
