/* The queue and its workers. */
#include "serve/work.h"

#include <stdlib.h>
#include <string.h>

#include "base/timed_wait.h"

enum { BATCH = 64 };

typedef struct Worker {
    LedgeWorkers *all;
    pthread_t thread;
    int index;
} Worker;

struct LedgeWorkers {
    LedgeWorkOptions options;
    pthread_mutex_t lock;
    pthread_cond_t more;
    LedgeWork *first, *last;
    size_t waiting;
    bool stop;
    int started, idle; /* idle: of the threads, who wait for work */
    Worker worker[LEDGE_SERVE_WORKERS];
};

static LedgeWork *take_first(LedgeWorkers *w)
{
    LedgeWork *work = w->first;
    w->first = work->next;
    if (!w->first)
        w->last = NULL;
    w->waiting--;
    return work;
}

/* Those that can share a run with `like`, out of the middle of the queue too. */
static uint32_t take_alike(LedgeWorkers *w, const LedgeWork *like, LedgeWork **out, uint32_t room)
{
    uint32_t n = 0;
    LedgeWork *last = NULL;
    for (LedgeWork **at = &w->first; *at && n < room;) {
        LedgeWork *one = *at;
        if (one->model == like->model && one->kind == like->kind) {
            *at = one->next;
            out[n++] = one;
            w->waiting--;
        } else {
            last = one;
            at = &one->next;
        }
    }
    if (!w->first)
        w->last = NULL;
    else if (n < room) /* the whole queue was walked */
        w->last = last;
    else
        for (w->last = w->first; w->last->next; w->last = w->last->next) {
        }
    return n;
}

/* How many requests one run may answer. Those that wait already are shared with the workers that
 * are free: two short runs side by side are sooner done than one long one. */
static uint32_t most_of(const LedgeWorkers *w, const LedgeServed *m)
{
    const uint32_t most = m->options.batch < BATCH ? m->options.batch : BATCH;
    const size_t hands = 1 + (size_t)w->idle, share = (1 + w->waiting + hands - 1) / hands;
    return m->options.delay > 0 || share > most ? most : (uint32_t)share;
}

/* A first request, and with batching those that go with it; waits for them up to the delay. Called
 * with the lock held. */
static uint32_t take_batch(LedgeWorkers *w, LedgeWork **out)
{
    out[0] = take_first(w);
    const LedgeServed *m = out[0]->model;
    uint32_t n = 1;
    if (!m || m->options.batch <= 1 || !m->batches || out[0]->kind == LEDGE_WORK_CLASSIFY)
        return n;
    const uint32_t most = most_of(w, m);
    const double until = out[0]->arrived + m->options.delay;
    for (;;) {
        n += take_alike(w, out[0], out + n, most - n);
        if (n == most || until <= ledge__now() || w->stop)
            return n;
        if (!ledge__wait_until(&w->more, &w->lock, until))
            return n + take_alike(w, out[0], out + n, most - n);
    }
}

static void *work_on(void *arg)
{
    Worker *me = arg;
    LedgeWorkers *w = me->all;
    LedgeWork *works[BATCH];
    pthread_mutex_lock(&w->lock);
    for (;;) {
        w->idle++;
        while (!w->first && !w->stop)
            pthread_cond_wait(&w->more, &w->lock);
        w->idle--;
        if (!w->first)
            break;
        const uint32_t n = take_batch(w, works);
        if (w->first)
            pthread_cond_signal(&w->more); /* a wake-up meant for others may have come here */
        pthread_mutex_unlock(&w->lock);
        w->options.answer(&w->options, me->index, works, n);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

LedgeStatus ledge__workers_new(const LedgeWorkOptions *options, LedgeError *err, LedgeWorkers **out)
{
    LedgeWorkers *w = calloc(1, sizeof *w);
    if (!w || !ledge__wait_init(&w->lock, &w->more)) {
        free(w);
        return ledge__no_memory(err);
    }
    w->options = *options;
    for (int i = 0; i < options->workers && i < LEDGE_SERVE_WORKERS; i++) {
        w->worker[i] = (Worker){.all = w, .index = i};
        if (pthread_create(&w->worker[i].thread, NULL, work_on, &w->worker[i]) != 0) {
            ledge__workers_free(w);
            return ledge__fail(err, LEDGE_ERROR_RUNTIME, "workers",
                               "the system gives no thread for worker %d", i + 1);
        }
        w->started++;
    }
    *out = w;
    return LEDGE_OK;
}

bool ledge__workers_push(LedgeWorkers *w, LedgeWork *work)
{
    pthread_mutex_lock(&w->lock);
    const bool taken = !w->stop && w->waiting < w->options.queue;
    if (taken) {
        work->next = NULL;
        if (w->last)
            w->last->next = work;
        else
            w->first = work;
        w->last = work;
        w->waiting++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

size_t ledge__workers_waiting(LedgeWorkers *w)
{
    pthread_mutex_lock(&w->lock);
    const size_t n = w->waiting;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void ledge__workers_stop(LedgeWorkers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->started; i++)
        pthread_join(w->worker[i].thread, NULL);
    w->started = 0;
}

void ledge__workers_free(LedgeWorkers *w)
{
    if (!w)
        return;
    ledge__workers_stop(w);
    ledge__wait_end(&w->lock, &w->more);
    free(w);
}
