/* The rules. Thresholds of drift are the drift monitor's own. */
#include "monitor/alert_rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define RECOVERY 0.9

typedef struct Told {
    LedgeAlerts *alerts;
    double now;
    LedgeAlertSink sink;
    void *arg;
} Told;

static void update(const Told *t, const char *name, const char *subject, LedgeSeverity severity,
                   double value, double threshold, const char *text)
{
    const LedgeAlert *alert = NULL;
    const LedgeAlertEvent e = ledge__alerts_update(t->alerts, t->now, name, subject, severity,
                                                   value, threshold, text, &alert);
    if (e != LEDGE_ALERT_NONE)
        t->sink(t->arg, e, alert);
}

/* ---- drift ---- */

static const char *meaning(LedgeDriftMeasure m)
{
    switch (m) {
    case LEDGE_DRIFT_CONFIDENCE_DROP:
        return "mean confidence has fallen";
    case LEDGE_DRIFT_CONFIDENCE_PSI:
    case LEDGE_DRIFT_CONFIDENCE_KS:
        return "confidences are distributed differently";
    case LEDGE_DRIFT_CLASS_PSI:
    case LEDGE_DRIFT_CLASS_JS:
        return "other classes are predicted than before";
    case LEDGE_DRIFT_LATENCY:
        return "answers take longer (p90)";
    case LEDGE_DRIFT_FEATURE_Z:
        return "inputs have moved away";
    default:
        return "inputs are distributed differently";
    }
}

void ledge__alert_drift(LedgeAlerts *alerts, double now, const char *subject,
                        const LedgeDriftReport *r, LedgeAlertSink sink, void *arg)
{
    const Told t = {alerts, now, sink, arg};
    for (uint32_t i = 0; i < r->n; i++) {
        const LedgeDriftFinding *f = &r->finding[i];
        const char *measure = ledge__drift_measure_name(f->measure);
        char name[sizeof((LedgeAlert *)0)->name], text[sizeof((LedgeAlert *)0)->text];
        snprintf(name, sizeof name, f->feature[0] ? "drift_%s(%s)" : "drift_%s", measure,
                 f->feature);
        snprintf(text, sizeof text, "%s%s%s: %.3g, over %.3g, in the last %llu answers",
                 meaning(f->measure), f->feature[0] ? " in " : "", f->feature, f->value,
                 f->threshold, (unsigned long long)r->window);
        update(&t, name, subject, f->severity, f->value, f->threshold, text);
    }
}

/* ---- the machine ---- */

static LedgeSeverity level(double value, double warning, double high, bool held)
{
    return value >= high                         ? LEDGE_HIGH
           : value >= warning                    ? LEDGE_WARNING
           : held && value >= RECOVERY * warning ? LEDGE_WARNING
                                                 : LEDGE_FINE;
}

static double or_default(double given, double usual)
{
    return given != 0 ? given : usual;
}

void ledge__alert_resources(LedgeAlerts *alerts, double now, const LedgeResourceSample *s,
                            const LedgeResourceLimits *limits, LedgeAlertSink sink, void *arg)
{
    static const LedgeResourceLimits none;
    const LedgeResourceLimits *l = limits ? limits : &none;
    const Told t = {alerts, now, sink, arg};
    const struct {
        const char *name, *text;
        double value, warning, high, scale;
    } all[] = {
        {"cpu", "%.0f %% of all CPUs are busy, over %.0f %%", s->cpu,
         or_default(l->cpu.warning, 0.8), or_default(l->cpu.high, 0.95), 100},
        {"memory", "%.0f %% of memory are used, over %.0f %%", s->memory,
         or_default(l->memory.warning, 0.85), or_default(l->memory.high, 0.95), 100},
        {"disk", "%.0f %% of the disk are used, over %.0f %%", s->disk,
         or_default(l->disk.warning, 0.9), or_default(l->disk.high, 0.97), 100},
        {"temperature", "the machine is %.0f degrees hot, over %.0f", s->temperature,
         or_default(l->temperature.warning, 80), or_default(l->temperature.high, 95), 1},
        {"throttled", "the clock is held down by heat (%.0f, limit %.0f)", s->throttled, 1,
         INFINITY, 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (isnan(all[i].value)) /* not told by this machine, or not yet */
            continue;
        const LedgeAlert *held = ledge__alerts_find(alerts, all[i].name, LEDGE_ALERT_MACHINE);
        const LedgeSeverity v = level(all[i].value, all[i].warning, all[i].high, held != NULL);
        const double over = v == LEDGE_HIGH ? all[i].high : all[i].warning;
        char text[sizeof((LedgeAlert *)0)->text];
        snprintf(text, sizeof text, all[i].text, all[i].scale * all[i].value, all[i].scale * over);
        update(&t, all[i].name, LEDGE_ALERT_MACHINE, v, all[i].value, over, text);
    }
}

void ledge__alert_end(LedgeAlerts *alerts, double now, const char *subject, LedgeAlertSink sink,
                      void *arg)
{
    const Told t = {alerts, now, sink, arg};
    const LedgeAlert *a;
    for (size_t i = 0; (a = ledge__alerts_at(alerts, i)) != NULL;) {
        if (strcmp(a->subject, subject) != 0) {
            i++;
            continue;
        }
        char name[sizeof a->name];
        memcpy(name, a->name, sizeof name);
        update(&t, name, subject, LEDGE_FINE, a->value, a->threshold, a->text);
    }
}
