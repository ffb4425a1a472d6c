/* The element-wise and row kernels for sse41; compiled with its flags alone. */
#include "engine/kernels/x86/byte_sse41.h"

#include "engine/kernels/vec_table.h"
