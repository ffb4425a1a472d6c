/* The element-wise and row kernels for NEON. */
#include "engine/kernels/arm/byte_neon.h"

#include "engine/kernels/vec_table.h"
