/* The element-wise and row kernels for avx2; compiled with its flags alone. */
#include "engine/kernels/x86/byte_avx2.h"

#include "engine/kernels/vec_table.h"
