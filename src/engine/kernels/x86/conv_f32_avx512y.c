/* The fp32 kernels of convolution and GEMM for avx512y; the code is in the *_f32_tile.h. */
#include "engine/kernels/x86/vf_avx512y.h"

#include "engine/kernels/f32_set.h"
