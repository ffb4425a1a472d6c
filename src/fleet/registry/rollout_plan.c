/* A rollout's plan as JSON. Every key is known or refused, since a gate that was misspelt would be
 * one that never refuses. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "fleet/protocol/wire_poll.h"
#include "fleet/registry/rollout.h"

#define DAYS(n) ((int64_t)(n)*86400)

static const LedgeGate default_gate = {.min_samples = 1,
                                       .min_devices = 1,
                                       .max_failures = 0,
                                       .max_error_rate = 0.01,
                                       .max_p90_ratio = 1.5,
                                       .max_drift = 0.1,
                                       .min_agreement = 0.95,
                                       .max_p90_us = -1,
                                       .soak_s = 600};

static LedgeStatus bad(LedgeError *err, const char *key, const char *what)
{
    return ledge__fail(err, LEDGE_ERROR_FORMAT, "rollout plan", "\"%s\" %s", key, what);
}

/* A number of the bounds, or null for a gate that is off. */
static LedgeStatus number(const char *key, const json_t *v, double most, LedgeError *err,
                          double *out)
{
    if (json_is_null(v)) {
        *out = -1;
        return LEDGE_OK;
    }
    const double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= 0 && d <= most))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "rollout plan",
                           "\"%s\" must be a number from 0 to %g, or null for no gate", key, most);
    *out = d;
    return LEDGE_OK;
}

static LedgeStatus whole(const char *key, const json_t *v, int64_t most, bool may_be_off,
                         LedgeError *err, int64_t *out)
{
    if (may_be_off && json_is_null(v)) {
        *out = -1;
        return LEDGE_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > most)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "rollout plan",
                           "\"%s\" must be a whole number from 0 to %lld", key, (long long)most);
    *out = json_integer_value(v);
    return LEDGE_OK;
}

static LedgeStatus read_gate(const json_t *from, LedgeError *err, LedgeGate *g)
{
    const char *key;
    json_t *v;
    if (!json_is_object(from))
        return bad(err, "gates", "must be an object");
    json_object_foreach((json_t *)from, key, v)
    {
        LedgeStatus status;
        if (strcmp(key, "min_samples") == 0)
            status = whole(key, v, INT64_MAX / 2, false, err, &g->min_samples);
        else if (strcmp(key, "min_devices") == 0)
            status = whole(key, v, 1000000000, false, err, &g->min_devices);
        else if (strcmp(key, "max_failures") == 0)
            status = whole(key, v, 1000000000, true, err, &g->max_failures);
        else if (strcmp(key, "max_p90_us") == 0)
            status = whole(key, v, INT64_MAX / 2, true, err, &g->max_p90_us);
        else if (strcmp(key, "soak_s") == 0)
            status = whole(key, v, DAYS(365), false, err, &g->soak_s);
        else if (strcmp(key, "max_error_rate") == 0)
            status = number(key, v, 1, err, &g->max_error_rate);
        else if (strcmp(key, "max_p90_ratio") == 0)
            status = number(key, v, 1000, err, &g->max_p90_ratio);
        else if (strcmp(key, "max_drift") == 0)
            status = number(key, v, 1, err, &g->max_drift);
        else if (strcmp(key, "min_agreement") == 0)
            status = number(key, v, 1, err, &g->min_agreement);
        else
            status = bad(err, key, "is no gate");
        LEDGE_TRY(status);
    }
    return LEDGE_OK;
}

static LedgeStatus read_step(const json_t *from, const LedgeGate *gate, LedgeError *err,
                             LedgeRolloutStep *out)
{
    const char *key;
    json_t *v;
    *out = (LedgeRolloutStep){.percent = -1, .gate = *gate};
    if (!json_is_object(from))
        return bad(err, "steps", "must hold objects");
    json_object_foreach((json_t *)from, key, v)
    {
        if (strcmp(key, "percent") == 0)
            out->percent = json_is_number(v) ? json_number_value(v) : -1;
        else if (strcmp(key, "shadow") == 0 && json_is_boolean(v))
            out->shadow = json_is_true(v);
        else if (strcmp(key, "gates") == 0)
            LEDGE_TRY(read_gate(v, err, &out->gate));
        else
            return bad(err, key, "is not what a step has: percent, shadow (true or false), gates");
    }
    return out->percent > 0 && out->percent <= 100
               ? LEDGE_OK
               : bad(err, "percent", "must be above 0 and up to 100");
}

