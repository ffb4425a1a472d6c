/* The drift monitor on made-up answers: silent on what it knows, loud on what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "monitor/drift.h"

enum { CLASSES = 1000, FEATURES = 3 };

/* A camera: 1,000 classes of unequal frequency, skewed confidence, three image features. */
typedef struct Camera {
    uint64_t random;
    double class_shift; /* share of answers that become class 7 */
    double confidence;  /* factor */
    double brightness;  /* factor on feature 0 */
    double latency;
    double time;
} Camera;

static double uniform(Camera *c)
{
    c->random = c->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (double)(c->random >> 11) / (double)(UINT64_C(1) << 53);
}

static double normal(Camera *c)
{
    return sqrt(-2 * log(1 - uniform(c))) * cos(6.283185307179586 * uniform(c));
}

static LedgeDriftRecord look(Camera *c, float *features)
{
    const double u = uniform(c);
    features[0] = (float)((0.45 + 0.15 * normal(c)) * c->brightness);
    features[1] = (float)(-3 + normal(c));
    features[2] = 0; /* always the same */
    c->time += 0.1;
    return (LedgeDriftRecord){.time = c->time,
                              .latency = c->latency * (1 + 0.1 * normal(c)),
                              .class_id =
                                  uniform(c) < c->class_shift ? 7 : (int64_t)(CLASSES * u * u),
                              .confidence = (float)((1 - 0.6 * pow(uniform(c), 3)) * c->confidence),
                              .features = features,
                              .n_features = FEATURES};
}

static const Camera usual = {.random = 99, .confidence = 1, .brightness = 1, .latency = 0.004};

/* What calibration on `n` photos would write. */
static LedgeBaseline *calibrated(Camera *c, size_t n)
{
    static float confidence[4096], feature[FEATURES][4096];
    LedgeBaseline *b = NULL;
    const char empty[] = "{\"format\":1,\"samples\":0}";
    LedgeError err;
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    assert_int_equal(ledge__baseline_read(empty, sizeof empty - 1, a, &err, &b), LEDGE_OK);
    b->samples = n;
    b->n_classes = CLASSES;
    b->classes = ledge__calloc(a, CLASSES, sizeof *b->classes);
    double sum[1 + FEATURES] = {0}, square[1 + FEATURES] = {0};
    for (size_t i = 0; i < n; i++) {
        float f[FEATURES];
        const LedgeDriftRecord r = look(c, f);
        b->classes[r.class_id]++;
        confidence[i] = r.confidence;
        for (int k = 0; k < FEATURES; k++)
            feature[k][i] = f[k];
        for (int k = 0; k <= FEATURES; k++) {
            const double v = k ? (double)f[k - 1] : (double)r.confidence;
            sum[k] += v;
            square[k] += v * v;
        }
    }
    for (int k = 0; k <= FEATURES; k++) {
        const double mean = sum[k] / (double)n;
        const double std = sqrt(fmax(square[k] / (double)n - mean * mean, 0));
        if (k == 0) {
            b->confidence_mean = mean;
            b->confidence_std = std;
            ledge__bins_from_values(confidence, n, 20, &b->confidence);
        } else {
            LedgeFeatureBaseline *f = &b->feature[k - 1];
            *f = (LedgeFeatureBaseline){.mean = mean, .std = std};
            snprintf(f->name, sizeof f->name, "feature%d", k);
            ledge__bins_from_values(feature[k - 1], n, 20, &f->bins);
        }
    }
    b->n_features = FEATURES;
    return b;
}

static LedgeDrift *monitor(const LedgeBaseline *b, const LedgeDriftOptions *o)
{
    LedgeDrift *d = NULL;
    LedgeError err = {0};
    if (ledge__drift_new(o, b, ledge__allocator_or_default(NULL), &err, &d) != LEDGE_OK)
        fail_msg("%s", err.message);
    return d;
}

static LedgeDriftReport watch(LedgeDrift *d, Camera *c, int answers)
{
    LedgeDriftReport r;
    for (int i = 0; i < answers; i++) {
        float f[FEATURES];
        const LedgeDriftRecord one = look(c, f);
        ledge__drift_record(d, &one);
    }
    ledge__drift_report(d, &r);
    return r;
}

static LedgeSeverity severity(const LedgeDriftReport *r, LedgeDriftMeasure m)
{
    LedgeSeverity worst = LEDGE_FINE;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->finding[i].measure == m && r->finding[i].severity > worst)
            worst = r->finding[i].severity;
    return worst;
}

