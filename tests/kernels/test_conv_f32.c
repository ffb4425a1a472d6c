/* fp32 convolution: every algorithm on every instruction set that this CPU can run, against a
 * double-precision reference, with guard pages behind every buffer, for one and several
 * threads, which must agree bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/kernels/conv_f32.h"
#include "guard.h"

typedef struct ConvCase {
    size_t n, h, w, c, m, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, group;
    int residual, extra; /* extra: channels of the output beyond m */
    LedgeActKind act;
    float lo, hi;
} ConvCase;

static LedgeConvShape shape_of(const ConvCase *q)
{
    return (LedgeConvShape){.n = q->n, .h = q->h, .w = q->w, .c = q->c,
                            .oh = (q->h + q->pt + q->pb - (q->dh * (q->kh - 1) + 1)) / q->sh + 1,
                            .ow = (q->w + q->pl + q->pr - (q->dw * (q->kw - 1) + 1)) / q->sw + 1,
                            .m = q->m, .ldc = q->m + (size_t)q->extra, .kh = q->kh, .kw = q->kw,
                            .sh = q->sh, .sw = q->sw, .dh = q->dh, .dw = q->dw, .pt = q->pt,
                            .pl = q->pl, .group = q->group};
}

static double one_output(const LedgeConvShape *s, const float *x, const float *w, size_t n,
                         size_t oy, size_t ox, size_t m)
{
    const size_t cg = s->c / s->group, g = m / (s->m / s->group);
    double sum = 0;
    for (size_t ky = 0; ky < s->kh; ky++)
        for (size_t kx = 0; kx < s->kw; kx++) {
            const size_t y = oy * s->sh + ky * s->dh - s->pt, xx = ox * s->sw + kx * s->dw - s->pl;
            if (y >= s->h || xx >= s->w)
                continue;
            for (size_t c = 0; c < cg; c++)
                sum += (double)x[((n * s->h + y) * s->w + xx) * s->c + g * cg + c] *
                       (double)w[((m * cg + c) * s->kh + ky) * s->kw + kx];
        }
    return sum;
}

static double *reference(const LedgeConvShape *s, const ConvCase *q, const float *x,
                         const float *w, const float *bias, const float *r)
{
    double *y = malloc(sizeof(double) * s->n * s->oh * s->ow * s->m), *to = y;
    for (size_t n = 0; n < s->n; n++)
        for (size_t oy = 0; oy < s->oh; oy++)
            for (size_t ox = 0; ox < s->ow; ox++)
                for (size_t m = 0; m < s->m; m++, to++) {
                    double v = one_output(s, x, w, n, oy, ox, m) + (double)bias[m];
                    v += q->residual ? (double)r[to - y] : 0;
                    if (q->act == LEDGE_ACT_LEAKYRELU)
                        v = v < 0 ? 0.5 * v : v;
                    *to = v < q->lo ? q->lo : v > q->hi ? q->hi : v;
                }
    return y;
}

typedef struct Buffers {
    Guarded x, w, bias, r, y, packed, packed_bias, zeros, scratch;
} Buffers;

static void buffers_make(Buffers *b, const LedgeConvShape *s, const LedgeConvPlan *plan)
{
    const size_t pixels = s->n * s->oh * s->ow;
    b->x = guarded(s->n * s->h * s->w * s->c, 1);
    b->w = guarded(s->m * (s->c / s->group) * s->kh * s->kw, 2);
    b->bias = guarded(s->m, 3);
    b->r = guarded(pixels * s->m, 4);
    b->y = guarded((pixels - 1) * s->ldc + s->m, 5);
    b->packed = guarded(plan->packed_floats, 6);
    b->packed_bias = guarded(plan->bias_floats, 7);
    b->zeros = guarded(plan->zeros_floats, 0);
    b->scratch = guarded((plan->scratch_bytes + 63) / 64 * 16, 8);
}