static LedgeStatus read_steps(const json_t *from, const LedgeGate *gate, LedgeError *err,
                              LedgeRolloutPlan *out)
{
    if (!json_is_array(from) || json_array_size(from) < 1 ||
        json_array_size(from) > LEDGE_ROLLOUT_STEPS)
        return bad(err, "steps", "must be a list of 1 to 32 steps");
    for (out->n = 0; out->n < (int)json_array_size(from); out->n++) {
        LedgeRolloutStep *s = &out->steps[out->n];
        LEDGE_TRY(read_step(json_array_get(from, (size_t)out->n), gate, err, s));
        if (out->n && s->percent < s[-1].percent)
            return bad(err, "steps",
                       "must not shrink: what a device got is taken back by a rollback");
    }
    return LEDGE_OK;
}

static void default_steps(LedgeRolloutPlan *out)
{
    static const double percents[] = {1, 10, 50, 100};
    for (out->n = 0; out->n < 4; out->n++)
        out->steps[out->n] = (LedgeRolloutStep){.percent = percents[out->n], .gate = default_gate};
}

LedgeStatus ledge__rollout_plan_read(const json_t *from, LedgeError *err, LedgeRolloutPlan *out)
{
    LedgeGate gate = default_gate;
    const char *key;
    json_t *v;
    *out = (LedgeRolloutPlan){.patience_s = DAYS(1), .silent_s = 900, .moment = "now"};
    default_steps(out);
    if (!json_is_object(from))
        return bad(err, "plan", "must be an object");
    if ((v = json_object_get(from, "gates")))
        LEDGE_TRY(read_gate(v, err, &gate));
    for (int i = 0; i < out->n; i++)
        out->steps[i].gate = gate;
    json_object_foreach((json_t *)from, key, v)
    {
        const char *text = json_string_value(v);
        if (strcmp(key, "steps") == 0)
            LEDGE_TRY(read_steps(v, &gate, err, out));
        else if (strcmp(key, "patience_s") == 0)
            LEDGE_TRY(whole(key, v, DAYS(365), false, err, &out->patience_s));
        else if (strcmp(key, "silent_s") == 0)
            LEDGE_TRY(whole(key, v, DAYS(365), false, err, &out->silent_s));
        else if (strcmp(key, "on_failure") == 0 && text &&
                 (strcmp(text, "rollback") == 0 || strcmp(text, "pause") == 0))
            out->pause_on_failure = strcmp(text, "pause") == 0;
        else if (strcmp(key, "when") == 0 && text && ledge__fleet_is_when(text))
            snprintf(out->moment, sizeof out->moment, "%s", text);
        else if (strcmp(key, "gates") != 0)
            return bad(err, key,
                       "is not what a plan has: steps, gates, patience_s, silent_s, on_failure "
                       "(rollback or pause), when (now, idle or a window such as 22:00-04:00)");
    }
    return LEDGE_OK;
}

static json_t *bound(double v)
{
    return v < 0 ? json_null() : json_real(v);
}

static json_t *whole_bound(int64_t v)
{
    return v < 0 ? json_null() : json_integer(v);
}

static json_t *gate_json(const LedgeGate *g)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "min_samples",
                     (json_int_t)g->min_samples, "min_devices", (json_int_t)g->min_devices,
                     "max_failures", whole_bound(g->max_failures), "max_error_rate",
                     bound(g->max_error_rate), "max_p90_ratio", bound(g->max_p90_ratio),
                     "max_drift", bound(g->max_drift), "min_agreement", bound(g->min_agreement),
                     "max_p90_us", whole_bound(g->max_p90_us), "soak_s", (json_int_t)g->soak_s);
}

json_t *ledge__rollout_plan_json(const LedgeRolloutPlan *plan)
{
    json_t *steps = json_array();
    for (int i = 0; i < plan->n; i++)
        (void)json_array_append_new(
            steps, json_pack("{s:f, s:b, s:o}", "percent", plan->steps[i].percent, "shadow",
                             plan->steps[i].shadow, "gates", gate_json(&plan->steps[i].gate)));
    return json_pack("{s:o, s:I, s:I, s:s, s:s}", "steps", steps, "patience_s",
                     (json_int_t)plan->patience_s, "silent_s", (json_int_t)plan->silent_s,
                     "on_failure", plan->pause_on_failure ? "pause" : "rollback", "when",
                     plan->moment);
}