typedef struct Rig {
    LedgeBaseline *baseline;
    LedgeDrift *drift;
    Camera camera;
} Rig;

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof *rig);
    Camera c = usual;
    rig->baseline = calibrated(&c, 500);
    rig->drift = monitor(rig->baseline, NULL);
    rig->camera = c;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;
    ledge__drift_free(rig->drift);
    ledge__baseline_free(rig->baseline);
    free(rig);
    return 0;
}

static void fifty_windows_of_the_same_are_silent(void **state)
{
    Rig *rig = *state;
    for (int i = 0; i < 200; i++) {
        const LedgeDriftReport r = watch(rig->drift, &rig->camera, 250);
        assert_int_equal(r.severity, LEDGE_FINE);
        assert_true(isnan(r.change_time));
        assert_int_equal(r.judged, 1);
    }
}

static void falling_confidence_is_seen_in_one_window(void **state)
{
    Rig *rig = *state;
    watch(rig->drift, &rig->camera, 2000);
    rig->camera.confidence = 0.9;
    const double began = rig->camera.time;
    const LedgeDriftReport r = watch(rig->drift, &rig->camera, 1000);
    assert_true(severity(&r, LEDGE_DRIFT_CONFIDENCE_DROP) >= LEDGE_WARNING);
    assert_true(severity(&r, LEDGE_DRIFT_CONFIDENCE_PSI) >= LEDGE_WARNING);
    assert_int_equal(severity(&r, LEDGE_DRIFT_CLASS_PSI), LEDGE_FINE);
    /* ... and since when, to within 50 answers. */
    assert_true(fabs(r.change_time - began) < 5);
}

static void shifting_classes_are_seen_in_one_window(void **state)
{
    Rig *rig = *state;
    watch(rig->drift, &rig->camera, 1000);
    rig->camera.class_shift = 0.3;
    const LedgeDriftReport r = watch(rig->drift, &rig->camera, 1000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_CLASS_PSI), LEDGE_HIGH);
    assert_int_equal(severity(&r, LEDGE_DRIFT_CONFIDENCE_PSI), LEDGE_FINE);
}

static void darker_images_are_seen_in_one_window(void **state)
{
    Rig *rig = *state;
    watch(rig->drift, &rig->camera, 1000);
    rig->camera.brightness = 0.4;
    const LedgeDriftReport r = watch(rig->drift, &rig->camera, 1000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_FEATURE_PSI), LEDGE_HIGH);
    for (uint32_t i = 0; i < r.n; i++)
        if (r.finding[i].severity != LEDGE_FINE)
            assert_string_equal(r.finding[i].feature, "feature1");
}

static void slow_answers_are_seen_and_recovery_too(void **state)
{
    Rig *rig = *state;
    rig->camera.latency = 0.08;
    LedgeDriftReport r = watch(rig->drift, &rig->camera, 1000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_LATENCY), LEDGE_WARNING);
    rig->camera.latency = 0.2;
    r = watch(rig->drift, &rig->camera, 1000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_LATENCY), LEDGE_HIGH);
    rig->camera.latency = 0.004;
    r = watch(rig->drift, &rig->camera, 1000); /* the last quarter is fine, the window's not yet */
    assert_int_equal(severity(&r, LEDGE_DRIFT_LATENCY), LEDGE_HIGH);
    r = watch(rig->drift, &rig->camera, 500);
    assert_int_equal(severity(&r, LEDGE_DRIFT_LATENCY), LEDGE_FINE);
    assert_true(fabs(r.latency_p50 / 0.004 - 1) < 0.03);
}

static void a_value_on_the_edge_raises_one_alarm(void **state)
{
    Rig *rig = *state;
    int changes = 0;
    LedgeSeverity last = LEDGE_FINE;
    for (int i = 0; i < 100; i++) {
        rig->camera.latency = i % 8 < 4 ? 0.0465 : 0.0435; /* p90 a little above and below 50 ms */
        const LedgeDriftReport r = watch(rig->drift, &rig->camera, 250);
        const LedgeSeverity now = severity(&r, LEDGE_DRIFT_LATENCY);
        changes += now != last;
        last = now;
    }
    assert_int_equal(changes, 1);
}

