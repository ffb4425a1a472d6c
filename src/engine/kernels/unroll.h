/* Loops over the registers of a tile or a block must be unrolled, or the array stays in memory. */
#ifndef LEDGE_KERNELS_UNROLL_H
#define LEDGE_KERNELS_UNROLL_H

#if defined(__clang__)
#define VB_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VB_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
