/* Token buckets in a set-associative table, see rate_limit.h. */
#include "fleet/registry/rate_limit.h"

#include <pthread.h>
#include <stdlib.h>

enum { SETS = 8192, WAYS = 8 };

typedef struct Bucket {
    uint64_t who;
    double left, at;
} Bucket;

struct LedgeRateLimit {
    double rate, burst;
    pthread_mutex_t lock;
    Bucket buckets[SETS][WAYS];
};

LedgeRateLimit *ledge__rate_limit_new(double per_second, double burst)
{
    LedgeRateLimit *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->rate = per_second;
    r->burst = burst;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void ledge__rate_limit_free(LedgeRateLimit *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static Bucket *find(LedgeRateLimit *r, uint64_t who, double now)
{
    Bucket *set = r->buckets[who % SETS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].who == who && set[i].at > 0)
            return &set[i];
        if (set[i].at < oldest->at)
            oldest = &set[i];
    }
    *oldest = (Bucket){.who = who, .left = r->burst, .at = now};
    return oldest;
}

bool ledge__rate_limit_ask(LedgeRateLimit *r, uint64_t who, double now)
{
    pthread_mutex_lock(&r->lock);
    Bucket *b = find(r, who, now);
    b->left += (now - b->at) * r->rate;
    b->left = b->left > r->burst ? r->burst : b->left;
    b->at = now;
    const bool may = b->left >= 1;
    b->left -= may;
    pthread_mutex_unlock(&r->lock);
    return may;
}
