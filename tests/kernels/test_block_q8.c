/* The inverted bottleneck in 8 bits gives the bytes of its three convolutions run one after the
 * other: on every instruction set that this CPU can run, in strips of any height, for one to three
 * threads, with guard pages behind every buffer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/kernels/block_q8.h"
#include "guard.h"

typedef struct Case {
    size_t n, h, w, in, wide, out; /* in 0: no expansion */
    size_t kh, kw, sh, sw, dh, pt, pl, pb, pr;
    LedgeQ8Kind kind; /* of the last */
    bool zeros;       /* weights of the depthwise convolution have zero points */
} Case;

static const Case cases[] = {
    /* n h w, in wide out, kh kw, sh sw, dh, pads, kind, zeros */
    {1, 9, 7, 8, 48, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, LEDGE_Q8_SUM, false},
    {2, 11, 8, 5, 37, 19, 3, 3, 2, 2, 1, 0, 0, 1, 1, LEDGE_Q8_BYTES, false},
    {3, 7, 9, 0, 37, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, LEDGE_Q8_BYTES, false},
    {1, 13, 5, 3, 130, 70, 5, 5, 2, 1, 1, 2, 2, 2, 2, LEDGE_Q8_BYTES, false},
    {1, 8, 8, 0, 64, 33, 5, 3, 2, 2, 1, 2, 1, 2, 1, LEDGE_Q8_SUM, false},
    {2, 10, 12, 17, 32, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, LEDGE_Q8_FLOAT, false},
    {1, 12, 6, 4, 20, 9, 2, 3, 3, 2, 1, 0, 1, 0, 0, LEDGE_Q8_BYTES, false}, /* rows are skipped */
    {1, 3, 4, 6, 16, 5, 3, 3, 1, 1, 1, 5, 2, 6, 1, LEDGE_Q8_BYTES, false},  /* all is padding */
    {1, 9, 9, 7, 40, 8, 3, 3, 1, 1, 2, 2, 1, 2, 1, LEDGE_Q8_SUM, false},    /* dilated rows */
    {1, 6, 7, 9, 24, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, LEDGE_Q8_BYTES, true},
    {1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, LEDGE_Q8_SUM, false},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]), BUFFERS = 40 };

static Guarded buffers[BUFFERS];
static size_t used;

static void *bytes(size_t n, unsigned seed)
{
    assert_true(used < BUFFERS);
    buffers[used] = guarded_bytes(n, seed);
    return buffers[used++].p;
}

static void free_all(void)
{
    while (used > 0)
        guarded_free(&buffers[--used]);
}

/* A convolution with weights, scales and scratch of its own. */
typedef struct Conv {
    LedgeConvQ8Plan plan;
    LedgeConvQ8Args a;
} Conv;

static void make(Conv *v, const LedgeConvShape *s, LedgeConvPath path, uint32_t cpu, bool zeros,
                 unsigned seed)
{
    assert_true(ledge__conv_q8_plan(s, cpu, 1, path, zeros, &v->plan));
    assert_int_equal(v->plan.path, path);
    const LedgeConvQ8Plan *p = &v->plan;
    const size_t each = s->c / s->group * s->kh * s->kw;
    int8_t *w = bytes(s->m * each, seed), *packed = bytes(p->packed_bytes, 0);
    int32_t *sums = bytes(s->m * 4, 0), *init = bytes(p->columns * 4, 0);
    float *scale = bytes(p->columns * 4, 0);
    uint8_t *border = bytes(p->border_bytes, 0);
    const int32_t zero = 3, x_zero = 100 + (int32_t)seed;
    const float typical = 60.0f / (sqrtf((float)each + 1) * 74 * 74);
    if (zeros)
        ledge__conv_q8_pack_zeros(p, w, &zero, 1, packed);
    else
        ledge__conv_q8_pack(p, w, packed);
    ledge__conv_q8_sums(p, w, sums);
    ledge__conv_q8_pack_init(p, NULL, sums, x_zero, zeros ? &zero : NULL, 1, init);
    ledge__conv_q8_pack_floats(p, &typical, 1, 1.0f, scale);
    memset(border, x_zero, p->border_bytes);
    v->a = (LedgeConvQ8Args){.packed = packed, .init = init, .scale = scale, .border = border,
                             .scratch = bytes((p->scratch_bytes + 63) / 64 * 64, 9),
                             .out = {.kind = LEDGE_Q8_BYTES, .y_zero = 101 + (int32_t)seed,
                                     .y_lo = 4, .y_hi = 250}};
}

static LedgeConvShape pointwise(size_t n, size_t h, size_t w, size_t c, size_t m)
{
    return (LedgeConvShape){.n = n, .h = h, .w = w, .c = c, .oh = h, .ow = w, .m = m, .ldc = m,
                            .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1};
}

