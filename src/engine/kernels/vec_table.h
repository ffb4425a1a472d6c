/* Template: puts the kernels of one instruction set together into its table. A vec_<isa>.c
 * includes its simd_<isa>.h and then this. */
#include "engine/kernels/vec.h"
#include "engine/kernels/vec_math.h"
#include "engine/kernels/vec_tables.h"

#include "base/cpu.h"

#include "engine/kernels/vec_bytes.h"
#include "engine/kernels/vec_map.h"
#include "engine/kernels/vec_row.h"
#include "engine/kernels/vec_transpose.h"
#include "engine/kernels/vec_transpose8.h"
#include "engine/kernels/vec_window.h"

#define VEC_JOIN_(a, b) a##b
#define VEC_JOIN(a, b)  VEC_JOIN_(a, b)
#define VEC_TEXT_(a)    #a
#define VEC_TEXT(a)     VEC_TEXT_(a)

const LedgeVec VEC_JOIN(ledge__vec_, VF_ISA) = {
    .isa = VEC_TEXT(VF_ISA),
    .needs = VF_NEEDS,
    .lanes = VF_LANES,
#define VEC_FN(result, name, args) .name = vec_##name,
#include "engine/kernels/vec.def"
};
