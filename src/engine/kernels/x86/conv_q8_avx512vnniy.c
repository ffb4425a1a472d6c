/* The 8-bit kernels of convolution and GEMM for avx512vnniy, AVX-512's VNNI over 256 bits; the
 * code is in the *_q8_tile.h. */
#define VQ_ISA       avx512vnniy
#define VQ_VNNI      _mm256_dpbusd_epi32
#define VQ_REGISTERS 32
#include "engine/kernels/x86/vq_avx2.h"

#include "engine/kernels/q8_set.h"
