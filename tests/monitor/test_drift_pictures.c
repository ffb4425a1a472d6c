/* Drift on real pictures: a ResNet-20 on CIFAR-10 sees what it was calibrated on, then darker,
 * blurred, noisy and colour-swapped pictures, and other classes. Skipped where the shared assets
 * are not at hand (LEDGE_ASSETS, ../shared/assets). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "image/dataset.h"
#include "image/preprocess.h"
#include "monitor/collect.h"
#include "monitor/input_features.h"

enum { PICTURES = 1000, WINDOW = 1000 };

typedef struct Seen {
    LedgeDriftRecord record;
    float features[LEDGE_INPUT_FEATURE_COUNT];
    int32_t label;
} Seen;

typedef struct Rig {
    LedgeModel *model;
    LedgeSession *session;
    LedgeDataset *data;
    LedgePreprocess pre;
    Seen usual[PICTURES];
    LedgeBaseline *baseline;
    uint64_t random;
} Rig;

static uint32_t draw(Rig *rig)
{
    rig->random = rig->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(rig->random >> 33);
}

static Seen look(Rig *rig, const LedgeImage *image, const LedgePreprocess *pre)
{
    Seen s = {.record = {.latency = 1e-3, .n_features = LEDGE_INPUT_FEATURE_COUNT}};
    LedgeTensor in = {0}, out = {0};
    assert_int_equal(ledge__preprocess_tensor(pre, NULL, image, NULL, &in), LEDGE_OK);
    assert_int_equal(ledge_session_run(rig->session, &in, 1, &out, 1, NULL), LEDGE_OK);
    assert_true(ledge__input_features(&in, 0, NULL, s.features));
    const float *y = out.data;
    double sum = 0;
    int best = 0;
    for (int i = 1; i < 10; i++)
        best = y[i] > y[best] ? i : best;
    for (int i = 0; i < 10; i++)
        sum += exp((double)(y[i] - y[best]));
    s.record.class_id = best;
    s.record.confidence = (float)(1 / sum);
    ledge__free(NULL, in.data);
    return s;
}

static const char *asset(const char *name, char *room, size_t size)
{
    const char *root = getenv("LEDGE_ASSETS");
    snprintf(room, size, "%s/%s", root ? root : LEDGE_SOURCE_ROOT "/../shared/assets", name);
    return room;
}

static LedgeImage picture(Rig *rig, size_t i, int32_t *label)
{
    LedgeSample s;
    assert_int_equal(ledge__dataset_read(rig->data, i, NULL, &s), LEDGE_OK);
    *label = s.label;
    return s.image;
}

static void make_baseline(Rig *rig)
{
    const char *names[LEDGE_INPUT_FEATURE_COUNT];
    LedgeCollector *c = NULL;
    for (uint32_t i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
        names[i] = ledge__input_feature_name(i);
    assert_int_equal(ledge__collector_new(10, LEDGE_INPUT_FEATURE_COUNT, names,
                                          ledge__allocator_or_default(NULL), NULL, &c),
                     LEDGE_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        int32_t label;
        LedgeImage image = picture(rig, i, &label);
        rig->usual[i] = look(rig, &image, &rig->pre);
        rig->usual[i].label = label;
        rig->usual[i].record.features = rig->usual[i].features;
        ledge__image_free(&image);
        ledge__collector_add(c, &rig->usual[i].record);
    }
    assert_int_equal(ledge__collector_baseline(c, NULL, &rig->baseline), LEDGE_OK);
    ledge__collector_free(c);
}

static int setup(void **state)
{
    char path[512];
    Rig *rig = calloc(1, sizeof *rig);
    LedgeError err;
    *state = rig;
    rig->random = 3;
    if (ledge_model_load(asset("models/resnet20_cifar10.onnx", path, sizeof path), NULL, &err,
                         &rig->model))
        return 0;
    if (ledge__dataset_open_cifar10(NULL, asset("cifar10/test_jpeg_2000.bin", path, sizeof path),
                                    &err, &rig->data))
        return 0;
    if (ledge__preprocess_for_model(rig->model, 0, "imagenet", &err, &rig->pre, NULL) ||
        ledge_session_create(rig->model, NULL, &err, &rig->session))
        return -1;
    make_baseline(rig);
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;
    ledge_session_free(rig->session);
    ledge_model_free(rig->model);
    ledge__dataset_free(rig->data);
    ledge__baseline_free(rig->baseline);
    free(rig);
    return 0;
}

static LedgeDrift *monitor(Rig *rig)
{
    LedgeDrift *d = NULL;
    if (!rig->session)
        skip();
    assert_int_equal(ledge__drift_new(&(LedgeDriftOptions){.window = WINDOW}, rig->baseline,
                                      ledge__allocator_or_default(NULL), NULL, &d),
                     LEDGE_OK);
    return d;
}

static LedgeSeverity severity(const LedgeDrift *d)
{
    LedgeDriftReport r;
    ledge__drift_report(d, &r);
    assert_true(r.judged);
    return r.severity;
}

static void fifty_windows_of_the_baseline_raise_nothing(void **state)
{
    Rig *rig = *state;
    LedgeDrift *d = monitor(rig);
    for (int i = 0; i < 50 * WINDOW; i++)
        if (ledge__drift_record(d, &rig->usual[draw(rig) % PICTURES].record) && i >= WINDOW)
            assert_int_equal(severity(d), LEDGE_FINE);
    ledge__drift_free(d);
}

static void other_pictures_of_the_same_kind_raise_nothing(void **state)
{
    Rig *rig = *state;
    LedgeDrift *d = monitor(rig);
    for (size_t i = 0; i < WINDOW; i++) {
        int32_t label;
        LedgeImage image = picture(rig, PICTURES + i, &label);
        Seen s = look(rig, &image, &rig->pre);
        s.record.features = s.features;
        ledge__image_free(&image);
        ledge__drift_record(d, &s.record);
    }
    assert_int_equal(severity(d), LEDGE_FINE);
    ledge__drift_free(d);
}

/* A window of changed pictures after one of usual ones. */
static LedgeSeverity after(Rig *rig, void (*change)(Rig *rig, LedgeImage *image),
                           const LedgePreprocess *pre)
{
    LedgeDrift *d = monitor(rig);
    for (int i = 0; i < WINDOW; i++)
        ledge__drift_record(d, &rig->usual[draw(rig) % PICTURES].record);
    assert_int_equal(severity(d), LEDGE_FINE);
    for (size_t i = 0; i < WINDOW; i++) {
        int32_t label;
        LedgeImage image = picture(rig, PICTURES + i, &label);
        if (change)
            change(rig, &image);
        Seen s = look(rig, &image, pre);
        s.record.features = s.features;
        ledge__image_free(&image);
        ledge__drift_record(d, &s.record);
    }
    const LedgeSeverity found = severity(d);
    ledge__drift_free(d);
    return found;
}

