/* 8-bit convolution and GEMM: every algorithm on every instruction set that this CPU can run
 * equals a plain loop bit for bit, whatever becomes of the sums (bytes, bytes after a residual
 * sum, floats), with guard pages behind every buffer and for one to three threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/kernels/conv_q8.h"
#include "guard.h"
#include "vex_vnni.h"

typedef struct QCase {
    size_t n, h, w, c, m, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, group;
    size_t extra; /* channels of the output beyond m */
    int x_zero, y_zero, lo, hi;
} QCase;

typedef enum Fill { RANDOM, HIGHEST, LOWEST } Fill; /* LOWEST: x 255, w -128 */

static LedgeConvShape shape_of(const QCase *q)
{
    return (LedgeConvShape){.n = q->n, .h = q->h, .w = q->w, .c = q->c,
                            .oh = (q->h + q->pt + q->pb - (q->dh * (q->kh - 1) + 1)) / q->sh + 1,
                            .ow = (q->w + q->pl + q->pr - (q->dw * (q->kw - 1) + 1)) / q->sw + 1,
                            .m = q->m, .ldc = q->m + q->extra, .kh = q->kh, .kw = q->kw,
                            .sh = q->sh, .sw = q->sw, .dh = q->dh, .dw = q->dw, .pt = q->pt,
                            .pl = q->pl, .group = q->group};
}

typedef struct Buffers {
    Guarded x, w, bias, r, y, packed, init, b_zeros, scale, fbias, border, scratch, sums;
    int32_t zeros[1024];
    float scales[1024], fb[1024];
} Buffers;

static const uint8_t *bytes_of(const Guarded *g)
{
    return (const uint8_t *)g->p;
}

/* The sum with all zero points taken off, modulo 2^32. */
static uint32_t one_sum(const LedgeConvShape *s, const QCase *q, const Buffers *b, bool b_zero,
                        size_t n, size_t oy, size_t ox, size_t m)
{
    const size_t cg = s->c / s->group, g = m / (s->m / s->group);
    uint32_t sum = 0;
    for (size_t ky = 0; ky < s->kh; ky++)
        for (size_t kx = 0; kx < s->kw; kx++) {
            const size_t y = oy * s->sh + ky * s->dh - s->pt, x = ox * s->sw + kx * s->dw - s->pl;
            if (y >= s->h || x >= s->w)
                continue;
            for (size_t c = 0; c < cg; c++) {
                const int xv = bytes_of(&b->x)[((n * s->h + y) * s->w + x) * s->c + g * cg + c];
                const int wv = ((const int8_t *)b->w.p)[((m * cg + c) * s->kh + ky) * s->kw + kx];
                sum += (uint32_t)((xv - q->x_zero) * (wv - (b_zero ? b->zeros[m] : 0)));
            }
        }
    return sum + (uint32_t)((const int32_t *)b->bias.p)[m];
}

static float rne_clamp(float v, int zero, int lo, int hi)
{
    v = rintf(v) + (float)zero; /* the range of float is enough: far values are clamped anyway */
    return v < (float)lo ? (float)lo : v > (float)hi ? (float)hi : v;
}

static const LedgeQ8Out sum_out = {.y_scale = 0.37f, .r_scale = 0.81f, .r_zero = 77, .z_zero = 40,
                                   .z_lo = 3, .z_hi = 250};

/* Output i of channel m, as a float: bytes are exact in it. */
static float one_output(const LedgeQ8Out *o, uint32_t sum, size_t m, const Buffers *b, bool fbias,
                        bool residual, size_t r_at)
{
    float y = (float)(int32_t)sum * b->scales[m];
    if (o->kind == LEDGE_Q8_FLOAT) {
        y = fbias ? y + b->fb[m] : y;
        y = residual ? y + b->r.p[r_at] : y;
        return y < o->lo ? o->lo : y > o->hi ? o->hi : y;
    }
    const float q = rne_clamp(y, o->y_zero, o->y_lo, o->y_hi);
    if (o->kind == LEDGE_Q8_BYTES)
        return q;
    const float a = (q - (float)o->y_zero) * o->y_scale;
    const float c = (float)(bytes_of(&b->r)[r_at] - o->r_zero) * o->r_scale;
    return rne_clamp(a + c, o->z_zero, o->z_lo, o->z_hi);
}

