/* The element-wise and row kernels for WebAssembly SIMD128. */
#include "engine/kernels/wasm/byte_wasm.h"

#include "engine/kernels/vec_table.h"
