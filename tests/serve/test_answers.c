/* Workers answering requests: what the cache gives is what the model gives, identical requests
 * share one run, failures are shared too, ladders climb. No network. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "serve/work.h"

#define CLASSIFIER LEDGE_TEST_DATA "/onnx/classifier.onnx"

static atomic_int done;

static void on_ready(LedgeWork *w)
{
    (void)w;
    atomic_fetch_add(&done, 1);
}

typedef struct Bench {
    LedgeModelTable *table;
    LedgeLadders *ladders;
    LedgeWorkers *workers;
    LedgeServed *model;
    size_t values; /* of one input */
    char shape[64];
} Bench;

static void begin_with(Bench *b, const LedgeServedOptions *o, int workers)
{
    const LedgeWorkOptions w = {.workers = workers,
                                .queue = 10000,
                                .tensor_limit = 1 << 24,
                                .answer = ledge__infer,
                                .ready = on_ready};
    *b = (Bench){.values = 1};
    assert_int_equal(ledge__model_table_new(NULL, o, NULL, &b->table), LEDGE_OK);
    assert_int_equal(ledge__model_table_add(b->table, "cls=" CLASSIFIER, NULL), LEDGE_OK);
    assert_int_equal(ledge__model_table_add(b->table, "big=" CLASSIFIER, NULL), LEDGE_OK);
    assert_int_equal(ledge__model_table_find(b->table, "cls", NULL, NULL, &b->model), LEDGE_OK);
    assert_int_equal(ledge__ladders_new(NULL, &b->ladders), LEDGE_OK);
    assert_int_equal(ledge__workers_new(&w, NULL, &b->workers), LEDGE_OK);
    const LedgeTensorInfo *in = ledge_model_input(b->model->model, 0);
    for (int32_t i = 0; i < in->rank; i++) {
        const int64_t d = in->dims[i] < 0 ? 1 : in->dims[i];
        b->values *= (size_t)d;
        sprintf(b->shape + strlen(b->shape), "%s%d", i ? "," : "", (int)d);
    }
    atomic_store(&done, 0);
}

static void begin(Bench *b, size_t cache_bytes, int workers, uint32_t batch)
{
    const LedgeServedOptions o = {.threads = 1, .cache_bytes = cache_bytes, .batch = batch};
    begin_with(b, &o, workers);
}

static void end(Bench *b)
{
    ledge__workers_free(b->workers);
    ledge__served_unref(b->model);
    ledge__ladders_free(b->ladders);
    ledge__model_table_free(b->table);
}

/* A request whose input is all `value`; id tells requests apart. */
static LedgeWork *request(const Bench *b, const char *value, int id)
{
    LedgeWork *w = calloc(1, sizeof *w);
    LedgeText t = {0};
    assert_non_null(w);
    ledge__text_printf(
        &t,
        "{\"id\":\"%d\",\"inputs\":[{\"name\":\"%s\",\"datatype\":\"FP32\",\"shape\":"
        "[%s],\"data\":[",
        id, ledge_model_input(b->model->model, 0)->name, b->shape);
    for (size_t i = 0; i < b->values; i++)
        ledge__text_printf(&t, "%s%s", i ? "," : "", value);
    ledge__text_add(&t, "]}]}");
    assert_false(t.failed);
    *w = (LedgeWork){.kind = LEDGE_WORK_INFER,
                     .body = t.p,
                     .size = t.n,
                     .json_bytes = SIZE_MAX,
                     .model = ledge__served_ref(b->model),
                     .arrived = ledge__now(),
                     .deadline = ledge__now() + 100};
    return w;
}

static void release(LedgeWork *w)
{
    ledge__served_unref(w->model);
    ledge__ladder_unref(w->ladder);
    ledge__text_free(&w->out);
    free(w->body);
    free(w);
}

