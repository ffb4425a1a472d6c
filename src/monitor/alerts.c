/* The table of alerts. */
#include "monitor/alerts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct LedgeAlerts {
    const LedgeAllocator *allocator;
    LedgeAlertOptions options;
    size_t n;
    uint64_t last_id, dropped;
    LedgeAlert at[LEDGE_ALERTS_KEPT]; /* those that hold, and those in their cooldown */
};

LedgeStatus ledge__alerts_new(const LedgeAlertOptions *options, const LedgeAllocator *a,
                              LedgeError *err, LedgeAlerts **out)
{
    LedgeAlertOptions o = options ? *options : (LedgeAlertOptions){0};
    o.repeat = o.repeat != 0 ? o.repeat : 4 * 3600;
    o.cooldown = o.cooldown != 0 ? o.cooldown : 300;
    if (!(o.repeat > 0) || !(o.cooldown > 0))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "alerts",
                           "repeat and cooldown must be more than 0 seconds");
    LedgeAlerts *alerts = ledge__calloc(a, 1, sizeof *alerts);
    if (!alerts)
        return ledge__no_memory(err);
    alerts->allocator = a;
    alerts->options = o;
    *out = alerts;
    return LEDGE_OK;
}

void ledge__alerts_free(LedgeAlerts *alerts)
{
    if (alerts)
        ledge__free(alerts->allocator, alerts);
}

static LedgeAlert *lookup(LedgeAlerts *t, const char *name, const char *subject)
{
    for (size_t i = 0; i < t->n; i++)
        if (strncmp(t->at[i].name, name, sizeof t->at[i].name - 1) == 0 &&
            strncmp(t->at[i].subject, subject, sizeof t->at[i].subject - 1) == 0)
            return &t->at[i];
    return NULL;
}

/* Those whose cooldown has passed make room. */
static void forget_old(LedgeAlerts *t, double now)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++)
        if (isnan(t->at[i].ended) || now - t->at[i].ended < t->options.cooldown)
            t->at[kept++] = t->at[i];
    t->n = kept;
}

static LedgeAlert *begin(LedgeAlerts *t, double now, const char *name, const char *subject)
{
    if (t->n == LEDGE_ALERTS_KEPT) {
        t->dropped++;
        return NULL;
    }
    LedgeAlert *a = &t->at[t->n++];
    *a = (LedgeAlert){.since = now, .sent = NAN, .ended = NAN, .id = ++t->last_id};
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->subject, sizeof a->subject, "%s", subject);
    return a;
}

static LedgeAlertEvent hold(LedgeAlerts *t, LedgeAlert *a, double now, LedgeSeverity severity)
{
    const bool worse = severity > a->severity;
    a->severity = severity;
    if (!isnan(a->ended)) { /* it is back before its cooldown has passed */
        if (now - a->ended < t->options.cooldown)
            return LEDGE_ALERT_NONE;
        a->ended = NAN;
        a->since = now;
        a->sent = NAN;
        a->id = ++t->last_id;
    }
    if (!isnan(a->sent) && !worse && now - a->sent < t->options.repeat)
        return LEDGE_ALERT_NONE;
    a->sent = now;
    return LEDGE_ALERT_FIRING;
}

LedgeAlertEvent ledge__alerts_update(LedgeAlerts *t, double now, const char *name,
                                     const char *subject, LedgeSeverity severity, double value,
                                     double threshold, const char *text, const LedgeAlert **out)
{
    LedgeAlert *a = lookup(t, name, subject);
    if (severity == LEDGE_FINE) {
        const bool held = a && isnan(a->ended);
        if (held) {
            a->ended = now;
            *out = a;
        } else {
            forget_old(t, now);
        }
        return held ? LEDGE_ALERT_RESOLVED : LEDGE_ALERT_NONE;
    }
    if (!a) {
        forget_old(t, now);
        a = begin(t, now, name, subject);
        if (!a)
            return LEDGE_ALERT_NONE;
    }
    a->value = value;
    a->threshold = threshold;
    snprintf(a->text, sizeof a->text, "%s", text);
    const LedgeAlertEvent e = hold(t, a, now, severity);
    if (e != LEDGE_ALERT_NONE)
        *out = a;
    return e;
}

const LedgeAlert *ledge__alerts_find(const LedgeAlerts *t, const char *name, const char *subject)
{
    const LedgeAlert *a = lookup((LedgeAlerts *)(uintptr_t)t, name, subject);
    return a && isnan(a->ended) ? a : NULL;
}

const LedgeAlert *ledge__alerts_at(const LedgeAlerts *t, size_t i)
{
    for (size_t k = 0; k < t->n; k++)
        if (isnan(t->at[k].ended) && i-- == 0)
            return &t->at[k];
    return NULL;
}

uint64_t ledge__alerts_dropped(const LedgeAlerts *t)
{
    return t->dropped;
}
