/* Group commit, see registry_tasks.h. */
#include "fleet/registry/registry_tasks.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/timed_wait.h"

enum { GROUP = 512 }; /* tasks of one transaction */

struct LedgeTasks {
    LedgeStore *store;
    size_t limit, waiting;
    LedgeTask *first, **last;
    void (*tick)(void *arg, LedgeStore *s);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool ends;
    LedgeTasksCount count;
};

/* ---- a group ---- */

static bool is_fatal(LedgeStatus status)
{
    return status == LEDGE_ERROR_IO || status == LEDGE_ERROR_MEMORY;
}

/* A status that undoes the group, or LEDGE_OK whatever became of the task. */
static LedgeStatus run_one(LedgeStore *s, LedgeTask *t, LedgeError *err)
{
    LEDGE_TRY(ledge__store_mark(s, err));
    t->err = (LedgeError){0};
    t->status = t->run(t, s, &t->err);
    if (is_fatal(t->status)) {
        *err = t->err;
        return t->status;
    }
    return t->status ? ledge__store_return(s, err) : ledge__store_keep(s, err);
}

static LedgeStatus in_transaction(LedgeStore *s, LedgeTask *first, LedgeError *err)
{
    LEDGE_TRY(ledge__store_begin(s, (int64_t)time(NULL), err));
    LedgeStatus status = LEDGE_OK;
    for (LedgeTask *t = first; t && !status; t = t->next)
        status = run_one(s, t, err);
    if (!status)
        return ledge__store_commit(s, err);
    ledge__store_undo(s);
    return status;
}

/* Without a store there is no commit to wait for: each is done by itself. */
static uint64_t run_each(LedgeTask *first)
{
    uint64_t n = 0;
    for (LedgeTask *t = first, *next; t; t = next, n++) {
        next = t->next;
        t->status = t->run(t, NULL, &t->err);
        t->done(t);
    }
    return n;
}

static uint64_t run_together(LedgeTasks *tasks, LedgeTask *first, LedgeStatus *status)
{
    LedgeError err = {0};
    uint64_t n = 0;
    *status = in_transaction(tasks->store, first, &err);
    for (LedgeTask *t = first, *next; t; t = next, n++) {
        next = t->next;
        if (*status) {
            t->status = *status;
            t->err = err;
        }
        t->done(t);
    }
    return n;
}

static void run_group(LedgeTasks *tasks, LedgeTask *first)
{
    LedgeStatus status = LEDGE_OK;
    const uint64_t n = tasks->store ? run_together(tasks, first, &status) : run_each(first);
    pthread_mutex_lock(&tasks->lock);
    tasks->count.tasks += n;
    tasks->count.commits += !status;
    tasks->count.failures += status != LEDGE_OK;
    pthread_mutex_unlock(&tasks->lock);
}

/* ---- the thread ---- */

static LedgeTask *take(LedgeTasks *t)
{
    LedgeTask *first = t->first, *end = first;
    if (!first)
        return NULL;
    size_t n = 1;
    for (; n < GROUP && end->next; n++)
        end = end->next;
    t->first = end->next;
    if (!t->first)
        t->last = &t->first;
    end->next = NULL;
    t->waiting -= n;
    return first;
}

static void *work(void *arg)
{
    LedgeTasks *t = arg;
    int64_t ticked = ledge__clock_ms(CLOCK_MONOTONIC);
    for (;;) {
        const double until = (double)ticked * 1e-3 + 1;
        pthread_mutex_lock(&t->lock);
        while (!t->first && !t->ends && ledge__wait_until(&t->wake, &t->lock, until))
            ;
        LedgeTask *group = take(t);
        const bool over = !group && t->ends;
        pthread_mutex_unlock(&t->lock);
        if (over)
            return NULL;
        if (group)
            run_group(t, group);
        const int64_t now = ledge__clock_ms(CLOCK_MONOTONIC);
        if (now - ticked < 1000)
            continue;
        ticked = now;
        if (t->tick)
            t->tick(t->arg, t->store);
    }
}

LedgeStatus ledge__tasks_new(LedgeStore *store, size_t limit, void (*tick)(void *, LedgeStore *),
                             void *arg, LedgeError *err, LedgeTasks **out)
{
    LedgeTasks *t = calloc(1, sizeof *t);
    if (!t)
        return ledge__no_memory(err);
    t->store = store;
    t->limit = limit;
    t->tick = tick;
    t->arg = arg;
    t->last = &t->first;
    if (!ledge__wait_init(&t->lock, &t->wake)) {
        free(t);
        return ledge__no_memory(err);
    }
    if (pthread_create(&t->thread, NULL, work, t) != 0) {
        ledge__wait_end(&t->lock, &t->wake);
        free(t);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "registry", "cannot start a thread");
    }
    *out = t;
    return LEDGE_OK;
}

void ledge__tasks_stop(LedgeTasks *t)
{
    if (!t || t->ends)
        return;
    ledge__wait_stop(&t->lock, &t->wake, &t->ends, t->thread);
}

void ledge__tasks_free(LedgeTasks *t)
{
    if (!t)
        return;
    ledge__tasks_stop(t);
    ledge__wait_end(&t->lock, &t->wake);
    free(t);
}

bool ledge__tasks_put(LedgeTasks *t, LedgeTask *task)
{
    pthread_mutex_lock(&t->lock);
    const bool taken = t->waiting < t->limit && !t->ends;
    if (taken) {
        task->next = NULL;
        *t->last = task;
        t->last = &task->next;
        t->waiting++;
        pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->lock);
    return taken;
}

/* ---- waiting for one ---- */

typedef struct Waiter {
    LedgeTask task;
    LedgeTask *inner;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool over;
} Waiter;

static LedgeStatus run_inner(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    LedgeTask *inner = ((Waiter *)(void *)t)->inner;
    return inner->run(inner, s, err);
}

static void wake_waiter(LedgeTask *t)
{
    Waiter *w = (Waiter *)(void *)t;
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

LedgeStatus ledge__tasks_do(LedgeTasks *t, LedgeTask *task)
{
    Waiter w = {.task = {.run = run_inner, .done = wake_waiter}, .inner = task};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    if (ledge__tasks_put(t, &w.task)) {
        pthread_mutex_lock(&w.lock);
        while (!w.over)
            pthread_cond_wait(&w.done, &w.lock);
        pthread_mutex_unlock(&w.lock);
        task->status = w.task.status;
        task->err = w.task.err;
    } else {
        task->status =
            ledge__fail(&task->err, LEDGE_ERROR_IO, "registry", "too much waits; try again");
    }
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.done);
    return task->status;
}

LedgeTasksCount ledge__tasks_count(LedgeTasks *t)
{
    pthread_mutex_lock(&t->lock);
    LedgeTasksCount c = t->count;
    c.waiting = t->waiting;
    pthread_mutex_unlock(&t->lock);
    return c;
}
