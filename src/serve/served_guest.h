/* A guest in WebAssembly in front of a model that is served, behind it, or both: a .lwm file with
 * the exports of ledge/guest/guest_serve.h (docs/wasm.md).
 *
 * Instances wait in a pool; a request takes one, or has one made, and gives it back. One that was
 * ended (trap, time, memory) is thrown away with all that it held, and only the request that it
 * worked for fails. Knows nothing of HTTP and of what models are. Threads: any. */
#ifndef LEDGE_SERVE_SERVED_GUEST_H
#define LEDGE_SERVE_SERVED_GUEST_H

#include "base/alloc.h"
#include "ledge/ledge.h"
#include "monitor/sketch.h"

/* What a model is to be served with. Text that is "" means none. */
typedef struct LedgeGuestSettings {
    char path[512]; /* a .lwm */
    char key[512];  /* public key: it must have signed the guest */
    bool beside;    /* without a path: guest.lwm in the folder of the model's file, if there */
    uint32_t pages; /* most memory in 64 KiB, 0: 1,024 */
    double time;    /* seconds that a call may take, 0: 1 */
    double fuel;    /* the same, of CPU time, 0: no limit */
} LedgeGuestSettings;

typedef enum LedgeGuestStage {
    LEDGE_GUEST_PRE,
    LEDGE_GUEST_POST,
    LEDGE_GUEST_STAGES
} LedgeGuestStage;
const char *ledge__guest_stage_name(LedgeGuestStage stage); /* "preprocess", "postprocess" */

typedef struct LedgeServedGuest LedgeServedGuest;

/* Reads the file, checks its exports and starts a first instance. *out is NULL where the settings
 * ask for none. Statuses: those of the runner's opening and starting, UNSUPPORTED (an export is
 * missing, or of another type: named). */
LedgeStatus ledge__served_guest_load(const LedgeGuestSettings *settings, const char *model_path,
                                     LedgeError *err, LedgeServedGuest **out);
void ledge__served_guest_free(LedgeServedGuest *g); /* not while it is called; NULL is legal */
/* NULL has no stages. */
bool ledge__served_guest_has(const LedgeServedGuest *g, LedgeGuestStage stage);
const char *ledge__served_guest_hash(const LedgeServedGuest *g); /* SHA-256 of the file, hex */

/* A request as the guest gets it (GuestRequest); NULL where there is none. */
typedef struct LedgeGuestAsk {
    LedgeGuestStage stage;
    uint32_t top;
    const char *model, *preprocess, *labels;
    const void *body, *note; /* note: what the first half left for the second */
    size_t body_bytes, note_bytes;
    size_t n_tensors, n_inputs;
    const char *const *names; /* of the tensors */
    const LedgeTensor *tensors;
    const LedgeTensorInfo *const *inputs;
} LedgeGuestAsk;

/* What it said, in the arena: tensors, or JSON where that is not NULL. */
typedef struct LedgeGuestSaid {
    const char *json;
    const void *note; /* NULL: none */
    size_t json_bytes, note_bytes, n_tensors;
    const char **names;
    LedgeTensor *tensors;
} LedgeGuestSaid;

/* *seconds grows by the time it took. Statuses: ARGUMENT (the guest refuses the request, in its
 * own words), RUNTIME (it was ended, or its answer is none), LIMIT, MEMORY. */
LedgeStatus ledge__served_guest_call(LedgeServedGuest *g, const LedgeGuestAsk *ask,
                                     LedgeArena *arena, double *seconds, LedgeError *err,
                                     LedgeGuestSaid *out);
/* An answer did not fit the model: counted, told, and RUNTIME. */
LedgeStatus ledge__served_guest_unfit(LedgeServedGuest *g, const LedgeError *why, LedgeError *err);

/* Why calls failed. */
#define LEDGE_GUEST_FAILURES(X)                                                                    \
    X(TRAP, "trap")       /* it was ended */                                                       \
    X(TIME, "time")       /* its time was used up */                                               \
    X(MEMORY, "memory")   /* it was refused memory, and failed */                                  \
    X(EXIT, "exit")       /* it ended itself */                                                    \
    X(ANSWER, "answer")   /* none, or one that is not well formed or does not fit */               \
    X(REFUSED, "refused") /* by the guest: the request is at fault */
typedef enum LedgeGuestFailure {
#define X(NAME, name) LEDGE_GUEST_FAILED_##NAME,
    LEDGE_GUEST_FAILURES(X)
#undef X
        LEDGE_GUEST_FAILURE_COUNT
} LedgeGuestFailure;
const char *ledge__guest_failure_name(LedgeGuestFailure f);

typedef struct LedgeGuestStats {
    LedgeSketch time[LEDGE_GUEST_STAGES]; /* seconds of each call, failed ones too */
    uint64_t failed[LEDGE_GUEST_FAILURE_COUNT];
    uint64_t instances; /* ever made */
} LedgeGuestStats;
void ledge__served_guest_stats(LedgeServedGuest *g, LedgeGuestStats *out);

#endif
