/* The rollout's state machine, with evidence and time made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/rollout.h"

static LedgeRolloutPlan plan_of(const char *text)
{
    LedgeRolloutPlan plan;
    LedgeError err = {0};
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_int_equal(ledge__rollout_plan_read(o, &err, &plan), LEDGE_OK);
    json_decref(o);
    return plan;
}

static const char two_steps[] =
    "{\"steps\":[{\"percent\":1},{\"percent\":100}],\"gates\":{\"min_samples\":100,"
    "\"soak_s\":60,\"max_failures\":1},\"patience_s\":1000}";

static LedgeEvidence fine(void)
{
    return (LedgeEvidence){.cohort = 10,
                           .answering = 10,
                           .running = 10,
                           .samples = 1000,
                           .errors = 1,
                           .p90_us = 1000,
                           .old_samples = 1000,
                           .old_p90_us = 900,
                           .judged = 10};
}

static void a_fine_version_goes_through_every_step(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 1000};
    const LedgeEvidence e = fine();
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1059), LEDGE_TURN_NONE); /* it soaks */
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1060), LEDGE_TURN_NEXT);
    assert_int_equal(r.step, 1);
    assert_int_equal(r.entered, 1060);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1061), LEDGE_TURN_NONE);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1120), LEDGE_TURN_DONE);
    assert_int_equal(r.state, LEDGE_ROLLOUT_DONE);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 9999), LEDGE_TURN_NONE);
}

static void each_gate_refuses_at_once(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeEvidence cases[5];
    static const char *const gates[] = {"failures", "error_rate", "p90_ratio", "drift", "failures"};
    for (int i = 0; i < 5; i++)
        cases[i] = fine();
    cases[0].failed = 2;
    cases[1].errors = 11;
    cases[2].p90_us = 1351;
    cases[3].drifting = 2;
    cases[4].samples = 0, cases[4].failed = 2, cases[4].running = 0; /* it never even ran */
    for (int i = 0; i < 5; i++) {
        LedgeRollout r = {.entered = 1000};
        assert_int_equal(ledge__rollout_turn(&plan, &r, &cases[i], 1001), LEDGE_TURN_ROLLED_BACK);
        assert_int_equal(r.state, LEDGE_ROLLOUT_ROLLED_BACK);
        assert_non_null(strstr(r.reason, gates[i]));
    }
}

static void what_is_at_the_bound_passes(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 0};
    LedgeEvidence e = fine();
    e.failed = 1, e.errors = 10, e.p90_us = 1350, e.drifting = 1, e.running = 9;
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 60), LEDGE_TURN_NEXT);
}

static void few_samples_judge_nothing(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 0};
    LedgeEvidence e = fine();
    e.samples = 99, e.errors = 99;
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 999), LEDGE_TURN_NONE);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1000), LEDGE_TURN_PAUSED);
    assert_non_null(strstr(r.reason, "too few samples"));
}

static void silent_devices_do_not_block(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 0};
    LedgeEvidence e = fine();
    e.cohort = 50, e.answering = 10; /* forty never answered */
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 60), LEDGE_TURN_NEXT);
    e.answering = 20; /* ten answer, and never get there */
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1059), LEDGE_TURN_NONE);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1060), LEDGE_TURN_DONE);
}

static void nobody_at_all_pauses_with_a_reason(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 0};
    const LedgeEvidence e = {.cohort = 10};
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 999), LEDGE_TURN_NONE);
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1000), LEDGE_TURN_PAUSED);
    assert_non_null(strstr(r.reason, "no device"));
}

static void a_shadow_is_judged_by_agreement(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan =
        plan_of("{\"steps\":[{\"percent\":5,\"shadow\":true}],\"gates\":{\"min_samples\":100,"
                "\"soak_s\":0,\"min_agreement\":0.9}}");
    LedgeEvidence e = {
        .cohort = 5, .answering = 5, .running = 5, .shadow_count = 99, .shadow_agree = 0};
    LedgeRollout r = {.entered = 0};
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 0), LEDGE_TURN_NONE);
    e.shadow_count = 100, e.shadow_agree = 89;
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 0), LEDGE_TURN_ROLLED_BACK);
    assert_non_null(strstr(r.reason, "agreement"));
    r = (LedgeRollout){0};
    e.shadow_agree = 90;
    LedgeGateView gates[LEDGE_GATES];
    ledge__rollout_gates(&plan, &r, &e, gates);
    assert_int_equal(gates[6].state, LEDGE_GATE_HOLDS);
    e.old_samples = 1000, e.old_p90_us = 500; /* it answers nobody: no errors, no latency */
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 0), LEDGE_TURN_DONE);
}

static void failure_pauses_where_asked(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of("{\"on_failure\":\"pause\"}");
    LedgeRollout r = {.entered = 0};
    LedgeEvidence e = fine();
    e.failed = 1;
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 1), LEDGE_TURN_PAUSED);
    assert_int_equal(r.state, LEDGE_ROLLOUT_PAUSED);
}