static void buffers_make(Buffers *b, const LedgeConvShape *s, const LedgeConvQ8Plan *plan,
                         size_t element, Fill fill)
{
    const size_t pixels = s->n * s->oh * s->ow, each = s->c / s->group * s->kh * s->kw;
    b->x = guarded_bytes(s->n * s->h * s->w * s->c, 1);
    b->w = guarded_bytes(s->m * each, 2);
    if (fill != RANDOM) {
        memset(b->x.p, 255, s->n * s->h * s->w * s->c);
        memset(b->w.p, fill == HIGHEST ? 127 : 128, s->m * each);
    }
    b->bias = guarded_bytes(s->m * 4, 3);
    b->r = element == 1 ? guarded_bytes(pixels * s->m, 4) : guarded(pixels * s->m, 4);
    b->y = guarded_bytes(((pixels - 1) * s->ldc + s->m) * element, 5);
    b->packed = guarded_bytes(plan->packed_bytes, 6);
    b->init = guarded_bytes(plan->columns * 4, 7);
    b->b_zeros = guarded_bytes(plan->columns * 4, 8);
    b->scale = guarded_bytes(plan->columns * 4, 9);
    b->fbias = guarded_bytes(plan->columns * 4, 10);
    b->border = guarded_bytes(plan->border_bytes, 0);
    b->scratch = guarded_bytes((plan->scratch_bytes + 63) / 64 * 64, 11);
    b->sums = guarded_bytes(s->m * 4, 0);
    const float typical = 60.0f / (sqrtf((float)each + 1) * 74 * 74);
    for (size_t m = 0; m < s->m; m++) {
        ((int32_t *)b->bias.p)[m] /= 65536;
        b->scales[m] = fill == LOWEST    ? 1e30f /* floats beyond all integers */
                       : fill == HIGHEST ? 0.97f
                                         : typical * (0.5f + (float)(m % 7) / 4);
        b->zeros[m] = (int32_t)(m * 37 % 256) - 128;
        b->fb[m] = (float)m * 0.37f - 3;
    }
}

static void buffers_free(Buffers *b)
{
    Guarded *all[] = {&b->x, &b->w, &b->bias, &b->r, &b->y, &b->packed, &b->init, &b->b_zeros,
                      &b->scale, &b->fbias, &b->border, &b->scratch, &b->sums};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        guarded_free(all[i]);
}

static void pack_all(const LedgeConvQ8Plan *plan, const QCase *q, Buffers *b, bool b_zero)
{
    const LedgeConvShape *s = &plan->s;
    int32_t *sums = (int32_t *)b->sums.p;
    if (plan->parts > 1)
        ledge__conv_q8_pack_zeros(plan, (const int8_t *)b->w.p, b->zeros, s->m,
                                  (int8_t *)b->packed.p);
    else
        ledge__conv_q8_pack(plan, (const int8_t *)b->w.p, (int8_t *)b->packed.p);
    ledge__conv_q8_sums(plan, (const int8_t *)b->w.p, sums);
    ledge__conv_q8_pack_init(plan, (const int32_t *)b->bias.p, sums, q->x_zero,
                             b_zero ? b->zeros : NULL, s->m, (int32_t *)b->init.p);
    ledge__conv_q8_pack_ints(plan, b->zeros, s->m, (int32_t *)b->b_zeros.p);
    ledge__conv_q8_pack_floats(plan, b->scales, s->m, 1.0f, b->scale.p);
    ledge__conv_q8_pack_floats(plan, b->fb, s->m, 1.0f, b->fbias.p);
    memset(b->border.p, q->x_zero, plan->border_bytes);
}

static void compare(const LedgeConvQ8Plan *plan, const QCase *q, const Buffers *b,
                    const LedgeConvQ8Args *a)
{
    const LedgeConvShape *s = &plan->s;
    const size_t pixels = s->n * s->oh * s->ow;
    for (size_t i = 0; i < pixels; i++)
        for (size_t m = 0; m < s->m; m++) {
            const uint32_t sum = one_sum(s, q, b, a->b_zero || plan->parts > 1, i / (s->oh * s->ow),
                                         i / s->ow % s->oh, i % s->ow, m);
            const float want = one_output(&a->out, sum, m, b, a->fbias != NULL, a->r != NULL,
                                          i * s->m + m);
            const size_t at = i * s->ldc + m;
            const float got = a->out.kind == LEDGE_Q8_FLOAT ? b->y.p[at] : bytes_of(&b->y)[at];
            if (got != want)
                fail_msg("%s %s kind %d %zux%zux%zu -> %zu, %zux%zu: output %zu channel %zu is "
                         "%g, must be %g", plan->k->isa, ledge__conv_f32_path_name(plan->path),
                         (int)a->out.kind, s->h, s->w, s->c, s->m, s->kh, s->kw, i, m, (double)got,
                         (double)want);
        }
}

