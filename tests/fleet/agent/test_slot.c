/* What the agent decides and remembers of one model, from every state and over every crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fleet/agent/slot.h"

static LedgeSlotVersion version(int n)
{
    LedgeSlotVersion v = {.created = n};
    snprintf(v.version, sizeof v.version, "%d", n);
    snprintf(v.sha256, sizeof v.sha256, "%064d", n);
    return v;
}

static LedgeAssignment assignment(int n)
{
    LedgeAssignment a = {.name = "net", .when = "now"};
    snprintf(a.version, sizeof a.version, "%d", n);
    return a;
}

static LedgeSlot slot_running(int n)
{
    LedgeSlot s = {.name = "net"};
    const LedgeSlotVersion v = version(n);
    ledge__slot_switched(&s, &v, 1);
    return s;
}

static void a_new_version_is_fetched_tested_and_switched_to(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    const LedgeAssignment a = assignment(2);
    LedgeSlotFacts f = {.wanted = version(2)};
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_FETCH);
    f.is_whole = true;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_TEST);
    ledge__slot_testing(&s, &f.wanted);
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_TEST);
    ledge__slot_passed(&s, &f.wanted);
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_SWITCH);
    ledge__slot_switched(&s, &f.wanted, 2);
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_NOTHING);
    assert_string_equal(s.kept[0].version, "1");
}

static void a_version_that_failed_is_refused_until_it_is_signed_anew(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    const LedgeAssignment a = assignment(2);
    LedgeSlotFacts f = {.wanted = version(2), .is_whole = true};
    ledge__slot_testing(&s, &f.wanted);
    ledge__slot_failed(&s, &f.wanted, "wrong output");
    const LedgeSlotDecision d = ledge__slot_decide(&s, &a, &f);
    assert_int_equal(d.action, LEDGE_SLOT_REFUSE);
    assert_string_equal(d.reason, "wrong output");
    f.wanted.sha256[0] = 'f';
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_TEST);
}

static void a_self_test_that_takes_the_device_down_is_not_tried_for_ever(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    const LedgeAssignment a = assignment(2);
    LedgeSlotFacts f = {.wanted = version(2), .is_whole = true};
    for (int i = 0; i < LEDGE_SLOT_ATTEMPTS; i++) {
        assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_TEST);
        ledge__slot_testing(&s, &f.wanted);
    }
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_REFUSE);
}

static void older_versions_need_a_signature_that_says_so(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(5);
    const LedgeAssignment a = assignment(3);
    LedgeSlotFacts f = {.wanted = version(3)};
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_REFUSE);
    f.rollback_ok = true;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_FETCH);
    f.rollback_ok = false;
    /* One that the device kept from before is its own. */
    s.kept[0] = version(3);
    s.n_kept = 1;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_FETCH);
}

static void the_switch_waits_for_its_hour_but_not_without_a_model(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1), none = {.name = "net"};
    LedgeAssignment a = assignment(2);
    LedgeSlotFacts f = {.wanted = version(2), .is_whole = true, .minute = 12 * 60};
    strcpy(a.when, "22:00-05:00");
    ledge__slot_passed(&s, &f.wanted);
    ledge__slot_passed(&none, &f.wanted);
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_WAIT);
    assert_int_equal(ledge__slot_decide(&none, &a, &f).action, LEDGE_SLOT_SWITCH);
    f.minute = 23 * 60;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_SWITCH);
    strcpy(a.when, "idle");
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_WAIT);
    f.is_idle = true;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_SWITCH);
}

static void damage_falls_back_to_the_named_version_or_the_newest_whole_one(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    LedgeSlotVersion v;
    for (int i = 2; i <= 4; i++) {
        v = version(i);
        ledge__slot_switched(&s, &v, i);
    }
    LedgeAssignment a = assignment(4);
    LedgeSlotFacts f = {.wanted = version(4), .running_is_damaged = true};
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_REPAIR);
    f.kept_is_whole[0] = f.kept_is_whole[2] = true;
    LedgeSlotDecision d = ledge__slot_decide(&s, &a, &f);
    assert_int_equal(d.action, LEDGE_SLOT_FALL_BACK);
    assert_int_equal(d.index, 0);
    strcpy(a.fallback_name, "net");
    strcpy(a.fallback_version, "1");
    d = ledge__slot_decide(&s, &a, &f);
    assert_int_equal(d.index, 2);
    a.strict = true;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_REPAIR);
    ledge__slot_fell_back(&s, 2, true, "damaged", 9);
    assert_string_equal(s.running.version, "1");
    assert_true(s.is_fallback);
    /* What was damaged is fetched again; it did not fail. */
    f.running_is_damaged = false;
    a.strict = false;
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_FETCH);
}

static void what_nobody_signed_is_refused_and_what_runs_goes_on(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    LedgeAssignment a = assignment(2);
    LedgeSlotFacts f = {.unknown = "expired"};
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_REFUSE);
    a = assignment(1);
    assert_int_equal(ledge__slot_decide(&s, &a, &f).action, LEDGE_SLOT_NOTHING);
    assert_int_equal(ledge__slot_decide(&s, NULL, &f).action, LEDGE_SLOT_NOTHING);
}

