/* The 8-bit kernels of convolution and GEMM for scalar; the code is in the *_q8_tile.h. */
#define VX_ROLLED
#include "engine/kernels/ref/vq_scalar.h"

#include "engine/kernels/q8_set.h"