static void wait_for(int n)
{
    while (atomic_load(&done) < n)
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* The answer's "outputs", which are all that must be equal. */
static const char *outputs(const LedgeWork *w)
{
    assert_int_equal(w->end, LEDGE_WORK_DONE);
    const char *at = strstr(w->out.p, "\"outputs\":");
    assert_non_null(at);
    return at;
}

static bool says(const LedgeWork *w, const char *text)
{
    return w->out.p && strstr(w->out.p, text) != NULL;
}

static void ask_each(Bench *b, LedgeWork **w, int n, int kinds)
{
    for (int i = 0; i < n; i++) {
        char value[16], id[24];
        snprintf(value, sizeof value, "0.%d", i % kinds + 1);
        w[i] = request(b, value, i);
        assert_true(ledge__workers_push(b->workers, w[i]));
        snprintf(id, sizeof id, "\"id\":\"%d\"", i);
    }
    wait_for(n);
}

static void cached_answers_equal_those_of_the_model(void **state)
{
    (void)state;
    enum { N = 400, KINDS = 9 };
    Bench plain, cached;
    LedgeWork *a[N], *c[N];
    LedgeCacheStats s;
    begin(&plain, 0, 1, 1);
    ask_each(&plain, a, N, KINDS);
    for (uint32_t batch = 1; batch <= 8; batch *= 8) {
        begin(&cached, 1 << 20, 3, batch);
        ask_each(&cached, c, N, KINDS);
        for (int i = 0; i < N; i++) {
            char id[24];
            snprintf(id, sizeof id, "\"id\":\"%d\"", i);
            assert_true(says(c[i], id));
            assert_string_equal(outputs(a[i]), outputs(c[i]));
            assert_true(says(a[i], "\"ledge_cache\":\"off\""));
        }
        ledge__cache_stats(cached.model->cache, &s);
        assert_int_equal(s.hits + s.misses + s.joined, N);
        assert_int_equal(s.misses, KINDS); /* each input ran once, whoever came meanwhile */
        assert_int_equal(cached.model->latency.count, KINDS);
        assert_int_equal(cached.model->answered, N);
        for (int i = 0; i < N; i++)
            release(c[i]);
        end(&cached);
    }
    for (int i = 0; i < N; i++)
        release(a[i]);
    end(&plain);
}

static void the_second_time_is_a_hit(void **state)
{
    (void)state;
    Bench b;
    begin(&b, 1 << 20, 1, 1);
    const char *const want[] = {"\"ledge_cache\":\"miss\"", "\"ledge_cache\":\"hit\""};
    for (int i = 0; i < 2; i++) {
        LedgeWork *w = request(&b, "1", i);
        assert_true(ledge__workers_push(b.workers, w));
        wait_for(i + 1);
        assert_true(says(w, want[i]));
        release(w);
    }
    /* Another datatype or shape is another input, and here a bad one. */
    LedgeWork *w = request(&b, "1", 9);
    memcpy(strstr(w->body, "FP32"), "FP64", 4);
    assert_true(ledge__workers_push(b.workers, w));
    wait_for(3);
    assert_int_equal(w->end, LEDGE_WORK_BAD);
    release(w);
    end(&b);
}

/* Two of one input in one batch: the second waits for the first, which fails for want of memory
 * for activations. */
static void who_waits_for_a_failure_fails(void **state)
{
    (void)state;
    LedgeCacheStats s;
    Bench b;
    for (int fails = 0; fails < 2; fails++) {
        begin(&b, 1 << 20, 1, 1);
        b.model->options.arena_limit = fails ? 1 : 0;
        const LedgeWorkOptions o = {.tensor_limit = 1 << 24, .ready = on_ready};
        LedgeWork *w[2] = {request(&b, "1", 0), request(&b, "1", 1)};
        ledge__infer(&o, 0, w, 2);
        assert_int_equal(atomic_load(&done), 2);
        ledge__cache_stats(b.model->cache, &s);
        assert_true(s.misses == 1 && s.joined == 1 && s.hits == 0);
        assert_int_equal(s.entries, !fails); /* failures are not kept */
        assert_int_equal(b.model->failed + b.model->answered, fails ? b.model->failed : 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(w[i]->end != LEDGE_WORK_DONE, fails);
            assert_int_equal(says(w[i], "{\"error\":\""), fails);
        }
        if (fails)
            assert_string_equal(w[0]->out.p, w[1]->out.p);
        release(w[0]);
        release(w[1]);
        end(&b);
    }
}

/* Inputs that change from request to request, answered so many at once; what drift says of them. */
static void watch_batches(uint32_t batch, LedgeDriftReport *report)
{
    enum { N = 128 };
    Bench b;
    const LedgeServedOptions watched = {
        .threads = 1, .batch = batch, .drift = true,
        .drift_options = {.window = 64, .minimum = 32, .learn = 64}};
    const LedgeWorkOptions o = {.tensor_limit = 1 << 24, .ready = on_ready};
    begin_with(&b, &watched, 1);
    for (int i = 0; i < N; i += (int)batch) {
        LedgeWork *w[8];
        for (uint32_t k = 0; k < batch; k++) {
            char value[16];
            snprintf(value, sizeof value, "0.%d", i < N / 2 ? 1 + (i + (int)k) % 7 : 9);
            w[k] = request(&b, value, i);
        }
        ledge__infer(&o, 0, w, batch);
        for (uint32_t k = 0; k < batch; k++) {
            assert_int_equal(w[k]->batch, batch);
            (void)outputs(w[k]);
            release(w[k]);
        }
    }
    assert_int_equal(b.model->drift_records, N);
    ledge__drift_report(b.model->drift, report);
    end(&b);
}

static void drift_sees_the_same_in_batches(void **state)
{
    (void)state;
    LedgeDriftReport one, eight;
    uint32_t features = 0;
    watch_batches(1, &one);
    watch_batches(8, &eight);
    assert_true(one.judged && eight.judged && one.n == eight.n);
    for (uint32_t i = 0; i < one.n; i++) {
        const LedgeDriftFinding *a = &one.finding[i], *b = &eight.finding[i];
        assert_int_equal(a->measure, b->measure);
        assert_string_equal(a->feature, b->feature);
        if (a->measure == LEDGE_DRIFT_LATENCY)
            continue;
        assert_true(a->value == b->value && a->severity == b->severity);
        features += a->feature[0] && a->severity == LEDGE_HIGH;
    }
    assert_true(features > 0);
}

static void an_unsure_answer_climbs_the_ladder(void **state)
{
    (void)state;
    Bench b;
    LedgeLadderOptions o = {.name = "both", .n = 2, .model = {"cls", "big"}};
    begin(&b, 0, 1, 1);
    for (int i = 0; i < 2; i++) {
        o.adaptive.threshold =
            i ? 1 : 1e-9; /* one that every answer reaches, and one that none does */
        assert_int_equal(ledge__ladders_set(b.ladders, b.table, &o, 1, NULL), LEDGE_OK);
        LedgeWork *w = request(&b, "0.5", i);
        w->ladder = ledge__ladders_find(b.ladders, "both");
        assert_true(ledge__workers_push(b.workers, w));
        wait_for(i + 1);
        assert_true(says(w, "\"model_name\":\"both\""));
        assert_true(says(w, i ? "\"ledge_model_used\":\"big\"" : "\"ledge_model_used\":\"cls\""));
        assert_true(says(w, i ? "\"ledge_ladder\":\"top\"" : "\"ledge_ladder\":\"sure\""));
        assert_string_equal(w->model->name, i ? "big" : "cls");
        release(w);
    }
    LedgeLadderOptions bad = o;
    snprintf(bad.name, sizeof bad.name, "cls");
    assert_int_equal(ledge__ladders_set(b.ladders, b.table, &bad, 1, NULL), LEDGE_ERROR_ARGUMENT);
    bad = o;
    snprintf(bad.model[1], sizeof bad.model[1], "cls");
    assert_int_equal(ledge__ladders_set(b.ladders, b.table, &bad, 1, NULL), LEDGE_ERROR_ARGUMENT);
    LedgeLadder *l = ledge__ladders_find(b.ladders, "both"); /* what was refused changed nothing */
    assert_non_null(l);
    ledge__ladder_unref(l);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cached_answers_equal_those_of_the_model),
        cmocka_unit_test(the_second_time_is_a_hit),
        cmocka_unit_test(who_waits_for_a_failure_fails),
        cmocka_unit_test(drift_sees_the_same_in_batches),
        cmocka_unit_test(an_unsure_answer_climbs_the_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
