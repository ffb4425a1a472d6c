/* Products with blocked weights: every way through, on every instruction set that this CPU can
 * run, against a plain sum in double; sums of bytes must be equal to the bit. Buffers end at pages
 * that may not be touched. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "engine/kernels/nbits.h"
#include "guard.h"
#include "vex_vnni.h"

typedef struct Weights {
    LedgeNbitsShape s;
    size_t blocks;
    uint8_t *codes;        /* [n][k] */
    float *scales, *zeros; /* [n][blocks] */
} Weights;

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static Weights make_weights(const LedgeNbitsShape *s, uint32_t seed)
{
    Weights w = {.s = *s, .blocks = (s->k + s->block - 1) / s->block};
    w.codes = malloc(s->n * s->k);
    w.scales = malloc(s->n * w.blocks * sizeof(float));
    w.zeros = malloc(s->n * w.blocks * sizeof(float));
    assert_true(w.codes && w.scales && w.zeros);
    for (size_t i = 0; i < s->n * s->k; i++)
        w.codes[i] = (uint8_t)(next(&seed) & ((1u << s->bits) - 1));
    for (size_t i = 0; i < s->n * w.blocks; i++) {
        w.scales[i] = (float)(next(&seed) % 1000 + 1) / 4096.0f;
        w.zeros[i] = s->zeros == LEDGE_NBITS_BYTES    ? (float)(next(&seed) & ((1u << s->bits) - 1))
                     : s->zeros == LEDGE_NBITS_FLOATS ? (float)(next(&seed) % 1000) / 100.0f
                                                      : (float)(1u << (s->bits - 1));
    }
    return w;
}

static void free_weights(Weights *w)
{
    free(w->codes);
    free(w->scales);
    free(w->zeros);
}

static void read_codes(const void *arg, size_t n, uint8_t *row)
{
    const Weights *w = arg;
    memcpy(row, w->codes + n * w->s.k, w->s.k);
}

static float read_scale(const void *arg, size_t n, size_t b)
{
    const Weights *w = arg;
    return w->scales[n * w->blocks + b];
}

static float read_zero(const void *arg, size_t n, size_t b)
{
    const Weights *w = arg;
    return w->zeros[n * w->blocks + b];
}

typedef struct Extras {
    const float *bias, *r;
    LedgeAct act;
} Extras;

/* y = the product by the kernels for `cpu`, in memory of the caller. */
static void run(const Weights *w, uint32_t cpu, int threads, const float *a, const Extras *e,
                float *y)
{
    LedgeNbitsPlan p;
    LedgePool *pool = NULL;
    const LedgeNbitsSource codes = {.arg = w, .codes = read_codes};
    const LedgeNbitsSource scales = {.arg = w, .number = read_scale};
    const LedgeNbitsSource zeros = {.arg = w, .number = read_zero};
    assert_true(ledge__nbits_plan(&w->s, cpu, threads, &p));
    Guarded gc = guarded_bytes(p.codes_bytes, 0), gs = guarded_bytes(p.scale_bytes, 0);
    Guarded gz = guarded_bytes(p.zero_bytes, 0);
    void *scratch = ledge__alloc(NULL, p.scratch_bytes, 1); /* LEDGE_ALIGN is asked for */
    uint8_t *row = malloc(p.depth);
    assert_true(scratch && row);
    ledge__nbits_pack_codes(&p, &codes, row, gc.p);
    ledge__nbits_pack_scales(&p, &scales, gs.p);
    if (p.s.zeros != LEDGE_NBITS_MIDDLE)
        ledge__nbits_pack_zeros(&p, &zeros, gz.p);
    if (threads > 1)
        assert_int_equal(ledge__pool_new(NULL, threads, &pool), LEDGE_OK);
    const LedgeNbitsArgs args = {.a = a,
                                 .codes = gc.p,
                                 .scales = gs.p,
                                 .zeros = p.s.zeros == LEDGE_NBITS_MIDDLE ? NULL : gz.p,
                                 .bias = e->bias,
                                 .r = e->r,
                                 .y = y,
                                 .act = e->act,
                                 .scratch = scratch};
    ledge__nbits_run(&p, &args, pool);
    ledge__pool_free(pool);
    ledge__free(NULL, scratch);
    free(row);
    guarded_free(&gc);
    guarded_free(&gs);
    guarded_free(&gz);
}

static const Extras plain = {.act = {.kind = LEDGE_ACT_CLAMP, .lo = -INFINITY, .hi = INFINITY}};

