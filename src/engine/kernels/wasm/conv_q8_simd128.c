/* The 8-bit kernels of convolution and GEMM for simd128; the code is in the *_q8_tile.h. */
#include "engine/kernels/wasm/vq_simd128.h"

#include "engine/kernels/q8_set.h"