/* The three one after the other: the answer, of *size bytes. */
static void *apart(const Case *q, Conv *e, Conv *d, Conv *p, uint32_t cpu, size_t *size)
{
    const LedgeConvShape dw = {
        .n = q->n, .h = q->h, .w = q->w, .c = q->wide, .m = q->wide, .ldc = q->wide,
        .oh = (q->h + q->pt + q->pb - (q->dh * (q->kh - 1) + 1)) / q->sh + 1,
        .ow = (q->w + q->pl + q->pr - q->kw) / q->sw + 1, .kh = q->kh, .kw = q->kw, .sh = q->sh,
        .sw = q->sw, .dh = q->dh, .dw = 1, .pt = q->pt, .pl = q->pl, .group = q->wide};
    const LedgeConvShape first = pointwise(q->n, q->h, q->w, q->in, q->wide);
    const LedgeConvShape last = pointwise(q->n, dw.oh, dw.ow, q->wide, q->out);
    const size_t pixels = dw.n * dw.oh * dw.ow, element = q->kind == LEDGE_Q8_FLOAT ? 4 : 1;
    uint8_t *x = bytes(q->n * q->h * q->w * (q->in ? q->in : q->wide), 1), *wide = x;
    if (q->in) {
        make(e, &first, LEDGE_CONV_POINTWISE, cpu, false, 1);
        wide = bytes(q->n * q->h * q->w * q->wide, 0);
        e->a.x = x;
        e->a.y = wide;
        ledge__conv_q8_run(&e->plan, &e->a, NULL);
    }
    make(d, &dw, LEDGE_CONV_DEPTHWISE, cpu, q->zeros, 2);
    make(p, &last, LEDGE_CONV_POINTWISE, cpu, false, 3);
    d->a.x = wide;
    p->a.x = d->a.y = bytes(pixels * q->wide, 0);
    ledge__conv_q8_run(&d->plan, &d->a, NULL);
    p->a.out.kind = q->kind;
    p->a.out.lo = -30;
    p->a.out.hi = 40;
    p->a.out.y_scale = 0.37f;
    p->a.out.r_scale = 0.81f;
    p->a.out.z_hi = 255;
    p->a.ldr = q->out;
    p->a.r = q->kind == LEDGE_Q8_SUM ? bytes(pixels * q->out, 4) : NULL;
    *size = pixels * q->out * element;
    p->a.y = bytes(*size, 5);
    ledge__conv_q8_run(&p->plan, &p->a, NULL);
    d->a.x = x; /* of a block without expansion */
    return p->a.y;
}

static void check(const Case *q, uint32_t cpu, LedgePool *pool)
{
    static Conv e, d, p;
    size_t size;
    const void *want = apart(q, &e, &d, &p, cpu, &size);
    LedgeBlockQ8Plan plan;
    assert_true(ledge__block_q8_plan(q->in ? &e.plan : NULL, &d.plan, &p.plan,
                                     ledge__pool_threads(pool), &plan));
    LedgeBlockQ8Args a = {.expand = e.a, .dw = d.a, .project = p.a};
    a.expand.scratch = a.dw.scratch = a.project.scratch = a.dw.y = a.expand.y = NULL;
    a.project.x = NULL;
    a.project.y = bytes(size, 6);
    a.scratch = bytes((plan.scratch_bytes + 63) / 64 * 64, 7);
    for (size_t most = plan.rows; plan.rows > 0; plan.rows--) {
        memset(a.project.y, 0x5a, size);
        ledge__block_q8_run(&plan, &a, pool);
        if (memcmp(want, a.project.y, size) != 0)
            fail_msg("%s %zux%zu %zu -> %zu -> %zu, %zu of %zu rows, %d threads: other bytes",
                     d.plan.k->isa, q->h, q->w, q->in, q->wide, q->out, plan.rows, most,
                     ledge__pool_threads(pool));
    }
    free_all();
}

static void on_every_set(LedgePool *pool)
{
    const uint32_t here = ledge__cpu_flags_uncapped();
    for (size_t i = 0; ledge__q8_kernels_at(i); i++) {
        const uint32_t cpu = ledge__q8_kernels_at(i)->cpu;
        for (size_t q = 0; (cpu & here) == cpu && q < CASES; q++)
            check(&cases[q], cpu, pool);
    }
}

static void a_block_gives_the_bytes_of_its_convolutions(void **state)
{
    (void)state;
    on_every_set(NULL);
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 3; threads++) {
        LedgePool *pool;
        assert_int_equal(ledge__pool_new(NULL, threads, &pool), LEDGE_OK);
        on_every_set(pool);
        ledge__pool_free(pool);
    }
}

/* The plan alone: a wide tensor of 38 MB takes what a few of its rows do. */
static void scratch_is_far_smaller_than_the_wide_tensor(void **state)
{
    (void)state;
    LedgeConvQ8Plan e, d, p;
    LedgeBlockQ8Plan plan;
    const LedgeConvShape first = pointwise(1, 4000, 100, 16, 96);
    const LedgeConvShape last = pointwise(1, 4000, 100, 96, 24);
    LedgeConvShape dw = pointwise(1, 4000, 100, 96, 96);
    dw.kh = dw.kw = 3;
    dw.pt = dw.pl = 1;
    dw.group = 96;
    const uint32_t cpu = ledge__cpu_flags();
    assert_true(ledge__conv_q8_plan(&first, cpu, 1, LEDGE_CONV_POINTWISE, false, &e));
    assert_true(ledge__conv_q8_plan(&dw, cpu, 1, LEDGE_CONV_DEPTHWISE, false, &d));
    assert_true(ledge__conv_q8_plan(&last, cpu, 1, LEDGE_CONV_POINTWISE, false, &p));
    assert_true(ledge__block_q8_plan(&e, &d, &p, 1, &plan));
    assert_true(plan.rows > 1);
    assert_true(plan.scratch_bytes < 256 * 1024);
    const size_t one = plan.scratch_bytes;
    assert_true(ledge__block_q8_plan(&e, &d, &p, 8, &plan));
    assert_int_equal(plan.scratch_bytes, 8 * plan.thread_bytes);
    assert_true(plan.scratch_bytes < 4 * one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_gives_the_bytes_of_its_convolutions),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(scratch_is_far_smaller_than_the_wide_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