static void check_case(const QCase *q, uint32_t cpu, LedgeConvPath path, LedgeQ8Kind kind,
                       bool b_zero, Fill fill, LedgePool *pool)
{
    static Buffers b;
    const LedgeConvShape s = shape_of(q);
    LedgeConvQ8Plan plan;
    assert_true(ledge__conv_q8_plan(&s, cpu, ledge__pool_threads(pool), path, b_zero, &plan));
    if (path < LEDGE_CONV_PATHS && plan.path != path)
        return; /* not for this shape */
    const size_t element = kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    buffers_make(&b, &s, &plan, element, fill);
    pack_all(&plan, q, &b, b_zero);
    LedgeConvQ8Args a = {.x = bytes_of(&b.x), .packed = (const int8_t *)b.packed.p,
                         .init = (const int32_t *)b.init.p,
                         .b_zero = b_zero && plan.parts == 1 ? (const int32_t *)b.b_zeros.p : NULL,
                         .scale = b.scale.p, .border = bytes_of(&b.border),
                         .r = kind == LEDGE_Q8_SUM || (kind == LEDGE_Q8_FLOAT && q->m % 2) ? b.r.p
                                                                                          : NULL,
                         .ldr = s.m, .y = b.y.p, .out = sum_out, .scratch = b.scratch.p,
                         .fbias = kind == LEDGE_Q8_FLOAT && q->m % 3 ? b.fbias.p : NULL};
    a.out.kind = kind;
    a.out.y_zero = q->y_zero;
    a.out.y_lo = q->lo;
    a.out.y_hi = q->hi;
    a.out.lo = q->x_zero ? -INFINITY : 0;
    a.out.hi = q->x_zero ? INFINITY : 6;
    const uint8_t beside = plan.s.ldc > s.m && s.n * s.oh * s.ow > 1
                               ? bytes_of(&b.y)[s.m * element] : 0;
    ledge__conv_q8_run(&plan, &a, pool);
    compare(&plan, q, &b, &a);
    if (plan.s.ldc > s.m && s.n * s.oh * s.ow > 1)
        assert_int_equal(bytes_of(&b.y)[s.m * element], beside);
    buffers_free(&b);
}

