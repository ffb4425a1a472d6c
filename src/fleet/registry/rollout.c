/* The turns of a rollout, see rollout.h. */
#include "fleet/registry/rollout.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

static const char *const state_names[] = {"running", "paused", "done", "rolled_back"};
static const char *const gate_names[] = {"off", "waits", "holds", "refuses"};

const char *ledge__rollout_state_name(LedgeRolloutState state)
{
    return state_names[state];
}

LedgeRolloutState ledge__rollout_state_of(const char *name)
{
    for (int i = 0; name && i < 4; i++)
        if (strcmp(name, state_names[i]) == 0)
            return (LedgeRolloutState)i;
    return LEDGE_ROLLOUT_RUNNING;
}

const char *ledge__gate_state_name(LedgeGateState state)
{
    return gate_names[state];
}

/* ---- gates ---- */

static LedgeGateView at_most(const char *name, double bound, double have, bool known)
{
    return (LedgeGateView){name,
                           bound < 0       ? LEDGE_GATE_OFF
                           : !known        ? LEDGE_GATE_WAITS
                           : have <= bound ? LEDGE_GATE_HOLDS
                                           : LEDGE_GATE_REFUSES,
                           have, bound};
}

static void put_off(LedgeGateView *g)
{
    if (g->state == LEDGE_GATE_WAITS)
        g->state = LEDGE_GATE_OFF;
}

static double part(int64_t n, int64_t of)
{
    return of > 0 ? (double)n / (double)of : 0;
}

void ledge__rollout_gates(const LedgeRolloutPlan *plan, const LedgeRollout *r,
                          const LedgeEvidence *e, LedgeGateView out[LEDGE_GATES])
{
    const LedgeRolloutStep *step = &plan->steps[r->step];
    const LedgeGate *g = &step->gate;
    /* A model in the shadow answers nobody: its samples are the answers compared. */
    const int64_t samples = step->shadow ? e->shadow_count : e->samples;
    const bool enough = samples >= g->min_samples && e->running >= g->min_devices;
    out[0] = (LedgeGateView){"samples", enough ? LEDGE_GATE_HOLDS : LEDGE_GATE_WAITS,
                             (double)samples, (double)g->min_samples};
    out[1] = at_most("failures", (double)g->max_failures, (double)e->failed, true);
    out[2] = at_most("error_rate", g->max_error_rate, part(e->errors, e->samples),
                     enough && e->samples > 0);
    out[3] = at_most("p90_us", (double)g->max_p90_us, (double)e->p90_us, enough && e->p90_us > 0);
    out[4] = at_most("p90_ratio", g->max_p90_ratio, part(e->p90_us, e->old_p90_us),
                     enough && e->p90_us > 0 && e->old_p90_us > 0);
    /* A model in the shadow fails and serves nobody; and nothing to compare with, as with the first
     * version of a model, is no reason to wait for ever. */
    if (enough && e->samples == 0)
        put_off(&out[2]);
    if (enough && step->shadow && e->p90_us == 0)
        put_off(&out[3]);
    if (enough && (e->old_samples == 0 || (step->shadow && e->p90_us == 0)))
        put_off(&out[4]);
    out[5] = at_most("drift", g->max_drift, part(e->drifting, e->judged), enough && e->judged > 0);
    if (enough && e->judged == 0) /* no device watches for drift */
        put_off(&out[5]);
    out[6] = at_most("agreement", g->min_agreement < 0 || !step->shadow ? -1 : 1,
                     part(e->shadow_agree, e->shadow_count), enough && e->shadow_count > 0);
    out[6].bound = g->min_agreement;
    if (out[6].state == LEDGE_GATE_HOLDS && out[6].have < g->min_agreement)
        out[6].state = LEDGE_GATE_REFUSES;
}

/* ---- turns ---- */

static void say(LedgeRollout *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(LedgeRollout *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->reason, sizeof r->reason, fmt, args);
    va_end(args);
}

static LedgeRolloutTurn refuse(const LedgeRolloutPlan *plan, LedgeRollout *r,
                               const LedgeGateView *g)
{
    say(r, "gate %s refused in step %d: %g where %s %g is allowed", g->name, r->step + 1, g->have,
        strcmp(g->name, "agreement") == 0 ? "at least" : "at most", g->bound);
    r->state = plan->pause_on_failure ? LEDGE_ROLLOUT_PAUSED : LEDGE_ROLLOUT_ROLLED_BACK;
    return plan->pause_on_failure ? LEDGE_TURN_PAUSED : LEDGE_TURN_ROLLED_BACK;
}