static void without_a_baseline_the_first_answers_are_it(void **state)
{
    (void)state;
    Camera c = usual;
    LedgeDrift *d = monitor(NULL, &(LedgeDriftOptions){.learn = 1000});
    LedgeDriftReport r = watch(d, &c, 999);
    assert_true(r.learning);
    for (int i = 0; i < 40; i++) {
        r = watch(d, &c, 250);
        assert_false(r.learning);
        assert_int_equal(r.severity, LEDGE_FINE);
    }
    c.brightness = 0.4;
    r = watch(d, &c, 1000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_FEATURE_PSI), LEDGE_HIGH);
    c.brightness = 1;
    c.class_shift = 0.3;
    r = watch(d, &c, 2000);
    assert_int_equal(severity(&r, LEDGE_DRIFT_CLASS_PSI), LEDGE_HIGH);
    ledge__drift_free(d);
}

static void state_survives_a_restart(void **state)
{
    Rig *rig = *state;
    LedgeError err;
    rig->camera.latency = 0.2;
    watch(rig->drift, &rig->camera, 1234);
    const size_t n = ledge__drift_state_bytes();
    char *bytes = malloc(n);
    ledge__drift_save(rig->drift, bytes);
    LedgeDrift *other = monitor(rig->baseline, NULL);
    assert_int_equal(ledge__drift_restore(other, bytes, n, &err), LEDGE_OK);
    LedgeDriftReport a, b;
    ledge__drift_report(rig->drift, &a);
    ledge__drift_report(other, &b);
    assert_int_equal(b.severity, LEDGE_HIGH);
    assert_int_equal(a.records, b.records);
    Camera twin = rig->camera;
    a = watch(rig->drift, &rig->camera, 777);
    b = watch(other, &twin, 777);
    assert_int_equal(a.n, b.n);
    for (uint32_t i = 0; i < a.n; i++)
        assert_memory_equal(&a.finding[i].value, &b.finding[i].value, sizeof a.finding[i].value);
    ledge__drift_free(other);
    free(bytes);
}

static void a_foreign_or_damaged_state_is_refused(void **state)
{
    Rig *rig = *state;
    LedgeError err;
    const size_t n = ledge__drift_state_bytes();
    char *bytes = malloc(n);
    watch(rig->drift, &rig->camera, 300);
    ledge__drift_save(rig->drift, bytes);
    assert_int_equal(ledge__drift_restore(rig->drift, bytes, n - 1, &err), LEDGE_ERROR_FORMAT);
    LedgeDrift *wider = monitor(rig->baseline, &(LedgeDriftOptions){.window = 2000});
    assert_int_equal(ledge__drift_restore(wider, bytes, n, &err), LEDGE_ERROR_MISMATCH);
    ledge__drift_free(wider);
    LedgeDrift *learner = monitor(NULL, NULL);
    assert_int_equal(ledge__drift_restore(learner, bytes, n, &err), LEDGE_ERROR_MISMATCH);
    ledge__drift_free(learner);
    for (size_t at = 0; at < n; at += at < 64 ? 1 : 997) {
        bytes[at] = (char)(bytes[at] ^ 0x40);
        assert_int_not_equal(ledge__drift_restore(rig->drift, bytes, n, &err), LEDGE_OK);
        bytes[at] = (char)(bytes[at] ^ 0x40);
    }
    assert_int_equal(ledge__drift_restore(rig->drift, bytes, n, &err), LEDGE_OK);
    free(bytes);
}

static void odd_answers_do_no_harm(void **state)
{
    Rig *rig = *state;
    const float f[20] = {NAN, INFINITY, -INFINITY};
    const LedgeDriftRecord odd[] = {
        {.class_id = -1, .confidence = NAN, .latency = NAN},
        {.class_id = INT64_MAX,
         .confidence = INFINITY,
         .latency = -5,
         .features = f,
         .n_features = 20},
        {.class_id = CLASSES,
         .confidence = -7,
         .latency = INFINITY,
         .features = f,
         .n_features = 1},
    };
    for (int i = 0; i < 3000; i++)
        ledge__drift_record(rig->drift, &odd[i % 3]);
    LedgeDriftReport r;
    ledge__drift_report(rig->drift, &r);
    assert_int_equal(r.records, 3000);
    assert_int_equal(r.severity, LEDGE_HIGH);
}

static void memory_is_bounded(void **state)
{
    Rig *rig = *state;
    assert_true(ledge__drift_bytes(rig->drift) <= 64 << 10);
    LedgeDrift *large = monitor(NULL, &(LedgeDriftOptions){.window = 100000000});
    assert_true(ledge__drift_bytes(large) <= 64 << 10);
    ledge__drift_free(large);
}