static void buffers_free(Buffers *b)
{
    guarded_free(&b->x), guarded_free(&b->w), guarded_free(&b->bias), guarded_free(&b->r);
    guarded_free(&b->y), guarded_free(&b->packed), guarded_free(&b->packed_bias);
    guarded_free(&b->zeros), guarded_free(&b->scratch);
}

static void check_case(const ConvCase *q, uint32_t cpu, LedgeConvPath path, LedgePool *pool)
{
    LedgeConvShape s = shape_of(q);
    LedgeConvPlan plan;
    s.planes = path == LEDGE_CONV_PLANES;
    if (s.planes && s.group != 1)
        return;
    assert_true(ledge__conv_f32_plan(&s, cpu, ledge__pool_threads(pool), path, &plan));
    if (path < LEDGE_CONV_PATHS && plan.path != path)
        return; /* not for this shape */
    Buffers b;
    buffers_make(&b, &s, &plan);
    ledge__conv_f32_pack(&plan, b.w.p, NULL, b.packed.p);
    ledge__conv_f32_pack_bias(&plan, b.bias.p, b.packed_bias.p);
    Guarded planes = guarded(s.n * s.h * s.w * s.c, 1);
    for (size_t i = 0; i < s.n * s.h * s.w * s.c; i++)
        planes.p[((i / s.c / s.w / s.h * s.c + i % s.c) * s.h + i / s.c / s.w % s.h) * s.w +
                 i / s.c % s.w] = b.x.p[i];
    const LedgeConvArgs a = {.x = s.planes ? planes.p : b.x.p, .packed = b.packed.p, .bias = b.packed_bias.p,
                             .zeros = b.zeros.p, .r = q->residual ? b.r.p : NULL, .ldr = s.m,
                             .y = b.y.p, .act = {q->act, q->lo, q->hi, 0.5f, 0},
                             .scratch = b.scratch.p};
    const size_t pixels = s.n * s.oh * s.ow;
    double *ref = reference(&s, q, b.x.p, b.w.p, b.bias.p, b.r.p);
    float *once = malloc(sizeof(float) * pixels * s.m), *got = malloc(sizeof(float) * pixels * s.m);
    const float beside = s.ldc > s.m && pixels > 1 ? b.y.p[s.m] : 0;
    for (int run = 0; run < 2; run++) {
        ledge__conv_f32_run(&plan, &a, run ? pool : NULL);
        for (size_t i = 0; i < pixels; i++)
            memcpy((run ? got : once) + i * s.m, b.y.p + i * s.ldc, s.m * sizeof(float));
    }
    assert_true(s.ldc == s.m || pixels == 1 || b.y.p[s.m] == beside);
    const double e = nmse(got, ref, NULL, pixels * s.m);
    const double bound = plan.path == LEDGE_CONV_WINOGRAD ? 1e-10 : plan.p.strassen ? 1e-11 : 1e-12;
    if (!(e <= bound))
        fail_msg("%s %s %zux%zux%zu -> %zu, %zux%zu: NMSE %g", plan.k->isa,
                 ledge__conv_f32_path_name(plan.path), s.h, s.w, s.c, s.m, s.kh, s.kw, e);
    assert_memory_equal(once, got, sizeof(float) * pixels * s.m);
    free(ref), free(once), free(got);
    guarded_free(&planes);
    buffers_free(&b);
}

