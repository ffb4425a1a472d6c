/* Alerts are told once, and metrics read back as they were written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "monitor/alert_json.h"
#include "monitor/alert_rules.h"
#include "monitor/prom_text.h"

static LedgeAlerts *table(void)
{
    LedgeAlerts *t = NULL;
    LedgeError err;
    assert_int_equal(ledge__alerts_new(NULL, ledge__allocator_or_default(NULL), &err, &t),
                     LEDGE_OK);
    return t;
}

static LedgeAlertEvent say(LedgeAlerts *t, double now, LedgeSeverity s, const LedgeAlert **a)
{
    return ledge__alerts_update(t, now, "memory", "machine", s, 0.9, 0.85, "memory is short", a);
}

static void an_alert_is_told_when_it_begins_worsens_and_ends(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    const LedgeAlert *a = NULL;
    assert_int_equal(say(t, 0, LEDGE_FINE, &a), LEDGE_ALERT_NONE);
    assert_int_equal(say(t, 10, LEDGE_WARNING, &a), LEDGE_ALERT_FIRING);
    assert_string_equal(a->name, "memory");
    assert_true(a->since == 10 && a->value == 0.9);
    const uint64_t id = a->id;
    for (int i = 0; i < 100; i++)
        assert_int_equal(say(t, 11 + i, LEDGE_WARNING, &a), LEDGE_ALERT_NONE);
    assert_int_equal(say(t, 120, LEDGE_HIGH, &a), LEDGE_ALERT_FIRING);
    assert_int_equal(say(t, 121, LEDGE_WARNING, &a), LEDGE_ALERT_NONE);
    assert_int_equal(say(t, 130, LEDGE_FINE, &a), LEDGE_ALERT_RESOLVED);
    assert_true(a->id == id && a->ended == 130);
    assert_int_equal(say(t, 131, LEDGE_FINE, &a), LEDGE_ALERT_NONE);
    assert_null(ledge__alerts_at(t, 0));
    ledge__alerts_free(t);
}

static void one_that_comes_and_goes_waits_for_its_cooldown(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    const LedgeAlert *a = NULL;
    int events = 0;
    for (int i = 0; i < 299; i++) /* flips each second */
        events += say(t, i, i % 2 ? LEDGE_FINE : LEDGE_HIGH, &a) != LEDGE_ALERT_NONE;
    assert_int_equal(events, 2);
    assert_int_equal(say(t, 302, LEDGE_HIGH, &a), LEDGE_ALERT_FIRING);
    ledge__alerts_free(t);
}

static void one_that_stays_is_told_again_after_hours(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    const LedgeAlert *a = NULL;
    int events = 0;
    for (int i = 0; i < 24 * 60; i++)
        events += say(t, i * 60.0, LEDGE_HIGH, &a) == LEDGE_ALERT_FIRING;
    assert_int_equal(events, 6);
    ledge__alerts_free(t);
}

static void the_table_is_bounded(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    const LedgeAlert *a = NULL;
    char subject[200];
    for (int i = 0; i < LEDGE_ALERTS_KEPT + 44; i++) {
        snprintf(subject, sizeof subject, "model %d", i);
        ledge__alerts_update(t, 1, "drift", subject, LEDGE_HIGH, 1, 0, "x", &a);
    }
    assert_int_equal(ledge__alerts_dropped(t), 44);
    assert_non_null(ledge__alerts_at(t, LEDGE_ALERTS_KEPT - 1));
    assert_null(ledge__alerts_at(t, LEDGE_ALERTS_KEPT));
    /* Names of any length are cut, and found again. */
    memset(subject, 'x', sizeof subject - 1);
    subject[sizeof subject - 1] = '\0';
    ledge__alerts_update(t, 2, "drift", "model 0", LEDGE_FINE, 0, 0, "", &a);
    ledge__alerts_update(t, 2000, "none", "none", LEDGE_FINE, 0, 0, "", &a);
    assert_int_equal(ledge__alerts_update(t, 2001, subject, subject, LEDGE_HIGH, 1, 0, subject, &a),
                     LEDGE_ALERT_FIRING);
    assert_int_equal(ledge__alerts_update(t, 2002, subject, subject, LEDGE_HIGH, 1, 0, subject, &a),
                     LEDGE_ALERT_NONE);
    ledge__alerts_free(t);
}