static void excess_spares_the_named_fallback(void **state)
{
    (void)state;
    LedgeSlot s = slot_running(1);
    for (int i = 2; i <= 4; i++) {
        const LedgeSlotVersion v = version(i);
        ledge__slot_switched(&s, &v, i);
    }
    assert_int_equal(ledge__slot_excess(&s, 3, ""), s.n_kept);
    assert_int_equal(ledge__slot_excess(&s, 1, ""), 2);
    assert_int_equal(ledge__slot_excess(&s, 1, "1"), 1);
}

static void many_versions_do_not_overflow_a_slot(void **state)
{
    (void)state;
    LedgeSlot s = {.name = "net"}, back;
    for (int i = 1; i < 40; i++) {
        const LedgeSlotVersion v = version(i), bad = version(1000 + i);
        ledge__slot_testing(&s, &bad);
        ledge__slot_failed(&s, &bad, "x");
        ledge__slot_switched(&s, &v, i);
    }
    assert_int_equal(s.n_kept, LEDGE_SLOT_KEPT);
    assert_int_equal(s.n_tried, LEDGE_SLOT_TRIED);
    assert_string_equal(s.kept[0].version, "38");
    strcpy(s.candidate, "99");
    s.candidate_state = LEDGE_FLEET_TESTING;
    strcpy(s.candidate_reason, "waits \"here\"");
    char *text;
    size_t n;
    LedgeError err = {0};
    FILE *to = open_memstream(&text, &n);
    ledge__slot_write(&s, to);
    fclose(to);
    assert_int_equal(ledge__slot_read(text, n, &err, &back), LEDGE_OK);
    assert_int_equal(back.n_kept, s.n_kept);
    for (size_t i = 0; i < s.n_kept; i++)
        assert_true(ledge__slot_version_equal(&back.kept[i], &s.kept[i]));
    assert_true(back.tried[3].has_failed);
    assert_string_equal(back.candidate_reason, s.candidate_reason);
    assert_int_equal(back.candidate_state, LEDGE_FLEET_TESTING);
    for (size_t cut = 0; cut + 1 < n; cut++)
        assert_int_equal(ledge__slot_read(text, cut, &err, &back), LEDGE_ERROR_FORMAT);
    free(text);
}

/* Whatever happens in whatever order: a device that ever had a version has one that runs, it is
 * never also among the kept ones, and a whole one is always preferred to a damaged one. */
static void a_device_that_had_a_model_always_has_one(void **state)
{
    (void)state;
    unsigned seed = 7;
    LedgeSlot s = {.name = "net"};
    bool damaged[64] = {false};
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1103515245u + 12345u;
        const int n = 1 + (int)(seed >> 16) % 12;
        LedgeAssignment a = assignment(n);
        LedgeSlotFacts f = {.wanted = version(n), .rollback_ok = seed & 1, .is_whole = seed & 2};
        a.strict = (seed & 28) == 0;
        if ((seed & 96) == 0)
            damaged[1 + (seed >> 8) % 12] = true;
        f.running_is_damaged = s.running.version[0] && damaged[atoi(s.running.version)];
        for (size_t k = 0; k < s.n_kept; k++)
            f.kept_is_whole[k] = !damaged[atoi(s.kept[k].version)];
        const LedgeSlotDecision d = ledge__slot_decide(&s, &a, &f);
        const bool had = s.running.version[0];
        if (d.action == LEDGE_SLOT_FETCH) {
            damaged[n] = false;
        } else if (d.action == LEDGE_SLOT_TEST) {
            ledge__slot_testing(&s, &f.wanted);
            if (seed & 128)
                ledge__slot_passed(&s, &f.wanted);
            else if (seed & 256)
                ledge__slot_failed(&s, &f.wanted, "no");
        } else if (d.action == LEDGE_SLOT_SWITCH) {
            assert_true(f.is_whole);
            ledge__slot_switched(&s, &f.wanted, i);
        } else if (d.action == LEDGE_SLOT_REPAIR) {
            damaged[atoi(s.running.version)] = false;
        } else if (d.action == LEDGE_SLOT_FALL_BACK) {
            assert_true(f.kept_is_whole[d.index]);
            ledge__slot_fell_back(&s, d.index, true, d.reason, i);
        }
        assert_true(!had || s.running.version[0]);
        for (size_t k = 0; k < s.n_kept; k++) {
            assert_string_not_equal(s.kept[k].version, s.running.version);
            for (size_t m = k + 1; m < s.n_kept; m++)
                assert_string_not_equal(s.kept[k].version, s.kept[m].version);
        }
        if (i % 500 == 0)
            s.n_tried = 0;
    }
    assert_true(s.running.version[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_version_is_fetched_tested_and_switched_to),
        cmocka_unit_test(a_version_that_failed_is_refused_until_it_is_signed_anew),
        cmocka_unit_test(a_self_test_that_takes_the_device_down_is_not_tried_for_ever),
        cmocka_unit_test(older_versions_need_a_signature_that_says_so),
        cmocka_unit_test(the_switch_waits_for_its_hour_but_not_without_a_model),
        cmocka_unit_test(damage_falls_back_to_the_named_version_or_the_newest_whole_one),
        cmocka_unit_test(what_nobody_signed_is_refused_and_what_runs_goes_on),
        cmocka_unit_test(excess_spares_the_named_fallback),
        cmocka_unit_test(many_versions_do_not_overflow_a_slot),
        cmocka_unit_test(a_device_that_had_a_model_always_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
