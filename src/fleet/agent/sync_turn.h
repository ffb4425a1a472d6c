/* Between the files of a turn (agent_sync.h): what they share while it lasts. */
#ifndef LEDGE_AGENT_SYNC_TURN_H
#define LEDGE_AGENT_SYNC_TURN_H

#include "fleet/agent/agent_sync.h"
#include "fleet/agent/install.h"
#include "fleet/agent/telemetry_queue.h"

typedef struct LedgeTurn {
    const LedgeAgentConfig *config;
    const char *arch; /* of files that run here … */
    uint32_t cpu;     /* … and the flags that they may need */
    LedgeAgentDir dir;
    LedgeHttp *http;
    LedgeTuf *tuf;     /* NULL: not opened */
    bool tuf_is_fresh; /* updated in this turn */
    char tuf_problem[LEDGE_FLEET_REASON];
    char device_id[LEDGE_FLEET_DEVICE];
    LedgePollAnswer answer; /* the last one, of this turn or before; etag "": none ever */
    bool is_idle;
    bool verify;
    LedgeInstallWanted wanted[2 * LEDGE_FLEET_MODELS]; /* releases to be had, owned */
    size_t n_wanted;
    bool wants_unknown; /* some model's files under way are not among them */
    const char *fall_back; /* why all models are to fall back; NULL: they are not */
    LedgeSyncResult result;
} LedgeTurn;

/* The poll (sync_poll.c): fills in answer and result. A registry that cannot be reached is a
 * problem in the result, not a failure. */
LEDGE_MUST_CHECK LedgeStatus ledge__turn_poll(LedgeTurn *t, LedgeError *err);
/* Reads the answer of an earlier turn; none is fine. */
void ledge__turn_load_answer(LedgeTurn *t);
/* All models (sync_models.c). */
LEDGE_MUST_CHECK LedgeStatus ledge__turn_models(LedgeTurn *t, LedgeError *err);
/* Updates trusted metadata (agent_sync.c), once a turn. false: t->tuf_problem says why not. */
bool ledge__turn_trust(LedgeTurn *t);
/* The first problem of a turn stays. */
void ledge__turn_problem(LedgeTurn *t, const char *where, const char *what);

#endif
