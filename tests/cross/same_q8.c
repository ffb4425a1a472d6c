/* Holds every set of 8-bit kernels that this machine runs against the scalar set, bit for bit,
 * over convolutions of many shapes; for machines that the unit tests are not built for.
 *
 *   same_q8          prints the sets and how many outputs agree; fails at the first that does not */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/conv_q8.h"

typedef struct Shape {
    size_t h, w, c, m, k, stride, group;
} Shape;

static const Shape shapes[] = {
    {5, 7, 24, 40, 1, 1, 1},  {9, 4, 17, 150, 1, 1, 1}, {1, 1, 200, 65, 1, 1, 1},
    {13, 11, 3, 32, 3, 2, 1}, {12, 12, 3, 20, 7, 2, 1}, {10, 9, 19, 33, 3, 1, 1},
    {7, 7, 12, 20, 3, 2, 4},  {9, 16, 32, 32, 3, 1, 32}, {11, 19, 37, 37, 3, 2, 37},
    {9, 9, 19, 19, 5, 1, 19}, {9, 17, 16, 16, 5, 2, 16}, {6, 6, 140, 140, 3, 3, 140},
    {1, 3, 4100, 9, 1, 1, 1}, {14, 13, 70, 41, 3, 1, 1}, {9, 6, 33, 130, 3, 1, 1},
};

static void *filled(size_t bytes, uint32_t seed)
{
    uint8_t *p = malloc(bytes + 64);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; p && i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (uint8_t)(x >> 24);
    }
    if (!p)
        exit(1);
    return p;
}

/* Output of one set; the caller frees. */
static void *run(uint32_t cpu, LedgeConvPath force, const Shape *q, LedgeQ8Kind kind, bool b_zero,
                 size_t *bytes)
{
    const size_t pad = q->k / 2, oh = (q->h + 2 * pad - q->k) / q->stride + 1;
    const size_t ow = (q->w + 2 * pad - q->k) / q->stride + 1, each = q->c / q->group * q->k * q->k;
    const LedgeConvShape s = {.n = 1, .h = q->h, .w = q->w, .c = q->c, .oh = oh, .ow = ow,
                              .m = q->m, .ldc = q->m, .kh = q->k, .kw = q->k, .sh = q->stride,
                              .sw = q->stride, .dh = 1, .dw = 1, .pt = pad, .pl = pad,
                              .group = q->group};
    LedgeConvQ8Plan plan;
    if (!ledge__conv_q8_plan(&s, cpu, 1, force, b_zero, &plan))
        exit(1);
    const size_t count = oh * ow * q->m;
    *bytes = count * (kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1);
    uint8_t *x = filled(q->h * q->w * q->c, 1), *r = filled(count, 4);
    int8_t *w = filled(q->m * each, 2), *packed = filled(plan.packed_bytes, 6);
    int32_t *bias = filled(q->m * 4, 3), *sums = filled(q->m * 4, 5);
    int32_t *init = filled(plan.columns * 4, 7), *zeros = filled(plan.columns * 4, 8);
    float *scale = filled(plan.columns * 4, 9), *fr = filled(count * 4, 10);
    uint8_t *border = filled(plan.border_bytes, 11);
    void *scratch = filled(plan.scratch_bytes, 12), *y = filled(*bytes, 13);
    float own[256];
    const int32_t zero = -77;
    for (size_t m = 0; m < q->m; m++) {
        bias[m] /= 65536;
        own[m] = (0.5f + (float)(m % 7)) * 1e-3f / ((float)each + 10);
    }
    for (size_t i = 0; i < count; i++)
        fr[i] = (float)r[i];
    ledge__conv_q8_pack(&plan, w, packed);
    ledge__conv_q8_sums(&plan, w, sums);
    ledge__conv_q8_pack_init(&plan, bias, sums, 119, b_zero ? &zero : NULL, 1, init);
    ledge__conv_q8_pack_ints(&plan, &zero, 1, zeros);
    ledge__conv_q8_pack_floats(&plan, own, q->m, 1.0f, scale);
    memset(border, 119, plan.border_bytes);
    const LedgeConvQ8Args a = {
        .x = x, .packed = packed, .init = init, .b_zero = b_zero ? zeros : NULL, .scale = scale,
        .border = border,
        .r = kind == LEDGE_Q8_SUM ? r : kind == LEDGE_Q8_FLOAT ? (void *)fr : NULL,
        .ldr = q->m, .y = y, .scratch = scratch,
        .out = {.kind = kind, .y_zero = 30, .y_lo = 30, .y_hi = 240, .y_scale = 0.7f,
                .r_scale = 0.3f, .r_zero = 9, .z_zero = 60, .z_lo = 2, .z_hi = 255, .lo = -1e9f,
                .hi = 1e9f}};
    ledge__conv_q8_run(&plan, &a, NULL);
    void *all[] = {x, r, w, packed, bias, sums, init, zeros, scale, fr, border, scratch};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
    return y;
}

int main(void)
{
    const uint32_t here = ledge__cpu_flags();
    size_t agreed = 0;
    for (size_t i = 0; ledge__q8_kernels_at(i); i++) {
        const LedgeQ8Kernels *k = ledge__q8_kernels_at(i);
        if ((k->cpu & here) != k->cpu || k->cpu == 0)
            continue;
        printf("%s ", k->isa);
        for (size_t n = 0; n < sizeof(shapes) / sizeof(shapes[0]) * 6; n++) {
            const Shape *q = &shapes[n / 6];
            size_t bytes;
            void *want = run(0, LEDGE_CONV_PATHS, q, n % 3, n / 3 % 2, &bytes);
            for (int wino = 0; wino < 2; wino++) { /* passed over where it does not serve */
                void *got = run(k->cpu, wino ? LEDGE_CONV_WINOGRAD : LEDGE_CONV_PATHS, q, n % 3,
                                n / 3 % 2, &bytes);
                if (memcmp(want, got, bytes) != 0) {
                    printf("differs: %zux%zux%zu -> %zu, %zux%zu/%zu, kind %zu, winograd %d\n",
                           q->h, q->w, q->c, q->m, q->k, q->k, q->stride, n % 3, wino);
                    return 1;
                }
                agreed += bytes;
                free(got);
            }
            free(want);
        }
    }
    printf("%zu bytes agree with the scalar kernels\n", agreed);
    return agreed ? 0 : 1;
}