#define FREE LEDGE_ACT_CLAMP, -INFINITY, INFINITY
#define LEAKY LEDGE_ACT_LEAKYRELU, -INFINITY, INFINITY
static const ConvCase cases[] = {
    /* n h w c m, kh kw, sh sw, dh dw, pads, group, residual extra, act lo hi */
    {1, 5, 7, 24, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, FREE},
    {2, 9, 4, 17, 144, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 5, LEDGE_ACT_CLAMP, 0, 6},
    {1, 1, 1, 200, 65, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, FREE},
    {1, 9, 9, 8, 3, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 0, 0, FREE},
    {2, 5, 6, 20, 40, 1, 1, 1, 1, 1, 1, 2, 1, 0, 3, 1, 0, 4, LEDGE_ACT_CLAMP, -0.1f, 0.5f},
    {1, 4, 3, 7, 70, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, LEAKY},
    {1, 4, 3, 7, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, FREE},
    {1, 13, 11, 3, 32, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 1, 0, 0, LEDGE_ACT_CLAMP, 0, INFINITY},
    {2, 12, 12, 3, 20, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1, 1, 0, FREE},
    {1, 8, 8, 1, 8, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1, 0, 0, FREE},
    {2, 9, 11, 1, 4, 3, 5, 2, 1, 2, 1, 1, 2, 1, 2, 1, 0, 3, LEAKY},
    {1, 8, 13, 1, 7, 5, 3, 1, 1, 1, 1, 0, 1, 2, 1, 1, 1, 0, LEDGE_ACT_CLAMP, -0.5f, 0.25f},
    {1, 7, 10, 1, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, LEDGE_ACT_CLAMP, -0.5f, 0.25f},
    {1, 2, 2, 2, 5, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1, 0, 0, FREE},
    {1, 10, 9, 19, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, LEDGE_ACT_CLAMP, -0.5f, 0.5f},
    {2, 7, 7, 16, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, FREE},
    {1, 8, 12, 9, 12, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, LEAKY},
    {1, 9, 9, 6, 18, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1, 0, 0, FREE},
    {1, 6, 20, 12, 8, 3, 5, 2, 1, 1, 2, 0, 3, 2, 1, 1, 0, 0, FREE},
    {1, 1, 30, 10, 24, 1, 7, 1, 3, 1, 1, 0, 3, 0, 3, 1, 0, 0, FREE},
    {1, 7, 7, 12, 20, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 4, 1, 0, FREE},
    {2, 6, 6, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8, 0, 0, FREE},
    {1, 7, 7, 64, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0, FREE},
    {1, 9, 10, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32, 0, 0, LEDGE_ACT_CLAMP, 0, 6},
    {2, 11, 8, 37, 37, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 37, 1, 0, FREE},
    {1, 9, 9, 19, 19, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 19, 0, 3, FREE},
    {1, 9, 13, 16, 16, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 16, 1, 0, FREE},
    {1, 12, 7, 5, 5, 7, 3, 1, 2, 1, 3, 3, 3, 3, 3, 5, 0, 0, FREE},
    {1, 6, 6, 40, 40, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 40, 0, 0, LEAKY},
    {1, 3, 3, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 4, 0, 0, FREE},
    {1, 5, 40, 3, 33, 3, 3, 1, 3, 2, 2, 2, 1, 2, 3, 1, 1, 3, LEDGE_ACT_CLAMP, -0.5f, 0.5f},
    /* Strassen's panels: several depths, tails of rows, columns and runs */
    {1, 7, 7, 48, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, LEDGE_ACT_CLAMP, 0, 6},
    {1, 5, 5, 130, 100, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 5, FREE},
    {2, 3, 4, 66, 144, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, LEAKY},
    {1, 1, 13, 1040, 112, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, LEDGE_ACT_CLAMP, -2, 2},
};

static void each_path(LedgePool *pool)
{
    const uint32_t here = ledge__cpu_flags_uncapped();
    for (size_t i = 0; ledge__f32_kernels_at(i); i++) {
        const uint32_t cpu = ledge__f32_kernels_at(i)->cpu;
        if ((cpu & here) != cpu)
            continue;
        for (size_t q = 0; q < sizeof(cases) / sizeof(cases[0]); q++)
            for (LedgeConvPath path = 0; path <= LEDGE_CONV_PATHS; path++)
                check_case(&cases[q], cpu, path, pool);
    }
}

static void every_algorithm_equals_the_reference(void **state)
{
    (void)state;
    each_path(NULL);
}

static void threads_do_not_change_a_bit(void **state)
{
    LedgePool *pool;
    (void)state;
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    each_path(pool);
    ledge__pool_free(pool);
}

