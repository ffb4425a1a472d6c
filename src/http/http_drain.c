/* The end of a server, see http_drain.h. */
#include "http/http_drain.h"

#include <time.h>

#include "base/clock.h"

/* Milliseconds: for those that come while others hear that the server ends, and then for those
 * whose first request is on its way. */
enum { GRACE = 200, LAST = 100, STEP = 5 };

void ledge__http_connection(LedgeHttpDrain *d, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        atomic_fetch_add(&d->open, 1);
    else if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        atomic_fetch_sub(&d->open, 1);
}

bool ledge__http_enter(LedgeHttpDrain *d)
{
    atomic_fetch_add(&d->active, 1); /* before asking, as whoever shuts does so before counting */
    if (atomic_load(&d->stage) < LEDGE_HTTP_SHUT)
        return true;
    atomic_fetch_sub(&d->active, 1);
    return false;
}

void ledge__http_leave(LedgeHttpDrain *d)
{
    atomic_fetch_sub(&d->active, 1);
}

enum MHD_Result ledge__http_send(const LedgeHttpDrain *d, struct MHD_Connection *c, unsigned code,
                                 struct MHD_Response *r)
{
    if (atomic_load(&d->stage) >= LEDGE_HTTP_ENDS)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    const enum MHD_Result done = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return done;
}

static bool is_over(const LedgeHttpDrain *d, int64_t since)
{
    return atomic_load(&d->open) == 0 || (since >= GRACE + LAST && atomic_load(&d->active) == 0);
}

void ledge__http_drain(LedgeHttpDrain *d, double patience)
{
    const struct timespec step = {.tv_nsec = STEP * 1000000L};
    const int64_t start = ledge__clock_ms(CLOCK_MONOTONIC), most = (int64_t)(patience * 1e3);
    int64_t since = 0;
    atomic_store(&d->stage, LEDGE_HTTP_ENDS);
    do { /* whoever has connected already is let in */
        nanosleep(&step, NULL);
        since = ledge__clock_ms(CLOCK_MONOTONIC) - start;
        if (since >= GRACE)
            atomic_store(&d->stage, LEDGE_HTTP_CLOSED);
    } while (since < most && !is_over(d, since));
    atomic_store(&d->stage, LEDGE_HTTP_SHUT);
    while (since < most && atomic_load(&d->active) > 0) {
        nanosleep(&step, NULL);
        since = ledge__clock_ms(CLOCK_MONOTONIC) - start;
    }
}
