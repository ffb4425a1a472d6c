/* fp32 convolution over NHWC: the choice of algorithm by shape, and its run.
 *
 * Steps: fill a LedgeConvShape, plan, allocate what the plan names, pack weights and bias
 * once, run often. A run allocates nothing. Answers do not depend on the number of threads.
 * Algorithms: pointwise (GEMM straight on the pixels), indirect GEMM (pointers to pixels, no
 * copy of the image), depthwise, Winograd F(4×4, 3×3); and straight from NCHW planes. */
#ifndef LEDGE_KERNELS_CONV_F32_H
#define LEDGE_KERNELS_CONV_F32_H

#include "engine/kernels/gemm_f32.h"

typedef struct LedgeConvShape {
    size_t n, h, w, c; /* input, NHWC */
    size_t oh, ow, m;  /* output; m channels are written … */
    size_t ldc;        /* … of ldc from pixel to pixel */
    size_t kh, kw, sh, sw, dh, dw;
    size_t pt, pl;     /* padding above and to the left; the rest follows from oh and ow */
    size_t group;
    bool planes;       /* the input is NCHW; group is 1 */
    bool serial;       /* the weights are for ledge__gemm_serial */
    bool strips;       /* pointwise, one group: the weights are for strips_f32.h, of … */
    size_t kept;       /* … so many rows */
} LedgeConvShape;

typedef enum LedgeConvPath {
    LEDGE_CONV_POINTWISE,
    LEDGE_CONV_INDIRECT, /* a pointer for each pixel and filter tap */
    LEDGE_CONV_RUNS,     /* few channels: a filter row is one run of kw × c floats */
    LEDGE_CONV_DEPTHWISE,
    LEDGE_CONV_WINOGRAD,
    LEDGE_CONV_PLANES, /* for NCHW input, and for no other */
    LEDGE_CONV_PATHS
} LedgeConvPath;

typedef struct LedgeConvPlan {
    LedgeConvShape s;
    const LedgeF32Kernels *k;
    const LedgeF32Kernels *in; /* Winograd: of the input's transform, k being of the rest */
    LedgeConvPath path;
    LedgePanels p;        /* of one group, or of one Winograd position */
    size_t taps, kc;
    uint32_t mr;
    size_t tiles;         /* Winograd tiles in a block */
    int threads;
    size_t ph, pw;        /* runs over a small image: its padded copy's size; 0: no copy */
    size_t packed_floats; /* weights */
    size_t bias_floats;   /* padded bias */
    size_t zeros_floats;  /* zeros that padding points to */
    size_t thread_bytes;  /* scratch of one thread … */
    size_t scratch_bytes; /* … and of all */
} LedgeConvPlan;

/* `force` is a path, or LEDGE_CONV_PATHS to choose; a path that cannot serve the shape is
 * passed over. false: sizes overflow. */
bool ledge__conv_f32_plan(const LedgeConvShape *s, uint32_t cpu, int threads, LedgeConvPath force,
                          LedgeConvPlan *plan);
const char *ledge__conv_f32_path_name(LedgeConvPath path);

/* Weights in ONNX's order [m, c / group, kh, kw], possibly misaligned; bias may be NULL. */
void ledge__conv_f32_pack(const LedgeConvPlan *plan, const void *w, const float *scale,
                          float *packed);
/* Whether `scale` may be given above: one factor for each output channel, applied on the way. */
bool ledge__conv_f32_packs_scaled(const LedgeConvPlan *plan);
void ledge__conv_f32_pack_bias(const LedgeConvPlan *plan, const void *bias, float *packed);

typedef struct LedgeConvArgs {
    const float *x, *packed, *bias, *zeros;
    const float *r; /* NULL: none */
    size_t ldr;
    float *y;
    LedgeAct act;
    void *scratch;
} LedgeConvArgs;

void ledge__conv_f32_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool);

/* Parts of the above in files of their own. */
/* The set that suits so many columns. */
const LedgeF32Kernels *ledge__conv_f32_kernels(uint32_t cpu, size_t columns);
bool ledge__conv_f32_wino_plan(LedgeConvPlan *plan, uint32_t cpu);
void ledge__conv_f32_wino_pack(const LedgeConvPlan *plan, const void *w, float *packed);
void ledge__conv_f32_wino_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool);
bool ledge__conv_f32_planes_plan(LedgeConvPlan *plan);
void ledge__conv_f32_planes_pack(const LedgeConvPlan *plan, const void *w, const float *scale,
                                 float *packed);
void ledge__conv_f32_planes_run(const LedgeConvPlan *plan, const LedgeConvArgs *a,
                                LedgePool *pool);
bool ledge__conv_f32_dw_plan(LedgeConvPlan *plan);
void ledge__conv_f32_dw_pack(const LedgeConvPlan *plan, const void *w, float *packed);
void ledge__conv_f32_dw_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool);

#endif
