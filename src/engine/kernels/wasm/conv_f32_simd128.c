/* The fp32 kernels of convolution and GEMM for simd128; the code is in the *_f32_tile.h. */
#include "engine/kernels/wasm/vf_simd128.h"

#include "engine/kernels/f32_set.h"
