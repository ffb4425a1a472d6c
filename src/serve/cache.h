/* Answers kept for requests that come again: least recently used out first, bounded in bytes and in
 * time, and one run for identical requests that come together.
 *
 * Who asks for a key gets the value, or the lead: then it makes the value and `land`s, and whoever
 * asked for the same key meanwhile has joined and gets what the leader got. Keys are SHA-256 in
 * hexadecimal, so that no two inputs share one. Knows nothing of models. Threads: any. */
#ifndef LEDGE_SERVE_CACHE_H
#define LEDGE_SERVE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { LEDGE_CACHE_KEY = 65 };

/* The head of a value, which is one block of memory made by ledge__cache_value. */
typedef struct LedgeCacheValue {
    atomic_int refs;
    size_t bytes; /* of the whole block */
} LedgeCacheValue;

/* A block of `bytes`, head included, with one reference; NULL: no memory. */
LedgeCacheValue *ledge__cache_value(size_t bytes);
LedgeCacheValue *ledge__cache_value_ref(LedgeCacheValue *v);
void ledge__cache_value_unref(LedgeCacheValue *v); /* NULL is legal */

/* Somebody who has joined; at the head of the joiner's own structure. */
typedef struct LedgeCacheWaiter {
    struct LedgeCacheWaiter *next;
} LedgeCacheWaiter;

typedef struct LedgeCacheOptions {
    size_t bytes;        /* of all values and what it takes to keep them */
    double ttl;          /* seconds that a value may be given, 0: as long as it is there */
    double (*now)(void); /* monotonic seconds */
} LedgeCacheOptions;

typedef struct LedgeCacheStats {
    uint64_t hits, misses, joined, evicted, expired;
    size_t entries, bytes;
} LedgeCacheStats;

typedef enum LedgeCacheTurn {
    LEDGE_CACHE_HIT,   /* *value is set, with a reference for the caller */
    LEDGE_CACHE_LEAD,  /* the caller must land */
    LEDGE_CACHE_JOINED /* `waiter` comes out of a leader's land */
} LedgeCacheTurn;

typedef struct LedgeCache LedgeCache;

/* Statuses: ARGUMENT (no room), MEMORY. */
LedgeStatus ledge__cache_new(const LedgeCacheOptions *options, LedgeError *err, LedgeCache **out);
/* Nobody leads or waits any more. NULL is legal. */
void ledge__cache_free(LedgeCache *c);
/* Without memory to note a lead, the caller gets one that nobody can join. */
LedgeCacheTurn ledge__cache_ask(LedgeCache *c, const char *key, LedgeCacheWaiter *waiter,
                                LedgeCacheValue **value);
/* Ends a lead; keeps a reference of `value` if it has room for it; NULL: there is none, the leader
 * failed. Gives those who joined, in order. */
LedgeCacheWaiter *ledge__cache_land(LedgeCache *c, const char *key, LedgeCacheValue *value);
void ledge__cache_stats(LedgeCache *c, LedgeCacheStats *out);

#endif
