/* The sets of 8-bit kernels as a table, and the choice by CPU flags. */
#include "engine/kernels/q8.h"

#include "base/cpu.h"

#define Q8_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4, step, flip, wino)                  \
    void ledge__gemm_q8_##isa(const LedgeQ8Tile *t);                                       \
    void ledge__dw_q8_##isa(const LedgeQ8DwTile *t);                                       \
    void ledge__wino_in_q8_##isa(const LedgeQ8WinoIn *t);                                  \
    void ledge__wino_mul_q8_##isa(const LedgeQ8WinoMul *t);                                \
    void ledge__wino_out_q8_##isa(const LedgeQ8WinoOut *t);
#include "engine/kernels/q8.def"
#undef Q8_KERNELS

#define Q8_WINO_0(isa) {0, NULL, NULL, NULL}
#define Q8_WINO_N(isa, n) \
    {n, ledge__wino_in_q8_##isa, ledge__wino_mul_q8_##isa, ledge__wino_out_q8_##isa}
#define Q8_WINO_2(isa) Q8_WINO_N(isa, 2)
#define Q8_WINO_4(isa) Q8_WINO_N(isa, 4)

static const LedgeQ8Kernels sets[] = {
#define Q8_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4, step, flip, wino)                  \
    {#isa, cpu, lanes, nv, {m1, m2, m3, m4}, step, flip, ledge__gemm_q8_##isa,             \
     ledge__dw_q8_##isa, Q8_WINO_##wino(isa)},
#include "engine/kernels/q8.def"
#undef Q8_KERNELS
};

const LedgeQ8Kernels *ledge__q8_kernels(uint32_t cpu)
{
    const LedgeQ8Kernels *k = sets;
    while ((k->cpu & cpu) != k->cpu) /* the scalar set needs nothing */
        k++;
    return k;
}

const LedgeQ8Kernels *ledge__q8_kernels_at(size_t i)
{
    return i < sizeof(sets) / sizeof(sets[0]) ? &sets[i] : NULL;
}
