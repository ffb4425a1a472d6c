/* A mutex; nothing at all where a build has no threads (wasm). */
#ifndef LEDGE_BASE_LOCK_H
#define LEDGE_BASE_LOCK_H

#include <stdbool.h>

#if defined(__wasm__) && !defined(_REENTRANT)

typedef struct LedgeLock {
    char unused;
} LedgeLock;

static inline bool ledge__lock_init(LedgeLock *l)
{
    l->unused = 0;
    return true;
}
static inline void ledge__lock_take(LedgeLock *l)
{
    (void)l;
}
static inline void ledge__lock_give(LedgeLock *l)
{
    (void)l;
}
static inline void ledge__lock_end(LedgeLock *l)
{
    (void)l;
}

#else

#include <pthread.h>

typedef struct LedgeLock {
    pthread_mutex_t mutex;
} LedgeLock;

static inline bool ledge__lock_init(LedgeLock *l)
{
    return pthread_mutex_init(&l->mutex, NULL) == 0;
}
static inline void ledge__lock_take(LedgeLock *l)
{
    pthread_mutex_lock(&l->mutex);
}
static inline void ledge__lock_give(LedgeLock *l)
{
    pthread_mutex_unlock(&l->mutex);
}
static inline void ledge__lock_end(LedgeLock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

#endif
#endif
