/* Equalization, adaptive rounding, layer damage and mixed precision on small models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "compress/quantize/quant_adaptive.h"
#include "compress/quantize/quant_equalize.h"
#include "compress/quantize/quant_mixed.h"
#include "compress/quantize/quant_rounding.h"
#include "model_maker.h"

enum { SAMPLES = 24, SIDE = 8 };

static const LedgeQuantOptions options = {.percentile = 99.99, .block = 32, .threads = 1};

/* Conv -> activation -> depthwise Conv -> Conv -> pool -> classes; the first convolution's
 * channels are of very different size, which one scale for the activations bears badly. */
static TestModel *network(const char *activation)
{
    static float w1[8 * 3 * 9], w2[8 * 9], w3[12 * 8], b1[8];
    TestModel *t = test_model_new(13);
    test_fill(w1, 8 * 27, 1);
    test_fill(w2, 8 * 9, 2);
    test_fill(w3, 12 * 8, 3);
    for (int i = 0; i < 8; i++) {
        const float size = powf(3, (float)(i % 5) - 2);
        for (int k = 0; k < 27; k++)
            w1[i * 27 + k] *= size;
        for (int m = 0; m < 12; m++)
            w3[m * 8 + i] /= size;
        b1[i] = 0.1f * size;
    }
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){1, 3, SIDE, SIDE});
    test_floats(t, "w1", 4, (int64_t[]){8, 3, 3, 3}, w1);
    test_floats(t, "b1", 1, (int64_t[]){8}, b1);
    test_floats(t, "w2", 4, (int64_t[]){8, 1, 3, 3}, w2);
    test_floats(t, "w3", 4, (int64_t[]){12, 8, 1, 1}, w3);
    OnnxNode *n = test_node(t, "Conv", "x w1 b1", "c1");
    test_attr_ints(t, n, "pads", 4, (int64_t[]){1, 1, 1, 1});
    if (strcmp(activation, "Clip") == 0) {
        const float zero = 0, six = 6;
        test_floats(t, "lo", 0, NULL, &zero);
        test_floats(t, "hi", 0, NULL, &six);
        test_node(t, "Clip", "c1 lo hi", "a1");
    } else {
        test_node(t, activation, "c1", "a1");
    }
    n = test_node(t, "Conv", "a1 w2", "c2");
    test_attr_ints(t, n, "pads", 4, (int64_t[]){1, 1, 1, 1});
    test_attr_int(t, n, "group", 8);
    test_node(t, "Relu", "c2", "a2");
    test_node(t, "Conv", "a2 w3", "c3");
    test_node(t, "GlobalAveragePool", "c3", "p");
    n = test_node(t, "Flatten", "p", "scores");
    test_attr_int(t, n, "axis", 1);
    test_output(t, "scores");
    return t;
}

static LedgeQuantizer *open_network(const char *activation)
{
    char path[] = "/tmp/ledge-search-XXXXXX";
    LedgeError err = {0};
    LedgeQuantizer *q = NULL;
    TestModel *t = network(activation);
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ledge__onnx_write_file(test_onnx(t), path, false, &err), LEDGE_OK);
    test_model_free(t);
    if (ledge__quantizer_open(path, &options, &err, &q))
        fail_msg("%s", err.message);
    unlink(path);
    return q;
}

static void sample(uint32_t seed, float *room, LedgeTensor *t)
{
    *t = (LedgeTensor){LEDGE_FLOAT, 4, {1, 3, SIDE, SIDE}, room, 3 * SIDE * SIDE * sizeof *room};
    test_fill(room, 3 * SIDE * SIDE, seed);
    for (int c = 0; c < 3; c++) /* the colour tells the class */
        for (int i = 0; i < SIDE * SIDE; i++)
            room[c * SIDE * SIDE + i] += (float)(seed * (uint32_t)(c + 1) % 7) / 2;
}

static LedgeJudge *observe(LedgeQuantizer *q)
{
    float room[3 * SIDE * SIDE];
    LedgeTensor in;
    LedgeError err = {0};
    LedgeJudge *j = NULL;
    const LedgeTensor *out;
    assert_int_equal(ledge__judge_new(NULL, SAMPLES, LEDGE_JUDGE_BUDGET, 1, &err, &j), LEDGE_OK);
    assert_int_equal(ledge__quantizer_observe_start(q, &err), LEDGE_OK);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        sample(i + 1, room, &in);
        assert_int_equal(ledge__quantizer_observe(q, &in, 1, &err, &out), LEDGE_OK);
        assert_int_equal(ledge__judge_add(j, &in, 1, out, 1, -1, &err), LEDGE_OK);
    }
    assert_int_equal(ledge__quantizer_ranges(q, &err), LEDGE_OK);
    return j;
}