static void metrics_have_prometheus_form(void **state)
{
    (void)state;
    LedgePromText t = {.family = NULL};
    ledge__prom_family(&t, "ledge_inferences_total", "counter", "Answers given.\nAll of them \\.");
    ledge__prom_sample(&t, (LedgePromLabel[]){{"model", "a\"b\\c\nd"}, {"version", "1"}, {0}}, 12);
    ledge__prom_sample(&t, NULL, 0.25);
    ledge__prom_sample(&t, NULL, NAN);
    ledge__prom_sample(&t, NULL, -INFINITY);
    assert_false(t.text.failed);
    assert_string_equal(t.text.p,
                        "# HELP ledge_inferences_total Answers given.\\nAll of them \\\\.\n"
                        "# TYPE ledge_inferences_total counter\n"
                        "ledge_inferences_total{model=\"a\\\"b\\\\c\\nd\",version=\"1\"} 12\n"
                        "ledge_inferences_total 0.25\nledge_inferences_total NaN\n"
                        "ledge_inferences_total -Inf\n");
    ledge__text_free(&t.text);
}

static void a_histogram_is_cumulative(void **state)
{
    (void)state;
    LedgeSketch s;
    ledge__sketch_clear(&s);
    for (int i = 1; i <= 100; i++)
        ledge__sketch_add(&s, i * 1e-3);
    LedgePromText t = {.family = NULL};
    ledge__prom_family(&t, "ledge_latency_seconds", "histogram", "Latency.");
    ledge__prom_histogram(&t, (LedgePromLabel[]){{"model", "m"}, {0}}, &s);
    assert_non_null(
        strstr(t.text.p, "ledge_latency_seconds_bucket{model=\"m\",le=\"0.0005\"} 0\n"));
    assert_non_null(strstr(t.text.p, "ledge_latency_seconds_bucket{model=\"m\",le=\"0.05\"} 5"));
    assert_non_null(
        strstr(t.text.p, "ledge_latency_seconds_bucket{model=\"m\",le=\"+Inf\"} 100\n"));
    assert_non_null(strstr(t.text.p, "ledge_latency_seconds_sum{model=\"m\"} 5.05\n"));
    assert_non_null(strstr(t.text.p, "ledge_latency_seconds_count{model=\"m\"} 100\n"));
    ledge__text_free(&t.text);
}

typedef struct Heard {
    int n;
    LedgeAlertEvent event;
    LedgeAlert alert;
} Heard;

static void hear(void *arg, LedgeAlertEvent event, const LedgeAlert *alert)
{
    Heard *h = arg;
    h->n++;
    h->event = event;
    h->alert = *alert;
}

static LedgeResourceSample machine(double memory)
{
    return (LedgeResourceSample){
        .cpu = NAN, .memory = memory, .disk = 0.5, .temperature = NAN, .throttled = NAN};
}

static void a_short_machine_is_told_and_recovers_well_below_its_limit(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    Heard h = {0};
    static const struct {
        double memory;
        int heard;
        LedgeAlertEvent event;
    } steps[] = {{0.8, 0, LEDGE_ALERT_NONE},     {0.86, 1, LEDGE_ALERT_FIRING},
                 {0.84, 1, LEDGE_ALERT_FIRING},  {0.78, 1, LEDGE_ALERT_FIRING},
                 {0.96, 2, LEDGE_ALERT_FIRING},  {0.80, 2, LEDGE_ALERT_FIRING},
                 {0.76, 3, LEDGE_ALERT_RESOLVED}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const LedgeResourceSample s = machine(steps[i].memory);
        ledge__alert_resources(t, 60.0 * (double)i, &s, NULL, hear, &h);
        assert_int_equal(h.n, steps[i].heard);
        assert_int_equal(h.n ? h.event : LEDGE_ALERT_NONE, steps[i].event);
    }
    assert_string_equal(h.alert.name, "memory");
    assert_string_equal(h.alert.subject, LEDGE_ALERT_MACHINE);
    ledge__alerts_free(t);
}

