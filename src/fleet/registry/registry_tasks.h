/* The one thread that talks to the database: tasks of many requests share a transaction, and none
 * is answered before that is on the disk (group commit). */
#ifndef LEDGE_FLEET_REGISTRY_TASKS_H
#define LEDGE_FLEET_REGISTRY_TASKS_H

#include "fleet/registry/store.h"

typedef struct LedgeTask LedgeTask;
struct LedgeTask {
    /* In a transaction. A failure undoes this task alone; with IO and MEMORY the whole group is
     * undone and fails. */
    LedgeStatus (*run)(LedgeTask *t, LedgeStore *s, LedgeError *err);
    /* When it is committed, or failed: see status and err. The task may be freed in it. */
    void (*done)(LedgeTask *t);
    LedgeStatus status;
    LedgeError err;
    LedgeTask *next;
};

typedef struct LedgeTasks LedgeTasks;

/* The store is the thread's until ledge__tasks_stop; NULL: a thread for slow things, whose tasks
 * run one by one with no transaction, each done before the next is run. tick: called with the store
 * every second or so outside of transactions; may be NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__tasks_new(LedgeStore *store, size_t limit,
                                              void (*tick)(void *arg, LedgeStore *s), void *arg,
                                              LedgeError *err, LedgeTasks **out);
/* Does what waits, takes no more, and ends the thread. NULL is legal in both. */
void ledge__tasks_stop(LedgeTasks *t);
void ledge__tasks_free(LedgeTasks *t);
/* false: too many wait already; the task is not taken. */
bool ledge__tasks_put(LedgeTasks *t, LedgeTask *task);
/* One task, waited for. */
LEDGE_MUST_CHECK LedgeStatus ledge__tasks_do(LedgeTasks *t, LedgeTask *task);

typedef struct LedgeTasksCount {
    uint64_t tasks, commits, failures;
    size_t waiting;
} LedgeTasksCount;
LedgeTasksCount ledge__tasks_count(LedgeTasks *t);

#endif