static LedgeScore score(const LedgeJudge *j, const LedgeQuantizer *q)
{
    LedgeScore s;
    LedgeError err = {0};
    if (ledge__judge_score(j, q, 0, &err, &s))
        fail_msg("%s", err.message);
    return s;
}

/* ---- equalization ---- */

static void float_outputs(LedgeQuantizer *q, float out[SAMPLES][12])
{
    float room[3 * SIDE * SIDE];
    LedgeTensor in;
    LedgeError err = {0};
    const LedgeTensor *o;
    assert_int_equal(ledge__quantizer_observe_start(q, &err), LEDGE_OK);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        sample(i + 1, room, &in);
        assert_int_equal(ledge__quantizer_observe(q, &in, 1, &err, &o), LEDGE_OK);
        memcpy(out[i], o->data, sizeof out[i]);
    }
    ledge__quantizer_observe_end(q);
}

static void equalizing_changes_nothing_but_rounding(void **state)
{
    (void)state;
    static float before[SAMPLES][12], after[SAMPLES][12];
    LedgeError err = {0};
    LedgeEqualized e;
    LedgeQuantizer *q = open_network("Relu");
    float_outputs(q, before);
    assert_int_equal(ledge__quant_equalize(q, &err, &e), LEDGE_OK);
    assert_int_equal(e.pairs, 2); /* full -> depthwise -> pointwise */
    assert_int_equal(e.clipped, 0);
    float_outputs(q, after);
    for (int i = 0; i < SAMPLES; i++)
        for (int c = 0; c < 12; c++)
            assert_true(fabsf(before[i][c] - after[i][c]) <= 1e-4f * (1 + fabsf(before[i][c])));
    ledge__quantizer_free(q);
}

static void equalizing_lowers_the_noise_of_uneven_channels(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeEqualized e;
    LedgeQuantizer *plain = open_network("Relu"), *even = open_network("Relu");
    assert_int_equal(ledge__quant_equalize(even, &err, &e), LEDGE_OK);
    LedgeJudge *a = observe(plain), *b = observe(even);
    const double before = score(a, plain).sqnr_db, after = score(b, even).sqnr_db;
    if (!(after > before + 1))
        fail_msg("%.2f dB before, %.2f dB after", before, after);
    ledge__judge_free(a);
    ledge__judge_free(b);
    ledge__quantizer_free(plain);
    ledge__quantizer_free(even);
}

static void an_upper_bound_between_two_layers_is_passed_over(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeEqualized e;
    LedgeQuantizer *q = open_network("Clip");
    assert_int_equal(ledge__quant_equalize(q, &err, &e), LEDGE_OK);
    assert_int_equal(e.pairs, 1);
    assert_int_equal(e.clipped, 1);
    ledge__quantizer_free(q);
}

/* ---- rounding ---- */

enum { ROWS = 13, K = 40 };

static double error_of(const float *w, const float *scale, const float *gram, const int8_t *q)
{
    double sum = 0;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                sum += ((double)q[r * K + i] - (double)(w[r * K + i] / scale[r])) *
                       (double)gram[i * K + j] *
                       ((double)q[r * K + j] - (double)(w[r * K + j] / scale[r]));
    return sum;
}

/* Inputs that are alike: the sum of few patterns, as activations are. */
static void make_gram(float *gram)
{
    float x[K], pattern[4][K], weight[4];
    memset(gram, 0, K * K * sizeof *gram);
    test_fill(&pattern[0][0], 4 * K, 9);
    for (uint32_t s = 0; s < 200; s++) {
        test_fill(x, K, 100 + s);
        test_fill(weight, 4, 400 + s);
        for (int i = 0; i < K; i++)
            for (int p = 0; p < 4; p++)
                x[i] = 0.3f * x[i] + 2 * weight[p] * pattern[p][i];
        ledge__gram_add(gram, x, K);
    }
    ledge__gram_finish(gram, K, 0.01);
}