/* Large enough that blocks of panels, several chunks and whole Winograd blocks occur. */
static void large_layers_equal_the_reference(void **state)
{
    static const ConvCase large[] = {
        {1, 23, 21, 32, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, FREE},
        {1, 14, 14, 300, 130, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, FREE},
        {1, 3, 3, 700, 450, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, FREE},
        {1, 40, 30, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 0, 0, FREE},
        {1, 48, 48, 3, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, FREE},
    };
    LedgePool *pool;
    (void)state;
    assert_int_equal(ledge__pool_new(NULL, 2, &pool), LEDGE_OK);
    for (size_t q = 0; q < sizeof(large) / sizeof(large[0]); q++)
        check_case(&large[q], ledge__cpu_flags_uncapped(), LEDGE_CONV_PATHS, pool);
    ledge__pool_free(pool);
}

/* One pointwise layer of 9 × 5 pixels, 64 channels to 96, on this CPU's best kernels. */
typedef struct Layer {
    LedgeConvShape s;
    LedgeConvPlan plan;
    Buffers b;
} Layer;

static Layer layer_make(void)
{
    static const ConvCase q = {1, 9, 5, 64, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, FREE};
    Layer l = {.s = shape_of(&q)};
    assert_true(ledge__conv_f32_plan(&l.s, ledge__cpu_flags_uncapped(), 1, LEDGE_CONV_PATHS,
                                     &l.plan));
    buffers_make(&l.b, &l.s, &l.plan);
    return l;
}

static void layer_run(Layer *l)
{
    ledge__conv_f32_pack(&l->plan, l->b.w.p, NULL, l->b.packed.p);
    ledge__conv_f32_pack_bias(&l->plan, l->b.bias.p, l->b.packed_bias.p);
    const LedgeConvArgs a = {.x = l->b.x.p, .packed = l->b.packed.p, .bias = l->b.packed_bias.p,
                             .zeros = l->b.zeros.p, .y = l->b.y.p,
                             .act = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0},
                             .scratch = l->b.scratch.p};
    ledge__conv_f32_run(&l->plan, &a, NULL);
}

static void assert_close(const Layer *l, size_t pixel, size_t m, double bound)
{
    double sum = (double)l->b.bias.p[m], size = fabs(sum);
    for (size_t c = 0; c < 64; c++) {
        const double xw = (double)l->b.x.p[pixel * 64 + c] * (double)l->b.w.p[m * 64 + c];
        sum += xw;
        size += fabs(xw);
    }
    const double y = (double)l->b.y.p[pixel * 96 + m];
    if (!(fabs(y - sum) <= bound * size))
        fail_msg("pixel %zu channel %zu: %g, not %g", pixel, m, y, sum);
}

static void numbers_that_are_not_finite_stay_in_their_pixel(void **state)
{
    (void)state;
    static const float odd[] = {INFINITY, -INFINITY, NAN, 3e38f};
    for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
        Layer l = layer_make();
        l.b.x.p[20 * 64 + 7] = odd[k];
        layer_run(&l);
        for (size_t m = 0; m < 96; m++) {
            const double w = (double)l.b.w.p[m * 64 + 7], y = (double)l.b.y.p[20 * 96 + m];
            if (isnan(odd[k]))
                assert_true(isnan(y));
            else if (isinf(odd[k]))
                assert_true(y == (double)odd[k] * w);
            else
                assert_close(&l, 20, m, 1e-6);
            for (size_t pixel = 0; pixel < 45; pixel++)
                if (pixel != 20)
                    assert_close(&l, pixel, m, 1e-6);
        }
        buffers_free(&l.b);
    }
}

