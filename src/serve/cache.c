/* The cache: a table of chains for keys, a list for the order of use, a list of flights. */
#include "serve/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

typedef struct Entry {
    struct Entry *next;          /* of its chain */
    struct Entry *newer, *older; /* by use */
    LedgeCacheValue *value;
    double born;
    char key[LEDGE_CACHE_KEY];
} Entry;

/* Somebody is making the value of `key`. */
typedef struct Flight {
    struct Flight *next;
    LedgeCacheWaiter *first, **last;
    char key[LEDGE_CACHE_KEY];
} Flight;

struct LedgeCache {
    pthread_mutex_t lock;
    LedgeCacheOptions options;
    LedgeCacheStats stats;
    Entry **chain;
    size_t chains; /* a power of two */
    Entry *newest, *oldest;
    Flight *flights; /* as many as there are workers at most, so that a list will do */
};

LedgeCacheValue *ledge__cache_value(size_t bytes)
{
    LedgeCacheValue *v = aligned_alloc(LEDGE_ALIGN, ledge__round_up(bytes, LEDGE_ALIGN));
    if (v) {
        atomic_init(&v->refs, 1);
        v->bytes = bytes;
    }
    return v;
}

LedgeCacheValue *ledge__cache_value_ref(LedgeCacheValue *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void ledge__cache_value_unref(LedgeCacheValue *v)
{
    if (v && atomic_fetch_sub(&v->refs, 1) == 1)
        free(v);
}

LedgeStatus ledge__cache_new(const LedgeCacheOptions *options, LedgeError *err, LedgeCache **out)
{
    if (options->bytes == 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "cache", "a cache needs room");
    LedgeCache *c = calloc(1, sizeof *c);
    if (!c || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return ledge__no_memory(err);
    }
    c->options = *options;
    *out = c;
    return LEDGE_OK;
}

/* What an entry costs, its place in the table included. */
static size_t cost_of(const LedgeCacheValue *v)
{
    return v->bytes + sizeof(Entry) + 2 * sizeof(Entry *);
}

static Entry **place_of(LedgeCache *c, const char *key)
{
    return &c->chain[ledge__hash64(key, strlen(key), 0) & (c->chains - 1)];
}

static void unlink_use(LedgeCache *c, Entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(LedgeCache *c, Entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(LedgeCache *c, Entry *e)
{
    Entry **at = place_of(c, e->key);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    unlink_use(c, e);
    c->stats.entries--;
    c->stats.bytes -= cost_of(e->value);
    ledge__cache_value_unref(e->value);
    free(e);
}

void ledge__cache_free(LedgeCache *c)
{
    if (!c)
        return;
    while (c->newest)
        drop(c, c->newest);
    free(c->chain);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The entry, if it is there and young enough. */
static Entry *find(LedgeCache *c, const char *key)
{
    Entry *e = c->chains ? *place_of(c, key) : NULL;
    while (e && memcmp(e->key, key, sizeof e->key) != 0)
        e = e->next;
    if (e && c->options.ttl > 0 && c->options.now() - e->born >= c->options.ttl) {
        c->stats.expired++;
        drop(c, e);
        return NULL;
    }
    return e;
}

static Flight **find_flight(LedgeCache *c, const char *key)
{
    Flight **at = &c->flights;
    while (*at && memcmp((*at)->key, key, sizeof(*at)->key) != 0)
        at = &(*at)->next;
    return at;
}

static void begin_flight(LedgeCache *c, const char *key)
{
    Flight *f = calloc(1, sizeof *f);
    if (!f)
        return;
    f->last = &f->first;
    memcpy(f->key, key, sizeof f->key);
    f->next = c->flights;
    c->flights = f;
}

LedgeCacheTurn ledge__cache_ask(LedgeCache *c, const char *key, LedgeCacheWaiter *waiter,
                                LedgeCacheValue **value)
{
    LedgeCacheTurn turn = LEDGE_CACHE_LEAD;
    pthread_mutex_lock(&c->lock);
    Entry *e = find(c, key);
    Flight *f = e ? NULL : *find_flight(c, key);
    if (e) {
        turn = LEDGE_CACHE_HIT;
        *value = ledge__cache_value_ref(e->value);
        c->stats.hits++;
        unlink_use(c, e);
        link_newest(c, e);
    } else if (f) {
        turn = LEDGE_CACHE_JOINED;
        waiter->next = NULL;
        *f->last = waiter;
        f->last = &waiter->next;
        c->stats.joined++;
    } else {
        c->stats.misses++;
        begin_flight(c, key);
    }
    pthread_mutex_unlock(&c->lock);
    return turn;
}

/* Twice the chains; without memory they get longer. */
static void widen(LedgeCache *c)
{
    const size_t chains = c->chains ? 2 * c->chains : 64;
    Entry **fresh = calloc(chains, sizeof(Entry *)), **old = c->chain;
    if (!fresh)
        return;
    c->chain = fresh;
    c->chains = chains;
    for (Entry *e = c->newest; e; e = e->older) {
        Entry **at = place_of(c, e->key);
        e->next = *at;
        *at = e;
    }
    free(old);
}

static void keep(LedgeCache *c, const char *key, LedgeCacheValue *value)
{
    const size_t cost = cost_of(value);
    if (cost > c->options.bytes || find(c, key))
        return;
    while (c->stats.bytes > c->options.bytes - cost) {
        c->stats.evicted++;
        drop(c, c->oldest);
    }
    if (c->stats.entries >= c->chains)
        widen(c);
    Entry *e = c->chains ? calloc(1, sizeof *e) : NULL;
    if (!e)
        return;
    memcpy(e->key, key, sizeof e->key);
    e->value = ledge__cache_value_ref(value);
    e->born = c->options.now();
    Entry **at = place_of(c, key);
    e->next = *at;
    *at = e;
    link_newest(c, e);
    c->stats.entries++;
    c->stats.bytes += cost;
}

LedgeCacheWaiter *ledge__cache_land(LedgeCache *c, const char *key, LedgeCacheValue *value)
{
    LedgeCacheWaiter *joined = NULL;
    pthread_mutex_lock(&c->lock);
    Flight **at = find_flight(c, key), *f = *at;
    if (f) {
        *at = f->next;
        joined = f->first;
        free(f);
    }
    if (value)
        keep(c, key, value);
    pthread_mutex_unlock(&c->lock);
    return joined;
}

void ledge__cache_stats(LedgeCache *c, LedgeCacheStats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
}