/* The product in double, and the sum of its terms' magnitudes. */
static void reference(const Weights *w, const float *a, const Extras *e, double *y, double *size)
{
    const LedgeNbitsShape *s = &w->s;
    for (size_t m = 0; m < s->rows; m++)
        for (size_t n = 0; n < s->n; n++) {
            const size_t at = m * s->n + n;
            y[at] = (e->bias ? (double)e->bias[n] : 0) + (e->r ? (double)e->r[at] : 0);
            size[at] = fabs(y[at]);
            for (size_t k = 0; k < s->k; k++) {
                const size_t b = n * w->blocks + k / s->block;
                const double x = (double)a[m * s->k + k] *
                                 ((double)w->codes[n * s->k + k] - (double)w->zeros[b]) *
                                 (double)w->scales[b];
                y[at] += x;
                size[at] += fabs(x);
            }
            y[at] = fmin(fmax(y[at], (double)e->act.lo), (double)e->act.hi);
        }
}

static bool runs_here(const LedgeNbitsKernels *k)
{
    return (k->needs & vex_vnni_cpu()) == k->needs;
}

static const size_t shapes[][4] = {/* rows, k, n, block */
                                   {1, 16, 1, 16},    {1, 64, 16, 32},    {3, 100, 17, 32},
                                   {2, 40, 33, 64},   {4, 300, 40, 128},  {5, 33, 70, 16},
                                   {9, 520, 130, 32}, {17, 256, 64, 256}, {6, 272, 66, 272}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static void floats_are_near(uint32_t bits, LedgeNbitsZeros zeros, size_t i)
{
    const LedgeNbitsShape s = {shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                               bits,         zeros,        false};
    Weights w = make_weights(&s, (uint32_t)i + bits);
    Guarded a = guarded(s.rows * s.k, 3), y = guarded(s.rows * s.n, 0), bias = guarded(s.n, 4),
            r = guarded(s.rows * s.n, 5);
    double *want = malloc(s.rows * s.n * sizeof *want), *size = malloc(s.rows * s.n * sizeof *size);
    const Extras e = {.bias = bias.p,
                      .r = i % 2 ? r.p : NULL,
                      .act = {.kind = LEDGE_ACT_CLAMP, .lo = -1.0f, .hi = 1.5f}};
    assert_true(want && size);
    reference(&w, a.p, &e, want, size);
    const LedgeNbitsKernels *k;
    for (size_t t = 0; (k = ledge__nbits_at(t)); t++) {
        if (!runs_here(k))
            continue;
        run(&w, k->needs, 1 + (int)(i % 2), a.p, &e, y.p);
        const double bad = nmse(y.p, want, size, s.rows * s.n);
        if (!(bad <= 1e-12))
            fail_msg("%s, %u bits, zeros %d, shape %zu: %g", k->isa, bits, (int)zeros, i, bad);
    }
    free(want);
    free(size);
    guarded_free(&a);
    guarded_free(&y);
    guarded_free(&bias);
    guarded_free(&r);
    free_weights(&w);
}

static void every_width_and_kind_of_zero_points_is_multiplied(void **state)
{
    (void)state;
    for (uint32_t bits = 2; bits <= 8; bits *= 2)
        for (int zeros = 0; zeros < 3; zeros++)
            for (size_t i = 0; i < N_SHAPES; i++)
                floats_are_near(bits, (LedgeNbitsZeros)zeros, i);
}

static void rounded_are_equal(uint32_t bits, LedgeNbitsZeros zeros, size_t i)
{
    const LedgeNbitsShape s = {shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                               bits,         zeros,        true};
    Weights w = make_weights(&s, (uint32_t)i + bits);
    Guarded a = guarded(s.rows * s.k, 7), y = guarded(s.rows * s.n, 0),
            one = guarded(s.rows * s.n, 0);
    double *want = malloc(s.rows * s.n * sizeof *want), *size = malloc(s.rows * s.n * sizeof *size);
    assert_true(want && size);
    reference(&w, a.p, &plain, want, size);
    run(&w, 0, 1, a.p, &plain, one.p);
    assert_true(nmse(one.p, want, size, s.rows * s.n) < 1e-4); /* A has 8 bits */
    const LedgeNbitsKernels *k;
    for (size_t t = 0; (k = ledge__nbits_at(t)); t++)
        for (int threads = 1; threads <= 3 && runs_here(k); threads++) {
            memset(y.p, 0xff, s.rows * s.n * sizeof(float));
            run(&w, k->needs, threads, a.p, &plain, y.p);
            if (memcmp(y.p, one.p, s.rows * s.n * sizeof(float)) != 0)
                fail_msg("%s, %u bits, zeros %d, shape %zu, %d threads: not the scalar bits",
                         k->isa, bits, (int)zeros, i, threads);
        }
    free(want);
    free(size);
    guarded_free(&a);
    guarded_free(&y);
    guarded_free(&one);
    free_weights(&w);
}

static void sums_of_bytes_are_the_same_bits_everywhere(void **state)
{
    (void)state;
    for (uint32_t bits = 2; bits <= 8; bits *= 2)
        for (int zeros = 0; zeros < 3; zeros++)
            for (size_t i = 0; i < N_SHAPES; i++)
                rounded_are_equal(bits, (LedgeNbitsZeros)zeros, i);
}

/* 255 * 127 four times over would not fit the 16 bits that some instructions add in. */
static void largest_bytes_do_not_saturate(void **state)
{
    (void)state;
    const LedgeNbitsShape s = {1, 64, 16, 32, 8, LEDGE_NBITS_BYTES, true};
    Weights w = make_weights(&s, 1);
    float a[64], y[16];
    memset(w.codes, 255, s.n * s.k);
    for (size_t i = 0; i < s.n * w.blocks; i++) {
        w.scales[i] = 1.0f;
        w.zeros[i] = 0.0f;
    }
    const LedgeNbitsKernels *k;
    for (float sign = -1; sign < 2; sign += 2)
        for (size_t t = 0; (k = ledge__nbits_at(t)); t++) {
            if (!runs_here(k))
                continue;
            for (int i = 0; i < 64; i++)
                a[i] = sign * 127.0f;
            run(&w, k->needs, 1, a, &plain, y);
            for (int i = 0; i < 16; i++)
                assert_true(y[i] == sign * 64 * 255 * 127);
        }
    free_weights(&w);
}

static void numbers_that_are_not_finite_stay_in_their_row_and_column(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++)
        for (size_t rows = 2; rows < 10; rows += 6) {
            const LedgeNbitsShape s = {rows, 64, 20, 32, 4, LEDGE_NBITS_MIDDLE, round != 0};
            Weights w = make_weights(&s, 9);
            float a[10 * 64], y[10 * 20];
            for (size_t i = 0; i < rows * 64; i++)
                a[i] = (float)(i % 7) - 3.0f;
            a[64 + 5] = NAN;
            w.scales[3 * w.blocks] = NAN;
            w.scales[4 * w.blocks] = 0.0f;
            const LedgeNbitsKernels *k;
            for (size_t t = 0; (k = ledge__nbits_at(t)); t++) {
                if (!runs_here(k))
                    continue;
                run(&w, k->needs, 1, a, &plain, y);
                for (size_t m = 0; m < rows; m++)
                    for (size_t n = 0; n < 20; n++)
                        assert_int_equal(isnan(y[m * 20 + n]) != 0, m == 1 || n == 3);
            }
            free_weights(&w);
        }
}