static const QCase cases[] = {
    /* n h w c m, kh kw, sh sw, dh dw, pads, group, extra, x_zero y_zero lo hi */
    {1, 5, 7, 24, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 128, 128, 0, 255},
    {2, 9, 4, 17, 144, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 5, 0, 0, 0, 255},
    {1, 1, 1, 200, 65, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 255, 255, 0, 255},
    {1, 9, 9, 8, 3, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 0, 3, 250, 7, 252},
    {2, 5, 6, 20, 40, 1, 1, 1, 1, 1, 1, 2, 1, 0, 3, 1, 4, 13, 9, 9, 200},
    {1, 4, 3, 1, 70, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 255},
    {1, 4, 3, 7, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 200, 100, 100, 255},
    {1, 13, 11, 3, 32, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 1, 0, 114, 0, 0, 255},
    {3, 13, 37, 3, 24, 3, 3, 2, 2, 1, 1, 0, 1, 1, 1, 1, 0, 114, 0, 0, 255},
    {2, 9, 40, 4, 32, 5, 3, 1, 1, 2, 1, 3, 1, 3, 1, 1, 0, 5, 9, 0, 255},
    {2, 12, 12, 3, 20, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1, 1, 255, 128, 0, 255},
    {1, 8, 8, 1, 8, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1, 0, 0, 0, 0, 255},
    {2, 9, 11, 1, 4, 3, 5, 2, 1, 2, 1, 1, 2, 1, 2, 1, 3, 9, 4, 0, 255},
    {1, 2, 2, 2, 5, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1, 0, 10, 0, 0, 255},
    {1, 10, 9, 19, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 128, 5, 0, 99},
    {2, 7, 7, 16, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 255, 0, 255},
    {1, 9, 9, 6, 18, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0, 0, 255},
    {1, 6, 20, 12, 8, 3, 5, 2, 1, 1, 2, 0, 3, 2, 1, 1, 0, 64, 64, 0, 255},
    {1, 1, 30, 10, 24, 1, 7, 1, 3, 1, 1, 0, 3, 0, 3, 1, 0, 128, 128, 0, 255},
    {1, 7, 7, 12, 20, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 4, 0, 99, 0, 0, 255},
    {2, 6, 6, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8, 0, 0, 1, 0, 255},
    {1, 7, 7, 64, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 0, 128, 0, 0, 255},
    {1, 9, 10, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32, 0, 5, 0, 0, 255},
    {2, 11, 8, 37, 37, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 37, 0, 255, 128, 0, 255},
    {1, 9, 9, 19, 19, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 19, 3, 128, 128, 2, 254},
    {1, 9, 13, 16, 16, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 16, 0, 0, 0, 0, 255},
    {1, 12, 7, 5, 5, 7, 3, 1, 2, 1, 3, 3, 3, 3, 3, 5, 0, 31, 7, 0, 255},
    {1, 6, 6, 140, 140, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 140, 0, 77, 7, 0, 255},
    {1, 5, 9, 96, 96, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 96, 0, 77, 7, 0, 255},
    {1, 5, 17, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 64, 0, 7, 200, 0, 255},
    {1, 5, 31, 128, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 128, 0, 7, 200, 0, 255},
    {1, 3, 3, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 4, 0, 200, 20, 0, 255},
    /* rows of 7, 14, 28 and 56 outputs and padding of zeros, which tiles leave out */
    {1, 7, 7, 24, 130, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 255},
    {2, 5, 14, 31, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 128, 3, 0, 255},
    {1, 4, 28, 21, 65, 3, 5, 1, 1, 1, 1, 1, 2, 1, 2, 1, 3, 0, 9, 9, 200},
    {1, 3, 56, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 255},
    {1, 9, 14, 26, 96, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 5, 0, 255},
    {2, 3, 7, 30, 144, 5, 3, 1, 1, 2, 2, 5, 5, 5, 2, 3, 0, 0, 128, 0, 255},
    {1, 2, 8, 13, 40, 1, 9, 1, 1, 1, 1, 3, 7, 0, 9, 1, 0, 128, 0, 0, 255},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

typedef void (*OnSet)(uint32_t cpu, LedgePool *pool);

/* What stands in for an instruction takes a microsecond: two threads or three, not both. */
static void each_set(OnSet f, LedgePool *pool)
{
    const bool slow = vex_vnni_emulated() && ledge__pool_threads(pool) == 2;
    const uint32_t here = slow ? ledge__cpu_flags_uncapped() : vex_vnni_cpu();
    for (size_t i = 0; ledge__q8_kernels_at(i); i++) {
        const uint32_t cpu = ledge__q8_kernels_at(i)->cpu;
        if ((cpu & here) == cpu)
            f(cpu, pool);
    }
}

static void each_set_on(int threads, OnSet f)
{
    LedgePool *pool;
    assert_int_equal(ledge__pool_new(NULL, threads, &pool), LEDGE_OK);
    each_set(f, pool);
    ledge__pool_free(pool);
}

static void all_cases(uint32_t cpu, LedgePool *pool)
{
    for (size_t q = 0; q < CASES; q++)
        for (LedgeConvPath path = 0; path <= LEDGE_CONV_PATHS; path++)
            for (LedgeQ8Kind kind = 0; kind <= LEDGE_Q8_FLOAT; kind++) {
                check_case(&cases[q], cpu, path, kind, false, RANDOM, pool);
                if (q % 3 == 0)
                    check_case(&cases[q], cpu, path, kind, true, RANDOM, pool);
            }
}

static void every_algorithm_equals_the_definition(void **state)
{
    (void)state;
    each_set(all_cases, NULL);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 3; threads++)
        each_set_on(threads, all_cases);
}

/* Columns, rows and k around every multiple of a tile. */
static void tile_edges(uint32_t cpu, LedgePool *pool)
{
    for (size_t m = 1; m <= 2 * 64 + 1; m += m < 36 ? 1 : 7)
        for (size_t rows = 1; rows <= 17; rows += 1 + m % 3) {
            const QCase q = {1, rows, 1, 1 + (m + rows) % 19, m, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0,
                             100, 120, 0, 255};
            check_case(&q, cpu, LEDGE_CONV_POINTWISE, m % 3, m % 5 == 0, RANDOM, pool);
        }
}