static void limits_of_resources_can_be_set_and_put_out(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    Heard h = {0};
    LedgeResourceLimits limits = {.memory = {INFINITY, INFINITY}, .disk = {0.4, 0.45}};
    const LedgeResourceSample s = machine(1);
    ledge__alert_resources(t, 0, &s, &limits, hear, &h);
    assert_int_equal(h.n, 1);
    assert_string_equal(h.alert.name, "disk");
    assert_int_equal(h.alert.severity, LEDGE_HIGH);
    assert_string_equal(h.alert.text, "50 % of the disk are used, over 45 %");
    ledge__alerts_free(t);
}

static LedgeDriftReport drifted(LedgeSeverity s)
{
    LedgeDriftReport r = {.judged = true, .window = 1000, .n = 2};
    r.finding[0] = (LedgeDriftFinding){
        .measure = LEDGE_DRIFT_CLASS_PSI, .value = 0.5, .threshold = 0.4, .severity = s};
    r.finding[1] = (LedgeDriftFinding){.measure = LEDGE_DRIFT_FEATURE_PSI,
                                       .feature = "brightness",
                                       .value = 0.3,
                                       .threshold = 0.2,
                                       .severity = s};
    return r;
}

static void findings_of_drift_become_alerts_that_end_with_their_model(void **state)
{
    (void)state;
    LedgeAlerts *t = table();
    Heard h = {0};
    LedgeDriftReport r = drifted(LEDGE_HIGH);
    ledge__alert_drift(t, 0, "cats/1", &r, hear, &h);
    ledge__alert_drift(t, 5, "dogs/1", &r, hear, &h);
    assert_int_equal(h.n, 4);
    assert_string_equal(h.alert.name, "drift_feature_psi(brightness)");
    assert_string_equal(h.alert.subject, "dogs/1");
    assert_non_null(ledge__alerts_find(t, "drift_class_psi", "cats/1"));
    ledge__alert_end(t, 10, "cats/1", hear, &h);
    assert_int_equal(h.n, 6);
    assert_int_equal(h.event, LEDGE_ALERT_RESOLVED);
    assert_null(ledge__alerts_find(t, "drift_class_psi", "cats/1"));
    assert_non_null(ledge__alerts_find(t, "drift_class_psi", "dogs/1"));
    r = drifted(LEDGE_FINE);
    ledge__alert_drift(t, 15, "dogs/1", &r, hear, &h);
    assert_int_equal(h.n, 8);
    assert_null(ledge__alerts_at(t, 0));
    ledge__alerts_free(t);
}

static void alerts_are_written_with_times_of_the_calendar(void **state)
{
    (void)state;
    LedgeAlert a = {.severity = LEDGE_HIGH,
                    .value = NAN,
                    .threshold = 0.4,
                    .since = 10.25,
                    .ended = NAN,
                    .id = 7};
    strcpy(a.name, "memory");
    strcpy(a.subject, "machine");
    json_t *o = ledge__alert_json(&a, 1700000000, "host");
    assert_string_equal(json_string_value(json_object_get(o, "since")), "2023-11-14T22:13:30.250Z");
    assert_true(json_is_null(json_object_get(o, "value")));
    assert_true(json_is_null(json_object_get(o, "ended")));
    assert_string_equal(json_string_value(json_object_get(o, "event")), "firing");
    json_decref(o);
    o = ledge__alert_for_alertmanager(&a, 20, 1700000000, 240, "host");
    assert_string_equal(json_string_value(json_object_get(o, "endsAt")),
                        "2023-11-14T22:17:40.000Z");
    json_decref(o);
    a.ended = 12;
    o = ledge__alert_for_alertmanager(&a, 20, 1700000000, 240, "host");
    assert_string_equal(json_string_value(json_object_get(o, "endsAt")),
                        "2023-11-14T22:13:32.000Z");
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_machine_is_told_and_recovers_well_below_its_limit),
        cmocka_unit_test(limits_of_resources_can_be_set_and_put_out),
        cmocka_unit_test(findings_of_drift_become_alerts_that_end_with_their_model),
        cmocka_unit_test(alerts_are_written_with_times_of_the_calendar),
        cmocka_unit_test(an_alert_is_told_when_it_begins_worsens_and_ends),
        cmocka_unit_test(one_that_comes_and_goes_waits_for_its_cooldown),
        cmocka_unit_test(one_that_stays_is_told_again_after_hours),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(metrics_have_prometheus_form),
        cmocka_unit_test(a_histogram_is_cumulative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
