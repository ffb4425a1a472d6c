/* The fp32 kernels of convolution and GEMM for scalar; the code is in the *_f32_tile.h. */
#include "engine/kernels/ref/vf_scalar.h"

#include "engine/kernels/f32_set.h"