static void adaptive_rounding_beats_rounding_to_nearest(void **state)
{
    (void)state;
    static float w[ROWS * K], gram[K * K], scale[ROWS];
    static int8_t nearest[ROWS * K], adapted[ROWS * K], again[ROWS * K];
    double before[ROWS], after[ROWS], sum = 0;
    LedgePool *pool = NULL;
    test_fill(w, ROWS * K, 5);
    make_gram(gram);
    for (int r = 0; r < ROWS; r++)
        scale[r] = (1 + (float)r) / 60;
    for (int i = 0; i < ROWS * K; i++)
        nearest[i] = (int8_t)nearbyintf(w[i] / scale[i / K]);
    LedgeRounding job = {ROWS, K, w, scale, gram, 100, adapted, before, after};
    assert_true(ledge__round_adaptively(&job, NULL, NULL));
    const double was = error_of(w, scale, gram, nearest), is = error_of(w, scale, gram, adapted);
    if (!(is < 0.5 * was))
        fail_msg("error %g, to nearest %g", is, was);
    for (int r = 0; r < ROWS; r++) {
        assert_true(after[r] <= before[r] * (1 + 1e-6));
        sum += after[r];
    }
    assert_true(fabs(sum - is) < 1e-3 * is);
    /* every weight is one of its two neighbours */
    for (int i = 0; i < ROWS * K; i++)
        assert_true(fabsf((float)adapted[i] - w[i] / scale[i / K]) <= 1.0001f);
    /* and threads change nothing */
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    job.q = again;
    assert_true(ledge__round_adaptively(&job, NULL, pool));
    assert_memory_equal(again, adapted, sizeof again);
    ledge__pool_free(pool);
}

static void rounding_stays_in_range_and_bears_silence(void **state)
{
    (void)state;
    static float gram[4];
    const float w[] = {500, -500, 0.4f, 0.6f}, scale[] = {1, 1};
    int8_t q[4];
    const LedgeRounding job = {2, 2, w, scale, gram, 10, q, NULL, NULL};
    assert_true(ledge__round_adaptively(&job, NULL, NULL));
    assert_int_equal(q[0], 127);
    assert_int_equal(q[1], -127);
    assert_true(q[2] == 0 || q[2] == 1);
    assert_true(q[3] == 0 || q[3] == 1);
}

static void adapting_a_model_raises_its_sqnr_and_repeats(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeAdapted done;
    const LedgeAdaptiveOptions o = {.seed = 1, .iterations = 100, .work = 1e9};
    LedgeQuantizer *q = open_network("Relu"), *r = open_network("Relu");
    LedgeJudge *j = observe(q), *k = observe(r);
    const double before = score(j, q).sqnr_db;
    assert_int_equal(ledge__quant_adapt(q, j, &o, NULL, &err, &done), LEDGE_OK);
    assert_int_equal(done.layers, 3);
    assert_int_equal(done.passed, 0);
    assert_true(done.gain_db > 1);
    const double after = score(j, q).sqnr_db;
    if (!(after > before))
        fail_msg("%.2f dB before, %.2f dB after", before, after);
    assert_int_equal(ledge__quant_adapt(r, k, &o, NULL, &err, &done), LEDGE_OK);
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        LedgeQuantLayer l;
        if (!ledge__quantizer_layer(&q->nodes[i], &l))
            continue;
        assert_non_null(q->nodes[i].weight_q);
        assert_memory_equal(q->nodes[i].weight_q, r->nodes[i].weight_q, (size_t)l.count);
    }
    ledge__judge_free(j);
    ledge__judge_free(k);
    ledge__quantizer_free(q);
    ledge__quantizer_free(r);
}

/* ---- mixed precision ---- */

static void damage_is_least_without_rounding_and_choices_come_back(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeDamages d;
    LedgeQuantizer *q = open_network("Relu");
    LedgeJudge *j = observe(q);
    const double all = score(j, q).sqnr_db;
    assert_int_equal(ledge__quant_damage(q, j, 0, NULL, &err, &d), LEDGE_OK);
    assert_int_equal(d.n, 3);
    for (size_t i = 0; i < d.n; i++) {
        assert_true(d.items[i].sqnr_db > all); /* one layer costs less than all of them */
        assert_int_equal(d.items[i].n, SAMPLES);
    }
    assert_true(score(j, q).sqnr_db == all);
    for (uint32_t i = 0; i < q->n_nodes; i++)
        assert_false(q->nodes[i].keep_float);
    ledge__judge_free(j);
    ledge__quantizer_free(q);
}