static void sizes_around_the_tile_equal_the_definition(void **state)
{
    (void)state;
    each_set(tile_edges, NULL);
}

/* Channels and outputs of a row around the depthwise blocks. */
static void dw_edges(uint32_t cpu, LedgePool *pool)
{
    for (size_t c = 1; c <= 2 * 64 + 1; c += c < 20 ? 1 : 5)
        for (size_t ow = 1; ow <= 10; ow += 1 + c % 2) {
            const size_t k = c % 2 ? 3 : 5, s = 1 + c / 2 % 2;
            const QCase q = {1, k, (ow - 1) * s + k, c, c, k, k, s, s, 1, 1, 0, 0, 0, 0, c, 0,
                             100, 120, 0, 255};
            check_case(&q, cpu, LEDGE_CONV_DEPTHWISE, LEDGE_Q8_BYTES, false, RANDOM, pool);
        }
}

static void depthwise_sizes_equal_the_definition(void **state)
{
    (void)state;
    each_set(dw_edges, NULL);
}

static void extremes(uint32_t cpu, LedgePool *pool)
{
    const QCase deep = {1, 7, 1, 4100, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 128, 0, 255};
    const QCase image = {1, 5, 6, 70, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 255, 0, 0, 255};
    const QCase dw = {1, 5, 6, 70, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 70, 0, 0, 128, 0, 255};
    /* as much as Winograd's sums hold */
    const QCase most = {1, 5, 6, 114, 34, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 255};
    for (Fill fill = HIGHEST; fill <= LOWEST; fill++)
        for (LedgeQ8Kind kind = 0; kind <= LEDGE_Q8_FLOAT; kind++) {
            check_case(&deep, cpu, LEDGE_CONV_PATHS, kind, false, fill, pool);
            check_case(&deep, cpu, LEDGE_CONV_PATHS, kind, true, fill, pool);
            check_case(&image, cpu, LEDGE_CONV_PATHS, kind, false, fill, pool);
            check_case(&most, cpu, LEDGE_CONV_WINOGRAD, kind, false, fill, pool);
            check_case(&dw, cpu, LEDGE_CONV_PATHS, kind, false, fill, pool);
            check_case(&dw, cpu, LEDGE_CONV_DEPTHWISE, kind, true, fill, pool);
        }
}

static void extremes_do_not_saturate(void **state)
{
    (void)state;
    each_set(extremes, NULL);
}

static void large(uint32_t cpu, LedgePool *pool)
{
    static const QCase layers[] = {
        {1, 23, 21, 32, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 128, 0, 0, 255},
        {1, 14, 14, 300, 130, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 128, 0, 255},
        {1, 3, 3, 2100, 450, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 255},
        {1, 40, 30, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 0, 3, 0, 0, 255},
        {1, 48, 48, 3, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 114, 0, 0, 255},
    };
    for (size_t q = 0; q < sizeof(layers) / sizeof(layers[0]); q++)
        check_case(&layers[q], cpu, LEDGE_CONV_PATHS, q % 2 ? LEDGE_Q8_SUM : LEDGE_Q8_BYTES, false,
                   RANDOM, pool);
}

static void large_layers_equal_the_definition(void **state)
{
    (void)state;
    each_set_on(2, large);
}

/* Tiles and channels around what is taken at once, weights that do not fit into a cache, images
 * of several tiles and of parts of one. */
static void winograd(uint32_t cpu, LedgePool *pool)
{
    static const QCase layers[] = {
        {1, 7, 5, 256, 260, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 255},
        {1, 15, 22, 33, 65, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7, 128, 9, 9, 200},
        {3, 9, 6, 47, 50, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 255, 255, 0, 255},
        {2, 4, 13, 64, 15, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2, 1, 0, 3, 0, 0, 255},
        {1, 3, 3, 31, 100, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 77, 0, 255},
    };
    for (size_t q = 0; q < sizeof(layers) / sizeof(layers[0]); q++)
        for (LedgeQ8Kind kind = 0; kind <= (q ? LEDGE_Q8_FLOAT : LEDGE_Q8_BYTES); kind++)
            check_case(&layers[q], cpu, LEDGE_CONV_WINOGRAD, kind, false, RANDOM, pool);
}

static void winograd_equals_the_definition(void **state)
{
    (void)state;
    each_set(winograd, NULL);
    each_set_on(2, winograd);
}