static void baseline_survives_its_json(void **state)
{
    Rig *rig = *state;
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    LedgeError err;
    char *text = ledge__baseline_write(rig->baseline, a);
    assert_non_null(text);
    LedgeBaseline *b = NULL;
    assert_int_equal(ledge__baseline_read(text, strlen(text), a, &err, &b), LEDGE_OK);
    char *again = ledge__baseline_write(b, a);
    assert_string_equal(text, again);
    assert_memory_equal(b->feature, rig->baseline->feature, sizeof b->feature);
    ledge__free(a, text);
    ledge__free(a, again);
    ledge__baseline_free(b);
}

static void damaged_baselines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{\"format\":2,\"samples\":1}",
        "{\"format\":1}",
        "{\"format\":1,\"samples\":-1}",
        "{\"format\":1,\"samples\":1,\"samples\":2}",
        "{\"format\":1,\"samples\":1,\"classes\":[1,-1]}",
        "{\"format\":1,\"samples\":1,\"classes\":{}}",
        "{\"format\":1,\"samples\":1,\"confidence\":{\"mean\":1}}",
        "{\"format\":1,\"samples\":1,\"confidence\":{\"mean\":1,\"std\":-1}}",
        "{\"format\":1,\"samples\":1,\"confidence\":{\"mean\":1,\"std\":1,\"counts\":[1,2]}}",
        ("{\"format\":1,\"samples\":1,\"confidence\":{\"mean\":1,\"std\":1,\"counts\":[1,2,3],"
         "\"edges\":[2,2]}}"),
        "{\"format\":1,\"samples\":1,\"features\":[{\"name\":\"\",\"mean\":1,\"std\":1}]}",
        "{\"format\":1,\"samples\":1,\"features\":[{\"mean\":1,\"std\":1}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeBaseline *b = NULL;
        LedgeError err = {0};
        assert_int_equal(ledge__baseline_read(bad[i], strlen(bad[i]),
                                              ledge__allocator_or_default(NULL), &err, &b),
                         LEDGE_ERROR_FORMAT);
        assert_null(b);
        assert_true(strlen(err.message) > 5);
    }
}

static void merged_bins_hold_equal_shares(void **state)
{
    (void)state;
    LedgeBins fine = {.n = 32}, out;
    for (uint32_t i = 0; i < 32; i++) {
        fine.count[i] = i < 31 ? 1 : 69;
        if (i < 31)
            fine.edge[i] = i + 1;
    }
    ledge__bins_merge(&fine, 10, &out);
    uint64_t total = 0;
    for (uint32_t i = 0; i < out.n; i++) {
        total += out.count[i];
        assert_true(out.count[i] >= 10 || i + 1 == out.n);
    }
    assert_int_equal(total, 100);
    assert_int_equal(ledge__bins_find(&out, 1e9), out.n - 1);
    assert_int_equal(ledge__bins_find(&out, -1e9), 0);
    assert_int_equal(ledge__bins_find(&out, out.edge[0]), 1);
}

static void senseless_options_are_refused(void **state)
{
    (void)state;
    const LedgeDriftOptions bad[] = {{.window = 10},
                                     {.window = 100, .minimum = 101},
                                     {.learn = 3},
                                     {.threshold[0] = {.warning = 2, .high = 1}},
                                     {.threshold[0] = {.warning = NAN}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeDrift *d = NULL;
        LedgeError err;
        assert_int_equal(
            ledge__drift_new(&bad[i], NULL, ledge__allocator_or_default(NULL), &err, &d),
            LEDGE_ERROR_ARGUMENT);
    }
}

int main(void)
{
#define DRIFT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        DRIFT_TEST(fifty_windows_of_the_same_are_silent),
        DRIFT_TEST(falling_confidence_is_seen_in_one_window),
        DRIFT_TEST(shifting_classes_are_seen_in_one_window),
        DRIFT_TEST(darker_images_are_seen_in_one_window),
        DRIFT_TEST(slow_answers_are_seen_and_recovery_too),
        DRIFT_TEST(a_value_on_the_edge_raises_one_alarm),
        cmocka_unit_test(without_a_baseline_the_first_answers_are_it),
        DRIFT_TEST(state_survives_a_restart),
        DRIFT_TEST(a_foreign_or_damaged_state_is_refused),
        DRIFT_TEST(odd_answers_do_no_harm),
        DRIFT_TEST(memory_is_bounded),
        DRIFT_TEST(baseline_survives_its_json),
        cmocka_unit_test(damaged_baselines_are_refused),
        cmocka_unit_test(merged_bins_hold_equal_shares),
        cmocka_unit_test(senseless_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
