/* Speed of the vector kernels by themselves, in every instruction set that this CPU has:
 *
 *   bench_vec [name]      only kernels whose name contains `name`
 *
 * Prints elements a nanosecond and the bytes moved a second, for data that fits the L1 cache and
 * for data that comes from memory, beside what a plain copy of the same data reaches: a kernel
 * at the copy's rate cannot become faster. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/vec.h"
#include "timing.h"

enum { SMALL = 2048, LARGE = 8 << 20, CHANNELS = 64, SIDE = 113 };

typedef struct Bench {
    const LedgeVec *v;
    LedgeRunner r;
    float *x, *y, *z;
    size_t n;
    LedgeMap map;
} Bench;

/* Seconds of one call: the least of several runs of about 5 ms. */
static double seconds(void (*fn)(Bench *), Bench *b)
{
    double best = INFINITY;
    int times = 1;
    for (int run = 0; run < 12; run++) {
        const double start = now_s();
        for (int i = 0; i < times; i++)
            fn(b);
        const double t = (now_s() - start) / times;
        best = t < best ? t : best;
        times = t * times < 0.002 ? times * 4 : times;
    }
    return best;
}

static void run_copy(Bench *b)
{
    memcpy(b->y, b->x, b->n * sizeof *b->x);
}
static void run_map(Bench *b)
{
    b->v->unary(b->map, b->x, b->y, b->n, 0.2f, 0.5f);
}
static void run_add(Bench *b)
{
    b->v->binary(LEDGE_B_ADD, LEDGE_VV, b->x, b->z, b->y, b->n, -INFINITY, INFINITY);
}
static void run_sum(Bench *b)
{
    b->y[0] = b->v->reduce(LEDGE_R_SUM, b->x, b->n);
}
static void run_max(Bench *b)
{
    b->y[0] = b->v->reduce(LEDGE_R_MAX, b->x, b->n);
}
static void run_softmax(Bench *b)
{
    ledge__vec_softmax(b->r, b->x, b->y, b->n / 128, 128, 1, false);
}
static void run_softmax_2(Bench *b)
{
    ledge__vec_softmax(b->r, b->x, b->y, b->n / 2, 2, 1, false);
}
static void run_norm(Bench *b)
{
    const LedgeNorm p = {.x = b->x, .gamma = b->z, .beta = b->z + 256, .y = b->y, .n = 256,
                         .eps = 1e-5f};
    ledge__vec_norm(b->r, &p, b->n / 256);
}
static void run_nchw_to_nhwc(Bench *b)
{
    ledge__vec_transpose(b->r, b->x, b->y, 1, 64, b->n / 64, 4);
}
static void run_nhwc_to_nchw(Bench *b)
{
    ledge__vec_transpose(b->r, b->x, b->y, 1, b->n / 64, 64, 4);
}
static void run_rgb_to_nhwc(Bench *b)
{
    ledge__vec_transpose(b->r, b->x, b->y, 1, 3, b->n / 3, 4);
}
static void run_half(Bench *b)
{
    b->v->to_f16(b->x, (uint16_t *)(void *)b->y, b->n);
}
static void run_u8(Bench *b)
{
    const float a[3] = {0.1f, 0.2f, 0.3f};
    ledge__vec_u8_affine(b->r, (const uint8_t *)b->x, a, a, b->y, b->n / 3, 3);
}
/* A 3 × 3 window, stride 2, over as many rows of SIDE pixels as there are. */
static void run_max_pool(Bench *b)
{
    const size_t rows = b->n / (SIDE * CHANNELS);
    const LedgePoolWindow w = {.batch = 1, .h = rows, .w = SIDE, .channels = CHANNELS,
                               .out_h = (rows - 3) / 2 + 1, .out_w = (SIDE - 3) / 2 + 1,
                               .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2,
                               .dilation_h = 1, .dilation_w = 1};
    const float *taps[9];
    ledge__vec_max_pool(b->r, &w, b->x, b->y, taps);
}
static void run_global_average(Bench *b)
{
    ledge__vec_reduce(b->r, LEDGE_R_MEAN, b->x, b->y, 1, b->n / CHANNELS, CHANNELS);
}

static const struct {
    const char *name;
    void (*fn)(Bench *);
    double bytes; /* moved for an element of x */
    size_t small; /* elements of the small run, when SMALL will not do */
} kernels[] = {
    {"add", run_add, 12, 0},
    {"sum", run_sum, 4, 0},
    {"max", run_max, 4, 0},
    {"softmax 128", run_softmax, 8, 0},
    {"softmax 2", run_softmax_2, 8, 0},
    {"layer norm 256", run_norm, 8, 0},
    {"NCHW to NHWC, 64 channels", run_nchw_to_nhwc, 8, 0},
    {"NHWC to NCHW, 64 channels", run_nhwc_to_nchw, 8, 0},
    {"NCHW to NHWC, 3 channels", run_rgb_to_nhwc, 8, 0},
    {"float32 to float16", run_half, 6, 0},
    {"bytes to float32", run_u8, 5, 0},
    {"max pool 3x3 / 2", run_max_pool, 5, 5 * SIDE * CHANNELS},
    {"global average pool", run_global_average, 4, 0},
};

static void report(const char *isa, const char *name, void (*fn)(Bench *), double bytes, Bench *b,
                   size_t small, const double *copy)
{
    double rate[2], bandwidth[2];
    for (int k = 0; k < 2; k++) {
        b->n = k ? LARGE : small ? small : SMALL;
        const double t = seconds(fn, b);
        rate[k] = (double)b->n / t * 1e-9;
        bandwidth[k] = (double)b->n * bytes / t * 1e-9;
    }
    printf("%-8s %-26s %8.2f elements/ns %7.1f GB/s   %8.2f elements/ns %7.1f GB/s (%3.0f %%)\n",
           isa, name, rate[0], bandwidth[0], rate[1], bandwidth[1], 100 * bandwidth[1] / copy[1]);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    Bench b = {0};
    double copy[2];
    b.x = aligned_alloc(64, LARGE * sizeof(float));
    b.y = aligned_alloc(64, LARGE * sizeof(float));
    b.z = aligned_alloc(64, LARGE * sizeof(float));
    if (!b.x || !b.y || !b.z)
        return 1;
    for (size_t i = 0; i < LARGE; i++) {
        b.x[i] = (float)(i % 1000) * 0.01f - 5.0f;
        b.z[i] = 1.0f;
        b.y[i] = 0.0f;
    }
    for (int k = 0; k < 2; k++) {
        b.n = k ? LARGE : SMALL;
        copy[k] = (double)b.n * 8 / seconds(run_copy, &b) * 1e-9;
    }
    printf("%s; memcpy %.1f GB/s in L1, %.1f GB/s in memory\n", ledge__cpu_model_name(), copy[0],
           copy[1]);
    for (size_t i = 0; ledge__vec_at(i); i++) {
        b.v = ledge__vec_at(i);
        b.r = (LedgeRunner){NULL, b.v->needs};
        if ((b.v->needs & ledge__cpu_flags()) != b.v->needs)
            continue;
        for (int m = 0; m < LEDGE_U_COUNT; m++) {
            b.map = (LedgeMap)m;
            if (strstr(ledge__unary_name(b.map), only))
                report(b.v->isa, ledge__unary_name(b.map), run_map, 8, &b, 0, copy);
        }
        for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++)
            if (strstr(kernels[k].name, only))
                report(b.v->isa, kernels[k].name, kernels[k].fn, kernels[k].bytes, &b,
                       kernels[k].small, copy);
    }
    free(b.x);
    free(b.y);
    free(b.z);
    return 0;
}
