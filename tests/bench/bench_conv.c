/* Times every distinct convolution layer of MobileNetV2, ResNet-50 and SqueezeNet 1.1, one
 * by one: milliseconds, GMAC/s and the share of this core's measured multiply-add peak.
 *
 * usage: bench_conv [-8] [-t THREADS] [-n ROUNDS] [-f PATH] [-l LAYER] [NET...]
 * -8: with 8-bit kernels. PATH is winograd, indirect, ...; LAYER the number of a line, from 0. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "engine/kernels/conv_q8.h"
#include "timing.h"

typedef struct Layer {
    const char *net;
    int count; /* times in the net */
    int size, c, m, k, stride, group, residual;
} Layer;

static const Layer layers[] = {
    {"mobilenetv2", 1, 224, 3, 32, 3, 2, 1, 0},
    {"mobilenetv2", 1, 112, 32, 32, 3, 1, 32, 0},
    {"mobilenetv2", 1, 112, 32, 16, 1, 1, 1, 0},
    {"mobilenetv2", 1, 112, 16, 96, 1, 1, 1, 0},
    {"mobilenetv2", 1, 112, 96, 96, 3, 2, 96, 0},
    {"mobilenetv2", 1, 56, 96, 24, 1, 1, 1, 0},
    {"mobilenetv2", 2, 56, 24, 144, 1, 1, 1, 0},
    {"mobilenetv2", 1, 56, 144, 144, 3, 1, 144, 0},
    {"mobilenetv2", 1, 56, 144, 24, 1, 1, 1, 1},
    {"mobilenetv2", 1, 56, 144, 144, 3, 2, 144, 0},
    {"mobilenetv2", 1, 28, 144, 32, 1, 1, 1, 0},
    {"mobilenetv2", 3, 28, 32, 192, 1, 1, 1, 0},
    {"mobilenetv2", 2, 28, 192, 192, 3, 1, 192, 0},
    {"mobilenetv2", 2, 28, 192, 32, 1, 1, 1, 1},
    {"mobilenetv2", 1, 28, 192, 192, 3, 2, 192, 0},
    {"mobilenetv2", 1, 14, 192, 64, 1, 1, 1, 0},
    {"mobilenetv2", 4, 14, 64, 384, 1, 1, 1, 0},
    {"mobilenetv2", 4, 14, 384, 384, 3, 1, 384, 0},
    {"mobilenetv2", 3, 14, 384, 64, 1, 1, 1, 1},
    {"mobilenetv2", 1, 14, 384, 96, 1, 1, 1, 0},
    {"mobilenetv2", 3, 14, 96, 576, 1, 1, 1, 0},
    {"mobilenetv2", 2, 14, 576, 576, 3, 1, 576, 0},
    {"mobilenetv2", 2, 14, 576, 96, 1, 1, 1, 1},
    {"mobilenetv2", 1, 14, 576, 576, 3, 2, 576, 0},
    {"mobilenetv2", 1, 7, 576, 160, 1, 1, 1, 0},
    {"mobilenetv2", 3, 7, 160, 960, 1, 1, 1, 0},
    {"mobilenetv2", 3, 7, 960, 960, 3, 1, 960, 0},
    {"mobilenetv2", 2, 7, 960, 160, 1, 1, 1, 1},
    {"mobilenetv2", 1, 7, 960, 320, 1, 1, 1, 0},
    {"mobilenetv2", 1, 7, 320, 1280, 1, 1, 1, 0},
    {"mobilenetv2", 1, 1, 1280, 1000, 1, 1, 1, 0},
    {"resnet50", 1, 224, 3, 64, 7, 2, 1, 0},
    {"resnet50", 1, 56, 64, 64, 1, 1, 1, 0},
    {"resnet50", 3, 56, 64, 64, 3, 1, 1, 0},
    {"resnet50", 4, 56, 64, 256, 1, 1, 1, 1},
    {"resnet50", 2, 56, 256, 64, 1, 1, 1, 0},
    {"resnet50", 1, 56, 256, 128, 1, 1, 1, 0},
    {"resnet50", 1, 56, 128, 128, 3, 2, 1, 0},
    {"resnet50", 4, 28, 128, 512, 1, 1, 1, 1},
    {"resnet50", 1, 56, 256, 512, 1, 2, 1, 0},
    {"resnet50", 3, 28, 512, 128, 1, 1, 1, 0},
    {"resnet50", 3, 28, 128, 128, 3, 1, 1, 0},
    {"resnet50", 1, 28, 512, 256, 1, 1, 1, 0},
    {"resnet50", 1, 28, 256, 256, 3, 2, 1, 0},
    {"resnet50", 6, 14, 256, 1024, 1, 1, 1, 1},
    {"resnet50", 1, 28, 512, 1024, 1, 2, 1, 0},
    {"resnet50", 5, 14, 1024, 256, 1, 1, 1, 0},
    {"resnet50", 5, 14, 256, 256, 3, 1, 1, 0},
    {"resnet50", 1, 14, 1024, 512, 1, 1, 1, 0},
    {"resnet50", 1, 14, 512, 512, 3, 2, 1, 0},
    {"resnet50", 3, 7, 512, 2048, 1, 1, 1, 1},
    {"resnet50", 1, 14, 1024, 2048, 1, 2, 1, 0},
    {"resnet50", 2, 7, 2048, 512, 1, 1, 1, 0},
    {"resnet50", 2, 7, 512, 512, 3, 1, 1, 0},
    {"resnet50", 1, 1, 2048, 1000, 1, 1, 1, 0},
    {"squeezenet", 1, 227, 3, 64, 3, 2, 1, 0},
    {"squeezenet", 1, 56, 64, 16, 1, 1, 1, 0},
    {"squeezenet", 2, 56, 16, 64, 1, 1, 1, 0},
    {"squeezenet", 2, 56, 16, 64, 3, 1, 1, 0},
    {"squeezenet", 1, 56, 128, 16, 1, 1, 1, 0},
    {"squeezenet", 1, 28, 128, 32, 1, 1, 1, 0},
    {"squeezenet", 2, 28, 32, 128, 1, 1, 1, 0},
    {"squeezenet", 2, 28, 32, 128, 3, 1, 1, 0},
    {"squeezenet", 1, 28, 256, 32, 1, 1, 1, 0},
    {"squeezenet", 1, 14, 256, 48, 1, 1, 1, 0},
    {"squeezenet", 2, 14, 48, 192, 1, 1, 1, 0},
    {"squeezenet", 2, 14, 48, 192, 3, 1, 1, 0},
    {"squeezenet", 1, 14, 384, 48, 1, 1, 1, 0},
    {"squeezenet", 1, 14, 384, 64, 1, 1, 1, 0},
    {"squeezenet", 2, 14, 64, 256, 1, 1, 1, 0},
    {"squeezenet", 2, 14, 64, 256, 3, 1, 1, 0},
    {"squeezenet", 1, 14, 512, 64, 1, 1, 1, 0},
    {"squeezenet", 1, 14, 512, 1000, 1, 1, 1, 0},
    {"mnist", 1, 28, 1, 8, 5, 1, 1, 0},
    {"mnist", 1, 14, 8, 16, 5, 1, 1, 0},
    {"mnist", 1, 1, 256, 10, 1, 1, 1, 0},
};
enum { N_LAYERS = sizeof(layers) / sizeof(layers[0]) };
static int rounds = 15; /* of each layer; the best counts */
static bool eight;      /* bits */

