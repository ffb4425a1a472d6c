/* Loops of constant length that are to disappear: over the registers of a tile or a block, which
 * else stay in memory. For the kernel templates, and the vocabularies below them. */
#ifndef LEDGE_KERNELS_UNROLL_H
#define LEDGE_KERNELS_UNROLL_H

#if defined(VX_ROLLED) /* where size counts for more: the scalar sets */
#define VX_UNROLL
#elif defined(__clang__)
#define VX_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VX_UNROLL _Pragma("GCC unroll 36")
#endif
#define VX_EACH(i, n) VX_UNROLL for (int i = 0; i < (n); i++)
#define VX_INLINE __attribute__((always_inline)) static inline

#endif
