/* The element-wise and row kernels in plain C, for every CPU. */
#include "engine/kernels/ref/byte_scalar.h"

#include "engine/kernels/vec_table.h"
