/* The thread that reads ahead. */
#include "serve/read_ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/timed_wait.h"

enum { STEP = 32768 }; /* bytes that are worth a wake-up */

struct LedgeReadAhead {
    pthread_t thread;
    size_t limit;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more, done;
    bool stop, asleep;
    LedgeOipAhead *to; /* NULL: nothing is to be read; the thread's own while it reads */
    char *body;
    size_t whole, have, seen; /* seen: what the thread has been through */
};

static bool has_work(const LedgeReadAhead *r)
{
    return r->to && r->seen < r->have;
}

static void *read_on(void *arg)
{
    LedgeReadAhead *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (!has_work(r)) {
            r->asleep = true;
            pthread_cond_wait(&r->more, &r->lock);
            r->asleep = false;
            continue;
        }
        LedgeOipAhead *to = r->to;
        const size_t have = r->have;
        pthread_mutex_unlock(&r->lock);
        const bool goes_on = ledge__oip_ahead(to, r->body, have, r->whole, r->limit);
        pthread_mutex_lock(&r->lock);
        r->seen = have;
        if (!goes_on)
            r->to = NULL;
        pthread_cond_signal(&r->done);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

LedgeStatus ledge__read_ahead_new(size_t limit, LedgeError *err, LedgeReadAhead **out)
{
    LedgeReadAhead *r = calloc(1, sizeof *r);
    if (!r || !ledge__wait_init(&r->lock, &r->more)) {
        free(r);
        return ledge__no_memory(err);
    }
    r->limit = limit;
    pthread_cond_init(&r->done, NULL);
    if (pthread_create(&r->thread, NULL, read_on, r) != 0) {
        pthread_cond_destroy(&r->done);
        ledge__wait_end(&r->lock, &r->more);
        free(r);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "reader", "the system gives no thread");
    }
    *out = r;
    return LEDGE_OK;
}

void ledge__read_ahead_free(LedgeReadAhead *r)
{
    if (!r)
        return;
    ledge__wait_stop(&r->lock, &r->more, &r->stop, r->thread);
    pthread_cond_destroy(&r->done);
    ledge__wait_end(&r->lock, &r->more);
    free(r);
}

bool ledge__read_ahead_begin(LedgeReadAhead *r, LedgeOipAhead *to, char *body, size_t whole)
{
    pthread_mutex_lock(&r->lock);
    const bool is_free = !r->to;
    if (is_free) {
        r->to = to;
        r->body = body;
        r->whole = whole;
        r->have = r->seen = 0;
    }
    pthread_mutex_unlock(&r->lock);
    return is_free;
}

void ledge__read_ahead_more(LedgeReadAhead *r, const LedgeOipAhead *to, size_t have)
{
    pthread_mutex_lock(&r->lock);
    if (r->to == to && (have - r->seen >= STEP || have == r->whole)) {
        r->have = have;
        if (r->asleep)
            pthread_cond_signal(&r->more);
    }
    pthread_mutex_unlock(&r->lock);
}

void ledge__read_ahead_end(LedgeReadAhead *r, const LedgeOipAhead *to)
{
    pthread_mutex_lock(&r->lock);
    while (r->to == to && has_work(r))
        pthread_cond_wait(&r->done, &r->lock);
    if (r->to == to)
        r->to = NULL;
    pthread_mutex_unlock(&r->lock);
}
