/* Fused attention against its definition in double: head and sequence sizes around the tiles,
 * masks of every broadcast shape, packed and separate operands, any thread count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/attention_f32.h"

#include "guard_pages.h"

static uint32_t seed = 521288629u;

static void fill(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * test_uniform(&seed);
}

static double one_output(const LedgeAttentionShape *s, const LedgeAttentionArgs *a, size_t b,
                         size_t h, size_t row, size_t e)
{
    double *w = malloc(s->keys * sizeof *w), top = -INFINITY, sum = 0, y = 0;
    for (size_t t = 0; t < s->keys; t++) {
        w[t] = 0;
        for (size_t i = 0; i < s->head; i++)
            w[t] += (double)a->q.p[b * a->q.batch + row * a->q.row + h * s->head + i] *
                    (double)a->k.p[b * a->k.batch + t * a->k.row + h * s->head + i];
        w[t] *= (double)a->scale;
        if (a->mask)
            w[t] += (double)a->mask[b * a->mask_batch + h * a->mask_head + row * a->mask_query +
                                    t * a->mask_key];
        top = fmax(top, w[t]);
    }
    for (size_t t = 0; t < s->keys; t++)
        sum += w[t] = exp(w[t] - top);
    for (size_t t = 0; t < s->keys; t++)
        y += w[t] / sum * (double)a->v.p[b * a->v.batch + t * a->v.row + h * s->v_head + e];
    free(w);
    return y;
}

static void check(const LedgeAttentionShape *s, uint32_t cpu, unsigned mask_axes, bool packed)
{
    LedgeAttentionPlan plan;
    const size_t all = s->heads * s->head, v_all = s->heads * s->v_head;
    const size_t n_q = s->batch * s->queries * all * (packed ? 3 : 1);
    const size_t n_y = s->batch * s->queries * v_all;
    Guarded q = guarded_new(n_q * sizeof(float)), y = guarded_new(n_y * sizeof(float));
    Guarded k = guarded_new(s->batch * s->keys * all * sizeof(float));
    Guarded v = guarded_new(s->batch * s->keys * v_all * sizeof(float));
    const size_t mk = mask_axes & 1 ? s->keys : 1, mq = mask_axes & 2 ? s->queries : 1;
    const size_t mh = mask_axes & 4 ? s->heads : 1, mb = mask_axes & 8 ? s->batch : 1;
    Guarded mask = guarded_new(mk * mq * mh * mb * sizeof(float));
    LedgeAttentionArgs a = {.q = {q.p, all, s->queries * all},
                            .k = {k.p, all, s->keys * all},
                            .v = {v.p, v_all, s->keys * v_all},
                            .y = y.p,
                            .scale = 0.3f,
                            .mask = mask_axes & 16 ? mask.p : NULL,
                            .mask_key = mk > 1,
                            .mask_query = mq > 1 ? mk : 0,
                            .mask_head = mh > 1 ? mk * mq : 0,
                            .mask_batch = mb > 1 ? mk * mq * mh : 0};
    fill(q.p, n_q, 2.0f);
    fill(k.p, s->batch * s->keys * all, 2.0f);
    fill(v.p, s->batch * s->keys * v_all, 2.0f);
    fill(mask.p, mk * mq * mh * mb, 3.0f);
    if (packed) {
        a.q = (LedgeHeads){q.p, 3 * all, s->queries * 3 * all};
        a.k = (LedgeHeads){(float *)q.p + all, 3 * all, s->queries * 3 * all};
        a.v = (LedgeHeads){(float *)q.p + 2 * all, 3 * all, s->queries * 3 * all};
    }
    assert_true(ledge__attention_f32_plan(s, cpu, 1, &plan));
    a.scratch = aligned_alloc(64, plan.scratch_bytes);
    ledge__attention_f32_run(&plan, &a, NULL);
    for (size_t i = 0; i < n_y; i++) {
        const size_t e = i % s->v_head, h = i / s->v_head % s->heads;
        const size_t row = i / v_all % s->queries, b = i / v_all / s->queries;
        const double want = one_output(s, &a, b, h, row, e), got = (double)((float *)y.p)[i];
        if (!(fabs(got - want) < 5e-6))
            fail_msg("batch %zu head %zu row %zu element %zu: %g, want %g", b, h, row, e, got,
                     want);
    }
    free(a.scratch);
    guarded_free(&q);
    guarded_free(&k);
    guarded_free(&v);
    guarded_free(&y);
    guarded_free(&mask);
}

#define EACH_CPU(cpu)                                                                              \
    for (size_t k_ = 0; ledge__f32_kernels_at(k_); k_++)                                           \
        for (uint32_t cpu = ledge__f32_kernels_at(k_)->cpu, once_ = 1;                             \
             once_ && (cpu & ledge__cpu_flags_uncapped()) == cpu; once_ = 0)

static void attention_matches_its_definition(void **state)
{
    static const LedgeAttentionShape shapes[] = {
        {1, 1, 1, 1, 1, 1},    {2, 3, 5, 7, 4, 6},    {1, 2, 33, 33, 16, 16}, {1, 2, 17, 65, 20, 9},
        {1, 1, 70, 130, 8, 8}, {1, 2, 9, 16, 64, 64}, {2, 1, 3, 200, 5, 33},
    };
    (void)state;
    EACH_CPU(cpu)
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        check(&shapes[i], cpu, 0, false);
        check(&shapes[i], cpu, 31, false);
    }
}

static void masks_broadcast_over_any_axis(void **state)
{
    const LedgeAttentionShape s = {2, 2, 5, 9, 4, 4};
    (void)state;
    EACH_CPU(cpu)
    for (unsigned axes = 0; axes < 16; axes++)
        check(&s, cpu, 16 | axes, false);
}

static void one_packed_operand_is_split(void **state)
{
    const LedgeAttentionShape s = {2, 3, 18, 18, 8, 8};
    (void)state;
    EACH_CPU(cpu)
    check(&s, cpu, 16 | 9, true);
}

static void masked_keys_have_no_weight(void **state)
{
    const LedgeAttentionShape s = {1, 1, 4, 20, 8, 8};
    float q[32], k[160], v[160], y[32], z[32], mask[20];
    LedgeAttentionPlan plan;
    (void)state;
    fill(q, 32, 1.0f);
    fill(k, 160, 1.0f);
    fill(v, 160, 1.0f);
    for (int i = 0; i < 20; i++)
        mask[i] = i < 11 ? 0.0f : -INFINITY;
    EACH_CPU(cpu)
    {
        LedgeAttentionArgs a = {.q = {q, 8, 32},
                                .k = {k, 8, 160},
                                .v = {v, 8, 160},
                                .y = y,
                                .scale = 1.0f,
                                .mask = mask,
                                .mask_key = 1};
        assert_true(ledge__attention_f32_plan(&s, cpu, 1, &plan));
        a.scratch = aligned_alloc(64, plan.scratch_bytes);
        ledge__attention_f32_run(&plan, &a, NULL);
        fill(k + 88, 72, 1.0f);
        fill(v + 88, 72, 1.0f);
        a.y = z;
        ledge__attention_f32_run(&plan, &a, NULL);
        assert_memory_equal(y, z, sizeof y);
        free(a.scratch);
    }
}

static void thread_count_changes_no_bit(void **state)
{
    const LedgeAttentionShape s = {1, 3, 100, 90, 16, 16};
    const size_t n = 100 * 48;
    float *q = malloc(n * sizeof *q), *k = malloc(n * sizeof *q), *one = malloc(n * sizeof *q);
    float *three = malloc(n * sizeof *q);
    LedgePool *pool;
    LedgeAttentionPlan plan;
    (void)state;
    fill(q, n, 1.0f);
    fill(k, n, 1.0f);
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    for (int t = 1; t <= 3; t += 2) {
        LedgeAttentionArgs a = {.q = {q, 48, n},
                                .k = {k, 48, 90 * 48},
                                .v = {k, 48, 90 * 48},
                                .y = t == 1 ? one : three,
                                .scale = 0.25f};
        assert_true(ledge__attention_f32_plan(&s, ledge__cpu_flags_uncapped(), t, &plan));
        a.scratch = aligned_alloc(64, plan.scratch_bytes);
        ledge__attention_f32_run(&plan, &a, t == 1 ? NULL : pool);
        free(a.scratch);
    }
    assert_memory_equal(one, three, n * sizeof *one);
    ledge__pool_free(pool);
    free(q);
    free(k);
    free(one);
    free(three);
}

static void sizes_that_overflow_are_refused(void **state)
{
    const LedgeAttentionShape s = {SIZE_MAX / 4, 8, 1, 1024, 64, 64};
    LedgeAttentionPlan plan;
    (void)state;
    assert_false(ledge__attention_f32_plan(&s, 0, 1, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_matches_its_definition),
        cmocka_unit_test(masks_broadcast_over_any_axis),
        cmocka_unit_test(one_packed_operand_is_split),
        cmocka_unit_test(masked_keys_have_no_weight),
        cmocka_unit_test(thread_count_changes_no_bit),
        cmocka_unit_test(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
