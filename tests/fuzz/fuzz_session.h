/* Shared by the targets that run what they have loaded: one run over zeros, bounded. */
#ifndef LEDGE_TESTS_FUZZ_SESSION_H
#define LEDGE_TESTS_FUZZ_SESSION_H

#include <stdlib.h>
#include <string.h>

#include "engine/session/session.h"

#define FUZZ_ARENA ((size_t)4 << 20)
#define FUZZ_INPUT ((size_t)1 << 20)
#define FUZZ_MAX_IO 16
#define FUZZ_MACS 50000000 /* over this a run is slow, not wrong */

/* A loop may rightly run for ever; it is no finding. */
static inline bool fuzz_may_loop(const LedgeGraph *g)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        for (size_t a = 0; a < n->n_attrs; a++)
            if (n->attrs[a].graphs)
                return true;
    return false;
}

static inline bool fuzz_cheap(LedgeSession *s)
{
    LedgePlan *p = ledge__session_plan(s);
    int64_t total = 0, macs;
    for (uint32_t i = 0; p && i < ledge__plan_step_count(p); i++) {
        ledge__plan_step(p, i, NULL, &macs);
        total += macs < FUZZ_MACS ? macs : FUZZ_MACS;
    }
    return total < FUZZ_MACS;
}

static inline bool fuzz_inputs(const LedgeModel *m, LedgeTensor *in)
{
    if (ledge_model_input_count(m) > FUZZ_MAX_IO || ledge_model_output_count(m) > FUZZ_MAX_IO)
        return false;
    for (size_t i = 0; i < ledge_model_input_count(m); i++) {
        const LedgeTensorInfo *info = ledge_model_input(m, i);
        in[i] = (LedgeTensor){.type = info->type, .rank = info->rank < 0 ? 0 : info->rank};
        for (int32_t d = 0; d < in[i].rank; d++)
            in[i].dims[d] = info->dims[d] < 0 ? 2 : info->dims[d];
        size_t bytes = ledge_tensor_bytes(&in[i]);
        if (bytes > FUZZ_INPUT || info->type == LEDGE_STRING || info->type >= LEDGE_SEQUENCE)
            return false;
        in[i].bytes = bytes;
        in[i].data = calloc(1, bytes + 1);
        if (!in[i].data)
            return false;
    }
    return true;
}

static inline void fuzz_run(LedgeModel *m)
{
    LedgeSessionOptions o = {.threads = 1, .arena_limit = FUZZ_ARENA};
    LedgeTensor in[FUZZ_MAX_IO] = {{0}}, out[FUZZ_MAX_IO] = {{0}};
    LedgeError err;
    LedgeSession *s = NULL;
    bool ready = !fuzz_may_loop(m->graph) && fuzz_inputs(m, in) &&
                 ledge_session_create(m, &o, &err, &s) == LEDGE_OK &&
                 ledge__session_plan_for(s, in, &err) == LEDGE_OK && fuzz_cheap(s);
    if (ready) {
        LedgeStatus status = ledge_session_run(s, in, ledge_model_input_count(m), out,
                                               ledge_model_output_count(m), &err);
        if (status != LEDGE_OK && err.message[0] == '\0')
            abort();
    }
    ledge_session_free(s);
    for (size_t i = 0; i < FUZZ_MAX_IO; i++)
        free(in[i].data);
}

#endif
