/* The fp32 kernels of convolution and GEMM for neon; the code is in the *_f32_tile.h. */
#include "engine/kernels/arm/vf_neon.h"

#include "engine/kernels/f32_set.h"