static void commands_by_hand(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(two_steps);
    LedgeRollout r = {.entered = 0};
    LedgeRolloutTurn turn;
    LedgeError err = {0};
    assert_int_equal(ledge__rollout_command(&plan, &r, "resume", 5, &err, &turn),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__rollout_command(&plan, &r, "pause", 5, &err, &turn), LEDGE_OK);
    assert_int_equal(turn, LEDGE_TURN_PAUSED);
    const LedgeEvidence e = fine();
    assert_int_equal(ledge__rollout_turn(&plan, &r, &e, 9999), LEDGE_TURN_NONE);
    assert_int_equal(ledge__rollout_command(&plan, &r, "resume", 50, &err, &turn), LEDGE_OK);
    assert_int_equal(r.entered, 50);
    assert_int_equal(ledge__rollout_command(&plan, &r, "advance", 60, &err, &turn), LEDGE_OK);
    assert_int_equal(turn, LEDGE_TURN_NEXT);
    assert_int_equal(ledge__rollout_command(&plan, &r, "rollback", 70, &err, &turn), LEDGE_OK);
    assert_int_equal(turn, LEDGE_TURN_ROLLED_BACK);
    assert_int_equal(ledge__rollout_command(&plan, &r, "resume", 80, &err, &turn),
                     LEDGE_ERROR_ARGUMENT);
    assert_true(err.message[0] != '\0');
}

static void the_cohort_is_exact_nested_and_stable(void **state)
{
    (void)state;
    enum { N = 10000 };
    static int64_t places[N], sorted[N];
    char name[32];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "device-%d", i);
        places[i] = ledge__rollout_place("mobilenet/7", name);
        assert_int_equal(places[i], ledge__rollout_place("mobilenet/7", name));
    }
    int64_t last = -1;
    for (double percent = 1; percent <= 64; percent *= 2) {
        memcpy(sorted, places, sizeof places);
        const int64_t t = ledge__rollout_threshold(sorted, N, percent);
        int inside = 0;
        for (int i = 0; i < N; i++)
            inside += places[i] <= t;
        assert_int_equal(inside, (int)(percent * N / 100)); /* never one more than was said */
        assert_true(t > last);                              /* who was in stays in */
        last = t;
    }
    assert_true(ledge__rollout_threshold(sorted, N, 100) == INT64_MAX);
    assert_true(ledge__rollout_threshold(sorted, 3, 1) == sorted[0]); /* at least one */
    assert_true(ledge__rollout_threshold(sorted, 0, 1) == -1);
    assert_true(ledge__rollout_place("a", "x") != ledge__rollout_place("b", "x"));
}

static void plans_refuse_what_they_do_not_know(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{\"step\":[]}",
        "{\"steps\":[]}",
        "{\"steps\":[{\"percent\":0}]}",
        "{\"steps\":[{\"percent\":101}]}",
        "{\"steps\":[{\"percent\":50},{\"percent\":10}]}",
        "{\"steps\":[{\"percent\":\"1\"}]}",
        "{\"gates\":{\"max_eror_rate\":0.1}}",
        "{\"gates\":{\"max_error_rate\":2}}",
        "{\"gates\":{\"min_samples\":-1}}",
        "{\"gates\":{\"soak_s\":1.5}}",
        "{\"on_failure\":\"explode\"}",
        "{\"when\":\"25:00-01:00\"}",
        "{\"when\":\"soon\"}",
        "{\"steps\":[{\"percent\":5,\"shadow\":1}]}",
        "{\"steps\":{}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeRolloutPlan plan;
        LedgeError err = {0};
        json_t *o = json_loads(bad[i], 0, NULL);
        assert_non_null(o);
        assert_int_equal(ledge__rollout_plan_read(o, &err, &plan), LEDGE_ERROR_FORMAT);
        assert_true(err.message[0] != '\0');
        json_decref(o);
    }
}

static void a_plan_survives_being_written(void **state)
{
    (void)state;
    const LedgeRolloutPlan plan = plan_of(
        "{\"steps\":[{\"percent\":0.5,\"shadow\":true},{\"percent\":100,\"gates\":{\"soak_s\":7}}],"
        "\"gates\":{\"max_drift\":null,\"max_failures\":3},\"when\":\"22:00-04:00\",\"silent_s\":"
        "5}");
    json_t *o = ledge__rollout_plan_json(&plan);
    LedgeRolloutPlan back;
    LedgeError err = {0};
    assert_int_equal(ledge__rollout_plan_read(o, &err, &back), LEDGE_OK);
    json_decref(o);
    assert_int_equal(back.n, 2);
    assert_true(back.steps[0].shadow && !back.steps[1].shadow);
    assert_int_equal(back.steps[0].gate.soak_s, 600);
    assert_int_equal(back.steps[1].gate.soak_s, 7);
    assert_true(back.steps[1].gate.max_drift < 0);
    assert_int_equal(back.steps[1].gate.max_failures, 3);
    assert_string_equal(back.moment, "22:00-04:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fine_version_goes_through_every_step),
        cmocka_unit_test(each_gate_refuses_at_once),
        cmocka_unit_test(what_is_at_the_bound_passes),
        cmocka_unit_test(few_samples_judge_nothing),
        cmocka_unit_test(silent_devices_do_not_block),
        cmocka_unit_test(nobody_at_all_pauses_with_a_reason),
        cmocka_unit_test(a_shadow_is_judged_by_agreement),
        cmocka_unit_test(failure_pauses_where_asked),
        cmocka_unit_test(commands_by_hand),
        cmocka_unit_test(the_cohort_is_exact_nested_and_stable),
        cmocka_unit_test(plans_refuse_what_they_do_not_know),
        cmocka_unit_test(a_plan_survives_being_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