/* Labels are what the float model says, so any change of class is a loss. */
static void mixed_precision_holds_its_budget_with_few_layers(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeDamages d;
    LedgeMixed m;
    LedgeQuantizer *q = open_network("Relu");
    LedgeJudge *j = observe(q);
    assert_int_equal(ledge__quant_damage(q, j, 0, NULL, &err, &d), LEDGE_OK);
    assert_int_equal(ledge__quant_mixed(q, j, &d, 0, NULL, &err, &m), LEDGE_OK);
    const LedgeScore s = score(j, q);
    assert_true(m.holds && m.after <= 0 && m.after <= m.before);
    assert_int_equal(s.agreement, SAMPLES);
    size_t kept = 0;
    for (size_t i = 0; i < d.n; i++) {
        kept += d.items[i].kept;
        assert_int_equal(q->nodes[d.items[i].node].keep_float, d.items[i].kept);
        assert_int_equal(q->nodes[d.items[i].node].integer, !d.items[i].kept);
    }
    assert_int_equal(kept, m.kept);
    /* A budget that anything holds needs no layer in float. */
    assert_int_equal(ledge__quant_mixed(q, j, &d, 100, NULL, &err, &m), LEDGE_OK);
    assert_int_equal(m.kept, 0);
    assert_true(m.holds);
    ledge__judge_free(j);
    ledge__quantizer_free(q);
}

/* Wrong labels for half of the samples make a loss that no layer in float takes back. */
static void a_budget_that_cannot_be_held_is_told(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeDamages d;
    LedgeMixed m;
    LedgeQuantizer *q = open_network("Relu");
    LedgeJudge *j = observe(q);
    for (size_t i = 0; i < j->n; i++) {
        j->samples[i].label = (int32_t)j->samples[i].best;
        j->samples[i].outputs = j->samples[0].outputs;
    }
    j->n_labelled = j->n;
    j->float_top1 = j->n + 5; /* more than can be right */
    assert_int_equal(ledge__quant_damage(q, j, 4, NULL, &err, &d), LEDGE_OK);
    assert_int_equal(ledge__quant_mixed(q, j, &d, 0, NULL, &err, &m), LEDGE_OK);
    assert_false(m.holds);
    assert_true(m.after > 0);
    ledge__judge_free(j);
    ledge__quantizer_free(q);
}

static bool stop_at_two(void *arg, const char *what, size_t done, size_t total)
{
    (void)what, (void)total;
    *(size_t *)arg += 1;
    return done < 2;
}

static void a_search_ends_when_told_to(void **state)
{
    (void)state;
    size_t calls = 0;
    LedgeError err = {0};
    LedgeDamages d = {0};
    const LedgeQuantTick tick = {stop_at_two, &calls};
    LedgeQuantizer *q = open_network("Relu");
    LedgeJudge *j = observe(q);
    assert_int_equal(ledge__quant_damage(q, j, 0, &tick, &err, &d), LEDGE_ERROR_CANCELLED);
    assert_int_equal(calls, 2);
    assert_null(d.items);
    ledge__judge_free(j);
    ledge__quantizer_free(q);
}

/* ---- lack of memory ---- */

typedef struct Failing {
    size_t calls, fail_at;
} Failing;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    return f->calls++ == f->fail_at ? NULL : a->alloc(a->context, size, align);
}

static void failing_free(void *context, void *p)
{
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    (void)context;
    a->free(a->context, p);
}

static LedgeStatus feed(LedgeQuantizer *q, LedgeJudge *j, LedgeError *err)
{
    float room[3 * SIDE * SIDE];
    LedgeTensor in;
    const LedgeTensor *out;
    LEDGE_TRY(ledge__quantizer_observe_start(q, err));
    for (uint32_t i = 0; i < 2; i++) {
        sample(i + 1, room, &in);
        LEDGE_TRY(ledge__quantizer_observe(q, &in, 1, err, &out));
        LEDGE_TRY(ledge__judge_add(j, &in, 1, out, 1, -1, err));
    }
    ledge__quantizer_observe_end(q);
    return ledge__quantizer_ranges(q, err);
}

static LedgeStatus search_all(LedgeQuantizer *q, LedgeJudge *j, LedgeError *err)
{
    LedgeEqualized e;
    LedgeAdapted done;
    LedgeDamages d;
    LedgeMixed m;
    const LedgeAdaptiveOptions o = {.seed = 1, .iterations = 2, .work = 1e9};
    LEDGE_TRY(ledge__quant_equalize(q, err, &e));
    LEDGE_TRY(feed(q, j, err));
    LEDGE_TRY(ledge__quant_adapt(q, j, &o, NULL, err, &done));
    LEDGE_TRY(ledge__quant_damage(q, j, 1, NULL, err, &d));
    return ledge__quant_mixed(q, j, &d, 100, NULL, err, &m);
}

