/* A rollout as a state machine: steps of ever more devices, gates between them, and what happens
 * when a gate refuses. It knows neither HTTP nor SQL nor a clock: evidence and time come in, a new
 * state comes out, so that every turn of it can be tested.
 *
 * A step is entered with a cohort (the devices of a group whose hash lies under a threshold). It is
 * passed when it has soaked, enough devices run the version, enough samples were seen and every
 * gate holds. A gate that refuses acts at once, before the soak time is over. Devices that did not
 * answer for `silent_s` count neither way; when `patience_s` is over, those that lag behind are
 * left out too. Where nobody answered, the rollout pauses and says so. */
#ifndef LEDGE_FLEET_REGISTRY_ROLLOUT_H
#define LEDGE_FLEET_REGISTRY_ROLLOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledge/status.h"

enum { LEDGE_ROLLOUT_STEPS = 32, LEDGE_GATES = 7 };

/* A negative bound is a gate that is off. Rates are parts of one. */
typedef struct LedgeGate {
    int64_t min_samples, min_devices; /* what the gates need before they judge */
    int64_t max_failures;             /* devices that failed or fell back */
    double max_error_rate, max_p90_ratio, max_drift, min_agreement;
    int64_t max_p90_us;
    int64_t soak_s;
} LedgeGate;

typedef struct LedgeRolloutStep {
    double percent; /* of the group, 0 < percent <= 100 */
    bool shadow;    /* runs beside the old version and answers nobody */
    LedgeGate gate;
} LedgeRolloutStep;

typedef struct LedgeRolloutPlan {
    LedgeRolloutStep steps[LEDGE_ROLLOUT_STEPS];
    int n;
    int64_t patience_s, silent_s;
    bool pause_on_failure; /* instead of rolling back */
    char moment[64];       /* when a device may switch: "now", "idle" or "22:00-04:00" */
} LedgeRolloutPlan;

typedef enum LedgeRolloutState {
    LEDGE_ROLLOUT_RUNNING,
    LEDGE_ROLLOUT_PAUSED,
    LEDGE_ROLLOUT_DONE,
    LEDGE_ROLLOUT_ROLLED_BACK
} LedgeRolloutState;

typedef struct LedgeRollout {
    LedgeRolloutState state;
    int step;
    int64_t entered; /* seconds: when the step began, or went on after a pause */
    char reason[256];
} LedgeRollout;

/* What is known about the cohort of the present step. */
typedef struct LedgeEvidence {
    int64_t cohort, answering; /* devices; answering: within silent_s */
    int64_t running, failed;   /* of these: run the new version; failed it or fell back from it */
    int64_t samples, errors, p90_us, old_samples, old_p90_us;
    int64_t judged, drifting; /* running devices with a drift verdict; of these "high" */
    int64_t shadow_count, shadow_agree;
} LedgeEvidence;

typedef enum LedgeGateState {
    LEDGE_GATE_OFF,
    LEDGE_GATE_WAITS, /* too little was seen to judge */
    LEDGE_GATE_HOLDS,
    LEDGE_GATE_REFUSES
} LedgeGateState;

typedef struct LedgeGateView {
    const char *name;
    LedgeGateState state;
    double have, bound;
} LedgeGateView;

typedef enum LedgeRolloutTurn {
    LEDGE_TURN_NONE,
    LEDGE_TURN_NEXT, /* the next step was entered: it needs its cohort */
    LEDGE_TURN_DONE,
    LEDGE_TURN_PAUSED,
    LEDGE_TURN_ROLLED_BACK
} LedgeRolloutTurn;

/* Each gate as it stands; *ready: nothing but time is missing. */
void ledge__rollout_gates(const LedgeRolloutPlan *plan, const LedgeRollout *r,
                          const LedgeEvidence *e, LedgeGateView out[LEDGE_GATES]);
/* Judges and moves on by at most one step. */
LedgeRolloutTurn ledge__rollout_turn(const LedgeRolloutPlan *plan, LedgeRollout *r,
                                     const LedgeEvidence *e, int64_t now);
/* "pause", "resume", "rollback" or "advance" by hand. Status ARGUMENT: no such command, or not from
 * this state. */
LEDGE_MUST_CHECK LedgeStatus ledge__rollout_command(const LedgeRolloutPlan *plan, LedgeRollout *r,
                                                    const char *command, int64_t now,
                                                    LedgeError *err, LedgeRolloutTurn *turn);
const char *ledge__rollout_state_name(LedgeRolloutState state);
/* The state of a name that the above gave; RUNNING for any other. */
LedgeRolloutState ledge__rollout_state_of(const char *name);
const char *ledge__gate_state_name(LedgeGateState state);

/* Where a device stands in the order in which a rollout takes devices; not negative. The same for
 * ever for the same salt, which differs between rollouts, so that not always the same are first. */
int64_t ledge__rollout_place(const char *salt, const char *device);
/* The threshold under which (place <= threshold) `percent` of these places lie, rounded down, but
 * at least one device; sorts `places`. -1: there are none. At 100 every place is under it. */
int64_t ledge__rollout_threshold(int64_t *places, size_t n, double percent);

/* A plan from JSON (docs/registry.md) and back; what is missing has its default. Status: FORMAT. */
LEDGE_MUST_CHECK LedgeStatus ledge__rollout_plan_read(const json_t *from, LedgeError *err,
                                                      LedgeRolloutPlan *out);
json_t *ledge__rollout_plan_json(const LedgeRolloutPlan *plan); /* NULL: no memory */

#endif
