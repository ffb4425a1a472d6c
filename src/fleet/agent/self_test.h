/* The self-test of a new version: it runs the golden inputs that travel with it, in a process of
 * its own, and must give the outputs, in the time and memory, that the publisher saw.
 *
 * A model that crashes, hangs or eats all memory takes that process down and not the agent. */
#ifndef LEDGE_AGENT_SELF_TEST_H
#define LEDGE_AGENT_SELF_TEST_H

#include "fleet/protocol/release.h"

typedef struct LedgeSelfTest {
    bool passed;
    int64_t latency_us; /* median of the runs; 0: none */
    int64_t memory;     /* bytes that the process grew by at most, model and all */
    size_t cases, runs;
    char reason[LEDGE_FLEET_REASON]; /* why it did not pass */
} LedgeSelfTest;

typedef struct LedgeSelfTestLimits {
    int64_t latency_us, memory; /* 0: none */
    int timeout_s;              /* 0: 300 */
} LedgeSelfTestLimits;

/* Runs the release in `folder`, whose file to run is r->files[model]. A release without golden
 * cases is loaded and its plan made. OK whatever the verdict; statuses: MEMORY, IO (no process). */
LEDGE_MUST_CHECK LedgeStatus ledge__self_test(const char *folder, const LedgeRelease *r,
                                              size_t model, const LedgeSelfTestLimits *limits,
                                              LedgeError *err, LedgeSelfTest *out);

#endif
