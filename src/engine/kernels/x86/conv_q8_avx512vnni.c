/* The 8-bit kernels of convolution and GEMM for avx512vnni; the code is in the *_q8_tile.h. */
#include "engine/kernels/x86/vq_avx512.h"

#include "engine/kernels/q8_set.h"