/* Each allocation in turn fails; no leak (ASan), no crash, and the right status. */
static void lack_of_memory_anywhere_is_an_error(void **state)
{
    (void)state;
    char path[] = "/tmp/ledge-search-XXXXXX";
    LedgeError err = {0};
    TestModel *t = network("Relu");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ledge__onnx_write_file(test_onnx(t), path, false, &err), LEDGE_OK);
    test_model_free(t);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    size_t step = 1, at = 0;
    for (; status != LEDGE_OK; at += step) {
        Failing f = {0, at};
        const LedgeAllocator a = {failing_alloc, failing_free, &f};
        LedgeQuantOptions o = options;
        LedgeQuantizer *q = NULL;
        LedgeJudge *j = NULL;
        o.allocator = &a;
        status = ledge__judge_new(&a, 2, LEDGE_JUDGE_BUDGET, 1, &err, &j);
        if (!status)
            status = ledge__quantizer_open(path, &o, &err, &q);
        if (!status)
            status = search_all(q, j, &err);
        ledge__judge_free(j);
        ledge__quantizer_free(q);
        /* folding and optional caches go on without */
        if (status == LEDGE_OK && f.calls > at)
            status = LEDGE_ERROR_MEMORY;
        if (status != LEDGE_OK && status != LEDGE_ERROR_MEMORY)
            fail_msg("allocation %zu: %s: %s", at, err.where, err.message);
        step = at < 300 ? 1 : 7;
    }
    assert_true(at > 300);
    unlink(path);
}

/* ---- the judge ---- */

static void the_judge_keeps_samples_evenly_within_its_budget(void **state)
{
    (void)state;
    float room[3 * SIDE * SIDE], scores[4] = {0, 1, 0, 0};
    LedgeTensor in, out = {LEDGE_FLOAT, 2, {1, 4}, scores, sizeof scores};
    LedgeError err = {0};
    LedgeJudge *j = NULL;
    const size_t one = 3 * SIDE * SIDE * sizeof(float) + sizeof scores + 2 * LEDGE_ALIGN;
    assert_int_equal(ledge__judge_new(NULL, 100, 11 * one, 1, &err, &j), LEDGE_OK);
    for (uint32_t i = 0; i < 100; i++) {
        sample(i, room, &in);
        assert_int_equal(ledge__judge_add(j, &in, 1, &out, 1, (int32_t)i % 2, &err), LEDGE_OK);
    }
    assert_int_equal(j->n, 10); /* each tenth */
    assert_true(j->used <= j->budget);
    assert_int_equal(j->n_labelled, 10);
    assert_int_equal(j->float_top1, 0); /* 0, 10, 20, ... are labelled 0 */
    sample(90, room, &in);
    assert_memory_equal(j->samples[9].inputs[0].data, room, sizeof room);
    ledge__judge_free(j);
}

static void classes_are_the_highest_score_and_nan_is_none(void **state)
{
    (void)state;
    float v[] = {NAN, 2, 5, 5};
    LedgeTensor t = {LEDGE_FLOAT, 2, {1, 4}, v, sizeof v};
    assert_int_equal(ledge__judge_class(&t), 2);
    v[2] = v[3] = NAN;
    assert_int_equal(ledge__judge_class(&t), 1);
    t.dims[0] = 2, t.dims[1] = 2;
    assert_int_equal(ledge__judge_class(&t), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalizing_changes_nothing_but_rounding),
        cmocka_unit_test(equalizing_lowers_the_noise_of_uneven_channels),
        cmocka_unit_test(an_upper_bound_between_two_layers_is_passed_over),
        cmocka_unit_test(adaptive_rounding_beats_rounding_to_nearest),
        cmocka_unit_test(rounding_stays_in_range_and_bears_silence),
        cmocka_unit_test(adapting_a_model_raises_its_sqnr_and_repeats),
        cmocka_unit_test(damage_is_least_without_rounding_and_choices_come_back),
        cmocka_unit_test(mixed_precision_holds_its_budget_with_few_layers),
        cmocka_unit_test(a_budget_that_cannot_be_held_is_told),
        cmocka_unit_test(a_search_ends_when_told_to),
        cmocka_unit_test(lack_of_memory_anywhere_is_an_error),
        cmocka_unit_test(the_judge_keeps_samples_evenly_within_its_budget),
        cmocka_unit_test(classes_are_the_highest_score_and_nan_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