static void a_row_of_zeros_or_of_tiny_numbers_is_no_trap(void **state)
{
    (void)state;
    const LedgeNbitsShape s = {2, 32, 16, 32, 4, LEDGE_NBITS_MIDDLE, true};
    Weights w = make_weights(&s, 2);
    float a[64] = {0}, y[32];
    for (int i = 32; i < 64; i++)
        a[i] = 1e-44f;
    const LedgeNbitsKernels *k;
    for (size_t t = 0; (k = ledge__nbits_at(t)); t++) {
        if (!runs_here(k))
            continue;
        run(&w, k->needs, 1, a, &plain, y);
        for (int i = 0; i < 32; i++)
            assert_true(y[i] == 0.0f);
    }
    free_weights(&w);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    LedgeNbitsPlan p;
    LedgeNbitsShape s = {1, 64, 16, 32, 4, LEDGE_NBITS_MIDDLE, false};
    assert_true(ledge__nbits_plan(&s, 0, 1, &p));
    s.block = 24;
    assert_false(ledge__nbits_plan(&s, 0, 1, &p));
    s.block = 0;
    assert_false(ledge__nbits_plan(&s, 0, 1, &p));
    s.block = 32;
    s.n = SIZE_MAX / 128;
    s.k = SIZE_MAX / 128;
    assert_false(ledge__nbits_plan(&s, 0, 1, &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_and_kind_of_zero_points_is_multiplied),
        cmocka_unit_test(sums_of_bytes_are_the_same_bits_everywhere),
        cmocka_unit_test(largest_bytes_do_not_saturate),
        cmocka_unit_test(numbers_that_are_not_finite_stay_in_their_row_and_column),
        cmocka_unit_test(a_row_of_zeros_or_of_tiny_numbers_is_no_trap),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
