/* The fp32 kernels of convolution and GEMM for avx512; the code is in the *_f32_tile.h. */
#include "engine/kernels/x86/vf_avx512.h"

#include "engine/kernels/f32_set.h"
