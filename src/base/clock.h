/* The system's clocks as whole microseconds and milliseconds. */
#ifndef LEDGE_BASE_CLOCK_H
#define LEDGE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t ledge__clock_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static inline int64_t ledge__clock_ms(clockid_t clock)
{
    return ledge__clock_us(clock) / 1000;
}

#endif