static float *filled(size_t floats)
{
    float *p = ledge__alloc(ledge__allocator_or_default(NULL), floats + 16, sizeof(float));
    if (!p) {
        fprintf(stderr, "bench_conv: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < floats + 16; i++)
        p[i] = (float)((i * 2654435761u >> 8) % 2001) * 1e-3f - 1.0f;
    return p;
}

/* The multiply-adds of a tile that lives in L1: what this core can do at most. */
static double peak_gmacs(uint32_t cpu)
{
    const LedgeF32Kernels *k = ledge__f32_kernels(cpu);
    enum { DEPTH = 256 };
    const uint32_t nv = k->nv, mr = k->mr[nv - 1];
    const size_t columns = nv * k->lanes;
    float *a = filled(DEPTH * 8), *b = filled(DEPTH * columns), *c = filled(mr * columns);
    const float *rows[LEDGE_GEMM_MR_MAX];
    for (uint32_t i = 0; i < mr; i++)
        rows[i] = a;
    const LedgeGemmTile t = {.a = rows, .taps = 1, .kc = DEPTH, .b = b, .bias = b, .c = c,
                             .ldc = columns, .lo = -INFINITY, .hi = INFINITY, .mr = mr, .nv = nv,
                             .n = (uint32_t)columns};
    double best = INFINITY;
    for (int r = 0; r < 50; r++) {
        const double t0 = now_s();
        for (int i = 0; i < 200; i++)
            k->gemm(&t);
        const double s = (now_s() - t0) / 200;
        best = s < best ? s : best;
    }
    ledge__free(ledge__allocator_or_default(NULL), a);
    ledge__free(ledge__allocator_or_default(NULL), b);
    ledge__free(ledge__allocator_or_default(NULL), c);
    return (double)mr * DEPTH * (double)columns / best * 1e-9;
}

static double peak_gmacs_q8(uint32_t cpu)
{
    const LedgeQ8Kernels *k = ledge__q8_kernels(cpu);
    enum { DEPTH = 1024 };
    const uint32_t nv = k->mr[3] ? 4 : k->mr[2] ? 3 : k->mr[1] ? 2 : 1, mr = k->mr[nv - 1];
    const size_t columns = nv * k->lanes;
    float *a = filled(DEPTH), *b = filled(DEPTH * columns / 4), *c = filled(mr * columns);
    const uint8_t *rows[LEDGE_Q8_MR_MAX];
    for (uint32_t i = 0; i < mr; i++)
        rows[i] = (const uint8_t *)a;
    const LedgeQ8Out o = {.kind = LEDGE_Q8_BYTES, .y_hi = 255};
    const LedgeQ8Tile t = {.a = rows, .taps = 1, .kc = DEPTH, .b = (const int8_t *)b,
                           .init = (const int32_t *)(void *)b, .scale = b, .c = c, .ldc = columns,
                           .out = &o, .mr = mr, .nv = nv, .n = (uint32_t)columns,
                           .repeat = 1};
    double best = INFINITY;
    for (int r = 0; r < 50; r++) {
        const double t0 = now_s();
        for (int i = 0; i < 200; i++)
            k->gemm(&t);
        const double s = (now_s() - t0) / 200;
        best = s < best ? s : best;
    }
    ledge__free(ledge__allocator_or_default(NULL), a);
    ledge__free(ledge__allocator_or_default(NULL), b);
    ledge__free(ledge__allocator_or_default(NULL), c);
    return (double)mr * DEPTH * (double)columns / best * 1e-9;
}

static LedgeConvShape shape_of(const Layer *l)
{
    const size_t out = (size_t)((l->size + l->stride - 1) / l->stride);
    return (LedgeConvShape){.n = 1, .h = (size_t)l->size, .w = (size_t)l->size,
                            .c = (size_t)l->c, .oh = out, .ow = out, .m = (size_t)l->m,
                            .ldc = (size_t)l->m, .kh = (size_t)l->k, .kw = (size_t)l->k,
                            .sh = (size_t)l->stride, .sw = (size_t)l->stride, .dh = 1, .dw = 1,
                            .pt = (size_t)l->k / 2, .pl = (size_t)l->k / 2,
                            .group = (size_t)l->group};
}

/* The best of `rounds` runs. */
static double best_of(void (*run)(const void *plan, const void *args, LedgePool *pool),
                      const void *plan, const void *args, LedgePool *pool)
{
    double best = INFINITY;
    for (int i = 0; i < rounds; i++) {
        const double t0 = now_s();
        run(plan, args, pool);
        const double t = now_s() - t0;
        best = t < best ? t : best;
    }
    return best;
}

static void run_f32(const void *plan, const void *args, LedgePool *pool)
{
    ledge__conv_f32_run(plan, args, pool);
}

static void run_q8(const void *plan, const void *args, LedgePool *pool)
{
    ledge__conv_q8_run(plan, args, pool);
}

static double layer_seconds_q8(const Layer *l, uint32_t cpu, LedgePool *pool, LedgeConvPath force,
                               LedgeConvPath *path)
{
    const LedgeConvShape s = shape_of(l);
    const size_t out = s.oh * s.ow * s.m;
    LedgeConvQ8Plan plan;
    const bool chosen = force == LEDGE_CONV_PATHS && ledge__conv_q8_wino_pays(&s, cpu);
    if (chosen) /* as an operator does; the weights are small enough at random */
        force = LEDGE_CONV_WINOGRAD;
    if (!ledge__conv_q8_plan(&s, cpu, ledge__pool_threads(pool), force, false, &plan))
        exit(1);
    *path = plan.path;
    const size_t weights = s.m * (s.c / s.group) * s.kh * s.kw;
    const float scale = 0.001f;
    float *buffers[] = {filled(s.h * s.w * s.c / 4), filled(weights / 4), filled(out / 4),
                        filled(out / 4), filled(plan.packed_bytes / 4), filled(plan.columns),
                        filled(plan.columns), filled(plan.border_bytes / 4), filled(s.m),
                        filled(plan.scratch_bytes / 4)};
    ledge__conv_q8_pack(&plan, (int8_t *)buffers[1], (int8_t *)buffers[4]);
    ledge__conv_q8_sums(&plan, (int8_t *)buffers[1], (int32_t *)(void *)buffers[8]);
    ledge__conv_q8_pack_init(&plan, NULL, (int32_t *)(void *)buffers[8], 128, NULL, 0,
                             (int32_t *)(void *)buffers[5]);
    ledge__conv_q8_pack_floats(&plan, &scale, 1, 1.0f, buffers[6]);
    LedgeConvQ8Args a = {.x = (uint8_t *)buffers[0], .packed = (int8_t *)buffers[4],
                         .init = (int32_t *)(void *)buffers[5], .scale = buffers[6],
                         .border = (uint8_t *)buffers[7], .r = l->residual ? buffers[2] : NULL,
                         .ldr = s.m, .y = buffers[3], .scratch = buffers[9],
                         .out = {.kind = l->residual ? LEDGE_Q8_SUM : LEDGE_Q8_BYTES,
                                 .y_hi = 255, .z_hi = 255, .y_scale = 0.5f, .r_scale = 0.5f}};
    const double best = best_of(run_q8, &plan, &a, pool);
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        ledge__free(ledge__allocator_or_default(NULL), buffers[i]);
    return best;
}

static double layer_seconds(const Layer *l, uint32_t cpu, LedgePool *pool, LedgeConvPath force,
                            LedgeConvPath *path)
{
    const LedgeAllocator *al = ledge__allocator_or_default(NULL);
    const LedgeConvShape s = shape_of(l);
    const size_t out = s.oh;
    LedgeConvPlan plan;
    if (!ledge__conv_f32_plan(&s, cpu, ledge__pool_threads(pool), force, &plan))
        exit(1);
    *path = plan.path;
    float *x = filled(s.h * s.w * s.c), *w = filled(s.m * (s.c / s.group) * s.kh * s.kw);
    float *y = filled(out * out * s.m), *r = l->residual ? filled(out * out * s.m) : NULL;
    float *packed = filled(plan.packed_floats), *bias = filled(plan.bias_floats);
    float *zeros = ledge__calloc(al, plan.zeros_floats + 16, sizeof(float));
    void *scratch = ledge__alloc(al, plan.scratch_bytes + 64, 1);
    if (!zeros || !scratch)
        exit(1);
    ledge__conv_f32_pack(&plan, w, NULL, packed);
    ledge__conv_f32_pack_bias(&plan, NULL, bias);
    const LedgeConvArgs a = {.x = x, .packed = packed, .bias = bias, .zeros = zeros, .r = r,
                             .ldr = s.m, .y = y,
                             .act = {.kind = LEDGE_ACT_CLAMP, .lo = 0, .hi = 6},
                             .scratch = scratch};
    const double best = best_of(run_f32, &plan, &a, pool);
    float *all[] = {x, w, y, r, packed, bias, zeros};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        ledge__free(al, all[i]);
    ledge__free(al, scratch);
    return best;
}

static void bench_net(const char *net, uint32_t cpu, LedgePool *pool, LedgeConvPath force,
                      double peak, int only)
{
    int index = 0;
    double total = 0, macs_total = 0;
    for (size_t i = 0; i < N_LAYERS; i++) {
        const Layer *l = &layers[i];
        if (strcmp(l->net, net) != 0 || (only >= 0 && index++ != only))
            continue;
        LedgeConvPath path;
        const double s = (eight ? layer_seconds_q8 : layer_seconds)(l, cpu, pool, force, &path);
        const double out = (l->size + l->stride - 1) / l->stride;
        const double macs = out * out * l->m * (l->c / l->group) * l->k * l->k;
        total += s * l->count;
        macs_total += macs * l->count;
        printf("%-12s %d x %3d^2 %4d -> %4d %dx%d/%d %-10s %8.4f ms %6.1f GMAC/s %4.0f%%\n", net,
               l->count, l->size, l->c, l->m, l->k, l->k, l->stride,
               ledge__conv_f32_path_name(path), s * 1e3, macs / s * 1e-9,
               macs / s * 1e-7 / peak);
    }
    printf("%-12s all layers %.3f ms, %.1f GMAC/s, %.0f%% of %d x %.1f\n", net, total * 1e3,
           macs_total / total * 1e-9, macs_total / total * 1e-7 / peak / ledge__pool_threads(pool),
           ledge__pool_threads(pool), peak);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"mobilenetv2", "resnet50", "squeezenet", "mnist"};
    const uint32_t cpu = ledge__cpu_flags();
    LedgeConvPath force = LEDGE_CONV_PATHS;
    LedgePool *pool = NULL;
    int named = 0, only = -1;
    for (int i = 1; i < argc; i++)
        eight |= strcmp(argv[i], "-8") == 0;
    const double peak = eight ? peak_gmacs_q8(cpu) : peak_gmacs(cpu);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-8") == 0) {
            continue;
        } else if (strcmp(argv[i], "-t") == 0 && i + 1 < argc) {
            if (ledge__pool_new(NULL, atoi(argv[++i]), &pool) != LEDGE_OK)
                return 1;
        } else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            rounds = atoi(argv[++i]);
        } else if (strcmp(argv[i], "-l") == 0 && i + 1 < argc) {
            only = atoi(argv[++i]);
        } else if (strcmp(argv[i], "-f") == 0 && i + 1 < argc) {
            i++;
            for (force = 0; force < LEDGE_CONV_PATHS; force++)
                if (strcmp(ledge__conv_f32_path_name(force), argv[i]) == 0)
                    break;
        } else {
            bench_net(argv[i], cpu, pool, force, peak, only);
            named++;
        }
    }
    for (size_t i = 0; !named && i < sizeof(all) / sizeof(all[0]); i++)
        bench_net(all[i], cpu, pool, force, peak, only);
    ledge__pool_free(pool);
    return 0;
}