static void winograd_is_exact_up_to_25_bits(void **state)
{
    static int8_t w[2][1200];
    (void)state;
    memset(w[1], 127, 1036);
    w[1][1100] = 14; /* 255 times the sum is 2^25 less 2 */
    memset(w[0], -128, 1028);
    w[0][1100] = -2;
    assert_true(ledge__conv_q8_wino_exact(w[0], 2, 1200));
    w[1][1100]++;
    assert_false(ledge__conv_q8_wino_exact(w[0], 2, 1200));
    w[1][1100]--;
    w[0][1100]--;
    assert_false(ledge__conv_q8_wino_exact(w[0], 2, 1200));
    w[0][1100] = 127; /* what is above zero does not add to what is below */
    assert_true(ledge__conv_q8_wino_exact(w[0], 2, 1200));
}

static void a_transposed_matrix_packs_alike(void **state)
{
    enum { K = 37, N = 83 };
    static uint8_t b[K][N], t[N][K], u[N][K];
    int32_t sums[3][N];
    const LedgeConvShape s = {.n = 1, .h = 9, .w = 1, .c = K, .oh = 9, .ow = 1, .m = N, .ldc = N,
                              .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1};
    LedgeConvQ8Plan p;
    (void)state;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < N; j++) {
            b[i][j] = t[j][i] = (uint8_t)(i * N + j * 7);
            u[j][i] = b[i][j] ^ 0x80;
        }
    assert_true(ledge__conv_q8_plan(&s, ledge__cpu_flags_uncapped(), 1, LEDGE_CONV_PATHS, false,
                                    &p));
    Guarded one = guarded_bytes(p.packed_bytes, 1), two = guarded_bytes(p.packed_bytes, 2);
    ledge__conv_q8_pack_matrix(&p, b, 1, N, 0, (int8_t *)one.p);
    ledge__conv_q8_pack_matrix(&p, t, K, 1, 0, (int8_t *)two.p);
    assert_memory_equal(one.p, two.p, p.packed_bytes);
    ledge__conv_q8_pack_matrix(&p, u, K, 1, 0x80, (int8_t *)two.p);
    assert_memory_equal(one.p, two.p, p.packed_bytes);
    ledge__conv_q8_pack(&p, (const int8_t *)t, (int8_t *)two.p);
    assert_memory_equal(one.p, two.p, p.packed_bytes);
    ledge__conv_q8_sums_matrix(&p, b, 1, N, 0, sums[0]);
    ledge__conv_q8_sums_matrix(&p, u, K, 1, 0x80, sums[1]);
    ledge__conv_q8_sums(&p, (const int8_t *)t, sums[2]);
    assert_memory_equal(sums[0], sums[1], sizeof(sums[0]));
    assert_memory_equal(sums[0], sums[2], sizeof(sums[0]));
    int32_t all = 0, bytes = 0;
    for (int j = 0; j < N; j++)
        all += sums[0][j];
    for (size_t i = 0; i < p.packed_bytes; i++)
        bytes += ((const int8_t *)one.p)[i]; /* each once, the rest zeros */
    assert_int_equal(all, bytes);
    guarded_free(&one), guarded_free(&two);
}

static void sizes_that_overflow_are_refused(void **state)
{
    LedgeConvQ8Plan plan;
    LedgeConvShape s = {.n = 1, .h = 3, .w = 3, .c = SIZE_MAX / 8, .oh = 3, .ow = 3,
                        .m = SIZE_MAX / 8, .ldc = SIZE_MAX / 8, .kh = 3, .kw = 3, .sh = 1,
                        .sw = 1, .dh = 1, .dw = 1, .pt = 1, .pl = 1, .group = 1};
    (void)state;
    for (LedgeConvPath path = 0; path <= LEDGE_CONV_PATHS; path++)
        assert_false(ledge__conv_q8_plan(&s, 0, 1, path, false, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_equals_the_definition),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(sizes_around_the_tile_equal_the_definition),
        cmocka_unit_test(depthwise_sizes_equal_the_definition),
        cmocka_unit_test(extremes_do_not_saturate),
        cmocka_unit_test(large_layers_equal_the_definition),
        cmocka_unit_test(winograd_equals_the_definition),
        cmocka_unit_test(winograd_is_exact_up_to_25_bits),
        cmocka_unit_test(a_transposed_matrix_packs_alike),
        cmocka_unit_test(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
