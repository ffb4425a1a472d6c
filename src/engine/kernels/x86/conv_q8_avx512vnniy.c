/* The 8-bit kernels of convolution and GEMM for avx512vnniy, AVX-512's VNNI over 256 bits, for
 * 24 columns and less; the code is in the *_q8_tile.h. */
#define VQ_ISA       avx512vnniy
#define VQ_VNNI      _mm256_dpbusd_epi32
#define VQ_REGISTERS 32
#define VQ_ROWS_1    8
#define VQ_ROWS_2    4
#define VQ_ROWS_3    8
#include "engine/kernels/x86/vq_avx2.h"

#include "engine/kernels/q8_set.h"
