/* Loops of constant length that are to disappear, for the 8-bit kernel templates and the
 * vocabularies below them. */
#ifndef LEDGE_KERNELS_VQ_UNROLL_H
#define LEDGE_KERNELS_VQ_UNROLL_H

#if defined(VQ_ROLLED) /* where size counts for more: the scalar set */
#define VQ_UNROLL
#elif defined(__clang__)
#define VQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VQ_UNROLL _Pragma("GCC unroll 36")
#endif
#define VQ_EACH(i, n) VQ_UNROLL for (int i = 0; i < (n); i++)
#define VQ_INLINE __attribute__((always_inline)) static inline

#endif
