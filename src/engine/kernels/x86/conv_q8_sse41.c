/* The 8-bit kernels of convolution and GEMM for sse41; the code is in the *_q8_tile.h. */
#include "engine/kernels/x86/vq_sse41.h"

#include "engine/kernels/q8_set.h"