static LedgeRolloutTurn pause_for(LedgeRollout *r, const char *why)
{
    say(r, "step %d: %s", r->step + 1, why);
    r->state = LEDGE_ROLLOUT_PAUSED;
    return LEDGE_TURN_PAUSED;
}

static LedgeRolloutTurn move_on(const LedgeRolloutPlan *plan, LedgeRollout *r, int64_t now)
{
    r->reason[0] = '\0';
    r->entered = now;
    if (r->step + 1 < plan->n) {
        r->step++;
        return LEDGE_TURN_NEXT;
    }
    r->state = LEDGE_ROLLOUT_DONE;
    return LEDGE_TURN_DONE;
}

LedgeRolloutTurn ledge__rollout_turn(const LedgeRolloutPlan *plan, LedgeRollout *r,
                                     const LedgeEvidence *e, int64_t now)
{
    LedgeGateView gates[LEDGE_GATES];
    bool waits = false;
    if (r->state != LEDGE_ROLLOUT_RUNNING)
        return LEDGE_TURN_NONE;
    ledge__rollout_gates(plan, r, e, gates);
    for (int i = 0; i < LEDGE_GATES; i++) {
        if (gates[i].state == LEDGE_GATE_REFUSES)
            return refuse(plan, r, &gates[i]);
        waits |= gates[i].state == LEDGE_GATE_WAITS;
    }
    const int64_t since = now - r->entered;
    if (since < plan->steps[r->step].gate.soak_s)
        return LEDGE_TURN_NONE;
    const bool all_there = e->running + e->failed >= e->answering && e->answering > 0;
    if (!waits && all_there)
        return move_on(plan, r, now);
    if (since < plan->patience_s)
        return LEDGE_TURN_NONE;
    /* Out of patience: devices that lag behind are left out, gates that saw too little are not. */
    if (waits)
        return pause_for(r, e->answering ? "too few samples within the time that it may take"
                                         : "no device of it answered in the time that it may take");
    return move_on(plan, r, now);
}

LedgeStatus ledge__rollout_command(const LedgeRolloutPlan *plan, LedgeRollout *r,
                                   const char *command, int64_t now, LedgeError *err,
                                   LedgeRolloutTurn *turn)
{
    const bool running = r->state == LEDGE_ROLLOUT_RUNNING,
               paused = r->state == LEDGE_ROLLOUT_PAUSED;
    *turn = LEDGE_TURN_NONE;
    if (strcmp(command, "pause") == 0 && running) {
        r->state = LEDGE_ROLLOUT_PAUSED;
        say(r, "paused by hand");
        *turn = LEDGE_TURN_PAUSED;
    } else if (strcmp(command, "resume") == 0 && paused) {
        r->state = LEDGE_ROLLOUT_RUNNING;
        r->entered = now; /* it soaks anew: nobody watched while it stood still */
        r->reason[0] = '\0';
    } else if (strcmp(command, "rollback") == 0 && (running || paused)) {
        r->state = LEDGE_ROLLOUT_ROLLED_BACK;
        say(r, "rolled back by hand");
        *turn = LEDGE_TURN_ROLLED_BACK;
    } else if (strcmp(command, "advance") == 0 && (running || paused)) {
        r->state = LEDGE_ROLLOUT_RUNNING;
        *turn = move_on(plan, r, now);
    } else {
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, command, "a rollout that is %s takes %s",
                           ledge__rollout_state_name(r->state),
                           running  ? "pause, rollback and advance"
                           : paused ? "resume, rollback and advance"
                                    : "no more commands");
    }
    return LEDGE_OK;
}

/* ---- cohorts ---- */

int64_t ledge__rollout_place(const char *salt, const char *device)
{
    const uint64_t seed = ledge__hash64(salt, strlen(salt), 0);
    return (int64_t)(ledge__hash64(device, strlen(device), seed) >> 1);
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t ledge__rollout_threshold(int64_t *places, size_t n, double percent)
{
    if (percent >= 100)
        return INT64_MAX;
    if (n == 0)
        return -1;
    qsort(places, n, sizeof *places, by_value);
    const size_t take = (size_t)(percent * (double)n / 100 + 1e-9);
    return places[take ? take - 1 : 0];
}