static size_t bytes_of(const LedgeImage *image)
{
    return (size_t)image->width * image->height * (size_t)image->channels;
}

static void darken(Rig *rig, LedgeImage *image)
{
    (void)rig;
    for (size_t i = 0; i < bytes_of(image); i++)
        image->pixels[i] = (uint8_t)(image->pixels[i] * 2 / 5);
}

static void add_noise(Rig *rig, LedgeImage *image)
{
    for (size_t i = 0; i < bytes_of(image); i++) {
        const int v = image->pixels[i] + (int)(draw(rig) % 101) - 50;
        image->pixels[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void blur(Rig *rig, LedgeImage *image)
{
    (void)rig;
    const size_t c = (size_t)image->channels, row = image->width * c;
    for (int round = 0; round < 2; round++) /* a box of 2 x 2, twice */
        for (size_t y = 0; y + 1 < image->height; y++)
            for (size_t i = 0; i + c < row; i++) {
                uint8_t *p = image->pixels + y * row + i;
                *p = (uint8_t)((p[0] + p[c] + p[row] + p[row + c] + 2) / 4);
            }
}

static void darker_pictures_raise_an_alarm(void **state)
{
    Rig *rig = *state;
    assert_true(after(rig, darken, &rig->pre) >= LEDGE_WARNING);
}

static void blurred_pictures_raise_an_alarm(void **state)
{
    Rig *rig = *state;
    assert_true(after(rig, blur, &rig->pre) >= LEDGE_WARNING);
}

static void sensor_noise_raises_an_alarm(void **state)
{
    Rig *rig = *state;
    assert_true(after(rig, add_noise, &rig->pre) >= LEDGE_WARNING);
}

static void swapped_colours_raise_an_alarm(void **state)
{
    Rig *rig = *state;
    LedgePreprocess wrong = rig->pre;
    wrong.color = LEDGE_COLOR_BGR;
    assert_true(after(rig, NULL, &wrong) >= LEDGE_WARNING);
}

static void a_third_of_one_class_raises_an_alarm(void **state)
{
    Rig *rig = *state;
    LedgeDrift *d = monitor(rig);
    for (int i = 0; i < 2 * WINDOW; i++) {
        uint32_t at = draw(rig) % PICTURES;
        if (i >= WINDOW && i % 10 < 3) /* cats, and cats only */
            while (rig->usual[at].label != 3)
                at = (at + 1) % PICTURES;
        ledge__drift_record(d, &rig->usual[at].record);
        if (i + 1 == WINDOW)
            assert_int_equal(severity(d), LEDGE_FINE);
    }
    assert_true(severity(d) >= LEDGE_WARNING);
    ledge__drift_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_windows_of_the_baseline_raise_nothing),
        cmocka_unit_test(other_pictures_of_the_same_kind_raise_nothing),
        cmocka_unit_test(darker_pictures_raise_an_alarm),
        cmocka_unit_test(blurred_pictures_raise_an_alarm),
        cmocka_unit_test(sensor_noise_raises_an_alarm),
        cmocka_unit_test(swapped_colours_raise_an_alarm),
        cmocka_unit_test(a_third_of_one_class_raises_an_alarm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
