/* The sets of fp32 kernels as a table, and the choice by CPU flags. */
#include "engine/kernels/kernels.h"

#include "base/cpu.h"
#include "engine/kernels/vec.h"

#define F32_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4)                                   \
    void ledge__gemm_f32_##isa(const LedgeGemmTile *t);                                    \
    extern const LedgeStrips ledge__strips_f32_##isa;                                      \
    extern const LedgeStrassen ledge__strassen_f32_##isa;                                  \
    void ledge__dw_f32_##isa(const LedgeDwTile *t);                                        \
    void ledge__line_f32_##isa(const LedgeLineTile *t);                                    \
    uint32_t ledge__planes_f32_##isa(const LedgePlanesTile *t);                            \
    void ledge__wino_in_f32_##isa(const LedgeWinoIn *t);                                   \
    void ledge__wino_out_f32_##isa(const LedgeWinoOut *t);                                 \
    void ledge__interleave_f32_##isa(const float *x, size_t ld, size_t c, size_t n, float *y);
#include "engine/kernels/kernels.def"
#undef F32_KERNELS

static const LedgeF32Kernels sets[] = {
#define F32_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4)                                   \
    {#isa,                                                                                 \
     cpu,                                                                                  \
     lanes,                                                                                \
     nv,                                                                                   \
     {m1, m2, m3, m4},                                                                     \
     ledge__gemm_f32_##isa,                                                                \
     &ledge__strips_f32_##isa,                                                             \
     &ledge__strassen_f32_##isa,                                                           \
     ledge__dw_f32_##isa,                                                                  \
     ledge__line_f32_##isa,                                                                \
     ledge__planes_f32_##isa,                                                              \
     ledge__wino_in_f32_##isa,                                                             \
     ledge__wino_out_f32_##isa,                                                            \
     ledge__interleave_f32_##isa},
#include "engine/kernels/kernels.def"
#undef F32_KERNELS
};

const LedgeF32Kernels *ledge__f32_kernels(uint32_t cpu)
{
    const LedgeF32Kernels *k = sets;
    while ((k->cpu & cpu) != k->cpu) /* the scalar set needs nothing */
        k++;
    return k;
}

const LedgeF32Kernels *ledge__f32_kernels_at(size_t i)
{
    return i < sizeof(sets) / sizeof(sets[0]) ? &sets[i] : NULL;
}

void ledge__act_f32(const LedgeF32Kernels *k, float *y, size_t rows, size_t ld, size_t n,
                    const LedgeAct *act)
{
    float a, b;
    const LedgeMap map = ledge__act_map(act, &a, &b);
    ledge__vec(k->cpu)->unary_rows(map, y, rows, ld, n, a, b);
}