static void weights_that_are_not_finite_stay_in_their_channel(void **state)
{
    (void)state;
    Layer l = layer_make();
    l.b.w.p[33 * 64 + 5] = INFINITY;
    layer_run(&l);
    for (size_t pixel = 0; pixel < 45; pixel++)
        for (size_t m = 0; m < 96; m++)
            if (m == 33)
                assert_true(isinf(l.b.y.p[pixel * 96 + m]));
            else
                assert_close(&l, pixel, m, 1e-6);
    buffers_free(&l.b);
}

static void small_channels_keep_their_precision_beside_large_ones(void **state)
{
    (void)state;
    Layer l = layer_make();
    for (size_t m = 0; m < 96; m++) {
        const float scale = m % 3 == 0 ? 1e8f : m % 3 == 1 ? 1.0f : 1e-8f;
        for (size_t c = 0; c < 64; c++)
            l.b.w.p[m * 64 + c] *= scale;
        l.b.bias.p[m] *= scale;
    }
    layer_run(&l);
    for (size_t pixel = 0; pixel < 45; pixel++)
        for (size_t m = 0; m < 96; m++)
            assert_close(&l, pixel, m, 2e-6);
    buffers_free(&l.b);
}

static void a_transposed_matrix_packs_alike(void **state)
{
    enum { K = 37, N = 83 };
    float b[K][N], t[N][K];
    LedgePanels p;
    (void)state;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < N; j++)
            b[i][j] = t[j][i] = (float)(i * N + j);
    ledge__panels_init(&p, ledge__f32_kernels(ledge__cpu_flags_uncapped()), N, K);
    const size_t floats = ledge__panels_floats(&p);
    Guarded one = guarded(floats, 1), two = guarded(floats, 2);
    ledge__panels_pack(&p, b, 1, K, 1, 0, N, NULL, one.p);
    ledge__panels_pack(&p, t, 1, K, K, 0, 1, NULL, two.p);
    assert_memory_equal(one.p, two.p, floats * sizeof(float));
    double sum = 0;
    for (size_t i = 0; i < floats; i++)
        sum += (double)one.p[i];
    assert_true(sum == (double)(K * N - 1) * (K * N) / 2); /* each once, the rest zeros */
    /* Factors applied while packing, both ways, are those applied before. */
    float scale[N];
    for (int j = 0; j < N; j++) {
        scale[j] = 0.25f + (float)j;
        for (int i = 0; i < K; i++)
            b[i][j] *= scale[j];
    }
    ledge__panels_pack(&p, b, 1, K, 1, 0, N, NULL, one.p);
    ledge__panels_pack(&p, t, 1, K, K, 0, 1, scale, two.p);
    assert_memory_equal(one.p, two.p, floats * sizeof(float));
    for (int i = 0; i < K; i++)
        for (int j = 0; j < N; j++)
            b[i][j] = t[j][i];
    ledge__panels_pack(&p, b, 1, K, 1, 0, N, scale, two.p);
    assert_memory_equal(one.p, two.p, floats * sizeof(float));
    guarded_free(&one), guarded_free(&two);
}

static void sizes_that_overflow_are_refused(void **state)
{
    LedgeConvPlan plan;
    LedgeConvShape s = {.n = 1, .h = 3, .w = 3, .c = SIZE_MAX / 8, .oh = 3, .ow = 3,
                        .m = SIZE_MAX / 8, .ldc = SIZE_MAX / 8, .kh = 3, .kw = 3, .sh = 1,
                        .sw = 1, .dh = 1, .dw = 1, .pt = 1, .pl = 1, .group = 1};
    (void)state;
    for (LedgeConvPath path = 0; path <= LEDGE_CONV_PATHS; path++)
        assert_false(ledge__conv_f32_plan(&s, 0, 1, path, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_equals_the_reference),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(large_layers_equal_the_reference),
        cmocka_unit_test(numbers_that_are_not_finite_stay_in_their_pixel),
        cmocka_unit_test(weights_that_are_not_finite_stay_in_their_channel),
        cmocka_unit_test(small_channels_keep_their_precision_beside_large_ones),
        cmocka_unit_test(a_transposed_matrix_packs_alike),
        cmocka_unit_test(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
