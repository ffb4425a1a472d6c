/* Speed of the kernels over 8-bit numbers by themselves, in every instruction set that this CPU
 * has:
 *
 *   bench_bytes [name]      only kernels whose name contains `name`
 *
 * Prints nanoseconds for a thousand elements, for data that fits the L2 cache. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/bytes.h"
#include "timing.h"

enum { N = 16384, PIXELS = 5456 };

typedef struct Bench {
    const LedgeVec *v;
    LedgeRunner r;
    float *x, *floats;
    uint8_t *a, *b, *y;
} Bench;

static const LedgeByteScale scale = {0.0131f, 120, 0};
static const LedgeByteMix mix = {{0.5f, 120, 0}, {0.3f, 99, 0}, 110, 0, 0, 255};
static const LedgeByteMean mean = {120, 90, 1.5f, 0, 255};

static void run_quantize(Bench *b)
{
    b->v->quantize(b->x, b->y, N, &scale);
}
static void run_dequantize(Bench *b)
{
    b->v->dequantize(b->a, b->floats, N, &scale);
}
static void run_dequantize_each(Bench *b)
{
    b->v->dequantize_each(b->a, b->floats, N, b->x, b->b, 0x80);
}
static void run_words(Bench *b)
{
    b->v->quantize_16(b->x, (uint16_t *)(void *)b->y, N, 0.01f, 100, 0);
}
static void run_map(Bench *b)
{
    b->v->byte_map(b->a, b->y, N, b->b);
}
static void run_add(Bench *b)
{
    b->v->byte_add(LEDGE_VV, b->a, b->b, b->y, N, &mix);
}
static void run_mul(Bench *b)
{
    b->v->byte_mul(LEDGE_VV, b->a, b->b, b->y, N, &mix);
}
/* A row of pixels of 16 channels, each times one number a channel. */
static void run_channels(Bench *b)
{
    const LedgeBytePair shape = {2, {N / 16, 16}, {16, 1}, {0, 1}};
    ledge__bytes_mul(b->r, &shape, &mix, b->a, b->b, b->y);
}
static const LedgeByteTaps window = {NULL, 3, 16 * 64, 3, 64};
static void run_max(Bench *b)
{
    LedgeByteTaps t = window;
    for (size_t i = 0; i < N / 64; i++) {
        t.x = b->a + i % 8 * 64;
        b->v->byte_max(&t, b->y + i * 64, 64);
    }
}
static void run_mean(Bench *b)
{
    LedgeByteTaps t = window;
    for (size_t i = 0; i < N / 64; i++) {
        t.x = b->a + i % 8 * 64;
        b->v->byte_mean(&t, &mean, 0.1f, b->y + i * 64, 64);
    }
}
static void run_global(Bench *b)
{
    ledge__bytes_global_average(b->r, 1, 64, N / 64, &mean, b->a, b->y);
}
static void run_transpose(Bench *b)
{
    b->v->transpose_8(b->a, 128, b->y, 128, 128, 128);
}
static void run_to_pixels(Bench *b)
{
    b->v->transpose_8(b->a, PIXELS, b->y, 3, 3, PIXELS);
}
static void run_to_planes(Bench *b)
{
    b->v->transpose_8(b->a, 3, b->y, PIXELS, PIXELS, 3);
}
static void run_pixels(Bench *b)
{
    const LedgePixelTables t = {3, true, b->b};
    ledge__bytes_pixels(b->r, &t, b->a, b->y, PIXELS);
}
static void run_pixel_floats(Bench *b)
{
    const LedgePixelTables t = {3, true, b->x};
    ledge__bytes_pixel_floats(b->r, &t, b->a, b->floats, 1, PIXELS, false);
}
static void run_range(Bench *b)
{
    float low, high;
    b->v->range(b->x, N, &low, &high);
    b->y[0] = low < high;
}

static const struct {
    const char *name;
    void (*fn)(Bench *);
} kernels[] = {
    {"quantize", run_quantize},
    {"quantize to 16 bits", run_words},
    {"dequantize", run_dequantize},
    {"dequantize, each scale", run_dequantize_each},
    {"table", run_map},
    {"add", run_add},
    {"multiply", run_mul},
    {"multiply by channel", run_channels},
    {"max pool 3x3, output", run_max},
    {"average 3x3, output", run_mean},
    {"global average", run_global},
    {"transpose", run_transpose},
    {"3 planes to pixels", run_to_pixels},
    {"pixels to 3 planes", run_to_planes},
    {"pixels by table", run_pixels},
    {"pixels to floats", run_pixel_floats},
    {"range of floats", run_range},
};

/* The least of many runs of some microseconds. */
static double nanoseconds(void (*fn)(Bench *), Bench *b)
{
    double best = INFINITY;
    for (int run = 0; run < 300; run++) {
        const double start = now_s();
        fn(b);
        const double t = now_s() - start;
        best = t < best ? t : best;
    }
    return best * 1e9 / (N / 1000.0);
}

static void fill(Bench *b)
{
    uint32_t seed = 1;
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->a[i] = (uint8_t)(seed >> 24);
        b->b[i] = (uint8_t)(seed >> 16);
        b->x[i] = (float)(int32_t)seed * 1e-9f;
    }
}

int main(int argc, char **argv)
{
    Bench b = {.x = malloc(N * sizeof(float)),
               .floats = malloc(N * sizeof(float)),
               .a = malloc(N),
               .b = malloc(N),
               .y = malloc(2 * N)};
    if (!b.x || !b.floats || !b.a || !b.b || !b.y)
        return 1;
    fill(&b);
    printf("%-24s", "ns for 1000 elements");
    for (size_t i = 0; ledge__vec_at(i); i++)
        printf("%10s", ledge__vec_at(i)->isa);
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
        if (argc > 1 && !strstr(kernels[k].name, argv[1]))
            continue;
        printf("\n%-24s", kernels[k].name);
        for (size_t i = 0; (b.v = ledge__vec_at(i)) != NULL; i++) {
            b.r = (LedgeRunner){NULL, b.v->needs};
            if ((b.v->needs & ledge__cpu_flags_uncapped()) == b.v->needs)
                printf("%10.1f", nanoseconds(kernels[k].fn, &b));
        }
    }
    printf("\n");
    free(b.x);
    free(b.floats);
    free(b.a);
    free(b.b);
    free(b.y);
    return 0;
}
