/* Waits that double and are spread, see backoff.h. */
#include "fleet/agent/backoff.h"

#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

static int64_t share(int64_t ms, double of, uint32_t random)
{
    return (int64_t)((double)ms * of * ((double)random / 4294967296.0));
}

int64_t ledge__backoff_ms(int64_t wait_ms, int failures, int64_t longest_ms, int64_t asked_ms,
                          uint32_t random)
{
    int64_t ms = wait_ms < longest_ms ? wait_ms : longest_ms;
    for (int i = 0; i < failures && ms < longest_ms; i++)
        ms = ms * 2 < longest_ms ? ms * 2 : longest_ms;
    ms = ms - ms / 5 + share(ms, 0.4, random);
    if (asked_ms > longest_ms)
        asked_ms = longest_ms;
    return asked_ms > 0 && ms < asked_ms ? asked_ms + share(asked_ms, 0.25, random) : ms;
}

uint32_t ledge__backoff_random(void)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
        r = (uint32_t)ledge__clock_us(CLOCK_BOOTTIME) * 2654435761u ^ (uint32_t)getpid();
    return r;
}
