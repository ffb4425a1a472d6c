/* A wrong clock for one program, by LD_PRELOAD: CLOCK_SHIM_S seconds are added to the calendar, and
 * the kernel does not know whether that is right. Monotonic time goes on as it does. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

static time_t shift(void)
{
    const char *s = getenv("CLOCK_SHIM_S");
    return s ? (time_t)strtoll(s, NULL, 10) : 0;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ts)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    const int code = real(clock, ts);
    if (clock == CLOCK_REALTIME)
        ts->tv_sec += shift();
    return code;
}

__attribute__((visibility("default"))) time_t time(time_t *out)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

__attribute__((visibility("default"))) int adjtimex(struct timex *t)
{
    *t = (struct timex){.status = STA_UNSYNC};
    return TIME_ERROR;
}
