/* A lock with a condition whose waits end by the monotonic clock, so that setting the calendar
 * neither shortens nor stretches them. */
#ifndef LEDGE_BASE_TIMED_WAIT_H
#define LEDGE_BASE_TIMED_WAIT_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

/* false: no memory; then neither is to be destroyed. */
static inline bool ledge__wait_init(pthread_mutex_t *lock, pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool done = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(cond, &attr) == 0;
    pthread_condattr_destroy(&attr);
    if (done && pthread_mutex_init(lock, NULL) != 0) {
        pthread_cond_destroy(cond);
        done = false;
    }
    return done;
}

static inline void ledge__wait_end(pthread_mutex_t *lock, pthread_cond_t *cond)
{
    pthread_cond_destroy(cond);
    pthread_mutex_destroy(lock);
}

/* Ends the thread that waits for `cond` and looks at *stop. */
static inline void ledge__wait_stop(pthread_mutex_t *lock, pthread_cond_t *cond, bool *stop,
                                    pthread_t thread)
{
    pthread_mutex_lock(lock);
    *stop = true;
    pthread_cond_signal(cond);
    pthread_mutex_unlock(lock);
    pthread_join(thread, NULL);
}

/* until: monotonic seconds. false: that moment has come. */
static inline bool ledge__wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, double until)
{
    struct timespec t;
    t.tv_sec = (time_t)until;
    t.tv_nsec = (long)((until - (double)t.tv_sec) * 1e9);
    return pthread_cond_timedwait(cond, lock, &t) != ETIMEDOUT;
}

#endif
