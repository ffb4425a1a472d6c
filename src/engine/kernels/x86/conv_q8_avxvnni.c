/* The 8-bit kernels of convolution and GEMM for avxvnni; the code is in the *_q8_tile.h. */
#define VQ_ISA    avxvnni
#define VQ_VNNI   _mm256_dpbusd_avx_epi32
#define VQ_VNNI16 _mm256_dpwssd_avx_epi32
#include "engine/kernels/x86/vq_avx2.h"

#include "engine/kernels/q8_set.h"
