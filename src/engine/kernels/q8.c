/* The sets of 8-bit kernels as a table, and the choice by CPU flags. */
#include "engine/kernels/q8.h"

#include "base/cpu.h"

#define Q8_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4, step, flip)                        \
    void ledge__gemm_q8_##isa(const LedgeQ8Tile *t);                                       \
    void ledge__dw_q8_##isa(const LedgeQ8DwTile *t);
#include "engine/kernels/q8.def"
#undef Q8_KERNELS

static const LedgeQ8Kernels sets[] = {
#define Q8_KERNELS(isa, cpu, lanes, nv, m1, m2, m3, m4, step, flip)                        \
    {#isa, cpu, lanes, nv, {m1, m2, m3, m4}, step, flip, ledge__gemm_q8_##isa,             \
     ledge__dw_q8_##isa},
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
