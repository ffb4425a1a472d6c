/* Climbing a ladder of sessions. */
#include "ledge/adaptive.h"

#include <time.h>

#include "base/error.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

LedgeStatus ledge_adaptive_run(LedgeAdaptive *a, LedgeSession *const *sessions,
                               const LedgeTensor *inputs, size_t n_inputs, LedgeTensor *outputs,
                               size_t n_outputs, LedgeError *error, LedgeAdaptiveChoice *choice)
{
    enum { OUTPUTS = 64 };
    LedgeTensor asked[OUTPUTS];
    const double came = now();
    LedgeAdaptiveChoice c = {.rung = ledge_adaptive_first(a)};
    if (n_outputs < 1 || n_outputs > OUTPUTS)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, "ladder",
                           "a ladder's models have 1 to %d outputs, not %zu", OUTPUTS, n_outputs);
    for (size_t i = 0; i < n_outputs; i++)
        asked[i] = outputs[i];
    for (;; c.rung++) {
        const double start = now();
        for (size_t i = 0; i < n_outputs; i++) /* not the memory of the session below */
            outputs[i] = asked[i];
        LEDGE_TRY(ledge_session_run(sessions[c.rung], inputs, n_inputs, outputs, n_outputs, error));
        const double end = now();
        c.confidence = ledge_adaptive_confidence(a, &outputs[0]);
        c.why = ledge_adaptive_step(a, c.rung, c.confidence, end - start, end - came);
        c.seconds = now() - came;
        if (c.why == LEDGE_ADAPTIVE_CLIMB)
            continue;
        if (choice)
            *choice = c;
        return LEDGE_OK;
    }
}
