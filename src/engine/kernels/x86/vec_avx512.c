/* The element-wise and row kernels for avx512; compiled with its flags alone. */
#include "engine/kernels/x86/byte_avx512.h"

#include "engine/kernels/vec_table.h"
