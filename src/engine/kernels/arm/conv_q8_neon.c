/* The 8-bit kernels of convolution and GEMM for neon; the code is in the *_q8_tile.h. */
#include "engine/kernels/arm/vq_neon.h"

#include "engine/kernels/q8_set.h"
